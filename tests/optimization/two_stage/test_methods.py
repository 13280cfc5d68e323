"""Nominal, relaxation and exact against trying every first decision."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.optimize import linprog

from holdfast.errors import DataError, OptionError, RunError
from holdfast.optimization.two_stage import (
    Knapsack,
    Rows,
    TwoStage,
    Uncertainty,
    solve,
    worst_case,
)
from holdfast.optimization.two_stage.programs import InfeasibleError, Program, UnboundedError
from tests.optimization.two_stage.instances import (
    by_hand,
    first_decisions,
    listed_worst_case,
    small_budgeting,
    small_knapsack,
    small_loans,
)


def best(problem) -> float:
    decisions = first_decisions(problem.model)
    if problem.model.rows.fixed:
        return min(listed_worst_case(problem.model, x) for x in decisions)
    return min(worst_case(problem, x).value for x in decisions)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("make", [small_knapsack, small_loans, small_budgeting])
def test_exact_is_the_best_of_all_decisions(make, seed):
    problem = make(seed)
    found = solve(problem, method="exact", tolerance=1e-5)
    assert found.status == "optimal"
    assert found.value == pytest.approx(best(problem), rel=2e-5, abs=2e-5)
    assert found.lower <= found.value + 1e-9
    assert found.gap <= 2e-5
    again = worst_case(problem, problem.model.checked_x(found.x_N))
    assert again.value == pytest.approx(found.value)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("make", [small_knapsack, small_loans])
def test_bounds_of_nominal_and_relaxation_hold(make, seed):
    problem = make(seed)
    optimum = best(problem)
    for method in ("nominal", "relaxation"):
        found = solve(problem, method=method)
        assert found.lower <= optimum + 1e-5 * abs(optimum)
        assert found.value >= optimum - 1e-5 * abs(optimum)
        assert found.value == pytest.approx(listed_worst_case(problem.model, found.x_N), rel=1e-6)


@pytest.mark.parametrize("rounds", [1, 2, 3])
def test_bounds_of_an_unfinished_loop_hold(rounds):
    for seed in range(12):
        problem = small_knapsack(seed, n=4)
        optimum = best(problem)
        found = solve(problem, method="exact", rounds=rounds)
        assert found.lower <= optimum + 2e-5 * abs(optimum)
        assert found.value >= optimum - 2e-5 * abs(optimum)
        if rounds == 1:  # the main program is the nominal problem
            nominal = solve(problem, method="nominal").lower
            assert found.lower == pytest.approx(min(nominal, found.value), rel=2e-4)


@pytest.mark.parametrize("seed", range(6))
def test_the_relaxation_is_the_best_of_all_decisions_against_fractional_recourse(seed):
    """For each x a linear program over w with one row a vertex of Xi."""
    problem = small_knapsack(seed)
    model = problem.model
    vertices = list(vertices_of(problem.budget, 4))
    values = []
    for x_N in first_decisions(model):
        rows, most = [], []
        for xi_J in vertices:
            rows.append(np.append(model.second_M + xi_J @ model.second_JM, -1.0))
            most.append(-float(model.first_N @ x_N))
        for w_M, x_row, limit in zip(
            model.rows.w_RM, model.rows.x_RN, model.rows.most_R, strict=True
        ):
            rows.append(np.append(w_M, 0.0))
            most.append(limit - x_row @ x_N)
        bounds = [(0, 1)] * len(model.second_M) + [(None, None)]
        cost = np.append(np.zeros(len(model.second_M)), 1.0)
        values.append(linprog(cost, np.array(rows), most, bounds=bounds).fun)
    found = solve(problem, method="relaxation")
    assert found.lower == pytest.approx(min(values), rel=2e-5)


def vertices_of(budget: float, n: int):
    """Zeros and ones within the budget, and where some is left one entry takes it."""
    for ones in itertools.product((0.0, 1.0), repeat=n):
        left = budget - sum(ones)
        if left < 0:
            continue
        yield np.array(ones)
        for i in range(n):
            if ones[i] == 0 and 0 < left < 1:
                yield np.array([left if j == i else v for j, v in enumerate(ones)])


def test_without_uncertainty_every_method_agrees():
    problem = by_hand(6, budget=0)
    values = {m: solve(problem, method=m).value for m in ("nominal", "exact")}
    assert values == {"nominal": -18.0, "exact": -18.0}  # both items, none degraded


def test_a_loop_that_ends_early_has_both_bounds_and_says_so():
    problem = small_knapsack(1, n=12)
    whole = solve(problem, method="exact", seconds=30.0)
    assert len(whole.iterates) > 2
    found = solve(problem, method="exact", rounds=2)
    assert found.status == "2 rounds"
    assert found.lower <= whole.value + 1e-6 <= found.value + 2e-6
    assert found.gap > 1e-4


def own_problem(**changes) -> TwoStage:
    """One x, one w <= x, uncertain gain of w: 1 - xi."""
    given = {
        "first_N": np.array([0.25]),
        "second_M": np.array([-1.0]),
        "first_JN": np.zeros((1, 1)),
        "second_JM": np.array([[1.0]]),
        "uncertainty": Uncertainty(np.zeros(1), np.array([0.5])),
        "rows": Rows(np.array([[-1.0]]), np.array([[1.0]]), np.array([0.0])),
    }
    return TwoStage(**{**given, **changes})


def test_a_problem_of_ones_own():
    """Worst gain 0.5, price 0.25: taken."""
    for method in ("exact", "relaxation", "nominal"):
        found = solve(own_problem(), method=method)
        assert found.x_N.tolist() == [1.0]
        assert found.value == pytest.approx(-0.25)
        assert found.worst_case.xi_J == pytest.approx([0.5])


def test_what_is_wrong_with_a_problem_is_named():
    with pytest.raises(DataError, match=r"low_J\[0\] is 1, above high_J\[0\], 0"):
        Uncertainty(np.ones(1), np.zeros(1))
    with pytest.raises(DataError, match="its budget is -1, and the least sum is 0"):
        Uncertainty(np.zeros(2), np.ones(2), -1.0)
    with pytest.raises(DataError, match="must be finite"):
        Uncertainty(np.zeros(1), np.array([np.inf]))
    with pytest.raises(DataError, match="second_JM has shape"):
        own_problem(second_JM=np.zeros((2, 1)))
    with pytest.raises(DataError, match=r"profit_N\[1\] is nan"):
        Knapsack([1, np.nan], [1, 1], [1, 1], [1, 1], [1, 1], 2, 1)
    with pytest.raises(DataError, match=r"repair_N has shape \(1,\)"):
        Knapsack([1, 1], [1, 1], [1, 1], [1, 1], [1], 2, 1)
    with pytest.raises(DataError, match="has no items"):
        Knapsack([], [], [], [], [], 2, 1)
    with pytest.raises(DataError, match=r"weight_N\[0\] is -1"):
        Knapsack([1], [1], [1], [-1], [1], 2, 1)


def test_infeasible_problems_are_named():
    with pytest.raises(InfeasibleError, match="the main program has no feasible point"):
        solve(own_problem(limits=(np.array([[1.0], [-1.0]]), np.array([0.4, -0.6]))))
    nothing = Rows(np.array([[0.0], [1.0]]), np.array([[-1.0], [1.0]]), np.array([-1.0, 1.0]))
    found = solve(own_problem(rows=nothing))  # w must be 1, so x must be 0
    assert found.x_N.tolist() == [0.0]
    with pytest.raises(RunError, match="x allows no recourse"):
        worst_case(own_problem(rows=nothing), np.ones(1))


def test_programs_without_a_lowest_cost_are_named():
    program = Program()
    program.add(1, low=-np.inf, cost=1.0)
    with pytest.raises(UnboundedError, match="the test is infeasible, or its cost has no lower"):
        program.minimize("the test")


def test_wrong_options_are_named():
    with pytest.raises(OptionError, match="there is no method 'exakt'"):
        solve(by_hand(), method="exakt")
    with pytest.raises(OptionError, match="exact has no setting 'second'"):
        solve(by_hand(), method="exact", second=3)
    with pytest.raises(OptionError, match="seconds must be a finite number"):
        solve(by_hand(), method="exact", seconds="3")
    with pytest.raises(OptionError, match="seconds must be above 0"):
        solve(by_hand(), method="exact", seconds=-1.0)
    with pytest.raises(OptionError, match="constraints move with xi"):
        solve(small_budgeting(0), method="relaxation")
    with pytest.raises(DataError, match=r"x\[1\] is 0.5; it must be 0 or 1"):
        by_hand().model.checked_x([1, 0.5])


def test_each_run_of_a_program_has_its_own_seconds():
    """HiGHS counts the time of a run from its start: earlier runs are not to be added."""
    program = Program()
    program.add(1, high=1.0, cost=-1.0, whole=True)
    for seconds in (7.0, 5.0):
        program.minimize("the test", seconds=seconds)
        assert program.highs.getOptionValue("time_limit")[1] == seconds
