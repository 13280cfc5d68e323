"""What a run is asked to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from holdfast.card import Method, Reduction
from holdfast.training.options import Options
from holdfast.training.task import Task


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
    """

    task: Task
    method: Method
    settings: dict[str, Any]
    options: Options
    model: Any
    data: Any
    out: Path
    call: Mapping[str, Any]
    reference: Any = None
    eval_data: Any = None
    tokenizer: Any = None
    reduction: str | Reduction | None = None
