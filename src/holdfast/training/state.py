"""A run under way."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from holdfast.models.protocols import Saved
from holdfast.training import batching
from holdfast.training.batching import Microbatch
from holdfast.training.distributed import Distributed
from holdfast.training.examples import Examples
from holdfast.training.objective import BatchResult, BoundObjective, MethodState
from holdfast.training.options import Options
from holdfast.training.request import Stage
from holdfast.training.router import RouterLoss
from holdfast.training.run.record import write_record
from holdfast.training.sources.source import Source
from holdfast.training.task import Task


@dataclass
class RunState:
    """A run under way: what it was set up with, and how far it is.

    Attributes:
        context: the processes.
        task: what is trained.
        options: the run's.
        out: its folder.
        stage: which stretch of it this is.
        objective: the method at its settings, with its reduction.
        source: where the examples of a step come from.
        model: what is trained, as its task loaded it.
        processor: what turned rows into what the model reads; saved beside it.
        scorer: the model inside its scorer, as DDP or FSDP want it.
        optimizer: over the scorer's trained weights.
        scheduler: of the learning rate.
        total: steps to take.
        record: of this stage, a part of `whole`.
        whole: what `run.json` holds; the same where the run has one stage.
        said: what the reader is told before the first step.
        starts_at_reference: whether the model starts as its own reference, so that the first loss
            can be checked against its known value.
        router: the load-balancing loss, where it is added.
        state: what reduction and method remember after the last step.
        step: steps done.
        seconds: spent on them.
        metrics_bytes: length of metrics.jsonl when the checkpoint was taken that the run goes on
            from.
        last_evaluation: of the held-out examples, and these.
    """

    context: Distributed
    task: Task[Any]
    options: Options
    out: Path
    stage: Stage
    objective: BoundObjective
    source: Source
    model: nn.Module
    processor: Saved
    scorer: nn.Module
    optimizer: torch.optim.Optimizer
    scheduler: torch.optim.lr_scheduler.LRScheduler
    total: int
    record: dict[str, Any]
    whole: dict[str, Any]
    said: list[str]
    starts_at_reference: bool
    router: RouterLoss | None
    state: MethodState
    step: int = 0
    seconds: float = 0.0
    metrics_bytes: int = 0
    last_evaluation: tuple[BatchResult, Examples] | None = None

    @property
    def checkpoints(self) -> Path:
        return self.out / self.stage.folder / "checkpoints"

    @property
    def model_path(self) -> Path:
        return self.out / self.stage.folder / "model"

    @property
    def robust(self) -> bool:
        """Whether the reduction weighs rows by their costs."""
        return not self.objective.reduction.linear

    def shards(self, examples: Examples) -> list[list[Microbatch]]:
        """The microbatches of each process."""
        return batching.split(
            examples.tokens,
            processes=self.context.size,
            budget=self.options.budget(self.context.device.type),
        )

    def save_record(self) -> None:
        if self.context.is_main:
            write_record(self.out, self.whole)
