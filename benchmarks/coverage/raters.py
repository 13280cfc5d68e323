"""Raters: reliabilities drawn from a Beta, raters alike, contrary raters; who judged pairs
together, and who did not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np

from coverage.case import Case, Trial, judged
from holdfast.checkup.comparisons import Comparisons
from holdfast.checkup.findings.raters import raters
from holdfast.checkup.request import CheckRequest
from holdfast.checkup.result import Finding
from holdfast.stats.intervals import Estimate
from holdfast.types import Row, Where


def rows_of(
    seed: int, a_R: np.ndarray, *, pairs: int, per_pair: int, told: float | None = None
) -> Comparisons:
    """Each pair is judged by `per_pair` raters, right with probability a_R. With `told`, the better
    answer has a mark with that chance.
    """
    rng, rows = np.random.default_rng([seed, 2]), []
    for i in range(pairs):
        good, bad = (str(t) for t in rng.permutation([f"a {i}", f"b {i}"]))
        if told is not None:
            good, bad = (good + " !", bad) if rng.random() < told else (good, bad + " !")
        for r in rng.choice(len(a_R), per_pair, replace=False):
            win, lose = (good, bad) if rng.random() < a_R[r] else (bad, good)
            rows.append(
                Row(Where("made", len(rows) + 1), f"question {i}", win, lose, rater=f"r{r}")
            )
    return Comparisons.of(rows)


def first_rater(found: Finding) -> Estimate | None:
    """The interval of rater 0, who is any rater."""
    for row in found.numbers.get("by_rater", []):
        if row["rater"] == "r0":
            return Estimate(row["value"], row["low"], row["high"])
    return None


def trial(
    seed: int,
    *,
    count: int,
    beta: tuple[float, float] | float,
    pairs: int,
    per_pair: int,
    told: float | None = None,
) -> Trial:
    rng = np.random.default_rng(seed)
    a_R = np.full(count, beta) if isinstance(beta, float) else rng.beta(*beta, count)
    found = raters(
        rows_of(seed, a_R, pairs=pairs, per_pair=per_pair, told=told), CheckRequest(seed=seed)
    )
    one = first_rater(found)
    return judged(found, float(a_R[0]) if one else None, one)


def contrary(seed: int, *, count: int = 20) -> Trial:
    a_R = np.full(count, 0.85)
    a_R[0] = 0.25
    found = raters(rows_of(seed, a_R, pairs=200, per_pair=3), CheckRequest(seed=seed))
    return judged(found, 0.25, first_rater(found))


def agreement(seed: int, *, a: float) -> Trial:
    found = raters(rows_of(seed, np.full(8, a), pairs=200, per_pair=3), CheckRequest(seed=seed))
    return judged(found, a**2 + (1 - a) ** 2)


FRESH = 10_000  # seeds from here: the first hundreds were seen while the test of raters was made


def fresh(seed: int, *, of: Callable[[int], Trial]) -> Trial:
    return of(FRESH + seed)


ONE = "covered: one rater's reliability"
CASES = [
    *(
        Case(
            "raters",
            "8 raters alike, 3 a pair, 200 pairs (covered: agreement)",
            f"{a**2 + (1 - a) ** 2:.0%}",
            partial(agreement, a=a),
        )
        for a in (0.95, 0.8, 0.6)
    ),
    Case(
        "raters",
        f"8 raters alike, 3 a pair, 200 pairs ({ONE})",
        "80%",
        partial(trial, count=8, beta=0.8, pairs=200, per_pair=3),
    ),
    Case(
        "raters",
        f"20 raters alike, 2 a pair, 300 pairs ({ONE})",
        "80%",
        partial(trial, count=20, beta=0.8, pairs=300, per_pair=2),
    ),
    Case(
        "raters",
        f"25 raters unlike, 3 a pair, 300 pairs ({ONE})",
        "Beta(8, 2)",
        partial(trial, count=25, beta=(8, 2), pairs=300, per_pair=3),
    ),
    Case(
        "raters",
        f"25 raters unlike, 2 a pair, 300 pairs ({ONE})",
        "Beta(8, 2)",
        partial(trial, count=25, beta=(8, 2), pairs=300, per_pair=2),
    ),
    Case("raters", f"one of 20 raters contradicts, 3 a pair, 200 pairs ({ONE})", "25%", contrary),
    Case(
        "raters",
        f"6 raters unlike, no pair twice, texts tell 97% ({ONE})",
        "Beta(8, 2)",
        partial(trial, count=6, beta=(8, 2), pairs=900, per_pair=1, told=0.97),
    ),
    Case(
        "raters",
        "6 raters alike, no pair twice, texts tell 97%",
        "80%",
        partial(trial, count=6, beta=0.8, pairs=900, per_pair=1, told=0.97),
    ),
    Case(
        "raters",
        "6 raters unlike, no pair twice, texts tell nothing",
        "cannot know",
        partial(trial, count=6, beta=(8, 2), pairs=400, per_pair=1),
    ),
    Case(
        "raters",
        "2 raters judge every pair: which of them errs",
        "cannot know",
        partial(trial, count=2, beta=(8, 2), pairs=200, per_pair=2),
    ),
]
CASES = [replace(case, trial=partial(fresh, of=case.trial)) for case in CASES]
