"""Difficulty: HH comparisons scored by a small model of random weights; labels planted with or
against its order.
"""

from __future__ import annotations

from functools import lru_cache

from coverage._scored import Pool, cases
from coverage.public import here, rows

HH = "hh_helpful_base/pairs.jsonl.gz"


@lru_cache(maxsize=1)
def pool() -> Pool:
    return Pool.scored(rows(HH))


CASES = cases("HH helpful, 200 prompts", pool, 200) if here(HH) else []
