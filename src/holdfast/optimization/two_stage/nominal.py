"""The nominal problem: nothing uncertain happens. Its x ignores the adversary, its optimum is a
lower bound on every x's worst case, since the adversary may choose the same point.
"""

from __future__ import annotations

from math import inf
from time import monotonic

import numpy as np

from holdfast.errors import RunError
from holdfast.optimization.two_stage.exact import add_scenario, solution
from holdfast.optimization.two_stage.problem import Floats, Iterate, Problem, Solution
from holdfast.optimization.two_stage.programs import Program
from holdfast.optimization.two_stage.relaxation import first_stage
from holdfast.optimization.two_stage.worst_case import worst_case


def nominal_x(problem: Problem, *, seconds: float = inf, gap: float = 1e-6) -> tuple[Floats, float]:
    """The best x at the nominal point, and a lower bound on its cost there.

    Raises:
        InfeasibleError: no x has a recourse at the nominal point.
        RunError: none was found in time.
    """
    model = problem.model
    program = Program()
    x = first_stage(program, model)
    program.price(x, np.zeros(model.n_first))
    z = program.add(1, low=-inf, cost=1.0)
    add_scenario(program, problem, x, z, model.nominal_J)
    found = program.minimize(f"{model.name}: the nominal problem", seconds=seconds, gap=gap)
    if found.values is None:
        raise RunError(
            f"{model.name}: the nominal problem has no solution after {seconds:g} seconds",
            hint="more seconds",
        )
    return np.abs(np.round(found.values[x])), found.bound


def nominal(problem: Problem, *, seconds: float = 60.0) -> Solution:
    """The nominal x, with its exact worst case.

    Args:
        problem: the problem
        seconds: of wall time for the program, and as much for the worst case
    """
    started = monotonic()
    x_N, lower = nominal_x(problem, seconds=seconds)
    certificate = worst_case(problem, x_N, seconds=seconds)
    spent = monotonic() - started
    rounds = [Iterate(x_N, lower, certificate.value, spent, certificate.xi_J)]
    return solution(
        (x_N, certificate), lower, [problem.model.nominal_J], "nominal", spent, "optimal", rounds
    )
