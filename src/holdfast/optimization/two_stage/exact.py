"""Exact column-and-constraint generation (Zeng and Zhao, 2013).

The main program decides x together with a recourse for each point xi^k of Xi seen so far,

    min over x, w^1..w^K   max over k   F1(x, xi^k) + F2(w^k, xi^k),   w^k in W(x, xi^k),

whose optimum is no larger than the true one: a lower bound. Its x has an exact worst case
(`worst_case`), an upper bound, whose xi is the next scenario. The two meet, since each x is
answered once; how soon is another matter, as every scenario brings a copy of the recourse.
"""

from __future__ import annotations

from math import inf
from time import monotonic

import numpy as np

from holdfast.errors import RunError
from holdfast.optimization.two_stage.problem import Floats, Iterate, Problem, Solution, WorstCase
from holdfast.optimization.two_stage.programs import Index, Program
from holdfast.optimization.two_stage.relaxation import first_stage
from holdfast.optimization.two_stage.worst_case import worst_case

TOLERANCE = 1e-4  # relative gap at which the answer counts as proven


def exact(
    problem: Problem, *, seconds: float = 60.0, tolerance: float = TOLERANCE, rounds: int = 1000
) -> Solution:
    """Column-and-constraint generation until the bounds meet or the time is up; then the best x so
    far, and both bounds.

    Args:
        problem: the problem
        seconds: of wall time; each main program and each worst case may use what is left
        tolerance: relative gap between the bounds at which to stop
        rounds: at most
    """
    model, started = problem.model, monotonic()
    program = Program()
    x = first_stage(program, model)
    program.price(x, np.zeros(model.n_first))  # the first cost is a part of each scenario's
    z = program.add(1, low=-inf, cost=1.0)
    scenarios = [model.nominal_J]
    add_scenario(program, problem, x, z, model.nominal_J)
    lower, best = -inf, None
    iterates: list[Iterate] = []
    status = f"{rounds} rounds"
    for _ in range(rounds):
        left = seconds - (monotonic() - started)
        if left <= 0 and best is not None:
            status = "out of time"
            break
        found = program.minimize(f"{model.name}: the main program", seconds=left, gap=tolerance / 2)
        lower = max(lower, found.bound)
        if found.values is None:
            status = "out of time"
            break
        x_N = np.abs(np.round(found.values[x]))
        certificate = worst_case(
            problem,
            x_N,
            seconds=max(seconds - (monotonic() - started), 1.0),
            known=tuple(scenarios[1:]) if not model.rows.fixed else (),
        )
        iterates.append(
            Iterate(x_N, found.value, certificate.value, monotonic() - started, certificate.xi_J)
        )
        if best is None or certificate.bound < best[1].bound:
            best = (x_N, certificate)
        if best[1].bound - lower <= tolerance * max(1.0, abs(best[1].bound)):
            status = "optimal"
            break
        if any(np.abs(certificate.xi_J - xi_J).sum() < 1e-9 for xi_J in scenarios):
            status = "out of time" if not found.optimal else "the worst case repeats"
            break
        scenarios.append(certificate.xi_J)
        add_scenario(program, problem, x, z, certificate.xi_J)
    if best is None:
        raise RunError(
            f"{model.name}: no first decision was found in {seconds:g} seconds",
            hint="more seconds, or method='nominal'",
        )
    return solution(best, lower, scenarios, "exact", monotonic() - started, status, iterates)


def add_scenario(program: Program, problem: Problem, x: Index, z: Index, xi_J: Floats) -> Index:
    """A copy of the recourse at xi, whose cost bounds z from below."""
    model = problem.model
    w = program.add(len(model.second_M), high=1.0, whole=True)
    x_RN, w_RM = model.rows.at(xi_J)
    for x_N, w_M, most in zip(x_RN, w_RM, model.rows.most_R, strict=True):
        program.row((x, x_N), (w, w_M), most=float(most))
    program.row(
        (x, model.first_N + xi_J @ model.first_JN),
        (w, model.second_M + xi_J @ model.second_JM),
        (z, -1.0),
        most=0.0,
    )
    return w


def solution(
    best: tuple[Floats, WorstCase],
    lower: float,
    scenarios: list[Floats],
    method: str,
    seconds: float,
    status: str,
    iterates: list[Iterate],
) -> Solution:
    x_N, certificate = best
    return Solution(
        x_N=x_N,
        value=certificate.value,
        lower=min(lower, certificate.bound),
        worst_case=certificate,
        scenarios_KJ=np.array(scenarios),
        method=method,
        seconds=seconds,
        status=status,
        iterates=tuple(iterates),
    )
