"""The plain average: no adversary at all."""

from __future__ import annotations

from torch import Tensor

from holdfast.card import Reduction, State
from holdfast.inputs.row_weights import base_N
from holdfast.reductions._measure import expectation
from holdfast.types import Batch


def mean() -> Reduction:
    """The weighted average of the costs. Every robust reduction has it as its harmless limit.

    Equation: sum_i p_i c_i, with p_i = weight_i / sum of weights (1/N without weights).

    The gradient in the costs is p itself, known before the costs are: `linear`. So batches may be
    split for gradient accumulation and summed again exactly.

    Raises:
        DataError: the weights of a batch are negative, not finite or all zero.
    """

    def apply(cost_N: Tensor, batch: Batch, state: State) -> tuple[Tensor, State]:
        return expectation(base_N(cost_N, batch), cost_N), state

    return Reduction(name="mean", init=dict, apply=apply, linear=True)
