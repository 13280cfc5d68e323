"""What lies on the surface, planted in HH helpful's answers: emptiness, contradiction, length,
writers, random labels.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
from scipy.special import expit

from coverage.case import Case, Trial, judged
from coverage.public import here, rows
from holdfast.checkup.comparisons import Comparisons
from holdfast.checkup.findings.answer_models import answer_models
from holdfast.checkup.findings.contradictions import contradictions
from holdfast.checkup.findings.separability import separability
from holdfast.checkup.request import CheckRequest
from holdfast.checkup.table import EMPTY_ANSWERS, LENGTH_BIAS
from holdfast.inputs.swap import swapped_row
from holdfast.stats.intervals import Estimate
from holdfast.text.plain import plain_text
from holdfast.types import Row

HH = "hh_helpful_base/pairs.jsonl.gz"


def drawn(rng: np.random.Generator, n: int) -> list[Row]:
    """n of its comparisons, each once, none with an answer that says nothing."""
    there = [
        row
        for row in rows(HH)
        if all(plain_text(side).strip() for side in (row.chosen, row.rejected))
    ]
    return [there[i] for i in rng.choice(len(there), n, replace=False)]


def silent(seed: int, *, rate: float) -> Trial:
    rng = np.random.default_rng(seed)
    said = [replace(row, chosen="N/A") if rng.random() < rate else row for row in drawn(rng, 400)]
    return judged(EMPTY_ANSWERS.run(Comparisons.of(said), CheckRequest(seed=seed)), rate)


def both_ways(seed: int, *, flip: float) -> Trial:
    """Three raters a pair, each wrong at the rate: labeled both ways with chance 1 - (1 - e)^3 -
    e^3.
    """
    rng = np.random.default_rng(seed)
    made = [
        replace(swapped_row(row) if rng.random() < flip else row, rater=f"r{k}")
        for row in drawn(rng, 200)
        for k in range(3)
    ]
    return judged(
        contradictions(Comparisons.of(made), CheckRequest(seed=seed)), 1 - (1 - flip) ** 3 - flip**3
    )


def by_length(seed: int, *, slope: float) -> Trial:
    rng = np.random.default_rng(seed)
    made = []
    for row in drawn(rng, 600):
        gap = np.log1p(len(plain_text(row.chosen))) - np.log1p(len(plain_text(row.rejected)))
        made.append(row if rng.random() < expit(slope * gap) else swapped_row(row))
    found = LENGTH_BIAS.run(Comparisons.of(made), CheckRequest(seed=seed))
    return judged(found, slope, Estimate(**found.numbers["slope"]))


def by_coin(seed: int) -> Trial:
    rng = np.random.default_rng(seed)
    return judged(
        separability(
            Comparisons.of(
                swapped_row(row) if rng.random() < 0.5 else row for row in drawn(rng, 500)
            ),
            CheckRequest(seed=seed),
        ),
        0.5,
    )


def by_writer(seed: int, *, share: float) -> Trial:
    rng = np.random.default_rng(seed)
    made = []
    for row in drawn(rng, 500):
        won, lost = ("strong", "weak") if rng.random() < share else ("weak", "strong")
        made.append(replace(row, extra={**row.extra, "chosen_model": won, "rejected_model": lost}))
    return judged(answer_models(Comparisons.of(made), CheckRequest(seed=seed)), share)


CASES = [
    *(
        Case("empty_answers", "HH helpful, 400 rows", f"{r:.0%}", partial(silent, rate=r))
        for r in (0.0, 0.03, 0.1)
    ),
    *(
        Case(
            "contradictions",
            "HH helpful, 200 pairs by 3 raters",
            f"{f:.0%}",
            partial(both_ways, flip=f),
        )
        for f in (0.0, 0.05, 0.2, 0.4)
    ),
    *(
        Case("length_bias", "HH helpful, 600 rows", f"slope {s:g}", partial(by_length, slope=s))
        for s in (0.0, 0.5, 1.5)
    ),
    Case("separability", "HH helpful, 500 rows, random labels", "50%", by_coin),
    *(
        Case(
            "answer_models",
            "HH helpful, 500 rows of two writers",
            f"{s:.0%}",
            partial(by_writer, share=s),
        )
        for s in (0.5, 0.7, 0.95)
    ),
] * bool(here(HH))
