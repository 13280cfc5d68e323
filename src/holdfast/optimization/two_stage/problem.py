"""Two-stage robust problems: what is decided before the uncertain factors are seen, and after.

    min over x in X   max over xi in Xi   min over w in W(x, xi)   F1(x, xi) + F2(w, xi)

x in {0, 1}^N is decided first, xi in R^J is then chosen by an adversary, and the recourse
w in {0, 1}^M is decided last. Costs are linear in x and w for every xi, and in xi for every x and
w. Everything is a minimization of cost; a profit is a negative cost.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from math import inf
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from holdfast.errors import DataError, RunError
from holdfast.optimization.two_stage.programs import InfeasibleError, Program
from holdfast.stats.arrays import floats

Floats = NDArray[np.float64]
PROVEN = 1e-5  # relative gap of a worst case that counts as exact
FITS = 1e-7  # by which a constraint may be missed, relative to its size


@dataclass(frozen=True)
class Recourse:
    """The best second decision at one (x, xi): w_M, and F1 + F2 with it."""

    w_M: Floats
    value: float


@dataclass(frozen=True)
class Uncertainty:
    """Xi = {xi: low <= xi <= high, sum of xi <= budget}.

    Raises:
        DataError: it is empty, or has no bounds.
    """

    low_J: Floats
    high_J: Floats
    budget: float = inf

    def __post_init__(self) -> None:
        low = floats(self.low_J, "the uncertainty's low_J", shape=(None,))
        high = floats(self.high_J, "the uncertainty's high_J", shape=(len(low),))
        object.__setattr__(self, "low_J", low)
        object.__setattr__(self, "high_J", high)
        for j in np.flatnonzero(low > high):
            raise DataError(
                f"the uncertainty set is empty: low_J[{j}] is {low[j]:g}, "
                f"above high_J[{j}], {high[j]:g}"
            )
        if not low.sum() <= self.budget:  # NaN is refused too
            raise DataError(
                f"the uncertainty set is empty: its budget is {self.budget:g}, and the least sum "
                f"is {low.sum():g}",
                hint="raise the budget, or lower low_J",
            )

    def __len__(self) -> int:
        return len(self.low_J)

    def holds(self, xi_J: Floats, within: float = 1e-6) -> bool:
        return bool(
            np.all(xi_J >= self.low_J - within)
            and np.all(xi_J <= self.high_J + within)
            and xi_J.sum() <= self.budget + within
        )

    def worst(self, slope_J: Floats) -> tuple[float, Floats]:
        """max of slope'xi over Xi, and where: largest slopes first, until the budget is spent."""
        xi_J = self.low_J.copy()
        room_J, left = self.high_J - self.low_J, self.budget - float(self.low_J.sum())
        for j in np.argsort(-slope_J, kind="stable"):
            if slope_J[j] <= 0 or left <= 0:
                break
            step = min(float(room_J[j]), left)
            xi_J[j] += step
            left -= step
        return float(slope_J @ xi_J), xi_J

    def project(self, point_J: Floats) -> Floats:
        """The nearest point of Xi: shifted down until the budget holds, then clipped."""
        inside = np.clip(point_J, self.low_J, self.high_J)
        if inside.sum() <= self.budget:
            return inside
        near, far = 0.0, float((point_J - self.low_J).max())
        for _ in range(60):
            middle = (near + far) / 2
            inside = np.clip(point_J - middle, self.low_J, self.high_J)
            near, far = (middle, far) if inside.sum() > self.budget else (near, middle)
        return np.clip(point_J - far, self.low_J, self.high_J)


