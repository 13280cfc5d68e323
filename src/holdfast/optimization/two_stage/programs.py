"""Linear and mixed-integer programs, built row by row and solved by HiGHS on one thread."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

import highspy
import numpy as np
from numpy.typing import NDArray

from holdfast.errors import RunError

Floats = NDArray[np.float64]
Index = NDArray[np.int32]
GAP = 1e-6  # relative, where the caller names none


@dataclass(frozen=True)
class Found:
    """What HiGHS came back with.

    Attributes:
        values: one a variable; None where no feasible point was found in time
        value: the objective there, infinite without a point
        bound: no feasible point is below it
        optimal: whether the gap was closed
    """

    values: Floats | None
    value: float
    bound: float
    optimal: bool


class InfeasibleError(RunError):
    """A program without a feasible point."""


class UnboundedError(RunError):
    """A program whose objective has no lower bound."""


class _Quiet(highspy.Highs):
    """HiGHS prints its name to stdout when callbacks are enabled, which its constructor does; there
    stands the JSON of a command.
    """

    def enableCallbacks(self) -> Any:
        self.setOptionValue("output_flag", False)
        return super().enableCallbacks()


class Program:
    """minimize cost'v subject to rows, some of the variables v whole numbers."""

    def __init__(self) -> None:
        self.highs = _Quiet()
        self.highs.setOptionValue("threads", 1)
        self.size = 0
        self.whole = False

    def add(
        self,
        count: int,
        *,
        low: float | Floats = 0.0,
        high: float | Floats = inf,
        cost: float | Floats = 0.0,
        whole: bool = False,
    ) -> Index:
        """`count` new variables; their places."""
        places = np.arange(self.size, self.size + count, dtype=np.int32)
        lows, highs, costs = (
            np.ascontiguousarray(np.broadcast_to(np.asarray(v, float), (count,)))
            for v in (low, high, cost)
        )
        self.highs.addVars(count, lows, highs)
        self.highs.changeColsCost(count, places, costs)
        if whole:
            kinds = np.full(count, int(highspy.HighsVarType.kInteger), dtype=np.uint8)
            self.highs.changeColsIntegrality(count, places, kinds)
            self.whole = True
        self.size += count
        return places

    def row(self, *terms: tuple[Any, Any], least: float = -inf, most: float = inf) -> None:
        """least <= sum of coefficients times variables <= most; a term is (places, coefficients),
        and a place may come in several terms.
        """
        places = np.concatenate([np.atleast_1d(place) for place, _ in terms]).astype(np.int32)
        weights = np.concatenate(
            [
                np.broadcast_to(np.asarray(weight, float), np.shape(np.atleast_1d(place)))
                for place, weight in terms
            ]
        )
        once, inverse = np.unique(places, return_inverse=True)
        summed = np.bincount(inverse, weights=weights, minlength=len(once))
        kept = summed != 0
        self.highs.addRow(least, most, int(kept.sum()), once[kept].astype(np.int32), summed[kept])

    def rows(self, matrix: Floats, places: Index, most: Floats) -> None:
        """matrix @ v[places] <= most, row by row."""
        for weights, limit in zip(matrix, most, strict=True):
            self.row((places, weights), most=float(limit))

    def fix(self, places: Index, values: Floats) -> None:
        fixed = np.ascontiguousarray(values, dtype=float)
        self.highs.changeColsBounds(len(places), places, fixed, fixed)

    def price(self, places: Index, cost: Floats) -> None:
        """Another cost for these variables."""
        self.highs.changeColsCost(len(places), places, np.ascontiguousarray(cost, dtype=float))

    def minimize(
        self,
        what: str,
        *,
        seconds: float = inf,
        gap: float = GAP,
        start: Sequence[float] | Floats | None = None,
    ) -> Found:
        """Solve.

        Args:
            what: the program's name in errors
            seconds: of wall time, at most
            gap: relative gap at which to stop
            start: a feasible point to begin from

        Raises:
            InfeasibleError: no point meets the rows.
            UnboundedError: the cost has no lower bound.
            RunError: HiGHS gave up for another reason.
        """
        highs = self.highs
        highs.setOptionValue("time_limit", max(min(seconds, 1e9), 0.01))  # of this run
        highs.setOptionValue("mip_rel_gap", gap)
        highs.setOptionValue("mip_abs_gap", 1e-9)
        if start is not None:
            point = highspy.HighsSolution()
            point.col_value = [float(v) for v in start]
            highs.setSolution(point)
        highs.run()
        status, info = highs.getModelStatus(), highs.getInfo()
        kind = highspy.HighsModelStatus
        if status == kind.kInfeasible:
            raise InfeasibleError(f"{what} has no feasible point", hint="loosen its constraints")
        if status in (kind.kUnbounded, kind.kUnboundedOrInfeasible):
            raise UnboundedError(
                f"{what} is infeasible, or its cost has no lower bound",
                hint="bound the variables and the uncertainty set",
            )
        if status not in (kind.kOptimal, kind.kTimeLimit, kind.kInterrupt):
            raise RunError(f"{what}: HiGHS ended with {highs.modelStatusToString(status)}")
        there = info.primal_solution_status == 2  # HiGHS's code of a feasible point
        values = np.array(highs.getSolution().col_value) if there else None
        value = float(info.objective_function_value) if there else inf
        optimal = status == kind.kOptimal
        if self.whole:
            bound = float(info.mip_dual_bound)
        else:
            bound = value if optimal else -inf
        return Found(values, value, bound, optimal)

    def duals(self) -> Floats:
        """Of the rows of a linear program, as HiGHS signs them."""
        return np.array(self.highs.getSolution().row_dual)
