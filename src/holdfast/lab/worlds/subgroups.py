"""Raters of two subgroups: linear rewards over the same features, at a given cosine, and labels by
Bradley-Terry.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from holdfast.stats.arrays import Floats

RATERS, MINORITY, FEATURES, NORM = 100, 20, 8, 2.0
CAMP_R = (np.arange(RATERS) >= RATERS - MINORITY).astype(int)  # the majority is subgroup 0


def tastes(rng: np.random.Generator, cosine: float) -> Floats:
    """Each subgroup's reward: 2 x features, both of length 2."""
    basis_2D = np.linalg.qr(rng.standard_normal((FEATURES, 2)))[0].T
    return NORM * np.stack(
        [basis_2D[0], cosine * basis_2D[0] + np.sqrt(1 - cosine**2) * basis_2D[1]]
    )


def labels(
    rng: np.random.Generator, theta_KD: Floats, each: int
) -> tuple[Floats, NDArray[np.int64]]:
    """`each` labels from every rater: differences of features, chosen minus rejected, and the rater
    of each.
    """
    x = rng.standard_normal((RATERS, each, FEATURES))
    right = rng.random((RATERS, each)) < expit(np.einsum("rld,rd->rl", x, theta_KD[CAMP_R]))
    return (x * np.where(right, 1.0, -1.0)[..., None]).reshape(-1, FEATURES), np.repeat(
        np.arange(RATERS), each
    )