@dataclass(frozen=True)
class Rows:
    """Constraints (x_RN + xi x_JRN) x + (w_RM + xi w_JRM) w <= most_R; without the parts that
    `xi` moves, the same for every xi.
    """

    x_RN: Floats
    w_RM: Floats
    most_R: Floats
    x_JRN: Floats | None = None
    w_JRM: Floats | None = None

    @property
    def fixed(self) -> bool:
        return self.x_JRN is None and self.w_JRM is None

    def at(self, xi_J: Floats) -> tuple[Floats, Floats]:
        """The coefficients of x and w at one xi."""
        x_RN, w_RM = self.x_RN, self.w_RM
        if self.x_JRN is not None:
            x_RN = x_RN + np.tensordot(xi_J, self.x_JRN, 1)
        if self.w_JRM is not None:
            w_RM = w_RM + np.tensordot(xi_J, self.w_JRM, 1)
        return x_RN, w_RM

    def used(self, x_N: Floats, w_M: Floats) -> tuple[Floats, Floats]:
        """How much of each row (x, w) uses, as used_R + xi @ used_JR."""
        used_R = self.x_RN @ x_N + self.w_RM @ w_M
        moved = np.zeros((0, len(used_R)))
        if self.x_JRN is not None:
            moved = self.x_JRN @ x_N
        if self.w_JRM is not None:
            moved = (moved if len(moved) else 0.0) + self.w_JRM @ w_M
        return used_R, moved


@dataclass(frozen=True)
class TwoStage:
    """A problem given by its arrays, and what every method needs of one.

    Attributes:
        first_N, first_JN: F1(x, xi) = (first_N + xi first_JN) x
        second_M, second_JM: F2(w, xi) = (second_M + xi second_JM) w
        uncertainty: Xi
        rows: W(x, xi)
        limits: X, as (matrix, most): matrix @ x <= most
        name: in errors and records

    Raises:
        DataError: an array of another shape, or a number that is not finite.
    """

    first_N: Floats
    second_M: Floats
    first_JN: Floats
    second_JM: Floats
    uncertainty: Uncertainty
    rows: Rows
    limits: tuple[Floats, Floats] | None = None
    name: str = "the problem"

    def __post_init__(self) -> None:
        first = floats(self.first_N, f"{self.name}: first_N", shape=(None,))
        second = floats(self.second_M, f"{self.name}: second_M", shape=(None,))
        N, M, J = len(first), len(second), len(self.uncertainty)
        most = floats(self.rows.most_R, f"{self.name}: rows.most_R", shape=(None,))
        R = len(most)
        for what, array, shape in (
            ("first_JN", self.first_JN, (J, N)),
            ("second_JM", self.second_JM, (J, M)),
            ("rows.x_RN", self.rows.x_RN, (R, N)),
            ("rows.w_RM", self.rows.w_RM, (R, M)),
            ("rows.x_JRN", self.rows.x_JRN, (J, R, N)),
            ("rows.w_JRM", self.rows.w_JRM, (J, R, M)),
        ):
            if array is not None:
                floats(array, f"{self.name}: {what}", shape=shape)
        if self.limits is not None:
            floats(self.limits[0], f"{self.name}: limits[0]", shape=(None, N))
            floats(self.limits[1], f"{self.name}: limits[1]", shape=(len(self.limits[0]),))

    @property
    def model(self) -> TwoStage:
        return self

    @property
    def n_first(self) -> int:
        return len(self.first_N)

    def cost(self, x_N: Floats, w_M: Floats, xi_J: Floats) -> float:
        """F1 + F2."""
        fixed, slope_J = self.cost_line(x_N, w_M)
        return float(fixed + slope_J @ xi_J)

    def cost_line(self, x_N: Floats, w_M: Floats) -> tuple[float, Floats]:
        """F1 + F2 as a line in xi: a constant and slopes."""
        fixed = float(self.first_N @ x_N + self.second_M @ w_M)
        return fixed, self.first_JN @ x_N + self.second_JM @ w_M

    def missed(self, x_N: Floats, w_M: Floats, xi_J: Floats) -> float:
        """By how much the worst row is missed, relative to its size; at most 0 where w fits."""
        used_R, moved_JR = self.rows.used(x_N, w_M)
        if len(moved_JR):
            used_R = used_R + xi_J @ moved_JR
        if not len(used_R):
            return 0.0
        return float(((used_R - self.rows.most_R) / (1 + np.abs(self.rows.most_R))).max())

    @cached_property
    def nominal_J(self) -> Floats:
        """The point of Xi nearest to 0, where nothing uncertain happens."""
        return self.uncertainty.project(np.zeros(len(self.uncertainty)))

    def recourse(self, x_N: Floats, xi_J: Floats) -> Recourse:
        """The best w at (x, xi), by mixed-integer programming.

        Raises:
            RunError: no w is allowed there.
        """
        x_RN, w_RM = self.rows.at(xi_J)
        program = Program()
        w = program.add(
            len(self.second_M), high=1.0, cost=self.second_M + xi_J @ self.second_JM, whole=True
        )
        program.rows(w_RM, w, self.rows.most_R - x_RN @ x_N)
        try:
            found = program.minimize(f"{self.name}: the second stage", gap=0.0)
        except InfeasibleError as error:
            raise RunError(
                f"{self.name}: x allows no recourse at a point of the uncertainty set",
                hint="every x of the first stage must leave one for every xi; add limits on x",
            ) from error
        assert found.values is not None  # no time limit
        w_M = np.abs(np.round(found.values[w]))
        return Recourse(w_M, self.cost(x_N, w_M, xi_J))

    def checked_x(self, given: object) -> Floats:
        """An x of somebody's own.

        Raises:
            DataError: of another length, not of zeros and ones, or outside X.
        """
        x_N = floats(given, f"{self.name}: x", shape=(self.n_first,))
        for i in np.flatnonzero((x_N != 0) & (x_N != 1)):
            raise DataError(f"{self.name}: x[{i}] is {x_N[i]:g}; it must be 0 or 1")
        if self.limits is not None:
            over_R = self.limits[0] @ x_N - self.limits[1]
            for r in np.flatnonzero(over_R > FITS * (1 + np.abs(self.limits[1]))):
                raise DataError(
                    f"{self.name}: x breaks limit {r} of the first stage by {over_R[r]:g}"
                )
        return x_N


