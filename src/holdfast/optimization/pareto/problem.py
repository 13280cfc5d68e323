"""A problem of several objectives: x in a box, f_1..f_M minimized, each evaluation expensive."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from holdfast.card import check
from holdfast.errors import DataError, HoldfastError, RunError, shown
from holdfast.stats.arrays import floats

Floats = NDArray[np.float64]
REFERENCE = 1.1  # of the hypervolume, in every scaled objective


@dataclass(frozen=True)
class Problem:
    """Minimize f(x) in R^M over low_D <= x <= high_D.

    Attributes:
        name: in errors and records
        low_D, high_D: the box
        objectives: M
        function: x_ND -> y_NM, row by row
        ideal_M, nadir_M: what hypervolumes are scaled by: ideal to 0, nadir to 1; no scaling unless
            given
        hypervolume: of the true front, scaled, at `REFERENCE` in every objective; None where it is
            not known
        exact: whether `hypervolume` is a closed form or an enumeration, rather than that of a
            published approximation, which a method may exceed

    Raises:
        DataError: bounds that are not finite, that leave no room, or of another length; an ideal
            point that is not below the nadir point.
        OptionError: fewer than two objectives.
    """

    name: str
    low_D: Floats
    high_D: Floats
    objectives: int
    function: Callable[[Floats], object]
    ideal_M: Floats | None = None
    nadir_M: Floats | None = None
    hypervolume: float | None = None
    exact: bool = False

    def __post_init__(self) -> None:
        unbounded = "a search needs a box: give every variable a finite lower and upper bound"
        low = floats(self.low_D, f"{self.name}: low_D", shape=(None,), hint=unbounded)
        high = floats(self.high_D, f"{self.name}: high_D", shape=(len(low),), hint=unbounded)
        if not len(low):
            raise DataError(f"{self.name}: there is no variable", hint="give low_D and high_D")
        for d in np.flatnonzero(~(low < high)):
            raise DataError(
                f"{self.name}: the bounds are infeasible: low_D[{d}] is {low[d]:g}, "
                f"not below high_D[{d}], {high[d]:g}",
                hint="swap them, or leave a variable that cannot vary out of x",
            )
        m = self.objectives
        check("objectives", m, lambda: int(m) == m >= 2, "be a whole number, at least 2")
        ideal = np.zeros(m) if self.ideal_M is None else self.ideal_M
        nadir = np.ones(m) if self.nadir_M is None else self.nadir_M
        ideal = floats(ideal, f"{self.name}: ideal_M", shape=(m,))
        nadir = floats(nadir, f"{self.name}: nadir_M", shape=(m,))
        for j in np.flatnonzero(~(ideal < nadir)):
            raise DataError(
                f"{self.name}: ideal_M[{j}] is {ideal[j]:g}, not below nadir_M[{j}], {nadir[j]:g}"
            )
        for name, value in zip(
            ("low_D", "high_D", "ideal_M", "nadir_M"), (low, high, ideal, nadir), strict=True
        ):
            object.__setattr__(self, name, value)

    @property
    def variables(self) -> int:
        return len(self.low_D)

    def from_unit(self, u_ND: Floats) -> Floats:
        """Points of [0, 1]^D in the units of the box."""
        return self.low_D + np.clip(u_ND, 0.0, 1.0) * (self.high_D - self.low_D)

    def scaled(self, y_NM: Floats) -> Floats:
        """Objectives with the ideal point at 0 and the nadir point at 1."""
        assert self.ideal_M is not None and self.nadir_M is not None
        return (y_NM - self.ideal_M) / (self.nadir_M - self.ideal_M)

    def evaluate(self, x_ND: object) -> Floats:
        """y_NM, checked.

        Raises:
            DataError: x of another width, not finite, or outside the box.
            RunError: the function raised, or gave another count of objectives or rows, or a number
                that is not finite.
        """
        x = floats(x_ND, f"{self.name}: x", shape=(None, self.variables))
        outside = (x < self.low_D) | (x > self.high_D)
        for n, d in np.argwhere(outside):
            raise DataError(
                f"{self.name}: x[{n}, {d}] is {x[n, d]:g}, outside "
                f"[{self.low_D[d]:g}, {self.high_D[d]:g}]"
            )
        try:
            given = self.function(x.copy())
        except HoldfastError:
            raise
        except Exception as error:
            raise RunError(
                f"{self.name}: the objectives raised {type(error).__name__}: {error}, at x = "
                f"{shown(x.tolist(), 200)}",
                hint="evaluations made so far are kept; mend the function and resume",
            ) from error
        wanted = f"it must return {len(x)} x {self.objectives} numbers, a row for each row of x"
        try:
            y = floats(given, "the objectives", finite=False)
        except DataError as error:
            raise RunError(f"{self.name}: {error}", hint=wanted) from error
        if y.shape != (len(x), self.objectives):
            raise RunError(
                f"{self.name}: the objectives have shape {y.shape}, for {len(x)} rows of x and "
                f"{self.objectives} objectives",
                hint=wanted,
            )
        for n, j in np.argwhere(~np.isfinite(y)):
            raise RunError(
                f"{self.name}: objective {j} is {y[n, j]} at x = {shown(x[n].tolist(), 200)}",
                hint="a point that cannot be measured needs a finite penalty, or a smaller box",
            )
        return y
