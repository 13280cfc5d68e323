"""One preference that depends on d bits of context: additively, or by their parity, the worst case
for learning it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from holdfast.stats.arrays import Floats

Learner = Callable[
    [Floats, Floats, Floats], Floats
]  # (bits of all contexts, labels seen in each, those that were 1) -> P for each


def contexts(d: int) -> Floats:
    """All 2^d contexts as rows of -1 and 1."""
    return np.asarray(2.0 * ((np.arange(2**d)[:, None] >> np.arange(d)) & 1) - 1, float)


def preference(bits_CD: Floats, structure: str, rng: np.random.Generator) -> Floats:
    """P(first wins) in each context: sigma of a sum over bits (of standard deviation 1.5), or of
    1.5 x their parity.
    """
    d = bits_CD.shape[1]
    weight_D = rng.standard_normal(d)
    return np.asarray(
        expit(
            bits_CD @ (1.5 * weight_D / np.linalg.norm(weight_D))
            if structure == "additive"
            else 1.5 * bits_CD.prod(1)
        )
    )


def count_table(bits_CD: Floats, seen_C: Floats, ones_C: Floats) -> Floats:
    """Each context by itself: what was seen there, with one label of each kind added."""
    return (ones_C + 1) / (seen_C + 2)


def logistic(bits_CD: Floats, seen_C: Floats, ones_C: Floats) -> Floats:
    """Logistic regression on the bits."""
    there = seen_C > 0
    x, y = np.concatenate([bits_CD[there]] * 2), np.repeat([1, 0], there.sum())
    weight = np.concatenate([ones_C[there], (seen_C - ones_C)[there]])
    if not (0 < ones_C.sum() < seen_C.sum()):
        return np.full(len(bits_CD), 0.5)
    model = LogisticRegression(C=1.0).fit(
        x[weight > 0], y[weight > 0], sample_weight=weight[weight > 0]
    )
    return np.asarray(model.predict_proba(bits_CD)[:, 1])


def labels_needed(
    p_C: Floats,
    bits_CD: Floats,
    learner: Learner,
    rng: np.random.Generator,
    *,
    within: float,
    most: int,
) -> int:
    """Labels until the mean error of the learner's P over contexts is `within`, on a grid of steps
    of sqrt 2; twice `most` if never.
    """
    seen_C, ones_C = np.zeros(len(p_C)), np.zeros(len(p_C))
    size = 64.0
    while size <= most:
        more_C = rng.multinomial(round(size) - int(seen_C.sum()), np.full(len(p_C), 1 / len(p_C)))
        seen_C += more_C
        ones_C += rng.binomial(more_C, p_C)
        if abs(learner(bits_CD, seen_C, ones_C) - p_C).mean() <= within:
            return round(size)
        size *= 2**0.5
    return 2 * most
