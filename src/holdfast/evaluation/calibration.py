"""Does a model of pairs know how sure it may be? Accuracy, log loss, and calibration, with
intervals over prompts.

A pair's log-odds s that its chosen answer wins give a prediction (the sign of s) made with
confidence q = sigma(|s|), 0.5 to 1. Rows are put into bins of equal width in q; in each, the share
of right predictions should be the mean confidence.

    expected calibration error     ECE = sum_b (n_b / N) |share right_b - mean confidence_b|
            (Naeini et al. 2015; Guo et al. 2017)

ECE is above 0 even for a perfect model, the more so the fewer the rows. Beside it stands what such
a model would show on these very rows: outcomes drawn anew with probability q, many times, and the
share of draws with as large an ECE (a p-value of perfect calibration).
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq

from holdfast.stats.arrays import Floats
from holdfast.stats.intervals import Estimate, mean_interval

BINS = 10
DRAWS = 1000


@dataclass(frozen=True)
class Bin:
    """Predictions of confidence `low` to `high`: how many, their mean confidence, the share of them
    that was right.
    """

    low: float
    high: float
    n: int
    confidence: float
    right: Estimate


@dataclass(frozen=True)
class Calibration:
    """What held-out pairs say of a model of pairs.

    Attributes:
        accuracy: share of pairs whose chosen answer the model prefers; an exact tie counts half
        log_loss: mean of -log P(chosen wins), nats; ln 2 = 0.693 knows nothing
        brier: mean squared error of P(chosen wins)
        ece: expected calibration error
        ece_perfect: the mean ECE of a perfectly calibrated model on these rows
        ece_p: share of such a model's draws with as large an ECE
        scale: what log-odds should be multiplied by for the least log loss; below 1 is
            overconfident. None where none is best: all right or all wrong
        bins: the reliability curve; empty bins are left out
    """

    n: int
    accuracy: Estimate
    log_loss: Estimate
    brier: Estimate
    ece: float
    ece_perfect: float
    ece_p: float
    scale: float | None
    bins: tuple[Bin, ...]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def calibration(
    logit_N: ArrayLike,
    clusters: Sequence[Hashable] | None = None,
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> Calibration:
    """Measure a model of pairs on rows it was not trained on.

    Args:
        logit_N: log-odds that the chosen answer wins, one a pair. NaN rows are left out.
        clusters: the prompt of each row; rows of one prompt are drawn together in the intervals.
        resamples: of each interval.
        seed: of resamples and of the draws of a perfect model.
    """
    logit = np.asarray(logit_N, dtype=float)
    kept = np.isfinite(logit)
    labels = [
        label
        for label, keep in zip(
            clusters if clusters is not None else range(len(logit)), kept, strict=True
        )
        if keep
    ]
    logit = logit[kept]
    if not len(logit):
        raise ValueError("no pair to measure calibration on")
    right_N = np.where(logit > 0, 1.0, np.where(logit < 0, 0.0, 0.5))
    q_N = 1 / (1 + np.exp(-np.abs(logit)))
    of_N = np.minimum(((q_N - 0.5) * 2 * BINS).astype(int), BINS - 1)
    how: dict[str, Any] = {"resamples": resamples, "seed": seed}
    bins = []
    for b in np.unique(of_N).tolist():
        at = np.flatnonzero(of_N == b)
        right = mean_interval(right_N[at], [labels[i] for i in at], **how)
        bins.append(
            Bin(
                0.5 + b / (2 * BINS),
                0.5 + (b + 1) / (2 * BINS),
                len(at),
                float(q_N[at].mean()),
                right,
            )
        )
    ece = float(_ece(right_N[None], q_N, of_N)[0])
    drawn = np.random.default_rng([seed, 0xCA1]).random((DRAWS, len(q_N))) < q_N
    perfect = _ece(drawn.astype(float), q_N, of_N)
    return Calibration(
        n=len(logit),
        accuracy=mean_interval(right_N, labels, **how),
        log_loss=mean_interval(np.logaddexp(0, -logit), labels, **how),
        brier=mean_interval((1 / (1 + np.exp(np.minimum(logit, 700)))) ** 2, labels, **how),
        ece=ece,
        ece_perfect=float(perfect.mean()),
        ece_p=float((1 + (perfect >= ece - 1e-12).sum()) / (DRAWS + 1)),
        scale=best_scale(logit),
        bins=tuple(bins),
    )


def _ece(right_DN: Floats, q_N: Floats, of_N: NDArray[np.int64]) -> Floats:
    """ECE of each of D sets of outcomes."""
    total = np.zeros(len(right_DN))
    for b in np.unique(of_N):
        at = of_N == b
        total += np.abs((right_DN[:, at] - q_N[at]).sum(1))
    return total / len(q_N)


def best_scale(logit_N: Floats) -> float | None:
    """The a that minimizes sum log(1 + exp(-a s)): Platt scaling without an offset, which a
    symmetric question has not.
    """
    if (logit_N >= 0).all() or (logit_N <= 0).all():
        return None

    def slope(a: float) -> float:
        return float((-logit_N / (1 + np.exp(np.clip(a * logit_N, -700, 700)))).sum())

    top = 1.0
    while slope(top) < 0 and top < 1e6:
        top *= 2
    bottom = 0.0
    if slope(0.0) > 0:  # worse than chance: the best factor is negative
        bottom = -1.0
        while slope(bottom) > 0 and bottom > -1e6:
            bottom *= 2
    found = brentq(slope, bottom, top)
    return float(found) if math.isfinite(found) else None
