"""A third task beside policy and reward model, as its author would write it: a small denoiser whose
noise is drawn anew at every step and whose reference is run beside it. Nothing of it is text.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from holdfast.card import Method
from holdfast.data.read import Dataset as Rows
from holdfast.errors import RunError
from holdfast.methods import METHODS
from holdfast.scorers.live import InMemoryReference
from holdfast.scorers.scorer import Scorer, Verification
from holdfast.training.examples import Examples
from holdfast.training.execute import carry_out
from holdfast.training.metrics import batch_metrics
from holdfast.training.objective import BatchResult
from holdfast.training.options import Options, split_options
from holdfast.training.progress import Progress
from holdfast.training.request import RunRequest
from holdfast.training.run.folder import Run
from holdfast.training.run.record import recorded_call
from holdfast.training.run.rerun import rerun
from holdfast.training.sources.source import Source
from holdfast.training.task import Encoded, Task
from holdfast.types import Scored

WIDTH = 4


class Denoiser(nn.Module):
    """Says what the noise on a vector was."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(WIDTH, WIDTH)

    def forward(self, x_NW: Tensor) -> Tensor:
        return self.linear(x_NW)


@dataclass(frozen=True)
class Item:
    """Vectors by branch, and the noise of this step."""

    vectors: Mapping[str, tuple[float, ...]]
    noise: tuple[float, ...] = (0.0,) * WIDTH

    @property
    def answers(self) -> Mapping[str, Sequence[float]]:
        return dict.fromkeys(self.vectors, (0.0,))

    @property
    def tokens(self) -> int:
        return WIDTH * len(self.vectors)

    def select(self, names: Collection[str]) -> Item:
        return replace(self, vectors={k: v for k, v in self.vectors.items() if k in names})


class Errors(Scorer):
    """log p is minus the squared error, one number an answer; the reference's beside it."""

    def __init__(self, model: Denoiser, reference: InMemoryReference | None):
        super().__init__()
        self.model = model
        self._reference = reference

    def forward(self, items: Sequence[Item]) -> dict[str, Scored]:
        assert self._reference is not None
        noise_NW = torch.tensor([item.noise for item in items])
        out = {}
        for name in items[0].vectors:
            x_NW = torch.tensor([item.vectors[name] for item in items])
            noisy_NW = x_NW + noise_NW
            logp_NT = -(self.model(noisy_NW) - noise_NW).square().sum(1, keepdim=True)
            with self._reference.running() as reference:
                ref_NT = -(reference(noisy_NW) - noise_NW).square().sum(1, keepdim=True)
            out[name] = Scored(logp_NT, torch.ones_like(logp_NT), ref_NT)
        return out

    def verify(self, items: Sequence[Item]) -> Verification:
        return Verification("padded", 0.0, 0.0)


@dataclass(frozen=True)
class Noised:
    """Noise from (seed, step, place in the batch) alone."""

    source: Source
    seed: int

    @property
    def steps_in_epoch(self) -> int:
        return self.source.steps_in_epoch

    def step(self, n: int) -> Examples:
        return self._with_noise(self.source.step(n), n)

    def held_out(self, n: int) -> Examples | None:
        examples = self.source.held_out(n)
        return None if examples is None else self._with_noise(examples, -1)

    def _with_noise(self, examples: Examples, n: int) -> Examples:
        rng = torch.Generator().manual_seed(self.seed * 1000 + n + 1)
        drawn = torch.randn(len(examples), WIDTH, generator=rng).tolist()
        items: Any = examples.items
        noisy: Any = [
            replace(item, noise=tuple(noise)) for item, noise in zip(items, drawn, strict=True)
        ]
        return replace(examples, items=noisy)


class Vectors:
    """Turns a text into a vector; saved beside the model."""

    def save_pretrained(self, save_directory: Any, /, **options: Any) -> None:
        (Path(save_directory) / "vectors.json").write_text("{}")

    def __call__(self, text: Any) -> tuple[float, ...]:
        digest = hashlib.sha256(str(text).encode()).digest()
        return tuple(byte / 128 - 1 for byte in digest[:WIDTH])


