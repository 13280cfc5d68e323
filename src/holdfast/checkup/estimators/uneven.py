"""Where labels are noisier than elsewhere: stretches of a file and values of its columns in which a
preference model that never saw them is right less often than it is where it is as sure.

Row i has a held-out log-odds t_i, positive where the model agrees with the label. Its residual is
e_i = 1[t_i > 0] - m(|t_i|), m the mean of rows about as sure, so that a place of close calls is
not taken for a noisy one. Residuals are summed over prompts, in the order of the file. A stretch of
C prompts of n is scored by the circular binary segmentation of Olshen et al. (2004)

    Z = (mean outside - mean inside) / (s sqrt(1 / C + 1 / (n - C)))

and the greatest Z is held against those of files in which prompts are dealt anew. Where a share g
of labels is random, the model is right in 1/2 g + (1 - g) q of them, q its share elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from holdfast.stats.arrays import Floats, Ints
from holdfast.text.codes import Coded

BINS = 12  # of |t|
GRID = 50  # places where a stretch may begin or end; then nudged to the row
SHORTEST = 30  # prompts
FEWEST = 100  # prompts in all
DEALS = 399
DROP = 0.1  # least difference of agreement that is worth saying
SURE = 0.01  # chance of a false alarm of the scan, and of all values of columns together


@dataclass(frozen=True)
class Noisier:
    """A place whose labels a model agrees with less often than with those elsewhere."""

    what: str
    rows: int
    agree: float
    elsewhere: float
    p: float
    first: int = -1  # of a stretch: places among the comparisons
    last: int = -1

    @property
    def random(self) -> float:
        """The share of labels that would have to be random to explain it."""
        over = self.elsewhere - 0.5
        return float(np.clip((self.elsewhere - self.agree) / over, 0, 1)) if over > 0 else 1.0


def residuals(t_N: Floats) -> Floats:
    size_N, right_N = np.abs(t_N), np.where(t_N == 0, 0.5, t_N > 0)
    bin_N = np.argsort(np.argsort(size_N, kind="stable")) * BINS // len(t_N)
    mean_B = np.bincount(bin_N, weights=right_N) / np.bincount(bin_N)
    return np.asarray(right_N - mean_B[bin_N])


def noisier_stretch(t_N: Floats, cluster_N: Ints, *, seed: int) -> tuple[int, int, float] | None:
    """[first row, last row] of the noisiest stretch and its p; None where none is surely noisier.

    Only where prompts stand in the file one after the other can a stretch be told.
    """
    _, first_C, code_N = np.unique(cluster_N, return_index=True, return_inverse=True)
    order = np.argsort(first_C)
    rank_C = np.argsort(order)
    n = len(order)
    if n < FEWEST:
        return None
    sum_C = np.asarray(
        np.bincount(rank_C[code_N.ravel()], weights=residuals(t_N), minlength=n), float
    )
    edges = np.unique(np.linspace(0, n, GRID + 1).astype(int))
    rng = np.random.default_rng([seed, 0x0E])
    seen, a, b = _greatest(sum_C, edges)
    dealt = sum(_greatest(rng.permutation(sum_C), edges)[0] >= seen for _ in range(DEALS))
    p = (1 + dealt) / (DEALS + 1)
    if p > SURE:
        return None
    step = max(1, n // GRID)
    near = [np.arange(max(0, e - step), min(n, e + step) + 1) for e in (a, b)]
    _, a, b = _greatest(sum_C, np.unique(np.concatenate([*near, [0, n]])))
    starts = first_C[order]
    return int(starts[a]), int(starts[b] - 1 if b < n else len(t_N) - 1), p


def _greatest(sum_C: Floats, edges: Ints) -> tuple[float, int, int]:
    n = len(sum_C)
    run = np.r_[0.0, np.cumsum(sum_C - sum_C.mean())][edges]
    length = edges[None] - edges[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        z = (run[:, None] - run[None]) / (sum_C.std() * np.sqrt(length * (n - length) / n))
    z = np.where((length >= SHORTEST) & (n - length >= SHORTEST), z, -np.inf)
    a, b = np.unravel_index(int(z.argmax()), z.shape)
    return float(z[a, b]), int(edges[a]), int(edges[b])


def noisier_values(t_N: Floats, cluster_N: Ints, columns: dict[str, Coded]) -> list[Noisier]:
    """The values of columns in which the model is right less often, surest first; p is Holm's."""
    e_N, right_N = residuals(t_N), t_N > 0
    tried: list[tuple[float, str, Ints]] = []
    for column, (code_N, names) in columns.items():
        for code in np.flatnonzero(np.bincount(code_N[code_N >= 0]) >= SHORTEST):
            inside = code_N == code
            clusters, at = np.unique(cluster_N[inside], return_inverse=True)
            if len(clusters) < SHORTEST or inside.all():
                continue
            sum_C = np.bincount(at.ravel(), weights=e_N[inside])
            spread = np.sqrt(((sum_C - sum_C.mean()) ** 2).sum())
            z = float(sum_C.sum() / max(spread, 1e-9))
            tried.append((float(norm.cdf(z)), f"{column} {str(names[code])[:60]}", inside))
    tried.sort(key=lambda entry: entry[0])
    found = []
    for rank, (p, what, inside) in enumerate(tried):
        p_holm = min(1.0, p * (len(tried) - rank))
        if p_holm >= SURE:
            break
        found.append(
            Noisier(
                what,
                int(inside.sum()),
                float(right_N[inside].mean()),
                float(right_N[~inside].mean()),
                p_holm,
            )
        )
    return [place for place in found if place.elsewhere - place.agree >= DROP]
