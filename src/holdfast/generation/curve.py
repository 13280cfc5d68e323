"""What best of n would gain for every n, from N answers that are there already."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from holdfast.card import check
from holdfast.errors import DataError
from holdfast.generation.best_of_n import kl_bound
from holdfast.stats.arrays import Floats
from holdfast.stats.intervals import Estimate, mean_interval


@dataclass(frozen=True)
class BestOf:
    """Best of n under the selecting score, a mean over prompts.

    Attributes:
        n: answers to choose from.
        score: selecting score of the kept answer.
        value: value of the kept answer under what judges it; None where nothing does.
        kl_bound: at most so many nats from the policy, log n - (n - 1)/n.
    """

    n: int
    score: Estimate
    value: Estimate | None
    kl_bound: float

    def to_dict(self) -> dict[str, Any]:
        return {
            "n": self.n,
            "score": self.score.to_dict(),
            "value": None if self.value is None else self.value.to_dict(),
            "kl_bound": self.kl_bound,
        }


def best_of_n_curve(
    score_PN: ArrayLike,
    value_PN: ArrayLike | None = None,
    *,
    sizes: Sequence[int] | None = None,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> list[BestOf]:
    """Best of n for n = 1..N from N independent answers to each prompt, chosen by `score_PN` and
    judged by `value_PN`.

        E value(best of n) = mean over all subsets of n = sum_i w_n(i) v_(i),
            w_n(i) = C(i - 1, n - 1)/C(N, n)

    where v_(i) is the value of the answer of i-th lowest score: the highest of n lies at i if the
    other n - 1 lie below it. It is unbiased for every n up to N, sorted once, and uses every
    answer; equals share their weights, which is the mean over which of them comes first. Intervals
    are bootstraps over prompts, which hold both prompts and answers drawn anew; with one prompt
    there is none. At n near N few subsets differ and the interval is wide.

    Args:
        score_PN: the selecting score.
        value_PN: what the kept answer is worth, by another judge.
        sizes: n to report; 1..N unless given.
        resamples: of each interval.
        level: of each interval.
        seed: of the resamples.

    Raises:
        DataError: shapes that differ, or a number that is not finite. OptionError: n out of range.
    """
    score = _finite("score", score_PN)
    value = None if value_PN is None else _finite("value", value_PN)
    if value is not None and value.shape != score.shape:
        raise DataError(f"scores of shape {score.shape} and values of shape {value.shape}")
    count = score.shape[1]
    asked = list(range(1, count + 1)) if sizes is None else list(sizes)
    for n in asked:
        check("n", n, 1 <= n <= count, f"lie between 1 and the {count} answers to a prompt")
    weight_SN = best_of_n_weights(count, asked)
    order = score.argsort(1, kind="stable")
    sorted_PN = np.take_along_axis(score, order, 1)
    kept_PS = sorted_PN @ weight_SN.T
    worth_PS = None
    if value is not None:
        ranked = np.take_along_axis(value, order, 1)
        worth_PS = _shared(sorted_PN, ranked) @ weight_SN.T

    def interval(x_PS: Floats, s: int) -> Estimate:
        return mean_interval(x_PS[:, s], resamples=resamples, level=level, seed=seed)

    return [
        BestOf(
            n,
            interval(kept_PS, s),
            None if worth_PS is None else interval(worth_PS, s),
            kl_bound(n),
        )
        for s, n in enumerate(asked)
    ]


def best_of_n_weights(count: int, sizes: Sequence[int]) -> Floats:
    """w_n(i) = C(i - 1, n - 1)/C(N, n) for i = 1..N and the given n, (S, N): each row sums to 1."""
    log_factorial = np.concatenate([[0.0], np.log(np.arange(1, count + 1)).cumsum()])
    i_N = np.arange(count)  # i - 1
    rows = []
    for n in sizes:
        inside = i_N >= n - 1
        below = np.where(inside, i_N - (n - 1), 0)
        log_weight = log_factorial[i_N] - log_factorial[n - 1] - log_factorial[below]
        log_all = log_factorial[count] - log_factorial[n] - log_factorial[count - n]
        rows.append(np.where(inside, np.exp(log_weight - log_all), 0.0))
    return np.array(rows).reshape(len(rows), count)


def _shared(sorted_PN: Floats, value_PN: Floats) -> Floats:
    """Values with those of equal scores replaced by their mean."""
    out = value_PN.copy()
    for p in np.flatnonzero((np.diff(sorted_PN, axis=1) == 0).any(1)):
        _, group_N = np.unique(sorted_PN[p], return_inverse=True)
        sums, sizes = np.bincount(group_N, weights=value_PN[p]), np.bincount(group_N)
        out[p] = (sums / sizes)[group_N]
    return out


def _finite(name: str, numbers: ArrayLike) -> Floats:
    x = np.asarray(numbers, float)
    if x.ndim != 2 or not x.size:
        raise DataError(f"{name} has shape {x.shape}; it must be prompts x answers, not empty")
    if not np.isfinite(x).all():
        p, n = np.argwhere(~np.isfinite(x))[0]
        raise DataError(f"the {name} of answer {n + 1} to prompt {p + 1} is {x[p, n]}")
    return x
