"""The objective of a run, bound to its settings, and what comes of a batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from holdfast.card import Method, Reduction, State, costs, initial_state
from holdfast.scorers.assemble import assemble
from holdfast.scorers.reference import attach
from holdfast.training.examples import Examples
from holdfast.types import Batch, Scored


@dataclass(frozen=True)
class MethodState:
    """What is carried from batch to batch: the reduction's state and the method's own, trees of
    tensors.
    """

    reduction: State
    method: State


@dataclass(frozen=True)
class BoundObjective:
    """A method at its settings, with its reduction, over rows of these groups and raters: what is
    asked of every batch.

        cost_N = objective.costs(batch, state);    total = reduction(cost_N)
    """

    method: Method
    settings: Mapping[str, Any]
    reduction: Reduction
    groups: Sequence[str] = ()
    raters: Sequence[str | None] = ()

    def first_state(self) -> MethodState:
        return MethodState(
            self.reduction.init(), initial_state(self.method, max(1, len(self.raters)))
        )

    def batch(self, parts: Mapping[str, Scored], examples: Examples) -> Batch:
        parts = parts if examples.reference is None else attach(parts, examples.reference)
        needs = self.method.card.needs
        return assemble(self.method.takes, parts, examples.rows, self.groups, self.raters, needs)

    def costs(
        self, batch: Batch, state: MethodState, mean_length: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """cost_N, and what the method remembers after a whole batch. Of a microbatch, `mean_length`
        is the whole batch's.
        """
        return costs(self.method, batch, self.settings, state.method, mean_length)

    @property
    def adds_up(self) -> bool:
        """Whether the gradients of microbatches, each scored alone, add up to the batch's."""
        return self.reduction.linear and not self.method.card.batch_dependent


@dataclass(frozen=True)
class BatchResult:
    """What came of a whole batch, without gradient.

    Attributes:
        batch: as it was scored.
        cost_N: of each row.
        total: what is minimized: the reduction of the costs.
        adversary_N: d total / d cost_N, how the reduction weighs the rows.
        state: what reduction and method remember for the next batch.
        beta: reward per nat of log-ratio: the method's `beta`, 1 where it has none.
    """

    batch: Batch
    cost_N: Tensor
    total: Tensor
    adversary_N: Tensor
    state: MethodState
    beta: float = 1.0


def evaluate_batch(
    objective: BoundObjective, parts: Mapping[str, Scored], examples: Examples, state: MethodState
) -> BatchResult:
    """Costs and total of a batch that is already scored, without gradient."""
    return reduced(objective, objective.batch(parts, examples), state)[1]


def reduced(
    objective: BoundObjective, batch: Batch, state: MethodState
) -> tuple[Tensor, BatchResult]:
    """The total of a batch, with the graph that the batch has, and what came of it."""
    cost_N, method_state = objective.costs(batch, state)
    if not cost_N.requires_grad:
        cost_N = cost_N.detach().requires_grad_()
    total, reduction_state = objective.reduction.apply(cost_N, batch, state.reduction)
    (adversary_N,) = torch.autograd.grad(total, cost_N, retain_graph=True)
    remembered = MethodState(_detached(reduction_state), _detached(method_state))
    beta = float(objective.settings.get("beta", 1.0))
    return total, BatchResult(batch, cost_N.detach(), total.detach(), adversary_N, remembered, beta)


def _detached(state: State) -> State:
    if isinstance(state, Tensor):
        return state.detach()
    if isinstance(state, Mapping):
        return {key: _detached(value) for key, value in state.items()}
    return state
