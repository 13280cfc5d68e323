"""Second stages against listing, worst cases against the whole linear program."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from holdfast.optimization.two_stage import worst_case
from holdfast.optimization.two_stage.knapsack import best_choices, best_gain
from holdfast.optimization.two_stage.worst_case import sample
from tests.optimization.two_stage.instances import (
    binary,
    by_hand,
    first_decisions,
    listed_recourse,
    listed_worst_case,
    small_budgeting,
    small_knapsack,
    small_loans,
)


@pytest.mark.parametrize(
    ("capacity", "profit", "xi"), [(5, 13.0, (1, 0)), (6, 142 / 9, (4 / 9, 5 / 9))]
)
def test_two_items_by_hand(capacity, profit, xi):
    """C = 6: nothing repaired costs 21 - 5 xi_1 - 4 xi_2 less, one repaired 21 at a vertex; the
    lines meet inside: 15.7778.
    """
    found = worst_case(by_hand(capacity), np.ones(2))
    assert -found.value == pytest.approx(profit, abs=1e-9)
    assert found.bound == pytest.approx(found.value, abs=1e-6)
    assert found.xi_J == pytest.approx(xi, abs=1e-6)


def test_second_stage_by_hand_is_concave_in_the_factors():
    problem = by_hand(6)
    at = {
        xi: problem.recourse(np.ones(2), np.array(xi)).value - 3.0  # the first stage: 2 + 1
        for xi in ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (0.5, 0.5))
    }
    assert at == {(0.0, 0.0): -21, (1.0, 0.0): -21, (0.0, 1.0): -21, (0.5, 0.5): -19}


@pytest.mark.parametrize("seed", range(8))
def test_dynamic_programming_is_the_second_stage(seed):
    problem, rng = small_knapsack(seed), np.random.default_rng(seed)
    for x_N in binary(4)[[3, 7, 11, 15]]:
        for xi_J in rng.uniform(0, 1.5, (3, 4)):
            found = problem.recourse(x_N, xi_J)
            assert found.value == pytest.approx(listed_recourse(problem.model, x_N, xi_J))
            assert problem.model.missed(x_N, found.w_M, xi_J) <= 0
            assert problem.model.cost(x_N, found.w_M, xi_J) == pytest.approx(found.value)
            assert problem.model.recourse(x_N, xi_J).value == pytest.approx(found.value)


@pytest.mark.parametrize("seed", range(30))
def test_the_value_alone_and_with_choices_agree(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 12))
    weight = rng.integers(0, 30, n)
    repaired = weight + rng.integers(0, 10, n)
    gain, more = rng.uniform(-5, 20, n), rng.uniform(0, 30, n)
    capacity = int(rng.integers(0, 120))
    choice, total = best_choices(weight, repaired, gain, more, capacity)
    value = np.where(choice == 1, gain, np.where(choice == 2, more, 0.0))
    assert value.sum() == pytest.approx(total)
    assert np.where(choice == 1, weight, np.where(choice == 2, repaired, 0)).sum() <= capacity
    assert best_gain(weight, repaired, gain, more, capacity) == pytest.approx(total)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("make", [small_knapsack, small_loans])
def test_worst_case_is_the_whole_linear_program(make, seed):
    problem = make(seed)
    for x_N in first_decisions(problem.model)[-4:]:
        found = worst_case(problem, x_N)
        assert found.value == pytest.approx(listed_worst_case(problem.model, x_N), rel=1e-6)
        assert found.gap <= 1e-5 * max(1, abs(found.value))
        assert problem.model.uncertainty.holds(found.xi_J)
        assert listed_recourse(problem.model, x_N, found.xi_J) == pytest.approx(found.value)


@pytest.mark.parametrize("seed", range(4))
def test_worst_case_where_constraints_move(seed):
    """No point of a fine grid of Xi costs more than the bound, and the worst point costs what it
    says.
    """
    problem = small_budgeting(seed)
    grid = np.linspace(-1, 1, 41)
    for x_N in first_decisions(problem.model)[1:4]:
        found = worst_case(problem, x_N)
        assert found.gap <= 1e-5
        assert listed_recourse(problem.model, x_N, found.xi_J) == pytest.approx(found.value)
        most = max(
            listed_recourse(problem.model, x_N, np.array([a, b])) for a in grid for b in grid
        )
        assert most <= found.bound + 1e-6
        assert found.value >= most - 1e-6


def test_an_unaffordable_sliver_is_found():
    """One project to add, affordable but at the top vertex: the worst case loses it there."""
    problem = replace(small_budgeting(0, n=2), budget=0.0)
    cost = problem.cost_N
    for budget, lost in ((1.5 * cost[0] + 1e-3, False), (1.5 * cost[0] - 1e-3, True)):
        one = replace(problem, budget=budget)
        found = worst_case(one, np.zeros(2))
        w = one.recourse(np.zeros(2), np.ones(2)).w_M
        assert bool(w[0]) is not lost
        # where it is lost, what is left at the worst vertex is the other project or nothing
        assert found.value >= one.recourse(np.zeros(2), np.ones(2)).value - 1e-9


def test_without_a_budget_the_worst_case_is_nominal():
    problem = replace(small_knapsack(1, n=6), budget=0.0)
    x_N = np.ones(6)
    assert worst_case(problem, x_N).value == problem.recourse(x_N, np.zeros(6)).value


def test_profit_falls_with_the_budget_and_nothing_taken_costs_nothing():
    problem = small_knapsack(2, n=8)
    values = [
        worst_case(replace(problem, budget=b), np.ones(8)).value for b in (0.0, 0.5, 1, 2, 3, 8)
    ]
    assert values == sorted(values)
    assert values[0] < values[-1]
    assert worst_case(problem, np.zeros(8)).value == 0


def test_points_of_a_set_are_in_it():
    uncertainty = by_hand(5, budget=0.7).model.uncertainty
    points = sample(uncertainty, 50)
    assert all(uncertainty.holds(point) for point in points)
    assert uncertainty.project(np.array([2.0, 0.3])) == pytest.approx([0.7, 0.0], abs=1e-9)
    assert uncertainty.worst(np.array([2.0, 3.0]))[0] == pytest.approx(2.1)
