"""Label noise without raters: labels of public sets that are right by construction, or of a hidden
taste, flipped at a known rate.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from scipy.special import expit

from coverage.case import Case, Trial, judged
from coverage.public import here, rows
from holdfast.checkup.comparisons import Comparisons
from holdfast.checkup.findings.label_noise import MODEL, label_noise
from holdfast.checkup.request import CheckRequest
from holdfast.inputs.swap import swapped_row
from holdfast.stats.intervals import Estimate
from holdfast.text.plain import plain_text
from holdfast.types import Row

DOMAINS, UKP, GSM, HH = (
    f"{name}/pairs.jsonl.gz"
    for name in ("dsp_domains_nc", "ukp_arguments", "gsm8k_solutions", "hh_helpful_base")
)
WORD = re.compile(r"\w+")


def found_in(kept: Sequence[Row], seed: int, flip: float, rng: np.random.Generator) -> Trial:
    data = Comparisons.of(swapped_row(row) if rng.random() < flip else row for row in kept)
    found = label_noise(data, CheckRequest(seed=seed))
    return judged(found, flip, Estimate(**found.numbers["routes"][MODEL]))


def domains(seed: int, *, flip: float) -> Trial:
    """The answer written for one's own domain beats the others' by construction; one domain a
    trial, raters and groups not told.
    """
    rng = np.random.default_rng(seed)
    groups = sorted({str(row.group) for row in rows(DOMAINS)})
    own = [
        replace(row, rater=None, group=None)
        for row in rows(DOMAINS)
        if row.group == groups[seed % len(groups)]
    ]
    return found_in([own[i] for i in rng.choice(len(own), 1500, replace=False)], seed, flip, rng)


def unanimous(seed: int, *, flip: float) -> Trial:
    """Arguments on which all five votes went one way, each pair once."""
    rng = np.random.default_rng(seed)
    alike = {(row.chosen, row.rejected): row for row in rows(UKP) if float(row.strength or 0) >= 1}
    kept = [replace(row, rater=None, group=None, strength=None) for row in alike.values()]
    return found_in(
        [kept[i] for i in rng.choice(len(kept), min(len(kept), 1500), replace=False)],
        seed,
        flip,
        rng,
    )


def certain(seed: int, *, flip: float) -> Trial:
    """Right solutions of a sum over wrong ones, which no cheap feature tells apart."""
    rng = np.random.default_rng(seed)
    there = [replace(row, rater=None) for row in rows(GSM)]
    return found_in(
        [there[i] for i in rng.choice(len(there), 1000, replace=False)], seed, flip, rng
    )


def tasted(
    seed: int, *, flip: float, share: float = 0.1, strength: float = 4.0, unseen: float = 0.3
) -> Trial:
    """Real answers, verdicts by Bradley-Terry from a hidden worth of some words, and of something
    that is in no word.
    """
    rng = np.random.default_rng(seed)
    kept = rows(HH)
    worth: dict[str, float] = {}
    gap_N = np.empty(len(kept))
    for i, row in enumerate(kept):
        sides = [WORD.findall(plain_text(side).lower()) for side in (row.chosen, row.rejected)]
        for word in (word for side in sides for word in side if word not in worth):
            worth[word] = float(rng.normal()) if rng.random() < share else 0.0
        gap_N[i] = sum(worth[word] for word in sides[0]) - sum(worth[word] for word in sides[1])
    gap_N = strength * (gap_N / gap_N.std() + unseen * rng.normal(size=len(kept)))
    wins_N = rng.random(len(kept)) < expit(gap_N)
    return found_in(
        [row if wins else swapped_row(row) for row, wins in zip(kept, wins_N, strict=True)],
        seed,
        flip,
        rng,
    )


CASES = [
    Case("label_noise", planted, f"{rate:.0%}", partial(trial, flip=rate))
    for name, planted, trial, rates in [
        (
            DOMAINS,
            "domain answers (right by construction), 1,500 pairs",
            domains,
            (0.0, 0.05, 0.2, 0.4),
        ),
        (UKP, "UKPConvArg, unanimous pairs, 1,500", unanimous, (0.0, 0.05, 0.2, 0.4)),
        (HH, "HH helpful answers, a hidden taste in words", tasted, (0.0, 0.2)),
        (GSM, "GSM8K solutions (right by construction), 1,000 pairs", certain, (0.05, 0.4)),
    ]
    if here(name)
    for rate in rates
]
