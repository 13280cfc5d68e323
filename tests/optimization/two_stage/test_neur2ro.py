"""Neur2RO: certified answers, what it refuses, and its commands."""

from __future__ import annotations

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from holdfast.cli import app
from holdfast.errors import OptionError, RunError
from holdfast.optimization.two_stage import solve, worst_case
from holdfast.optimization.two_stage.labels import features_of
from holdfast.optimization.two_stage.neur2ro import main_program, shipped
from holdfast.optimization.two_stage.read import Instance
from holdfast.optimization.two_stage.results import relative_error, solve_all
from tests.optimization.two_stage.instances import by_hand, small_budgeting, small_knapsack


@pytest.mark.parametrize("adversary", ["sampling", "exact"])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_answer_is_certified_and_not_behind_nominal(seed, adversary):
    problem = small_knapsack(seed, n=20)
    found = solve(problem, method="neur2ro", adversary=adversary, seconds=10.0, scenarios=3)
    assert found.value == pytest.approx(worst_case(problem, found.x_N).value, rel=1e-6)
    assert found.value <= solve(problem, method="nominal").value + 1e-6
    assert found.lower <= found.value
    assert all(problem.model.uncertainty.holds(xi_N) for xi_N in found.scenarios_KJ)
    assert found.iterates[0].exact == pytest.approx(solve(problem, method="nominal").value)
    assert np.array_equal(found.x_N, np.round(found.x_N))
    known = [each.exact for each in found.iterates if each.exact is not None]
    assert min(known) == pytest.approx(found.value)
    for each in found.iterates:
        if each.exact is not None:
            assert each.exact == pytest.approx(worst_case(problem, each.x_N).value, rel=1e-6)


def test_the_main_program_pays_for_the_scenario_that_the_network_calls_worst():
    """Its value is the exact cost, at the point of the largest network value, of its own x."""
    problem, network = small_knapsack(2, n=20), shipped().double()
    features_NF, rng = features_of(problem), np.random.default_rng(0)
    points = [problem.model.uncertainty.worst(rng.uniform(size=20))[1] for _ in range(3)]
    program, x = main_program(problem, network, features_NF, points, lower=-1e5)
    found = program.minimize("the main program", gap=1e-9)
    x_N = np.round(found.values[x])
    values = network.predict(features_NF, x_N, np.array(points))
    cost = problem.recourse(x_N, points[int(np.argmax(values))]).value
    assert found.value == pytest.approx(cost, rel=1e-6)


def test_what_it_has_no_network_for_is_refused():
    with pytest.raises(OptionError, match="neur2ro has a network for knapsacks"):
        solve(small_budgeting(0), method="neur2ro")
    with pytest.raises(OptionError, match="was trained on 20 to 80 items, and the problem has 2"):
        solve(by_hand(), method="neur2ro")
    with pytest.raises(OptionError, match="adversary must be one of sampling, milp, exact"):
        solve(small_knapsack(0, n=20), method="neur2ro", adversary="guess")


def test_relative_errors_are_of_costs():
    assert relative_error(-99.0, -100.0) == pytest.approx(1.0)
    assert relative_error(-101.0, -100.0) == pytest.approx(-1.0)


def test_results_go_on_where_they_stopped(tmp_path):
    instances = [Instance(small_knapsack(s, n=5), {"best_known": 1.0}) for s in range(3)]
    for k, instance in enumerate(instances):
        object.__setattr__(instance.problem, "name", f"instance {k}")
    out = tmp_path / "rows.jsonl"
    run = solve_all(instances, "nominal", {"seconds": 5.0}, out)
    first = next(run)
    run.close()
    assert len(out.read_text().splitlines()) == 2
    rows = list(solve_all(instances, "nominal", {"seconds": 5.0}, out))
    assert rows[0] == first  # read, not solved again: its seconds are the same
    assert [row["instance"] for row in rows] == [f"instance {k}" for k in range(3)]
    with pytest.raises(RunError, match="holds results of"):
        list(solve_all(instances, "exact", {"seconds": 5.0}, out))
    out.write_text("{")
    with pytest.raises(RunError, match="is no file of results"):
        list(solve_all(instances, "nominal", {"seconds": 5.0}, out))


def test_commands_from_data_to_a_solution(tmp_path):
    run = CliRunner().invoke
    data, net = str(tmp_path / "data"), str(tmp_path / "net")
    sizes = ["--instances", "20", "--decisions", "2", "--factors", "2"]
    made = run(app, ["optimize", "two-stage", "data", "--out", data, *sizes, "--json"])
    assert made.exit_code == 0, made.output
    assert json.loads(made.stdout)["labels"] == 80
    trained = run(
        app,
        ["optimize", "two-stage", "train", "--data", data, "--out", net, "--epochs", "2", "--json"],
    )
    assert trained.exit_code == 0, trained.output
    network = json.loads(trained.stdout)["network"]
    problem = small_knapsack(0, n=40)
    lines = [f"40 {problem.capacity:g} {problem.budget:g}"]
    for row in np.stack(
        [
            problem.profit_N,
            problem.degradation_N,
            problem.repair_N,
            problem.weight_N,
            problem.outsourcing_N,
        ],
        axis=1,
    ):
        lines.append(" " + " ".join(f"{v:g}" for v in row))
    file = tmp_path / "one.txt"
    file.write_text("\n".join(lines))
    solved = run(
        app,
        [
            "optimize",
            "two-stage",
            "solve",
            str(file),
            "--method",
            "neur2ro",
            "--network",
            network,
            "--seconds",
            "2",
            "--json",
        ],
    )
    assert solved.exit_code == 0, solved.output
    (row,) = json.loads(solved.stdout)
    assert row["instance"] == "one" and len(row["x"]) == 40
    shown = run(app, ["optimize", "two-stage", "solve", str(file), "--method", "nominal"])
    assert shown.exit_code == 0 and "one" in shown.stdout
