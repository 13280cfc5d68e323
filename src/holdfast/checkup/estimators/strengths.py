"""What `strength` says of a comparison: how close the call was, or how its pair's votes fell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from holdfast.checkup.comparisons import Comparisons
from holdfast.stats.arrays import Floats

FEWEST_BOTH = 10  # pairs labeled both ways that tell a vote share from other strengths
NEARLY_ALL = 0.9  # share of them


def numbers_of(values: Sequence[Any]) -> Floats:
    """Values as numbers; NaN where they are none."""

    def one(value: Any) -> float:
        try:
            return float(value)
        except (TypeError, ValueError, OverflowError):
            return np.nan

    out = np.array([one(value) for value in values])
    return np.where(np.isfinite(out), out, np.nan)


def strength_of(data: Comparisons) -> Floats:
    return numbers_of([row.strength for row in data.rows])


def vote_shares(data: Comparisons, strength_N: Floats) -> bool:
    """Whether `strength` says how large a share of its pair's votes a row's side got: the rows with
    the least are then the minority.

    They run against the majority by definition and are not inverted. Told by the pairs that
    are labeled both ways: nearly always both sides' strengths are at most one in sum (less where
    votes were ties), and the side with more rows has the larger one.
    """
    known = (strength_N >= 0) & (strength_N <= 1)
    if not known.all():
        return False
    sides = 2 * data.pair.code_N + data.forward_N
    rows_P2 = np.bincount(sides, minlength=2 * len(data.pair.names)).reshape(-1, 2)
    share_P2 = np.bincount(sides, weights=strength_N, minlength=2 * len(data.pair.names)).reshape(
        -1, 2
    ) / np.maximum(1, rows_P2)
    both = (rows_P2 > 0).all(axis=1)
    more_P, larger_P = np.diff(rows_P2[both])[:, 0], np.diff(share_P2[both])[:, 0]
    as_votes = (share_P2[both].sum(axis=1) <= 1 + 1e-6) & ((more_P == 0) | (more_P * larger_P > 0))
    return len(as_votes) >= FEWEST_BOTH and float(as_votes.mean()) >= NEARLY_ALL
