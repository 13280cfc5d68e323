"""A finished run, as it lies in its folder."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from holdfast.errors import RunError, shown
from holdfast.models.load import load_tokenizer
from holdfast.models.members import members_of
from holdfast.models.run_record import read_record
from holdfast.models.trained import LOADERS, TOKENIZED

METRICS, REPORT = "metrics.jsonl", "report.html"


@dataclass(frozen=True)
class Run:
    """The folder of a run: run.json, metrics.jsonl, checkpoints/, model/."""

    out: Path

    @property
    def record(self) -> dict[str, Any]:
        """What was asked, of what, and what came out."""
        record = read_record(self.out)
        if record is None:
            raise RunError(f"{self.out} holds no run")
        return record

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """One dict a step, and one an evaluation (its keys begin with `eval/`), in order."""
        path = self.out / METRICS
        if not path.is_file():
            return []
        lines = []
        for number, line in enumerate(path.read_bytes().split(b"\n"), 1):
            try:
                if line:
                    lines.append(dict(json.loads(line)))
            except (ValueError, TypeError) as error:
                raise RunError(
                    f"{path}, line {number} is no metrics: {error}", hint="take the line out"
                ) from error
        return lines

    @property
    def status(self) -> str:
        """running, finished, interrupted or failed."""
        return str(self.record["status"])

    @property
    def model_path(self) -> Path:
        """The folder that any Hugging Face user can load."""
        return self.out / "model"

    def load(self) -> tuple[Any, Any]:
        """(model, tokenizer), on CPU in float32: a policy, or the classifier of a reward model.

        Of a diffusion model the whole pipeline, and None.
        """
        if not self.model_path.is_dir():
            raise RunError(
                f"{self.out} has no model: the run is {self.status}",
                hint="finish it with resume=True",
            )
        task = self.record["task"]
        if task not in LOADERS:
            raise RunError(
                f"{self.out} trained another task ({shown(task)}) than {', '.join(LOADERS)}",
                hint=f"load {self.model_path} as its task does",
            )
        load = LOADERS[task]
        if task not in TOKENIZED:
            return load(self.model_path), None
        places = members_of(self.model_path) or [self.model_path]
        return load(self.model_path), load_tokenizer(places[0])
