"""Worst case over shares of the batch: the mean of the costliest rows."""

from __future__ import annotations

import torch
from torch import Tensor

from holdfast.card import Reduction, State, check
from holdfast.inputs.row_weights import base_N
from holdfast.reductions._measure import expectation
from holdfast.types import Batch


def cvar(*, alpha: float) -> Reduction:
    """An adversary may drop rows until only a share alpha of the weight is left: the mean of the
    worst alpha share (expected shortfall).

        sup of sum_i q_i c_i over 0 <= q_i <= p_i / alpha, sum_i q_i = 1
            =   min over t of  t + sum_i p_i max(0, c_i - t) / alpha
        worst case     q_i = p_i / alpha above the threshold t; the rows at t share what is left; 0
                       below

    Rockafellar and Uryasev 2000, "Optimization of conditional value-at-risk". Where alpha falls
    inside a row, the row counts in part: with costs 1, 2, 3, 4 and alpha 0.375 it is (4 + 3 / 2) /
    1.5. Alpha 1 gives the mean, alpha to 0 the worst row. Flipped labels are costly rows: under
    label noise this reduction leans on the noise.

    Args:
        alpha: share of the weight that is kept; above 0, at most 1; 0.1 to 0.7, times the batch
            size well above 1

    Raises:
        OptionError: alpha is outside (0, 1].
        DataError: the weights of a batch are negative, not finite or all zero.

    Departures:
        1. Rows that tie at the threshold share it in proportion to their weights, so that the order
           of rows never matters.
    """
    check(
        "alpha",
        alpha,
        0 < alpha <= 1,
        "be above 0 and at most 1",
        hint="0.5 keeps the worse half of each batch",
    )

    def apply(cost_N: Tensor, batch: Batch, state: State) -> tuple[Tensor, State]:
        return expectation(
            adversary_N(cost_N.detach(), base_N(cost_N, batch), alpha), cost_N
        ), state

    return Reduction(name=f"cvar:alpha={alpha!r}", init=dict, apply=apply)


def adversary_N(cost_N: Tensor, p_N: Tensor, alpha: float) -> Tensor:
    """The worst-case weights: nonnegative, summing to one. The base weights if a cost that counts
    is not finite.
    """
    live = (p_N > 0).cpu()
    cost, p = cost_N.double().cpu()[live], p_N.double().cpu()[live]
    if not cost.isfinite().all():
        return p_N
    order = cost.argsort(descending=True)
    whole = int((p[order].cumsum(0) < alpha).sum())  # rows that fit into the share
    threshold = cost[order[min(whole, len(cost) - 1)]]
    above, tied = cost > threshold, cost == threshold
    left = (alpha - p[above].sum()).clamp(min=0)
    q = torch.zeros(len(p_N), dtype=torch.float64)
    q[live] = torch.where(above, p, torch.where(tied, p * left / p[tied].sum(), 0.0))
    return (q / q.sum()).to(cost_N)
