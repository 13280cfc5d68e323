"""Difficulty: made answers scored by a small model of random weights; labels planted with or
against its order.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from coverage._made import coins
from coverage._scored import Pool, cases
from holdfast.types import Row, Where


@lru_cache(maxsize=1)
def pool() -> Pool:
    return Pool.scored(
        [
            Row(Where("made", i + 1), **parts)
            for i, parts in enumerate(coins(np.random.default_rng(0), 3000))
        ]
    )


CASES = cases("300 pairs of 150 prompts", pool, 150)
