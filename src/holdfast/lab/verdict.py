"""Verdicts by rules that are fixed before a run: what a claim predicts, as numbers one a seed, and
whether they keep to it.

A rule turns what was found into tests. A test holds one number a seed (mostly the difference of two
methods on the same seed) and the open interval in which the claim says that their mean lies. With
the 95% interval of that mean over seeds:

    supported       every test's interval lies inside what was predicted
    contradicted    some test's interval lies outside; with m tests each interval is then taken at 1
                    - 0.02 / m (Bonferroni)
    undecided       neither: more seeds would be needed

A sentence that speaks of every run (a bound that no run may break) is no sentence about a mean: its
tests hold if every run keeps to the prediction, and one run that does not contradicts it.

The interval is Student's, or Hall's (1992), which corrects Student's for the skewness of the
numbers: the wider of the two at each end. How often a claim at its border, where it is just false,
is found supported, in percent of simulated runs (2.5 is nominal; `benchmarks/verdict_errors.py`):

                                8 seeds   12    20    50     Student's alone, 8 seeds
    normal                        2.2    2.1   2.4   2.5       2.9
    exponential (skewness 2)      5.1    4.5   3.4   3.5      10.6
    lognormal (skewness 6)        8.2    7.1   7.2   5.2      16.1

Nobody can promise more: a mean that rests on rare seeds cannot be known from seeds that do not show
them. A claim of several tests is supported only if all are, which makes a false "supported" rarer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from math import inf
from typing import Any, Literal

import numpy as np

from holdfast.errors import OptionError
from holdfast.stats.intervals import Estimate
from holdfast.stats.seeds import LEVEL, over_seeds

STRICT = 0.02
Verdict = Literal["supported", "contradicted", "undecided"]
Point = Mapping[str, Any]  # one value of each axis of a sweep


@dataclass(frozen=True)
class Test:
    """The claim says: the mean over seeds lies strictly between `low` and `high`; or, with `every`,
    the number of every seed does.
    """

    __test__ = False  # not one of pytest's

    label: str
    values_S: Sequence[float]
    low: float = -inf
    high: float = inf
    every: bool = False

    @property
    def predicted(self) -> str:
        runs = ", in every run" if self.every else ""
        if self.low == -inf:
            return f"below {number(self.high)}{runs}"
        return (
            f"above {number(self.low)}"
            if self.high == inf
            else f"between {number(self.low)} and {number(self.high)}"
        ) + runs

    def row(self, level: float, tests: int) -> dict[str, Any]:
        """What was found and what it says, when `tests` are decided together."""
        plain = over_seeds(self.values_S, level)
        low, high = plain.ends
        if self.every:
            low, high = float(np.min(self.values_S)), float(np.max(self.values_S))
            outside = not (low > self.low and high < self.high)
        else:
            wide = over_seeds(self.values_S, 1 - STRICT / tests)
            outside = wide.below(self.low) or wide.above(self.high)
        inside = self.low < low and high < self.high
        ruling = "supported" if inside else "contradicted" if outside else "undecided"
        found = {"mean": plain.value, "low": low, "high": high, "every": self.every}
        return {"label": self.label, "predicted": self.predicted, **found, "ruling": ruling}


@dataclass(frozen=True)
class Ruling:
    verdict: Verdict
    tests: tuple[
        Mapping[str, Any], ...
    ]  # label, predicted, mean, low, high (of the mean, or of every run), ruling
    why: str

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def decide(tests: Sequence[Test], level: float = LEVEL) -> Ruling:
    """The verdict of all tests together."""
    if not tests:
        raise OptionError(
            "a claim without a test is no claim", hint="its rule selects no point of the sweep"
        )
    rows = [test.row(level, len(tests)) for test in tests]
    rulings = [row["ruling"] for row in rows]
    verdict: Verdict = (
        "contradicted"
        if "contradicted" in rulings
        else "supported"
        if set(rulings) == {"supported"}
        else "undecided"
    )
    count = sum(r == "supported" for r in rulings)
    why = f"{count} of {len(rows)} predictions hold" + (
        "" if verdict == "supported" else f"; {sum(r == 'contradicted' for r in rulings)} fail"
    )
    return Ruling(verdict, tuple(rows), why)


# ------------------------------------------------------------------------------------------------
# what was found


@dataclass(frozen=True)
class Cell:
    """One arm at one point of the sweep: each quantity with one number a seed."""

    point: Point
    arm: str
    values: Mapping[str, Sequence[float]]


@dataclass(frozen=True)
class Found:
    """Everything that was measured."""

    cells: tuple[Cell, ...]
    seeds: tuple[int, ...] = field(default=())

    @property
    def points(self) -> list[Point]:
        unique = {tuple(cell.point.items()): cell.point for cell in self.cells}
        return list(unique.values())

    @property
    def arms(self) -> list[str]:
        return list(dict.fromkeys(cell.arm for cell in self.cells))

    def of(self, arm: str, quantity: str, point: Point) -> np.ndarray:
        for cell in self.cells:
            if cell.arm == arm and dict(cell.point) == dict(point):
                return np.asarray(cell.values[quantity], dtype=float)
        raise OptionError(
            f"nothing was measured for {arm!r} at {dict(point)}",
            hint=f"arms: {', '.join(self.arms)}",
        )

    def at(self, where: Point | None) -> list[Point]:
        """The points that agree with `where`; a tuple allows several values."""
        chosen = dict(where or {})
        return [
            p
            for p in self.points
            if all(p[k] in v if isinstance(v, tuple) else p[k] == v for k, v in chosen.items())
        ]


Rule = Callable[[Found], list[Test]]


# ------------------------------------------------------------------------------------------------
# rules


def separated(
    better: str,
    worse: str,
    of: str,
    *,
    by: float = 0.0,
    at: Point | None = None,
    lower: bool = False,
) -> Rule:
    """On the same seeds `better` is ahead of `worse` in `of` by more than `by`, at every point of
    `at`. `lower`: less is ahead.
    """

    def rule(found: Found) -> list[Test]:
        sign = -1 if lower else 1
        return [
            Test(
                f"{better} ahead of {worse} in {of}{_where(p)}",
                list(sign * (found.of(better, of, p) - found.of(worse, of, p))),
                low=by,
            )
            for p in found.at(at)
        ]

    return rule


def multiple(more: str, less: str, of: str, *, times: float, at: Point | None = None) -> Rule:
    """On the same seeds the mean `of` of `more` is above `times` that of `less`, at every point of
    `at`: a test of `more` - `times` x `less`, so that the border is as uncertain as it is."""

    def rule(found: Found) -> list[Test]:
        return [
            Test(
                f"{of} of {more} minus {number(times)} times that of {less}{_where(p)}",
                list(found.of(more, of, p) - times * found.of(less, of, p)),
                low=0.0,
            )
            for p in found.at(at)
        ]

    return rule


def equivalent(first: str, second: str, of: str, *, within: float, at: Point | None = None) -> Rule:
    """On the same seeds the two differ in `of` by less than `within`, at every point of `at`."""

    def rule(found: Found) -> list[Test]:
        return [
            Test(
                f"{first} minus {second} in {of}{_where(p)}",
                list(found.of(first, of, p) - found.of(second, of, p)),
                low=-within,
                high=within,
            )
            for p in found.at(at)
        ]

    return rule


def bounded(
    arm: str,
    of: str,
    *,
    low: float = -inf,
    high: float = inf,
    at: Point | None = None,
    every: bool = False,
) -> Rule:
    """`of` lies between the bounds, at every point of `at`: its mean, or with `every` that of each
    run.
    """

    def rule(found: Found) -> list[Test]:
        return [
            Test(
                f"{of} of {arm}{_where(p)}",
                list(found.of(arm, of, p)),
                low=low,
                high=high,
                every=every,
            )
            for p in found.at(at)
        ]

    return rule


def moves(
    arm: str, of: str, *, along: str, up: bool, by: float = 0.0, at: Point | None = None
) -> Rule:
    """`of` rises (or falls) by more than `by` with each step along an axis of the sweep, on the
    same seeds.
    """

    def rule(found: Found) -> list[Test]:
        tests = []
        for first, second in _neighbors(found.at(at), along):
            change = found.of(arm, of, second) - found.of(arm, of, first)
            label = (
                f"{of} of {arm} {'rises' if up else 'falls'} from {along} {first[along]} to "
                f"{second[along]}"
            )
            rest = {k: v for k, v in first.items() if k != along}
            tests.append(Test(label + _where(rest), list(change if up else -change), low=by))
        return tests

    return rule


def steady(arm: str, of: str, *, along: str, within: float, at: Point | None = None) -> Rule:
    """`of` changes by less than `within` with each step along an axis of the sweep, on the same
    seeds.
    """

    def rule(found: Found) -> list[Test]:
        return [
            Test(
                f"change of {of} of {arm} from {along} {a[along]} to {b[along]}",
                list(found.of(arm, of, b) - found.of(arm, of, a)),
                -within,
                within,
            )
            for a, b in _neighbors(found.at(at), along)
        ]

    return rule


def all_of(*rules: Rule) -> Rule:
    """Every rule's tests."""
    return lambda found: [test for rule in rules for test in rule(found)]


def _neighbors(points: list[Point], along: str) -> list[tuple[Point, Point]]:
    lines: dict[tuple[Any, ...], list[Point]] = {}
    for p in points:
        lines.setdefault(tuple(v for k, v in p.items() if k != along), []).append(p)
    return [pair for line in lines.values() for pair in pairwise(line)]


def _where(point: Point) -> str:
    return f" ({', '.join(f'{k} {v}' for k, v in point.items())})" if point else ""


def with_interval(found: Estimate) -> str:
    """ "0.31 [0.24, 0.38]"."""
    low, high = found.ends
    return f"{number(found.point)} [{number(low)}, {number(high)}]"


def number(x: float) -> str:
    """Three significant digits, without an exponent where a reader can do without."""
    if x == 0 or 1e-4 <= abs(x) < 1e5:
        digits = 3 if x == 0 else max(0, 2 - int(np.floor(np.log10(abs(x)))))
        return f"{x:.{digits}f}".replace("-", "−")
    return f"{x:.2e}".replace("-", "−")
