"""How sure a mean is, when rows that share a prompt are not independent.

Rows with the same prompt form a cluster; clusters are drawn again with replacement, whole (the
cluster bootstrap). The mean over rows of a resample is sum(cluster sums) / sum(cluster sizes), so
clusters of unequal size are counted as they came. The interval is the bias-corrected and
accelerated one (BCa; Efron 1987), from scipy, expanded for few clusters as in Hesterberg (2015,
"What Teachers Should Know About the Bootstrap"): the quantiles asked for are those of a t with C -
1 degrees of freedom, times sqrt(C / (C - 1)).

Beyond `LARGEST_BOOTSTRAP` clusters the interval is the one that the bootstrap tends to: the ratio
linearized, with a t quantile.

Where every value is the same 0 or the same 1 a bootstrap has nothing to vary; there the interval is
Wilson's, one trial a cluster.
"""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

LARGEST_BOOTSTRAP = (
    10_000  # clusters; beyond, resamples cost seconds and change the third digit of the width
)
# clusters; beyond, its correction is far below the interval's width and its jackknife is quadratic
LARGEST_BCA = 2000


@dataclass(frozen=True)
class Estimate:
    """A number with its interval: the one type of the whole package. `value` is None where there is
    nothing to estimate, `low` and `high` where the data cannot say: of a mean over rows, fewer than
    two clusters.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    n: int = 0  # rows
    clusters: int = 0
    method: str = ""  # how the interval was made, "" if there is none
    level: float = 0.95

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def point(self) -> float:
        """The value, where there is one."""
        if self.value is None:
            raise ValueError("there is nothing to estimate")
        return self.value

    @property
    def ends(self) -> tuple[float, float]:
        """(low, high), where there is an interval."""
        if self.low is None or self.high is None:
            raise ValueError("there is no interval")
        return self.low, self.high

    @property
    def width(self) -> float:
        low, high = self.ends
        return high - low

    def holds(self, truth: float) -> bool:
        """Whether the interval holds this number."""
        low, high = self.ends
        return low <= truth <= high

    def above(self, bound: float) -> bool:
        """Whether the whole interval lies above; False where there is none."""
        return self.low is not None and self.low > bound

    def below(self, bound: float) -> bool:
        """Whether the whole interval lies below; False where there is none."""
        return self.high is not None and self.high < bound

    def overlaps(self, other: Estimate) -> bool:
        """Whether the two intervals touch; True where either has none, since then nothing can be
        told apart.
        """
        if self.low is None or self.high is None or other.low is None or other.high is None:
            return True
        return self.low <= other.high and other.low <= self.high


NOTHING = Estimate(None)


def mean_interval(
    values: ArrayLike,
    clusters: Sequence[Hashable] | None = None,
    *,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Estimate:
    """The mean of `values` (N,) with a bootstrap interval over `clusters` (N labels; default: every
    row its own).

    NaN values are rows that do not have this number, and are left out. Draws from a generator of
    its own.
    """
    values_N = np.asarray(values, dtype=float)
    labels: list[Hashable] = list(range(len(values_N))) if clusters is None else list(clusters)
    if len(labels) != len(values_N):
        raise ValueError(f"{len(values_N)} values but {len(labels)} cluster labels")
    kept = np.isfinite(values_N)
    sums_C, sizes_C = _cluster(values_N, labels, kept)
    n, count = int(kept.sum()), len(sums_C)
    if n == 0:
        return NOTHING
    mean = float(sums_C.sum() / sizes_C.sum())
    if count < 2 or resamples < 1:
        return Estimate(mean, n=n, clusters=count, level=level)
    if np.ptp(values_N[kept]) == 0:
        return _constant(mean, n, count, level)
    if count > LARGEST_BOOTSTRAP:
        low, high, method = _linearized(sums_C, sizes_C, level)
    else:
        low, high, method = _bootstrap(sums_C, sizes_C, resamples, level, seed)
    return Estimate(mean, low, high, n, count, method, level)


def _cluster(
    values_N: NDArray[Any], labels: list[Hashable], kept: NDArray[Any]
) -> tuple[NDArray[Any], NDArray[Any]]:
    numbers: dict[Hashable, int] = {}
    of_N = np.array(
        [
            numbers.setdefault(label, len(numbers))
            for label, keep in zip(labels, kept.tolist(), strict=True)
            if keep
        ],
        dtype=int,
    )
    sizes_C = np.bincount(of_N, minlength=len(numbers)).astype(float)
    return np.bincount(of_N, weights=values_N[kept], minlength=len(numbers)), sizes_C


def _constant(mean: float, n: int, clusters: int, level: float) -> Estimate:
    if mean in (0.0, 1.0):
        wilson = stats.binomtest(int(mean) * clusters, clusters).proportion_ci(
            level, method="wilson"
        )
        return Estimate(
            mean,
            float(wilson.low),
            float(wilson.high),
            n,
            clusters,
            "Wilson, one trial a cluster",
            level,
        )
    return Estimate(mean, n=n, clusters=clusters, level=level)


def _ratio(sums: NDArray[Any], sizes: NDArray[Any], axis: int = -1) -> NDArray[Any]:
    return sums.sum(axis=axis) / sizes.sum(axis=axis)


def _linearized(
    sums_C: NDArray[Any], sizes_C: NDArray[Any], level: float
) -> tuple[float, float, str]:
    """The interval of a ratio of sums whose error is that of sum(sums - mean * sizes) /
    sum(sizes).
    """
    count, mean = len(sums_C), float(sums_C.sum() / sizes_C.sum())
    error = np.sqrt(count / (count - 1) * ((sums_C - mean * sizes_C) ** 2).sum()) / sizes_C.sum()
    half = float(stats.t.ppf((1 + level) / 2, count - 1) * error)
    return mean - half, mean + half, "cluster-robust"


def _bootstrap(
    sums_C: NDArray[Any], sizes_C: NDArray[Any], resamples: int, level: float, seed: int
) -> tuple[float, float, str]:
    method = "BCa" if len(sums_C) <= LARGEST_BCA else "percentile"
    rng = np.random.default_rng(seed)
    level = _expanded(level, len(sums_C))
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", stats.DegenerateDataWarning
        )  # answered below, by the percentile interval
        warnings.simplefilter("ignore", RuntimeWarning)
        found = stats.bootstrap(
            (sums_C, sizes_C),
            _ratio,
            paired=True,
            vectorized=True,
            n_resamples=resamples,
            confidence_level=level,
            method=method,
            rng=rng,
            batch=250,
        )
        low, high = map(float, found.confidence_interval)
        if not (np.isfinite(low) and np.isfinite(high)):
            method = "percentile"
            low, high = map(
                float, np.quantile(found.bootstrap_distribution, [(1 - level) / 2, (1 + level) / 2])
            )
    return low, high, f"cluster bootstrap, {method}, {resamples} resamples"


def _expanded(level: float, clusters: int) -> float:
    edge = stats.t.ppf((1 + level) / 2, clusters - 1) * np.sqrt(clusters / (clusters - 1))
    return float(1 - 2 * stats.norm.sf(edge))
