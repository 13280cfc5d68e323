"""Comparisons whose words tell: each word is worth something, and the answer worth more is chosen
as Bradley and Terry say.
"""

import numpy as np
from scipy.special import expit

from holdfast.types import Row, Where


def worded(n, seed=0):
    rng = np.random.default_rng(seed)
    worth = 1.5 * rng.normal(size=40)
    rows = []
    for i in range(n):
        said = rng.integers(0, 40, (2, 6))
        first = rng.random() < expit(worth[said[0]].sum() - worth[said[1]].sum())
        one, other = (" ".join(f"w{k}" for k in side) for side in (said if first else said[::-1]))
        rows.append(Row(Where("made", i + 1), f"question {i}", one, other))
    return rows
