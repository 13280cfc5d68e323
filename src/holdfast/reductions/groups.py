"""Worst case over groups of people: the group that is served worst gains weight."""

from __future__ import annotations

from math import inf, log

import torch
from torch import Tensor

from holdfast.card import Reduction, State, check
from holdfast.errors import DataError
from holdfast.inputs import group
from holdfast.inputs.row_weights import base_N
from holdfast.reductions._measure import expectation
from holdfast.types import Batch


def groups(*, k: int, step: float = 0.01) -> Reduction:
    """An adversary holds one weight for each of k groups and raises, batch after batch, those whose
    mean cost is high.

        c_k = mean cost of the batch's rows of group k
        w_k proportional to w_k exp(step c_k)          (exponentiated gradient; a group that is
                                                       absent gains nothing)
        scalar = sum_k w_k c_k
        row i of group k weighs w_k p_i / (sum of p over its group in this batch)

    Online group DRO, Sagawa et al. 2020, "Distributionally robust neural networks for group shifts"
    (arXiv 1911.08731), algorithm 1. The state is {"log_weight_K": log w}, uniform at first, saved
    in the checkpoint; logarithms, so that no group is ever lost to underflow. Step 0 keeps all
    groups equal, whatever their numbers; a large step turns to the worst group of each batch.

    Args:
        k: number of groups; the batch's group ids are 0 to k - 1
        step: how fast weights move, per unit of cost; 0.001 to 0.1, usually 0.01

    Raises:
        OptionError: k is below 1 or not whole, or step is negative or not finite.
        NeedError: the batch carries no groups.
        DataError: a group id is outside 0..k-1, or the weights of a batch are negative, not finite
            or all zero.

    Departures:
        1. A batch may hold several groups; each present one contributes its mean, as in the
           authors' code. The algorithm draws one group a step.
        2. The weight of absent groups is not handed to those present: row weights then sum to less
           than one. Handing it over would train at full strength on the well-served groups in every
           batch that lacks the worst one.
        3. No adjustment for group size and no group-balanced sampling.
    """
    check(
        "k",
        k,
        isinstance(k, int) and k >= 1,
        "be a whole number of at least 1",
        hint="the number of distinct values of `group`",
    )
    check("step", step, 0 <= step < inf, "be at least 0 and finite", hint="0.01 is usual")

    def init() -> State:
        return {"log_weight_K": torch.full((k,), -log(k), dtype=torch.float64)}

    def apply(cost_N: Tensor, batch: Batch, state: State) -> tuple[Tensor, State]:
        group_N = group(batch).long().to(cost_N.device)
        if bool(((group_N < 0) | (group_N >= k)).any()):
            raise DataError(
                f"group ids must lie in 0..{k - 1}; this batch has {sorted(set(group_N.tolist()))}",
                hint=f"is k={k} right?",
            )
        p_N = base_N(cost_N, batch).double()
        mass_K = p_N.new_zeros(k).index_add(0, group_N, p_N)
        share_N = torch.where(p_N > 0, p_N / mass_K[group_N], 0.0)
        paid_N = torch.where(p_N > 0, share_N * cost_N.detach(), 0.0)
        cost_K = p_N.new_zeros(k).index_add(0, group_N, paid_N)
        log_weight_K = toward_worst(state["log_weight_K"].to(cost_K), cost_K, step)
        scalar = expectation((log_weight_K.exp()[group_N] * share_N).to(cost_N.dtype), cost_N)
        return scalar, {"log_weight_K": log_weight_K.to(state["log_weight_K"])}

    return Reduction(name=f"groups:k={k!r},step={step!r}", init=init, apply=apply, needs=(group,))


def toward_worst(log_weight_K: Tensor, cost_K: Tensor, step: float) -> Tensor:
    """One step of exponentiated gradient on the simplex: w_k proportional to w_k exp(step c_k).
    Logarithms, so that none is ever lost.
    """
    return torch.log_softmax(log_weight_K + step * cost_K, dim=0)
