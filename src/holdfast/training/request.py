"""What a run is asked to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from holdfast.card import Method, Reduction
from holdfast.models.protocols import ModelSource, TokenizerSource
from holdfast.training.options import Options
from holdfast.training.task import Task


@dataclass(frozen=True)
class Stage:
    """A stretch of a run with a model to start from and an optimizer of its own: the whole of a run
    on a dataset, or a training of one round of self-play.

    Attributes:
        name: in the run's record.
        folder: where its model, checkpoints and quarantine go, inside the run's folder.
        first_step: steps that earlier stages took.
        metrics_bytes: length of metrics.jsonl when it began.
        tags: what each line of its metrics says besides: {"round": 2}.
    """

    name: str = "training"
    folder: str = ""
    first_step: int = 0
    metrics_bytes: int = 0
    tags: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class RunRequest:
    """What `train` was given, options and settings sorted.

    Attributes:
        task: what is trained.
        method: on which objective.
        settings: the method's, defaults filled in.
        options: everything that is not the method's own.
        model: hub name, folder, run folder, or a model.
        data: whatever `holdfast.read` takes.
        out: the run's folder: as it was given, until it was seen to be one that can be written.
        call: the keywords as they were given, as far as they can be written down.
        reference: hub name, folder, model, or "adapter-off"; None for the policy before training.
        eval_data: rows to evaluate on.
        tokenizer: where it is not with the model.
        reduction: as it was given; None for the method's own.
        stage: which stretch of the run this is.
    """

    task: Task[Any]
    method: Method
    settings: dict[str, Any]
    options: Options
    model: ModelSource
    data: Any
    out: Path
    call: Mapping[str, Any]
    reference: ModelSource | None = None
    eval_data: Any = None
    tokenizer: TokenizerSource | None = None
    reduction: str | Reduction | None = None
    stage: Stage = Stage()

    @property
    def place(self) -> Path:
        """The folder of the stage."""
        return self.out / self.stage.folder
