"""Matching KL: exact stretching, the nearest run of a grid, and straight lines between runs."""

from __future__ import annotations

import pytest
import torch

from holdfast.errors import OptionError
from holdfast.lab.fit import newton
from holdfast.lab.frontier import at_kl, matched, stretched
from holdfast.lab.worlds.loglinear import compare, cost_of, log_linear
from holdfast.methods import get


def test_stretching_lands_on_the_budget_and_is_dpo_at_another_beta():
    world = log_linear([0, 1], prompts=8, answers=6, features=3, reference=0.5)
    labels = compare(world, 500)

    def run(beta: float) -> torch.Tensor:
        return world.policy_WSA(
            newton(cost_of(world, labels, get("dpo"), beta=beta), world.start_WD).theta_WD
        )

    other = run(0.6)
    for w in range(2):
        budget = float(world.kl_W(other)[w])
        torch.testing.assert_close(
            stretched(world, run(1.7), budget)[w], other[w], atol=1e-6, rtol=0
        )
    torch.testing.assert_close(
        world.kl_W(stretched(world, other, 0.3)),
        torch.full((2,), 0.3, dtype=torch.float64),
        atol=1e-9,
        rtol=0,
    )


def test_a_budget_beyond_certainty_is_not_spent():
    world = log_linear([0], prompts=1, answers=2, features=1)
    policy = world.policy_WSA(torch.ones(1, 1, dtype=torch.float64))
    assert world.kl_W(stretched(world, policy, 5.0))[0] <= torch.log(torch.tensor(2.0)) + 1e-9


def test_the_run_nearest_to_the_budget_is_the_one_that_counts():
    world = log_linear([0], prompts=4, answers=5, features=2)
    near, far = (
        world.policy_WSA(torch.tensor([theta], dtype=torch.float64))
        for theta in ([0.7, 0.0], [0.0, 4.0])
    )
    budget = float(world.kl_W(near)[0]) * 1.2
    torch.testing.assert_close(matched(world, [far, near], budget), stretched(world, near, budget))


def test_values_between_runs_lie_on_straight_lines():
    assert at_kl([2.0, 1.0], [5.0, 3.0], 1.5, at_reference=0.0) == pytest.approx(4.0)
    assert at_kl([2.0, 1.0], [5.0, 3.0], 0.5, at_reference=0.0) == pytest.approx(1.5)
    assert (
        at_kl([2.0, 1.0], [5.0, 3.0], 9.0, at_reference=0.0) == 5.0
    )  # a grid that never gets there keeps its farthest run
    with pytest.raises(OptionError, match="one value for each"):
        at_kl([1.0], [1.0, 2.0], 1.0, at_reference=0.0)
