"""Duplicates: rows of HH that stand in the file again, copied at a known rate."""

from __future__ import annotations

from functools import partial

import numpy as np

from coverage.case import Case, Trial, judged
from coverage.public import here, rows
from holdfast.checkup.comparisons import Comparisons
from holdfast.checkup.findings.duplicates import duplicates
from holdfast.checkup.request import CheckRequest

HH = "hh_helpful_base/pairs.jsonl.gz"
N = 400


def planted(seed: int, *, rate: float) -> Trial:
    """N rows: those of a draw of different comparisons, and copies of some of them."""
    rng = np.random.default_rng(seed)
    once = list(
        {(str(row.prompt), str(row.chosen), str(row.rejected)): row for row in rows(HH)}.values()
    )
    copies = int(rng.binomial(N, rate))
    kept = [once[i] for i in rng.choice(len(once), N - copies, replace=False)]
    made = kept + [kept[i] for i in rng.choice(len(kept), copies, replace=False)]
    data = Comparisons.of(made[i] for i in rng.permutation(N))
    return judged(duplicates(data, CheckRequest(seed=seed)), rate)


CASES = [
    Case(
        "duplicates",
        f"HH helpful, {N} rows, some twice",
        f"{rate:.0%}",
        partial(planted, rate=rate),
    )
    for rate in (0.0, 0.05, 0.2)
    if here(HH)
]
