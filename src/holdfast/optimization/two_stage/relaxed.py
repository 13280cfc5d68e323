"""The relaxation as a method: its x with an exact worst case."""

from __future__ import annotations

from time import monotonic

from holdfast.optimization.two_stage.exact import solution
from holdfast.optimization.two_stage.problem import Iterate, Problem, Solution
from holdfast.optimization.two_stage.relaxation import relaxation
from holdfast.optimization.two_stage.worst_case import worst_case


def relaxed(problem: Problem, *, seconds: float = 60.0, gap: float = 1e-5) -> Solution:
    """The x that is best against a fractional recourse, with its exact worst case and the bound of
    the relaxation.

    Args:
        problem: the problem, whose constraints must not move with xi
        seconds: of wall time for the program, and as much for the worst case
        gap: relative gap at which the program stops
    """
    started = monotonic()
    found = relaxation(problem, seconds=seconds, gap=gap)
    certificate = worst_case(problem, found.x_N, seconds=seconds)
    spent = monotonic() - started
    rounds = [Iterate(found.x_N, found.lower, certificate.value, spent, certificate.xi_J)]
    return solution(
        (found.x_N, certificate),
        found.lower,
        [certificate.xi_J],
        "relaxation",
        spent,
        "optimal" if found.optimal else "out of time",
        rounds,
    )