class Problem(Protocol):
    """What the methods ask for: the arrays, and a second stage that may be faster than theirs."""

    @property
    def name(self) -> str: ...

    @property
    def model(self) -> TwoStage: ...

    def recourse(self, x_N: Floats, xi_J: Floats) -> Recourse: ...


@dataclass(frozen=True)
class WorstCase:
    """The certificate of one x.

    Attributes:
        xi_J: the worst point of Xi that was found
        value: the cost of x there, with the best recourse, which is exact
        bound: no point of Xi costs more
        recourse: the best w at xi_J
        lines: how many recourses the bound rests on
    """

    xi_J: Floats
    value: float
    bound: float
    recourse: Recourse
    lines: int

    @property
    def gap(self) -> float:
        return self.bound - self.value

    @property
    def proven(self) -> bool:
        """Whether the two bounds met."""
        return self.gap <= PROVEN * max(1.0, abs(self.value))


@dataclass(frozen=True)
class Iterate:
    """One round of a method: an x, what its own model believed it to cost, and its exact worst case
    (None where it was left as soon as some point made it worse than another x).
    """

    x_N: Floats
    believed: float
    exact: float | None
    seconds: float
    scenario_J: Floats | None = None


@dataclass(frozen=True)
class Solution:
    """What `solve` returns.

    Attributes:
        x_N: the first decision
        value: its exact worst-case cost, `worst_case.value`
        lower: no x has a lower worst-case cost; -inf where a method proves nothing
        worst_case: the certificate of x
        scenarios_KJ: the points of Xi the method looked at
        iterates: its rounds
        method: its name
        seconds: wall time, the certificate included
        status: why it stopped
    """

    x_N: Floats
    value: float
    lower: float
    worst_case: WorstCase
    scenarios_KJ: Floats
    method: str
    seconds: float
    status: str
    iterates: tuple[Iterate, ...] = field(default=())

    @property
    def profit(self) -> float:
        """The same as profit: minus the worst-case cost."""
        return -self.value

    @property
    def gap(self) -> float:
        """How far x may be from the best one, relative to its value."""
        return (self.worst_case.bound - self.lower) / max(abs(self.value), 1e-9)
