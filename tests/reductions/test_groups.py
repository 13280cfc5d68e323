"""Worst group: hand-worked steps of exponentiated gradient, an explicit state, and what a long run
ends in.
"""

from __future__ import annotations

from math import exp

import pytest
import torch
from torch import Tensor

from holdfast.errors import DataError
from holdfast.inputs import group, weight
from holdfast.reductions import groups
from holdfast.types import Pairs, Scored


def batch_of(of: list[int], weight_N: Tensor | None = None) -> Pairs:
    blank = Scored(torch.zeros(len(of), 1), torch.ones(len(of), 1))
    return Pairs(blank, blank, {weight: weight_N, group: torch.tensor(of)})


def test_one_step_by_hand():
    """Groups 0 (costs 1, 3: mean 2) and 1 (cost 4), step 0.5: weights prop. to e^1 and e^2, so 1 /
    (1 + e) and e / (1 + e).
    """
    reduction = groups(k=2, step=0.5)
    cost_N = torch.tensor([1.0, 3.0, 4.0], dtype=torch.float64, requires_grad=True)
    scalar, state = reduction.apply(cost_N, batch_of([0, 0, 1]), reduction.init())
    low, high = 1 / (1 + exp(1)), exp(1) / (1 + exp(1))
    assert state["log_weight_K"].exp().tolist() == pytest.approx([low, high], abs=1e-12)
    assert scalar.item() == pytest.approx(2 * low + 4 * high, abs=1e-12)
    assert torch.autograd.grad(scalar, cost_N)[0].tolist() == pytest.approx(
        [low / 2, low / 2, high], abs=1e-12
    )


def test_row_weights_count_inside_a_group():
    """Group 0: costs 1 and 3 with weights 3 and 1, mean 1.5; equal group weights at step 0: (1.5 +
    4) / 2.
    """
    reduction = groups(k=2, step=0.0)
    scalar, _ = reduction.apply(
        torch.tensor([1.0, 3.0, 4.0]),
        batch_of([0, 0, 1], torch.tensor([3.0, 1.0, 7.0])),
        reduction.init(),
    )
    assert scalar.item() == pytest.approx(2.75, abs=1e-6)


def test_an_absent_group_gains_nothing_and_keeps_its_share_of_the_scalar():
    """Three groups, group 2 absent, step 0: each present one counts a third, so the scalar is (2 +
    4) / 3 and row weights sum to 2/3.
    """
    reduction = groups(k=3, step=0.0)
    cost_N = torch.tensor([1.0, 3.0, 4.0], dtype=torch.float64, requires_grad=True)
    scalar, state = reduction.apply(cost_N, batch_of([0, 0, 1]), reduction.init())
    assert scalar.item() == pytest.approx(2, abs=1e-12) and state[
        "log_weight_K"
    ].exp().tolist() == pytest.approx([1 / 3] * 3, abs=1e-12)
    assert torch.autograd.grad(scalar, cost_N)[0].sum().item() == pytest.approx(2 / 3, abs=1e-12)


def test_state_is_plain_and_never_changed_in_place():
    reduction = groups(k=2, step=0.5)
    state = reduction.init()
    kept = state["log_weight_K"].clone()
    _, after = reduction.apply(torch.tensor([1.0, 2.0]), batch_of([0, 1]), state)
    assert (
        set(state) == {"log_weight_K"}
        and torch.equal(state["log_weight_K"], kept)
        and not torch.equal(after["log_weight_K"], kept)
    )
    assert not after["log_weight_K"].requires_grad
    assert torch.equal(reduction.init()["log_weight_K"], kept)


def test_resumed_from_its_state_it_goes_on_as_if_never_stopped():
    reduction, state = groups(k=2, step=0.3), groups(k=2, step=0.3).init()
    costs = torch.rand(6, 4, generator=torch.Generator().manual_seed(0))
    for cost_N in costs:
        whole, state = reduction.apply(cost_N, batch_of([0, 1, 1, 0]), state)
    again = groups(k=2, step=0.3).init()
    for cost_N in costs[:3]:
        _, again = reduction.apply(cost_N, batch_of([0, 1, 1, 0]), again)
    again = {name: tensor.clone() for name, tensor in again.items()}
    for cost_N in costs[3:]:
        resumed, again = groups(k=2, step=0.3).apply(cost_N, batch_of([0, 1, 1, 0]), again)
    assert torch.equal(whole, resumed) and torch.equal(state["log_weight_K"], again["log_weight_K"])


def test_constant_costs_end_at_the_worst_group():
    reduction, state = groups(k=3, step=0.5), groups(k=3, step=0.5).init()
    for _ in range(200):
        scalar, state = reduction.apply(torch.tensor([1.0, 2.0, 1.5]), batch_of([0, 1, 2]), state)
    assert scalar.item() == pytest.approx(2, abs=1e-6) and state["log_weight_K"][
        1
    ].exp().item() == pytest.approx(1, abs=1e-6)


def test_a_group_whose_weight_underflowed_can_come_back():
    reduction = groups(k=2, step=0.5)
    scalar, state = reduction.apply(torch.tensor([1e6, -1e6]), batch_of([0, 1]), reduction.init())
    assert scalar.item() == 1e6 and state["log_weight_K"][1].exp().item() == 0
    for _ in range(2):
        scalar, state = reduction.apply(torch.tensor([-1e6, 1e6]), batch_of([0, 1]), state)
    assert scalar.item() == 1e6 and state["log_weight_K"].isfinite().all()


@pytest.mark.parametrize("group", [[0, 2], [-1, 0]])
def test_a_group_outside_the_range_is_refused(group: list[int]):
    reduction = groups(k=2)
    with pytest.raises(DataError, match=r"0\.\.1.*\n?hint: is k=2 right"):
        reduction.apply(torch.zeros(2), batch_of(group), reduction.init())
