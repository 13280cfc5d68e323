"""How the scores of an ensemble's members become one score, and how far apart the members are.

    pool = parse_pool("uncertainty_weighted:weight=0.5")
    pool(score_MN)                       # (N,)
    epistemic(score_MN)                  # the interval of the members' mean

Members are pooled on a common scale: comparisons leave the offset of a reward open, and the worst
case of members with different offsets would follow the lowest one. `Scale` takes each member's mean
and spread on held-out answers out of its scores.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from holdfast.card import check
from holdfast.reductions import parsed

Floats = NDArray[np.float64]
Pool = Callable[[Floats], Floats]


def mean() -> Pool:
    """The members' mean."""
    return lambda score_MN: np.mean(score_MN, axis=0)


def worst_case() -> Pool:
    """The lowest member (WCO; Coste et al. 2023, equation 3)."""
    return lambda score_MN: np.min(score_MN, axis=0)


def uncertainty_weighted(*, weight: float = 0.5) -> Pool:
    """mean - weight x variance, the variance that divides by M (UWO; Coste et al. 2023, equation
    4).

    Args:
        weight: in reciprocal units of the standardized score; 0.1 to 2
    """
    check("weight", weight, lambda: 0 <= weight < inf, "be at least 0 and finite")
    return lambda score_MN: np.mean(score_MN, axis=0) - weight * np.var(score_MN, axis=0)


def quantile(*, q: float = 0.25) -> Pool:
    """The members' q-quantile, linearly between members: 0 is the worst case, 0.5 the median.

    Args:
        q: between 0 and 1
    """
    check("q", q, lambda: 0 <= q <= 1, "be between 0 and 1")
    return lambda score_MN: np.quantile(score_MN, q, axis=0)


POOLS: dict[str, Callable[..., Pool]] = {
    "mean": mean,
    "worst_case": worst_case,
    "uncertainty_weighted": uncertainty_weighted,
    "quantile": quantile,
}


def parse_pool(text: str) -> Pool:
    """The pool written as "mean", "worst_case", "uncertainty_weighted:weight=0.5" or
    "quantile:q=0.25".

    Raises:
        OptionError: no such pool or setting, or one out of range.
    """
    return parsed(text, POOLS, "pool")


@dataclass(frozen=True)
class Scale:
    """Center and spread of each member's scores, (M,), on the answers it was held out on."""

    center_M: Floats
    spread_M: Floats

    def __call__(self, score_MN: Floats) -> Floats:
        made: Floats = (score_MN - self.center_M[:, None]) / self.spread_M[:, None]
        return made


def epistemic(score_MN: Floats, level: float = 0.95) -> tuple[Floats, Floats]:
    """(low_N, high_N): where one more member, trained the same way, would put its score with
    probability `level`, from a t distribution with M - 1 degrees of freedom.

        mean +- t sd sqrt(1 + 1/M)

    It is about what members disagree on, and no more: what all of them get wrong alike it does not
    see. One member gives an interval without end.
    """
    m = len(score_MN)
    mean_N = np.mean(score_MN, axis=0)
    if m < 2:
        return np.full_like(mean_N, -np.inf), np.full_like(mean_N, np.inf)
    half_N = (
        stats.t.ppf((1 + level) / 2, m - 1) * np.std(score_MN, axis=0, ddof=1) * np.sqrt(1 + 1 / m)
    )
    return mean_N - half_N, mean_N + half_N
