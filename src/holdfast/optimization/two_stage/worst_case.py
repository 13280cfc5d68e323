"""The exact worst case of a given x: max over xi of the best recourse's cost.

A recourse w costs a line in xi, and the adversary gets the lowest line at each xi. So with all
recourses listed the worst case is a linear program,

    max z   subject to   z <= F1(x, xi) + F2(w, xi) for every w in W(x),   xi in Xi,

whose rows are found one at a time: at the xi of the rows so far the second stage is solved, which
is a point that costs that much, and its w is the next row. The rows' optimum is an upper bound, so
the two meet at the exact answer. The worst xi is a vertex of Xi only by luck.

Where constraints move with xi, a row holds only where its w is allowed, so the adversary may also
break one of the constraints of w, by `BREAK` of its size:

    z <= cost of w + M b_w,   b_w = 1 only where a constraint of w is broken,

a mixed-integer program. Before it, the bound of the recourses so far is exhausted on `SAMPLES`
points of Xi and its vertices, at the cost of a product of matrices: most recourses are found there.
An xi that breaks a constraint by less than `BREAK` counts as one that does not break it.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from math import inf
from time import monotonic

import numpy as np

from holdfast.optimization.two_stage.problem import (
    FITS,
    Floats,
    Problem,
    Recourse,
    TwoStage,
    Uncertainty,
    WorstCase,
)
from holdfast.optimization.two_stage.programs import Program

TOLERANCE = 1e-6  # relative gap between the two bounds
BREAK = 1e-5
SAMPLES = 4096
VERTICES = 4096  # listed where there are no more
MANY = 1000  # rounds


def worst_case(
    problem: Problem,
    x_N: Floats,
    *,
    tolerance: float = TOLERANCE,
    seconds: float = inf,
    stop_above: float = inf,
    known: tuple[Floats, ...] = (),
) -> WorstCase:
    """The worst case of x, with a bound.

    Args:
        problem: the problem
        x_N: the first decision
        tolerance: relative gap at which to stop
        seconds: of wall time after which to stop with the gap there is
        stop_above: stop as soon as some xi costs more than this: x is not wanted then
        known: points of Xi to begin with, such as the worst cases of similar x
    """
    model, started = problem.model, monotonic()
    adversary = (_Lines if model.rows.fixed else _Breaks)(model, x_N)
    best_xi_J, best, bound, lines = model.nominal_J, None, inf, 0
    queue = [model.nominal_J, *known]
    for _ in range(MANY + SAMPLES):
        if monotonic() - started > seconds and best is not None:
            break
        found_J = queue.pop(0) if queue else adversary.guess(-inf if best is None else best.value)
        if found_J is not None:
            xi_J = found_J
        else:
            left = seconds - (monotonic() - started)
            if left <= 0:
                break
            xi_J, now = adversary.move(left)
            bound = min(bound, now)
            if best is not None and bound - best.value <= tolerance * max(1.0, abs(best.value)):
                break
        answer = problem.recourse(x_N, xi_J)
        adversary.resolved(xi_J)
        lines += adversary.answer(answer)
        if best is None or answer.value > best.value:
            best, best_xi_J = answer, xi_J
        if best.value > stop_above or bound - best.value <= tolerance * max(1.0, abs(best.value)):
            break
    assert best is not None  # the first point always answers
    return WorstCase(best_xi_J, best.value, max(bound, best.value), best, lines)


def sample(uncertainty: Uncertainty, count: int = SAMPLES) -> Floats:
    """Points of Xi: its corners where they are few, and uniform draws, always the same ones."""
    rng = np.random.default_rng(0)
    low_J, high_J = uncertainty.low_J, uncertainty.high_J
    points = [rng.uniform(low_J, high_J, (count, len(uncertainty)))]
    if 2 ** len(uncertainty) <= VERTICES:
        points.append(np.array(list(itertools.product(*zip(low_J, high_J, strict=True)))))
    return np.array([uncertainty.project(point_J) for point_J in np.concatenate(points)])


@dataclass
class _Adversary:
    model: TwoStage
    x_N: Floats

    def __post_init__(self) -> None:
        uncertainty = self.model.uncertainty
        self.program = Program()
        self.xi = self.program.add(len(uncertainty), low=uncertainty.low_J, high=uncertainty.high_J)
        self.z = self.program.add(1, low=-inf, cost=-1.0)
        if uncertainty.budget < inf:
            self.program.row((self.xi, 1.0), most=uncertainty.budget)
        self.seen: set[bytes] = set()

    def answer(self, recourse: Recourse) -> bool:
        """Another recourse; whether it is new."""
        key = np.round(recourse.w_M).astype(bool).tobytes()
        if key in self.seen:
            return False
        self.seen.add(key)
        self.line(recourse.w_M)
        return True

    def line(self, w_M: Floats) -> None:
        raise NotImplementedError

    def guess(self, value: float) -> Floats | None:
        """A point that may cost more than `value`, found without a program."""
        return None

    def resolved(self, xi_J: Floats) -> None:
        """This point was answered."""


class _Lines(_Adversary):
    """Recourses that are allowed whatever xi is."""

    def line(self, w_M: Floats) -> None:
        fixed, slope_J = self.model.cost_line(self.x_N, w_M)
        self.program.row((self.z, 1.0), (self.xi, -slope_J), most=fixed)

    def move(self, seconds: float) -> tuple[Floats, float]:
        found = self.program.minimize(f"{self.model.name}: the adversary's program")
        assert found.values is not None
        return self._inside(found.values[self.xi]), -found.value

    def _inside(self, xi_J: Floats) -> Floats:
        return self.model.uncertainty.project(xi_J)


class _Breaks(_Adversary):
    """Recourses of which the adversary may break a constraint."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.points_SJ = sample(self.model.uncertainty)
        self.least_S = np.full(len(self.points_SJ), inf)  # the lowest line allowed at each point
        self.at: int | None = None

    def guess(self, value: float) -> Floats | None:
        if not len(self.points_SJ):
            return None
        at = int(np.argmax(self.least_S))
        if self.least_S[at] <= value + TOLERANCE * max(1.0, abs(value)):
            return None
        self.at = at
        return self.points_SJ[at]

    def resolved(self, xi_J: Floats) -> None:
        if self.at is not None:
            self.least_S[self.at] = -inf
            self.at = None

    def line(self, w_M: Floats) -> None:
        model, program = self.model, self.program
        self._lower_samples(w_M)
        uncertainty = model.uncertainty
        fixed, slope_J = model.cost_line(self.x_N, w_M)
        used_R, moved_JR = model.rows.used(self.x_N, w_M)
        broken = []
        for r in np.flatnonzero(np.any(moved_JR != 0, axis=0)):
            size = BREAK * (1 + abs(model.rows.most_R[r]))
            must = float(model.rows.most_R[r] - used_R[r]) + size  # moved'xi at least this
            most, _ = uncertainty.worst(moved_JR[:, r])
            if most < must:
                continue
            least, _ = uncertainty.worst(-moved_JR[:, r])
            b = program.add(1, high=1.0, whole=True)
            # moved'xi >= must where b = 1, and >= its least value where b = 0
            program.row((self.xi, moved_JR[:, r]), (b, -(must + least)), least=-least)
            broken.append(int(b[0]))
        if not broken:
            program.row((self.z, 1.0), (self.xi, -slope_J), most=fixed)
            return
        highest = self._ceiling() - (fixed - uncertainty.worst(-slope_J)[0])
        free = np.array(broken, dtype=np.int32)
        program.row((self.z, 1.0), (self.xi, -slope_J), (free, -max(highest, 0.0)), most=fixed)

    def _lower_samples(self, w_M: Floats) -> None:
        model = self.model
        fixed, slope_J = model.cost_line(self.x_N, w_M)
        used_R, moved_JR = model.rows.used(self.x_N, w_M)
        fits_S = np.all(
            used_R + self.points_SJ @ moved_JR
            <= model.rows.most_R + FITS * (1 + np.abs(model.rows.most_R)),
            axis=1,
        )
        cost_S = fixed + self.points_SJ @ slope_J
        self.least_S = np.where(fits_S, np.minimum(self.least_S, cost_S), self.least_S)

    def _ceiling(self) -> float:
        """No recourse costs more than this anywhere."""
        model = self.model
        slope_J = np.abs(model.first_JN @ self.x_N) + np.abs(model.second_JM).sum(1)
        reach_J = np.maximum(np.abs(model.uncertainty.low_J), np.abs(model.uncertainty.high_J))
        return float(
            model.first_N @ self.x_N + np.maximum(model.second_M, 0).sum() + slope_J @ reach_J
        )

    def move(self, seconds: float) -> tuple[Floats, float]:
        found = self.program.minimize(
            f"{self.model.name}: the adversary's program", seconds=seconds, gap=1e-7
        )
        if found.values is None:
            return self.model.nominal_J, -found.bound
        return self.model.uncertainty.project(found.values[self.xi]), -found.bound
