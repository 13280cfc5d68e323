"""`solve(problem, method=...)`: every method behind one function."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from holdfast.errors import OptionError
from holdfast.lookup import named
from holdfast.optimization.two_stage.exact import exact
from holdfast.optimization.two_stage.neur2ro import neur2ro
from holdfast.optimization.two_stage.nominal import nominal
from holdfast.optimization.two_stage.problem import Problem, Solution
from holdfast.optimization.two_stage.relaxed import relaxed
from holdfast.typed import kinds_of, typed

METHODS: Mapping[str, Callable[..., Solution]] = {
    "nominal": nominal,
    "relaxation": relaxed,
    "exact": exact,
    "neur2ro": neur2ro,
}


def solve(problem: Problem, method: str = "exact", **settings: Any) -> Solution:
    """Solve a two-stage robust problem, and certify the answer.

    Args:
        problem: `Knapsack`, `CapitalBudgeting`, `CapitalLoans`, or a `TwoStage` of your own arrays
        method: nominal, relaxation, exact or neur2ro
        **settings: of the method; `seconds` of all of them

    Returns:
        x, its exact worst case, a lower bound on every x, and the scenarios the method looked at.

    Raises:
        OptionError: there is no such method or setting, or the method is not for this problem.
        InfeasibleError: no first decision has a recourse.
        RunError: no first decision was found in time.
    """
    run = named(method, METHODS, "method", lists="holdfast optimize two-stage solve --help")
    kinds = kinds_of(run)
    for name, value in settings.items():
        if name not in kinds:
            raise OptionError(
                f"{method} has no setting {name!r}", hint=f"its settings are {', '.join(kinds)}"
            )
        typed(name, kinds[name], value)
    seconds = settings.get("seconds")
    if seconds is not None and not seconds > 0:
        raise OptionError(f"seconds must be above 0, not {seconds:g}")
    return run(problem, **settings)