class Diffusion(Task[Vectors]):
    name, adapter = "toy", "FEATURE_EXTRACTION"

    def load(self, source: Any, options: Options) -> nn.Module:
        model = Denoiser()
        model.load_state_dict(load_file(Path(source) / "toy.safetensors"))
        return model

    def processor(
        self, given: Any, source: Any, model: nn.Module, options: Options, notes: list[str]
    ) -> Vectors:
        return Vectors()

    def encode(
        self, rows: Rows, method: Method, processor: Vectors, options: Options, quarantine: Any
    ) -> Encoded:
        items: Any = [
            Item({"chosen": processor(row.chosen), "rejected": processor(row.rejected)})
            for row in rows
        ]
        counts = {"examples": {}, "tokenized": {"skipped": {}}}
        return Encoded(Examples(items, list(rows)), counts, [f"{len(items)} pairs of vectors"])

    def identity(
        self, processor: Vectors, options: Options, items: Sequence[Any]
    ) -> dict[str, str]:
        return {"vectors": hashlib.sha256(repr(items).encode()).hexdigest()}

    def source(self, dataset: Source, options: Options) -> Source:
        return Noised(dataset, options.seed)

    def keeps_reference(self, method: Method) -> str:
        return f"the noise that {method.name} is measured on is new at every step"

    def caches_reference(self, method: Method) -> bool:
        return False

    def scorer(self, model: Any, method: Method, reference: Any, options: Options) -> Any:
        return Errors(model, reference)

    def metrics(
        self, result: BatchResult, *, groups: Sequence[str], robust: bool
    ) -> dict[str, float]:
        return batch_metrics(result, groups=groups, robust=robust)

    def card(self, record: dict[str, Any], method: Method) -> str:
        return f"# A denoiser trained by {method.name}\n"

    def save(
        self, model: nn.Module, processor: Vectors, weights: dict[str, Tensor], folder: Path
    ) -> None:
        save_file(weights, folder / "toy.safetensors")
        processor.save_pretrained(folder)


@pytest.fixture()
def start(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    (tmp_path / "start").mkdir()
    save_file(Denoiser().state_dict(), tmp_path / "start" / "toy.safetensors")
    return tmp_path / "start"


def run(start: Path, out: Path, rows: Any, *, resume: bool = False, **options: Any) -> Run:
    method = METHODS["dpo"]
    how, settings = split_options(
        method, {"batch_size": 4, "max_steps": 8, "learning_rate": 0.05, **options}
    )
    call = recorded_call(method, {"model": start}, options)
    request = RunRequest(Diffusion(), method, settings, how, start, rows, out, call)
    return carry_out(request, resume=resume)


@pytest.mark.parametrize("cut", [{}, {"tokens_per_microbatch": 10}])
def test_a_task_that_is_not_text_trains_evaluates_and_resumes(
    tmp_path: Path,
    start: Path,
    pair_rows: list[dict[str, Any]],
    cut: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps(row) + "\n" for row in pair_rows[:16]))
    whole = run(start, tmp_path / "whole", rows, eval_fraction=0.25, **cut)
    first, *_ = (line for line in whole.metrics if "loss" in line)
    assert first["loss"] == pytest.approx(0.6931472, abs=1e-5)  # policy and reference are one
    assert whole.record["departure_at_start"] <= 1e-5
    assert whole.record["task"] == "toy" and whole.status == "finished"
    assert (whole.model_path / "vectors.json").is_file()
    with pytest.raises(RunError, match="another task"):
        whole.load()
    with pytest.raises(RunError, match="another task"):
        rerun(whole.out, out=tmp_path / "rerun")
    step = Progress.step

    def stop(self: Progress, number: int, metrics: Any) -> None:
        step(self, number, metrics)
        if number == 5:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Progress, "step", stop)
        with pytest.raises(KeyboardInterrupt):
            run(start, tmp_path / "cut", rows, eval_fraction=0.25, save_every=2, **cut)
    again = run(start, tmp_path / "cut", rows, eval_fraction=0.25, resume=True, **cut)
    one, two = (load_file(each.model_path / "toy.safetensors") for each in (whole, again))
    assert all(torch.equal(one[name], two[name]) for name in one)
    with pytest.raises(RunError, match=r"vectors \(its content\) was"):
        rows.write_text("".join(json.dumps(row) + "\n" for row in pair_rows[1:17]))
        run(start, tmp_path / "cut", rows, eval_fraction=0.25, resume=True, **cut)
