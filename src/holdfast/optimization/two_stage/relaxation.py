"""The whole problem with a fractional recourse: one compact program, and a bound on every x.

Where constraints do not move with xi, the worst case of x is by linear-programming duality

    max over xi min over w in W(x)  =  min over w in conv W(x) max over xi,

a mixture of recourses against which no xi is better than the others. Writing W's linear relaxation
for its convex hull only adds recourses, so

    min over x in X, w in [0, 1]^M, W's rows   F1 + F2 at the worst xi

with the inner maximum over Xi written as its dual is no larger than the true optimum: a lower
bound. Its x is a heuristic, the better the less a fractional knapsack gains. Not from the Neur2RO
paper: Arslan and Detienne (2022) start their branch-and-price from the convex hull.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

import numpy as np

from holdfast.errors import OptionError
from holdfast.optimization.two_stage.problem import Floats, Problem, TwoStage
from holdfast.optimization.two_stage.programs import Index, Program


@dataclass(frozen=True)
class Relaxed:
    x_N: Floats
    lower: float
    optimal: bool


def relaxation(problem: Problem, *, seconds: float = inf, gap: float = 1e-5) -> Relaxed:
    """The best x against a fractional recourse, and a lower bound on the worst case of every x.

    Raises:
        OptionError: constraints of the recourse move with xi; one recourse for all xi would then
            be no relaxation.
        RunError: no x was found in time.
    """
    model = problem.model
    program, x = _program(model, whole=True)
    found = program.minimize(f"{model.name}: the relaxation", seconds=seconds, gap=gap)
    if found.values is None:
        return Relaxed(np.zeros(model.n_first), found.bound, False)
    return Relaxed(np.abs(np.round(found.values[x])), found.bound, found.optimal)


def fractional(problem: Problem) -> Floats:
    """The x of the relaxation with x too between 0 and 1: a linear program, of milliseconds."""
    program, x = _program(problem.model, whole=False)
    found = program.minimize(f"{problem.name}: the linear relaxation")
    assert found.values is not None  # no time limit
    return found.values[x]


def _program(model: TwoStage, *, whole: bool) -> tuple[Program, Index]:
    if not model.rows.fixed:
        raise OptionError(
            f"{model.name}: the relaxation is for problems whose recourse is constrained alike at "
            "every xi; here the constraints move with xi",
            hint="method='exact', or 'neur2ro' where there is a network",
        )
    program = Program()
    x = first_stage(program, model, whole=whole)
    w = program.add(len(model.second_M), high=1.0, cost=model.second_M)
    for x_N, w_M, most in zip(model.rows.x_RN, model.rows.w_RM, model.rows.most_R, strict=True):
        program.row((x, x_N), (w, w_M), most=float(most))
    uncertainty = model.uncertainty
    # max of slope'xi over Xi = min of budget theta + high'up - low'down, up - down + theta = slope
    up = program.add(len(uncertainty), cost=uncertainty.high_J)
    down = program.add(len(uncertainty), cost=-uncertainty.low_J)
    limited = uncertainty.budget < inf
    theta = program.add(
        1, high=inf if limited else 0.0, cost=uncertainty.budget if limited else 0.0
    )
    for j in range(len(uncertainty)):
        program.row(
            (up[j], 1.0),
            (down[j], -1.0),
            (theta, 1.0),
            (x, -model.first_JN[j]),
            (w, -model.second_JM[j]),
            least=0.0,
            most=0.0,
        )
    return program, x


def first_stage(program: Program, model: TwoStage, *, whole: bool = True) -> Index:
    """x with its cost and its limits."""
    x = program.add(model.n_first, high=1.0, cost=model.first_N, whole=whole)
    if model.limits is not None:
        program.rows(model.limits[0], x, model.limits[1])
    return x
