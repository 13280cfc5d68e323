"""Stretches of a file whose labels run against the rest, wherever they begin and end, and which
stretches would have been seen.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from holdfast.checkup.estimators.inversion import Labels, Places, agreeing
from holdfast.stats.arrays import Floats, Ints

SHORTEST = (
    24  # comparisons: fewer can hardly be sure, since the score of m prompts is at most sqrt(m)
)
GROWTH, STEPS = (
    1.2,
    8,
)  # of the grid of stretches: the next length over this one, and starts in a length
NUDGES = np.arange(-4, 5) / 32  # of the ends of the lowest stretch of the grid, in its lengths
NUDGED = 8  # of these stretches, the likeliest, whose spread is worked out
WALKS = 999  # random walks that a scan is compared with
LOOKED_AT = 16  # times the file's rows that are read to work out spreads
MOST = 5  # stretches
TRIED, EVERY, NEARLY_ALL = (
    40,
    3,
    0.8,
)  # stretches of a length, of every third length, and the share of them that would have been seen


@dataclass(frozen=True)
class Stretches:
    """Stretches [from, to) with their p-values, in the order of the file; the p-value of the first
    that was looked for; and the least length at which nearly all stretches would have been found
    had they been inverted, None if there is none."""

    found: list[tuple[int, int, float]]
    p: float
    would: int | None


def scan(labels: Labels, *, sure: float, seed: int) -> Stretches:
    """The stretch of the lowest score is compared with the maximum of as many standardized sums of
    a random walk: where the scores of all stretches have mean zero, the worst case of the null
    hypothesis, they move together like such sums, since a stretch is scored by the sum of its rows.
    What was found is taken out of everything, and the scan is repeated, so that one stretch does
    not hide another.

    Inverted, a stretch would have the negative of its score (`against`); so it would have been
    found if its score is large enough.
    """
    n = len(labels.cluster_N)
    from_W, to_W = windows(n)
    if not len(from_W):
        return Stretches([], 1.0, None)
    null_B = walks(n, from_W, to_W, seed)
    needed = float(
        null_B[-max(1, int(sure * (WALKS + 1)))]
    )  # the p-value of a larger score is at most `sure`
    left, found, p_first = labels, [], 1.0
    for turn in range(MOST):
        a, b, score = lowest(left, from_W, to_W)
        p = float((1 + (null_B >= -score).sum()) / (WALKS + 1))
        p_first = p if turn == 0 else p_first
        if p > sure:
            break
        inside_N = np.zeros(n, bool)
        inside_N[a:b] = True
        a, b = edges(left.judged(inside_N), a, b)
        found.append((a, b, p))
        inside_N[a:b] = True
        left = left.without(inside_N)
    return Stretches(sorted(found), p_first, would_be_seen(labels, from_W, to_W, needed, seed))


def windows(n: int) -> tuple[Ints, Ints]:
    """Stretches [from, to) of rising length up to half the file, O(n) of them. No stretch differs
    much from all of these.
    """
    from_, to, size = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], SHORTEST
    while size <= n // 2:
        first = np.unique(np.append(np.arange(0, n - size + 1, size // STEPS), n - size))
        from_.append(first)
        to.append(first + size)
        size = n // 2 if size < n // 2 < int(size * GROWTH) else int(size * GROWTH)
    return np.concatenate(from_), np.concatenate(to)


def walks(n: int, from_W: Ints, to_W: Ints, seed: int) -> Floats:
    """The largest standardized sum over the stretches, its ends nudged, in each of `WALKS`
    sequences of n normal numbers, sorted.
    """
    rng, root_W = np.random.default_rng(seed), np.sqrt(to_W - from_W).astype(np.float32)
    largest = []
    for _ in range(WALKS):
        sums = np.concatenate([[0.0], np.cumsum(rng.standard_normal(n))]).astype(np.float32)
        best = int(((sums[to_W] - sums[from_W]) / root_W).argmax())
        from_K, to_K = nudged(n, int(from_W[best]), int(to_W[best]))
        largest.append(float(((sums[to_K] - sums[from_K]) / np.sqrt(to_K - from_K)).max()))
    return np.sort(largest)


def nudged(n: int, a: int, b: int) -> tuple[Ints, Ints]:
    """[a, b) and what comes of it when each end is moved a little."""
    from_K, to_K = (
        at.ravel()
        for at in np.meshgrid(a + np.rint(NUDGES * (b - a)), b + np.rint(NUDGES * (b - a)))
    )
    fits = (
        (from_K >= 0)
        & (to_K <= n)
        & (to_K - from_K >= SHORTEST)
        & (to_K - from_K <= max(b - a, n // 2))
    )
    return from_K[fits].astype(np.int64), to_K[fits].astype(np.int64)


def lowest(labels: Labels, from_W: Ints, to_W: Ints) -> tuple[int, int, float]:
    """The stretch of the lowest score, with its ends nudged, and its score.

    Spreads are worked out where the score is likely to be lowest, by S_W S_R / sqrt(rows), which
    running sums give for all stretches. To look at fewer can only make the lowest score larger, and
    no false alarm.
    """
    n = len(labels.cluster_N)
    sums = np.concatenate(
        [
            np.zeros((1, labels.z_ND.shape[1]), np.float32),
            np.cumsum(labels.z_ND, axis=0, dtype=np.float32),
        ]
    )

    def likeliest(from_W: Ints, to_W: Ints) -> Ints:
        rough_W = np.empty(len(from_W))
        for k in range(0, len(from_W), 10_000):
            part = slice(k, k + 10_000)
            place_WD = sums[to_W[part]] - sums[from_W[part]]
            rough_W[part] = np.einsum("wd,wd->w", place_WD, labels.total_D - place_WD)
        return np.argsort(rough_W / np.sqrt(to_W - from_W))

    def best(from_K: Ints, to_K: Ints) -> tuple[int, int, float]:
        score_K = agreeing(labels, Places.stretches(from_K, to_K))
        k = int(score_K.argmin())
        return int(from_K[k]), int(to_K[k]), float(score_K[k])

    order = likeliest(from_W, to_W)
    at_K = order[: max(1, int(np.searchsorted(np.cumsum((to_W - from_W)[order]), LOOKED_AT * n)))]
    on_grid = best(from_W[at_K], to_W[at_K])
    from_K, to_K = nudged(n, *on_grid[:2])
    at_K = likeliest(from_K, to_K)[:NUDGED]
    return min(on_grid, best(from_K[at_K], to_K[at_K]), key=lambda found: found[2])


def edges(s_N: Floats, a: int, b: int) -> tuple[int, int]:
    """The stretch around [a, b) with the lowest sum (Kadane), so that its ends fall on rows and not
    on a grid.
    """
    low, high = max(0, a - (b - a) // 2), min(len(s_N), b + (b - a) // 2)
    total = np.concatenate([[0.0], np.cumsum(s_N[low:high])])
    peak = np.maximum.accumulate(total)
    end = int(np.argmin(total - peak))
    return low + int(np.argmax(total[: end + 1])), low + end


def would_be_seen(labels: Labels, from_W: Ints, to_W: Ints, needed: float, seed: int) -> int | None:
    """The least length at which nearly all of the stretches that are tried have a score of which
    the negative would have been found.
    """
    rng, size_W = np.random.default_rng(seed), to_W - from_W

    def seen(size: int) -> bool:
        some = np.sort(rng.permutation(np.flatnonzero(size_W == size))[:TRIED])
        return (
            float((agreeing(labels, Places.stretches(from_W[some], to_W[some])) > needed).mean())
            >= NEARLY_ALL
        )

    sizes = np.unique(size_W)[::-1][::EVERY].tolist()  # from half the file down
    return next((size for size in sizes[::-1] if seen(size)), None) if seen(sizes[0]) else None
