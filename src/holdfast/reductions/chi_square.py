"""Worst case over a chi-square ball: the mean plus a multiple of the spread, made exact."""

from __future__ import annotations

from math import inf

import torch
from torch import Tensor

from holdfast.card import Reduction, State, check
from holdfast.inputs.row_weights import base_N
from holdfast.reductions._measure import expectation
from holdfast.types import Batch


def chi_square(*, radius: float) -> Reduction:
    """An adversary may reweigh the rows within a chi-square distance of the base weights.

        sup of sum_i q_i c_i over q >= 0, sum_i q_i = 1, sum_i p_i (q_i / p_i - 1)^2 <= radius
          = min over t of  t + sqrt(1 + radius) sqrt(sum_i p_i max(0, c_i - t)^2)
        worst case     q_i proportional to p_i max(0, c_i - t)

    Namkoong and Duchi 2017, "Variance-based regularization with convex objectives" (arXiv
    1610.02581). While no weight reaches 0 the value is mean + sqrt(radius variance) exactly. Radius
    0 gives the mean; from radius 1 / p_worst - 1 on (N - 1 without weights) it is the worst row.
    Flipped labels are costly rows: under label noise this reduction leans on the noise.

    Args:
        radius: how far the weights may move: the variance of q_i / p_i; at least 0, usually 0.1 to
            1; of no effect beyond N - 1

    Raises:
        OptionError: radius is negative or not finite.
        DataError: the weights of a batch are negative, not finite or all zero.

    Departures:
        1. The radius is the chi-square divergence itself. The paper writes the ball as (1/2) sum_i
           p_i (q_i / p_i - 1)^2 <= rho / N: its rho is N radius / 2.
    """
    check("radius", radius, 0 <= radius < inf, "be at least 0 and finite", hint="0.1 to 1 is usual")

    def apply(cost_N: Tensor, batch: Batch, state: State) -> tuple[Tensor, State]:
        return expectation(
            adversary_N(cost_N.detach(), base_N(cost_N, batch), radius), cost_N
        ), state

    return Reduction(name=f"chi_square:radius={radius!r}", init=dict, apply=apply)


def adversary_N(cost_N: Tensor, p_N: Tensor, radius: float) -> Tensor:
    """The worst-case weights, exactly: the threshold t solves a quadratic once it is known which
    rows are kept. The base weights if a cost that counts is not finite.

    Costs are read as gaps below the worst one, so rows with gap < t are kept. With m the weight, mu
    the mean and v the variance of the kept gaps, the ball's edge is v = ((1 + radius) m - 1) (t -
    mu)^2. The divergence spent falls as t grows, so the right set of rows is the first, from the
    costliest down, whose t does not reach the next row.
    """
    live = (p_N > 0).cpu()
    cost, p = cost_N.double().cpu()[live], p_N.double().cpu()[live]
    spread = cost.max() - cost.min()
    if radius < 1e-12 or not 0 < float(spread) < inf:
        return p_N
    gap = (cost.max() - cost) / spread
    q = torch.zeros(len(p_N), dtype=torch.float64)
    q[live] = p * (_threshold(gap, p, radius) - gap).clamp(min=0)
    return (q / q.sum()).to(cost_N)


def _threshold(gap: Tensor, p: Tensor, radius: float) -> Tensor:
    levels = gap.unique()  # ascending: the worst row first
    nexts = torch.cat([levels[1:], levels.new_tensor([inf])])
    if (1 + radius) * float(p[gap == 0].sum()) >= 1:
        return nexts[0]  # the ball holds the worst rows alone: any t that keeps no other
    for level, following in zip(levels, nexts, strict=True):
        kept = gap <= level
        m = p[kept].sum()
        mu = (p[kept] * gap[kept]).sum() / m
        v = (p[kept] * (gap[kept] - mu) ** 2).sum() / m
        slack = (1 + radius) * m - 1
        t = mu + torch.sqrt(v / slack)
        if slack > 0 and t <= following:
            break
    return t
