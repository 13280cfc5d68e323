"""Label noise by raters of one pair, alike and unlike: the route of `label_noise` that rests on
their agreement.
"""

from __future__ import annotations

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


UNLIKE = (0.02,) * 4 + (0.1, 0.1, 0.4, 0.45)
CASES = [
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
