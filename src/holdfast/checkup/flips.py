"""How many labels are flipped, from how often a preference model that never saw them is right.

Say t is the log-odds that a held-out model gives to a label, on any scale. If labels follow the model's side with probability G(a t), G a
sigmoid of unknown scale a, and are then flipped with probability f, then

    P(label agrees | t) = f + (1 - 2 f) G(a t)

(for logistic G this is the likelihood whose fixed point the expectation-maximization of `lcpo` is, at eta = 1 - f, with the model frozen
and its scale freed). Bradley-Terry randomness fades as |t| grows, flips do not: f is the disagreement that is left where the case is
clear. So f is identified by rows with a large a |t| and by nothing else. The profile likelihood over a and over two links, logistic and
normal, says how well: where the model's reach is short it is flat, and the interval runs from 0 to the bound that the clearest rows give.
A model that is right little more often than a coin, wherever it stands, is told from labels that are nearly coins by nothing at all:
there f is not identified however narrow the interval.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats
from scipy.special import expit, ndtr

from holdfast.checkup.comparisons import Floats, Ints

BINS = 400  # of t; the likelihood is of their means
FLIPS = np.linspace(0.0, 0.49, 99)
SCALES = np.concatenate([[0.0], np.geomspace(0.05, 20, 80)])  # of G, in units of the spread of t
LINKS = {"logistic": expit, "normal": ndtr}
CLEAREST = (0.02, 0.05, 0.1, 0.2)  # shares of rows, by |t|, whose disagreement bounds f from above
NARROW = 0.2  # the widest interval that still says something
NEARLY_COINS = 0.42  # upper end from which on weak features and noisy labels are one


@dataclass(frozen=True)
class Flips:
    """The flip rate f with its interval. `bound` is the one-sided upper limit from the clearest rows alone, without any link."""

    value: float
    low: float
    high: float
    bound: float
    scale: float  # of the better link, in units of the spread of t
    link: str
    reach: float  # a |t| of the clearest hundredth of the rows: how near certainty the model comes
    level: float
    rows: int
    profile: tuple[tuple[float, float], ...]  # f, log-likelihood below the best

    @property
    def identified(self) -> bool:
        """Narrow, and clear of one half."""
        return bool(self.high - self.low <= NARROW and self.high <= NEARLY_COINS)

    def to_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("value", "low", "high", "bound", "link", "reach", "level", "rows")} | {
            "identified": self.identified
        }


def flip_rate(t_N: Floats, cluster_N: Ints, *, level: float = 0.95) -> Flips:
    """f from held-out log-odds t (N,), positive where the model agrees with the label; rows of a cluster may depend on one another.

    The likelihood is divided by the design effect of the clusters, so that its profile holds for dependent rows.
    """
    spread = float(np.sqrt(np.mean(t_N**2))) or 1.0
    t_B, n_B = binned(t_N / spread)
    agree_LAB = np.stack([link(SCALES[:, None] * t_B) for link in LINKS.values()])
    logl_LFA = np.stack([np.log(np.maximum(f + (1 - 2 * f) * agree_LAB, 1e-12)) @ n_B for f in FLIPS], axis=1)
    best_l, best_f, best_a = np.unravel_index(int(logl_LFA.argmax()), logl_LFA.shape)
    link, scale, value = list(LINKS)[best_l], float(SCALES[best_a]), float(FLIPS[best_f])
    g_N = LINKS[link](scale * t_N / spread)
    pull_N = (1 - 2 * g_N) / np.maximum(value + (1 - 2 * value) * g_N, 1e-6)  # of each row on f
    profile_F = (logl_LFA.max((0, 2)) - logl_LFA.max()) / design_effect(pull_N, cluster_N)
    inside = FLIPS[2 * profile_F >= -stats.chi2.ppf(level, 1)]
    bound = upper_bound(t_N, cluster_N, level)
    low, high = float(inside.min()), float(min(inside.max(), max(bound, inside.min())))
    reach = scale * float(np.quantile(np.abs(t_N), 0.99)) / spread
    return Flips(
        min(value, high), low, high, bound, scale, link, reach, level, len(t_N), tuple(zip(FLIPS.tolist(), profile_F.tolist(), strict=True))
    )


def binned(t_N: Floats) -> tuple[Floats, Floats]:
    """Means and sizes of bins of equal size, in the order of t."""
    parts = [part for part in np.array_split(np.sort(t_N), min(BINS, len(t_N))) if len(part)]
    return np.array([part.mean() for part in parts]), np.array([float(len(part)) for part in parts])


def design_effect(pull_N: Floats, cluster_N: Ints) -> float:
    """Variance of a sum over clusters, over that of independent rows; at least 1."""
    pull_N = pull_N - pull_N.mean()
    total = float((pull_N**2).sum())
    return max(1.0, float((np.bincount(cluster_N, weights=pull_N) ** 2).sum()) / total) if total > 0 else 1.0


def upper_bound(t_N: Floats, cluster_N: Ints, level: float) -> float:
    """At any t, P(disagree) = f + (1 - 2f)(1 - G) >= f where the model leans the right way: the clearest rows' share bounds f. The least
    of several limits, each at a level that pays for the others."""
    order = np.argsort(-np.abs(t_N))
    limits = [0.5]
    for share in CLEAREST:
        clear = order[: max(int(share * len(t_N)), 1)]
        wrong_N = (t_N[clear] < 0).astype(float)
        n = len(clear) / design_effect(wrong_N, cluster_N[clear])
        wrong = n * wrong_N.mean()
        alpha = (1 - level) / (2 * len(CLEAREST))
        limits.append(float(stats.beta.ppf(1 - alpha, wrong + 1, n - wrong)) if wrong < n else 1.0)
    return min(limits)


def posterior_wrong(t_N: Floats, found: Flips) -> Floats:
    """P(a label is flipped | t, it is what it is): f (1 - G) / [f (1 - G) + (1 - f) G]."""
    spread = float(np.sqrt(np.mean(t_N**2))) or 1.0
    g_N = LINKS[found.link](found.scale * t_N / spread)
    wrong_N = found.value * (1 - g_N)
    return np.asarray(wrong_N / np.maximum(wrong_N + (1 - found.value) * g_N, 1e-12))


def flips_from_agreement(agreement: float) -> float:
    """f from the chance that two raters of one comparison agree, A = 1 - 2 f (1 - f), each flipping on his own; also where raters have
    rates of their own that average f. One half where they agree no more often than coins."""
    return float((1 - np.sqrt(max(2 * agreement - 1, 0.0))) / 2)
