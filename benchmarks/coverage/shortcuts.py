"""Length, position, writers and surface: planted at a known size, and not planted at all."""

from __future__ import annotations

from functools import partial

import numpy as np
from scipy.special import expit

from coverage._made import coins, matches, prose, ranking, rows_of, turn
from coverage.case import Case, Trial, judged
from holdfast.checkup.findings.answer_models import answer_models
from holdfast.checkup.findings.position_bias import position_bias
from holdfast.checkup.findings.separability import separability
from holdfast.checkup.request import CheckRequest
from holdfast.checkup.table import LENGTH_BIAS
from holdfast.stats.intervals import Estimate


def by_length(seed: int, *, slope: float, n: int = 600) -> Trial:
    """Two rows a prompt; what the raters of a prompt like varies around the slope."""
    rng = np.random.default_rng(seed)
    rows = coins(rng, n)
    taste_P = rng.normal(slope, 0.5, n)
    for i, row in enumerate(rows):
        row["rejected"] = prose(rng, 8, 80)
        if rng.random() > expit(
            taste_P[i // 2] * (np.log1p(len(row["chosen"])) - np.log1p(len(row["rejected"])))
        ):
            turn(row)
    # the slope of the mixture is nearer 0 than the mean taste: its truth is that of very many rows
    found = LENGTH_BIAS.run(rows_of(rows), CheckRequest(seed=seed))
    return judged(found, _marginal(slope) if slope else 0.0, Estimate(**found.numbers["slope"]))


_KNOWN: dict[float, float] = {}


def _marginal(slope: float) -> float:
    """The one slope that fits the mixture best, by simulation of lengths with 400,000 rows."""
    if slope not in _KNOWN:
        from holdfast.checkup.findings.length_bias import slope_of

        rng = np.random.default_rng(12345)
        texts = [prose(rng) for _ in range(4000)], [prose(rng, 8, 80) for _ in range(4000)]
        one, two = (
            np.log1p([len(t) for t in side])[rng.integers(0, 4000, 400_000)] for side in texts
        )
        x = one - two
        wins = rng.random(len(x)) < expit(rng.normal(slope, 0.5, len(x)) * x)
        _KNOWN[slope] = float(
            slope_of(np.where(wins, x, -x), np.arange(len(x)), level=0.95).value or 0.0
        )
    return _KNOWN[slope]


def by_place(seed: int, *, bonus: float, n: int = 800) -> Trial:
    rng = np.random.default_rng(seed)
    return judged(
        position_bias(matches(rng, n, ranking(rng, 8), bonus=bonus), CheckRequest(seed=seed)),
        float(expit(bonus)),
    )


def by_writer(seed: int, *, share: float, n: int = 500) -> Trial:
    rng = np.random.default_rng(seed)
    rows = coins(rng, n)
    for row in rows:
        strong = rng.random() < share
        row["chosen_model"], row["rejected_model"] = (
            ("strong", "weak") if strong else ("weak", "strong")
        )
    return judged(answer_models(rows_of(rows), CheckRequest(seed=seed)), share)


def by_form(seed: int, *, share: float, n: int = 500) -> Trial:
    rng = np.random.default_rng(seed)
    rows = coins(rng, n)
    for row in rows:
        row["chosen" if rng.random() < share else "rejected"] += " **so it is**"
    return judged(separability(rows_of(rows), CheckRequest(seed=seed)), share)


CASES = [
    *(
        Case(
            "length_bias",
            "600 rows, prompts differ in taste",
            f"slope {s:g}",
            partial(by_length, slope=s),
        )
        for s in (0.0, 0.5, 1.5)
    ),
    *(
        Case(
            "position_bias",
            "800 matches of 8 players",
            f"{expit(b):.0%}",
            partial(by_place, bonus=b),
        )
        for b in (0.0, 0.3, 0.8)
    ),
    *(
        Case("answer_models", "500 rows of two writers", f"{s:.0%}", partial(by_writer, share=s))
        for s in (0.5, 0.7, 0.95)
    ),
    *(
        Case("separability", "500 rows, a mark on one side", f"{s:.0%}", partial(by_form, share=s))
        for s in (0.5, 0.8, 0.95)
    ),
]
