"""Rows that were there before the run."""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.training import batching
from holdfast.training.examples import Examples


@dataclass(frozen=True)
class Dataset:
    """Each epoch takes every example once, in an order of its own; its last batch may be short.

    Attributes:
        examples: to train on.
        evaluation: held out.
        batch_size: examples a step, over all processes together.
        seed: of the order.
    """

    examples: Examples
    evaluation: Examples | None
    batch_size: int
    seed: int

    @property
    def steps_in_epoch(self) -> int:
        return batching.steps_in_epoch(len(self.examples), self.batch_size)

    def step(self, n: int) -> Examples:
        return self.examples.take(
            batching.rows_of_step(
                n, rows=len(self.examples), batch_size=self.batch_size, seed=self.seed
            )
        )

    def held_out(self, n: int) -> Examples | None:
        return self.evaluation
