"""Label noise: Bradley-Terry verdicts on made answers, flipped at a known rate; and texts that say
nothing.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from check import made_rows
from scipy.special import expit

from coverage.case import Case, Trial, judged
from holdfast.checkup.comparisons import Comparisons
from holdfast.checkup.findings.label_noise import MODEL, label_noise
from holdfast.checkup.request import CheckRequest
from holdfast.stats.intervals import Estimate
from holdfast.types import Row, Where

WORDS, WORTH_SD = (
    100,
    2.0,
)  # a made language: each word is worth something; a fifth of what an answer is worth is in no word
RATES = (0.0, 0.05, 0.2, 0.4)


def answers(
    rng: np.random.Generator, n: int, worth_W: np.ndarray, strength: float
) -> tuple[list[str], np.ndarray]:
    """Answers of 20 to 60 words, and their worth."""
    lengths = rng.integers(20, 61, n)
    ids = [rng.integers(0, WORDS, length) for length in lengths]
    return [" ".join(f"w{i}" for i in words) for words in ids], np.array(
        [strength * worth_W[words].sum() for words in ids]
    )


def pairs(seed: int, *, n: int, flip: float, strength: float = 1.0) -> Comparisons:
    rng = np.random.default_rng(seed)
    worth_W = (
        rng.normal(size=WORDS) * WORTH_SD * (rng.random(WORDS) < 0.1)
    )  # a tenth of the words matter
    (a, worth_a), (b, worth_b) = (
        answers(rng, n, worth_W, strength),
        answers(rng, n, worth_W, strength),
    )
    first = (rng.random(n) < expit(worth_a - worth_b)) ^ (rng.random(n) < flip)
    return Comparisons.of(
        Row(
            Where("made", i + 1),
            f"question {i // 2}",
            a[i] if first[i] else b[i],
            b[i] if first[i] else a[i],
        )
        for i in range(n)
    )


def by_model(seed: int, *, flip: float, n: int = 3000, strength: float = 1.0) -> Trial:
    found = label_noise(pairs(seed, n=n, flip=flip, strength=strength), CheckRequest(seed=seed))
    return judged(found, flip, Estimate(**found.numbers["routes"][MODEL]))


def spread_out(seed: int, *, flip: float, n: int = 6000) -> Trial:
    """The text of `benchmarks/check.py`: every one of 30,000 words is worth something, so that no
    model of 6,000 pairs is nearly right.
    """
    made = made_rows(n, seed, flip=flip)
    data = Comparisons.of(
        Row(Where("made", i + 1), row["prompt"], row["chosen"], row["rejected"])
        for i, row in enumerate(made)
    )
    found = label_noise(data, CheckRequest(seed=seed))
    return judged(found, flip, Estimate(**found.numbers["routes"][MODEL]))


CASES = [
    *(
        Case(
            "label_noise",
            "6,000 pairs, worth spread over 30,000 words",
            f"{rate:.0%}",
            partial(spread_out, flip=rate),
        )
        for rate in (0.0, 0.2)
    ),
    *(
        Case(
            "label_noise",
            "3,000 pairs, no raters, Bradley-Terry",
            f"{rate:.0%}",
            partial(by_model, flip=rate),
        )
        for rate in RATES
    ),
    *(
        Case(
            "label_noise",
            "weak texts: 1,000 pairs, a tenth of the strength",
            f"{rate:.0%}",
            partial(by_model, flip=rate, n=1000, strength=0.1),
        )
        for rate in (0.0, 0.2)
    ),
]
