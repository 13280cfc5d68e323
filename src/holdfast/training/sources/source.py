"""Where the examples of a step come from: the contract."""

from __future__ import annotations

from typing import Protocol

from holdfast.training.examples import Examples


class Source(Protocol):
    """Gives each step its examples.

        Dataset     rows in an order that (seed, batch size, number of rows) alone decide
        Online      those of another source, with answers that the policy draws at every step
        rounds      self-play: a `Dataset` for each round, of what the policies so far have written

    A run that was stopped asks for a step again, and every process of a run asks for it: the same
    step must give the same examples while the policy is the same, so whatever is random in them
    comes from (seed, step).
    """

    @property
    def steps_in_epoch(self) -> int: ...

    def step(self, n: int) -> Examples:
        """The examples of step n = 0, 1, ..., all of the batch, whatever the processes."""
        ...

    def held_out(self, n: int) -> Examples | None:
        """The examples to evaluate on when n steps are done, as one batch; None without any."""
        ...
