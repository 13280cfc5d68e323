"""Label noise by raters of one pair, alike and unlike: the route of `label_noise` that rests on
their agreement.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np

from coverage.case import Case, Trial, judged
from holdfast.checkup.comparisons import Comparisons
from holdfast.checkup.findings.label_noise import RATERS, label_noise
from holdfast.checkup.request import CheckRequest
from holdfast.stats.intervals import NOTHING, Estimate
from holdfast.types import Row, Where

RATES = (0.0, 0.05, 0.2, 0.4)


def judged_pairs(seed: int, *, n: int, flips: tuple[float, ...], per_pair: int) -> Comparisons:
    """Each pair is judged by `per_pair` of the raters, each of whom is wrong at a rate of his
    own.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(n):
        for rater in rng.choice(len(flips), per_pair, replace=False):
            win, lose = (
                (f"a {i}", f"b {i}") if rng.random() >= flips[rater] else (f"b {i}", f"a {i}")
            )
            rows.append(
                Row(Where("made", len(rows) + 1), f"question {i}", win, lose, rater=f"r{rater}")
            )
    return Comparisons.of(rows)


def by_raters(data: Comparisons, seed: int, flip: float) -> Trial:
    """The light of the finding, and the interval of its route by raters."""
    found = label_noise(data, CheckRequest(seed=seed))
    route = found.numbers["routes"].get(RATERS)
    return judged(found, flip, NOTHING if route is None else Estimate(**route))


def trial(seed: int, *, flips: tuple[float, ...], per_pair: int = 3, n: int = 300) -> Trial:
    return by_raters(
        judged_pairs(seed, n=n, flips=flips, per_pair=per_pair), seed, float(np.mean(flips))
    )


def close_calls(seed: int, *, flip: float, n: int = 500) -> Trial:
    """Three raters a pair, wrong in half of the closest calls and in none of the clearest, and then
    flipped at a rate; `strength` says how close the call was.
    """
    rng = np.random.default_rng([seed, 6])
    rows = []
    for i in range(n):
        margin = rng.random()
        for rater in range(3):
            wrong = (rng.random() < 0.5 * (1 - margin) ** 2) != (rng.random() < flip)
            win, lose = (f"b {i}", f"a {i}") if wrong else (f"a {i}", f"b {i}")
            where = Where("made", len(rows) + 1)
            rows.append(
                Row(where, f"question {i}", win, lose, rater=f"r{rater}", strength=5 * margin)
            )
    return judged(label_noise(Comparisons.of(rows), CheckRequest(seed=seed)), flip)


def without_raters(seed: int, *, flip: float, n: int = 300) -> Trial:
    """Three rows a pair, of which none says who judged it."""
    data = judged_pairs(seed, n=n, flips=(flip,) * 3, per_pair=3)
    rows = [replace(row, rater=None) for row in data.rows]
    return judged(label_noise(Comparisons.of(rows), CheckRequest(seed=seed)), flip)


def opinions(seed: int, *, people: int = 100, films: int = 5) -> Trial:
    """People of one taste rank films: nothing is flipped."""
    rng = np.random.default_rng([seed, 7])
    rows = []
    for k in range(people):
        worth = -0.4 * np.arange(films) + rng.gumbel(size=films)
        for a in range(films):
            for b in range(a):
                win, lose = (a, b) if worth[a] > worth[b] else (b, a)
                sides = (f"film {win}", f"film {lose}")
                rows.append(Row(Where("made", len(rows) + 1), "Which?", *sides, rater=f"p{k}"))
    return judged(label_noise(Comparisons.of(rows), CheckRequest(seed=seed)), None)


UNLIKE = (0.02,) * 4 + (0.1, 0.1, 0.4, 0.45)
CASES = [
    *(
        Case(
            "label_noise",
            "500 pairs by 3 raters, close calls by `strength`",
            f"{rate:.0%}",
            partial(close_calls, flip=rate),
        )
        for rate in (0.0, 0.1)
    ),
    *(
        Case(
            "label_noise",
            "300 pairs in 3 rows each, no raters given",
            f"{rate:.0%}",
            partial(without_raters, flip=rate),
        )
        for rate in (0.0, 0.1, 0.3)
    ),
    Case("label_noise", "100 people of one taste rank 5 films", "none", opinions),
    *(
        Case(
            "label_noise",
            "300 pairs by 3 of 8 raters alike",
            f"{rate:.0%}",
            partial(trial, flips=(rate,) * 8),
        )
        for rate in RATES
    ),
    Case(
        "label_noise",
        "300 pairs by 3 of 8 raters unlike (2 to 45%)",
        f"{np.mean(UNLIKE):.0%}",
        partial(trial, flips=UNLIKE),
    ),
]
