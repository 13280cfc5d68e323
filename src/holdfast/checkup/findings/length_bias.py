"""Whether the longer answer wins, how steeply, and how long the answers are."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from scipy.special import expit
from scipy.stats import t as student

from holdfast.checkup.comparisons import Comparisons
from holdfast.checkup.request import CheckRequest
from holdfast.checkup.result import NotApplicable
from holdfast.stats.arrays import Floats, Ints
from holdfast.stats.intervals import Estimate, mean_interval

NOTICEABLE = float(np.log(1.05))  # lengths that a reader would call different
BINS = 8
QUANTILES = (0.1, 0.5, 0.9)
# slope at which an answer a tenth longer has 17 times the odds: a fit that runs past it has no
# maximum to be told
STEEPEST = 30.0


@dataclass(frozen=True)
class LengthBin:
    """Pairs whose longer answer is `low_ratio` to `high_ratio` times as long, `median_ratio` in the
    middle, and the share of them that it wins."""

    low_ratio: float
    high_ratio: float
    median_ratio: float
    longer_wins: Estimate
    pairs: int

    def to_dict(self) -> dict[str, Any]:
        won = self.longer_wins
        return {
            "from": self.low_ratio,
            "to": self.high_ratio,
            "at": self.median_ratio,
            "value": won.value,
            "low": won.low,
            "high": won.high,
            "pairs": self.pairs,
        }


@dataclass(frozen=True)
class LengthBias:
    """How length and winning go together. Lengths are characters.

    Attributes:
        longer_wins: share of the pairs of unequal length that the longer answer wins
        noticeable_longer_wins: the same of pairs that differ by 5% or more
        slope: b of logit P(win) = b log(length / other's length); without value where length all
            but decides who wins
        pairs: pairs examined
        equal: of them, equally long
        noticeable: of them, different by 5% or more
        noticeable_prompts: prompts that those stand under
        median_difference: characters, of the pairs of unequal length; None where there is none
        quantiles: 10%, median and 90% of the lengths, of chosen and of rejected answers
        bins: by how many times as long the longer answer is
    """

    longer_wins: Estimate
    noticeable_longer_wins: Estimate
    slope: Estimate
    pairs: int
    equal: int
    noticeable: int
    noticeable_prompts: int
    median_difference: float | None
    quantiles: dict[str, list[float]]
    bins: tuple[LengthBin, ...]

    def to_dict(self) -> dict[str, Any]:
        longer = {"longer_wins": self.longer_wins.to_dict()}
        if self.equal == self.pairs:
            return longer
        return longer | {
            "slope": self.slope.to_dict(),
            "bins": [one.to_dict() for one in self.bins],
            "quantiles": self.quantiles,
            "equal": self.equal,
            "noticeable": self.noticeable,
            "noticeable_longer_wins": self.noticeable_longer_wins.to_dict(),
            "median_difference_characters": self.median_difference,
        }


def length_bias(data: Comparisons, request: CheckRequest) -> LengthBias | NotApplicable:
    """The slope b of logit P(win) = b log(length / other's length), and the share of comparisons
    that the longer answer wins.

    b = 1 says that an answer twice as long has twice the odds. Lengths are characters, plus one.
    The slope's interval is the cluster-robust one (Liang and Zeger 1986), a cluster a prompt. A
    slope is not proof of bias: longer answers may be better.
    """
    if data.named:
        return NotApplicable(
            "These are head-to-head results between names; there are no answers to measure."
        )
    chosen_N, rejected_N = lengths(data)
    x_N, clusters_N = log_ratio(chosen_N, rejected_N), data.cluster_N
    unequal_N, noticeable_N = x_N != 0, np.abs(x_N) >= NOTICEABLE

    def longer_wins(among_N: np.ndarray) -> Estimate:
        return mean_interval(
            np.where(among_N, x_N > 0, np.nan),
            clusters_N.tolist(),
            level=request.level,
            seed=request.seed,
        )

    apart_N = np.abs(chosen_N - rejected_N)[unequal_N]
    return LengthBias(
        longer_wins(unequal_N),
        longer_wins(noticeable_N),
        slope_of(x_N, clusters_N, level=request.level),
        len(x_N),
        int((~unequal_N).sum()),
        int(noticeable_N.sum()),
        len(np.unique(clusters_N[noticeable_N])),
        float(np.median(apart_N)) if len(apart_N) else None,
        {
            side: np.quantile(values_N, QUANTILES).tolist()
            for side, values_N in (("chosen", chosen_N), ("rejected", rejected_N))
        },
        _bins(x_N, clusters_N, request) if len(apart_N) else (),
    )


def lengths(data: Comparisons) -> tuple[Floats, Floats]:
    """Characters of the chosen and of the rejected answers."""
    chosen_N, rejected_N = (
        np.array([len(text) for text in side], float) for side in (data.chosen, data.rejected)
    )
    return chosen_N, rejected_N


def log_ratio(chosen_N: Floats, rejected_N: Floats) -> Floats:
    """The log of how many times as long the chosen answer is, of lengths plus one."""
    x_N: Floats = np.log1p(chosen_N) - np.log1p(rejected_N)
    return x_N


def slope_of(x_N: Floats, cluster_N: Ints, *, level: float) -> Estimate:
    """The maximum-likelihood b of P(chosen wins) = sigma(b x), with a cluster-robust interval (none
    with a single cluster).

    There is no maximum where x decides every row, and none to be told where the fit runs past
    `STEEPEST`: then there is no estimate.
    """
    used = x_N != 0
    x_N, cluster_N = x_N[used], cluster_N[used]
    clusters = len(np.unique(cluster_N))
    if not len(x_N):
        return Estimate(None)
    b = 0.0
    for _ in range(50):
        p_N = expit(-b * x_N)
        bend = float((x_N**2 * p_N * (1 - p_N)).sum())
        step = float((x_N * p_N).sum()) / max(bend, 1e-9)
        b += float(np.clip(step, -1, 1))
        if abs(step) < 1e-9 or abs(b) > STEEPEST:
            break
    if (x_N > 0).all() or (x_N < 0).all() or abs(b) > STEEPEST:
        return Estimate(None, n=len(x_N), clusters=clusters, level=level)
    if clusters < 2:
        return Estimate(b, n=len(x_N), clusters=clusters, level=level)
    p_N = expit(-b * x_N)
    _, code_N = np.unique(cluster_N, return_inverse=True)
    score_C = np.bincount(code_N, weights=x_N * p_N)
    bend = float((x_N**2 * p_N * (1 - p_N)).sum())
    error = np.sqrt(clusters / (clusters - 1) * (score_C**2).sum()) / bend
    half = float(student.ppf((1 + level) / 2, clusters - 1) * error)
    return Estimate(b, b - half, b + half, len(x_N), clusters, "cluster-robust", level)


def _bins(x_N: Floats, cluster_N: Ints, request: CheckRequest) -> tuple[LengthBin, ...]:
    """Share of wins of the longer answer, by how many times as long it is: bins of equally many
    comparisons.
    """
    size_N = np.abs(x_N)
    edges = np.unique(np.quantile(size_N[size_N > 0], np.linspace(0, 1, BINS + 1)))
    bins = []
    for k, (low, high) in enumerate(pairwise(edges)):
        inside = (
            (size_N >= low)
            & (size_N <= high if k == len(edges) - 2 else size_N < high)
            & (size_N > 0)
        )
        if inside.any():
            won = mean_interval(
                x_N[inside] > 0,
                cluster_N[inside].tolist(),
                level=request.level,
                seed=request.seed,
                resamples=300,
            )
            middle = float(np.exp(np.median(size_N[inside])))
            bins.append(
                LengthBin(float(np.exp(low)), float(np.exp(high)), middle, won, int(inside.sum()))
            )
    return tuple(bins)
