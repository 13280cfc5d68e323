"""Representation: two groups whose labels follow one taste, each inverted at a rate of its
own; four rows of a to one of b.

The interval is of the fitted reward, so the truth is how the groups agree with what it says of
these rows; with coins, nobody does.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from coverage.case import Case, Trial, judged
from holdfast.checkup.comparisons import Comparisons
from holdfast.checkup.estimators.features import preference_model
from holdfast.checkup.findings.representation import representation
from holdfast.checkup.request import CheckRequest
from holdfast.types import Row, Where

TARGET = {"a": 0.5, "b": 0.5}


def grouped(
    seed: int, *, flips: tuple[float, float], n: int = 400, raters: int = 40, share: float = 0.8
) -> Comparisons:
    """Every pair has an answer that the common taste prefers; a rater of group k chooses the other
    at the rate flips[k].
    """
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(n):
        rater = int(rng.integers(raters))
        k = int(rater >= share * raters)
        sides = [
            f"{word} " + " ".join(f"w{w}" for w in rng.integers(0, 50, 8))
            for word in ("lovely", "awful")
        ]
        if rng.random() < flips[k]:
            sides.reverse()
        rows.append(
            Row(Where("made", i + 1), f"question {i}", *sides, rater=f"r{rater}", group="ab"[k])
        )
    return Comparisons.of(rows)


def trial(seed: int, *, flips: tuple[float, float]) -> Trial:
    data = grouped(seed, flips=flips)
    knows_N = (
        preference_model(data, seed=seed).logit_N
        * np.where([row.chosen.startswith("lovely") for row in data.rows], 1, -1)
        > 0
    )
    in_b_N = data.group.code_N == data.group.names.index("b")
    value_a, value_b = (
        float(np.where(knows_N[of_k], 1 - f, f).mean())
        for of_k, f in zip((~in_b_N, in_b_N), flips, strict=True)
    )
    truth = abs((TARGET["b"] - in_b_N.mean()) * (value_b - value_a))
    return judged(
        representation(data, CheckRequest(seed=seed, population=TARGET, quiet=True)), truth
    )


def coins(seed: int, *, n: int = 400, raters: int = 40, share: float = 0.8) -> Trial:
    """Labels at random, about answers in each group's own words: models of other rows judge the
    rows of a group alike, by chance.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for i, rater in enumerate(rng.integers(raters, size=n).tolist()):
        group = "ab"[int(rater >= share * raters)]
        sides = [" ".join(f"{group}{w}" for w in rng.integers(0, 30, 8)) for _ in range(2)]
        rows.append(
            Row(Where("made", i + 1), f"question {i}", *sides, rater=f"r{rater}", group=group)
        )
    return judged(
        representation(
            Comparisons.of(rows), CheckRequest(seed=seed, population=TARGET, quiet=True)
        ),
        0.0,
    )


CASES = [
    Case(
        "representation",
        "400 pairs, 40 raters; groups agree with one taste in 90% and 60%",
        "9%",
        partial(trial, flips=(0.1, 0.4)),
    ),
    Case(
        "representation",
        "400 pairs, 40 raters; groups agree in 80% and 70%",
        "3%",
        partial(trial, flips=(0.2, 0.3)),
    ),
    Case(
        "representation",
        "400 pairs, 40 raters; groups alike",
        "0%",
        partial(trial, flips=(0.2, 0.2)),
    ),
    Case(
        "representation", "400 pairs, 40 raters; coins, groups of words of their own", "0%", coins
    ),
]
