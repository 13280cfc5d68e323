"""How many labels are flipped, from how often a preference model that never saw them is right.

Say t is the log-odds that a held-out model gives to a label, on any scale. If labels follow the
model's side with probability G(a t), G a sigmoid of unknown scale a, and are then flipped with
probability f, then

    P(label agrees | t) = f + (1 - 2 f) G(a t)

(for logistic G this is the likelihood whose fixed point the expectation-maximization of `lcpo` is,
at eta = 1 - f, with the model frozen and its scale freed). Bradley-Terry randomness fades as |t|
grows, flips do not: f is the disagreement that is left where the case is clear. So f is identified
by rows with a large a |t| and by nothing else, and what looks like flips there may be the model's
own errors. What is not known of those is profiled out together with a:

- which model: several are held against the same labels, and the likelihood says which of them is
  right (a model of topics that cannot see the words that matter looks like flips);
- how its errors grow: t may be t / sqrt(1 + b v), v the squared length of the difference x over its
  mean, since a longer difference holds more of what the model does not know;
- the shape of G: logistic, normal, or Student's t with three degrees of freedom, which approaches
  certainty slowly.

Where the model's reach is short the profile is flat, and the interval runs from 0 to the bound that
the clearest rows give. A model that is right little more often than chance, wherever it stands, is
told from labels that are nearly random by nothing at all: there f is not identified however narrow
the interval.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from scipy import stats
from scipy.special import expit, ndtr, stdtr

from holdfast.checkup.comparisons import Comparisons
from holdfast.checkup.estimators.features import (
    dense_ND,
    preference_model,
    prompt_model,
    surface_model,
    word_model,
)
from holdfast.stats.arrays import Floats, Ints
from holdfast.stats.intervals import Estimate

BINS = 200  # of t; the likelihood is of their means
FLIPS = np.linspace(0.0, 0.49, 99)
# points of that grid within the interval; of fewer, the likelihood is sharper than the grid, and
# its neighbors belong to it
SHARP = 3
SCALES = np.concatenate([[0.0], np.geomspace(0.05, 20, 60)])  # of G, in units of the spread of t
DOUBTS = (0.0, 0.5, 1.0, 2.0, 5.0, 20.0, 100.0)  # b
CLEAREST = (0.02, 0.05, 0.1, 0.2)  # shares of rows, by |t|, whose disagreement bounds f from above
NARROW = 0.2  # the widest interval that still says something
NEARLY_COINS = 0.42  # upper end from which on weak features and noisy labels are one


MODELS = (preference_model, word_model, prompt_model, surface_model)

LINKS: dict[str, Callable[[Floats], Floats]] = {
    "logistic": expit,
    "normal": ndtr,
    "student": partial(stdtr, 3),
}


@dataclass(frozen=True)
class FlipRate:
    """The flip rate f with its interval, and the curve of the best fit: a label agrees with
    probability f + (1 - 2f) G(z).

    `z_N` is a t / sqrt(1 + b v) of each row; `bound` the one-sided limit that the clearest rows
    give without a link; `reach` a |z| of the clearest hundredth of the rows: how near certainty the
    model comes; `profile` f and the log-likelihood below the best.
    """

    rate: Estimate
    bound: float
    model: int  # which of those that were given
    link: str
    doubt: float
    reach: float
    profile: tuple[tuple[float, float], ...] = field(repr=False)
    z_N: Floats = field(compare=False, repr=False)

    @property
    def identified(self) -> bool:
        """Narrow, clear of one half, and at no edge of the grid of doubts: beyond it may lie a
        better fit, with another rate.
        """
        return (
            self.rate.width <= NARROW
            and self.rate.ends[1] <= NEARLY_COINS
            and self.doubt < DOUBTS[-1]
        )

    def sided(self, z: Floats) -> Floats:
        """G(z): the chance that the label took the model's side before it was flipped."""
        return np.asarray(LINKS[self.link](z))

    def agreeing(self, z: Floats) -> Floats:
        """f + (1 - 2f) G(z): the chance that the label takes the model's side."""
        return self.rate.point + (1 - 2 * self.rate.point) * self.sided(z)

    def to_dict(self) -> dict[str, Any]:
        names = ("bound", "model", "link", "doubt", "reach", "identified")
        return self.rate.to_dict() | {name: getattr(self, name) for name in names}


class Curve(NamedTuple):
    """One family of curves: its best log-likelihood at each f, and where its best of all lies."""

    logl_F: Floats
    model: int
    link: str
    doubt: float
    value: float
    z_N: Floats


def flip_rate(
    t_MN: Floats | Sequence[Floats],
    cluster_N: Ints,
    *,
    size_N: Floats | None = None,
    level: float = 0.95,
) -> FlipRate:
    """f from held-out log-odds t (N,) of one model or (M, N) of several, positive where a model
    agrees with the label; rows of a cluster may depend on one another. `size_N` is the squared
    length of each row's difference in features, if known.

    The likelihood is divided by the design effect of the clusters, and held against the F
    distribution of as many of them as there are, so that its profile holds for dependent rows.
    """
    grown_N = np.ones(len(cluster_N)) if size_N is None else size_N / (size_N.mean() or 1.0)
    doubts = DOUBTS if size_N is not None else DOUBTS[:1]
    models = list(np.atleast_2d(np.asarray(t_MN)))
    curves = [
        curve
        for m, t_N in enumerate(models)
        for b in doubts
        for curve in _curves(t_N / np.sqrt(1 + b * grown_N), m, b)
    ]
    best = max(curves, key=lambda curve: float(curve.logl_F.max()))
    value, g_N = best.value, LINKS[best.link](best.z_N)
    pull_N = (1 - 2 * g_N) / np.maximum(value + (1 - 2 * value) * g_N, 1e-6)  # of each row on f
    profile_F = (np.max([curve.logl_F for curve in curves], 0) - best.logl_F.max()) / design_effect(
        pull_N, cluster_N
    )
    inside = np.flatnonzero(
        2 * profile_F >= -stats.f.ppf(level, 1, max(len(np.unique(cluster_N)) - 1, 1))
    )
    beyond = int(len(inside) < SHARP)
    low, high = (
        float(FLIPS[max(inside[0] - beyond, 0)]),
        float(FLIPS[min(inside[-1] + beyond, len(FLIPS) - 1)]),
    )
    bound = upper_bound(best.z_N, cluster_N, level)
    low, high = (
        min(low, bound),
        min(high, max(bound, low)),
    )  # where the two disagree the truth lies between them
    reach = float(np.quantile(np.abs(best.z_N), 0.99))
    profile = tuple(zip(FLIPS.tolist(), profile_F.tolist(), strict=True))
    clusters = len(np.unique(cluster_N))
    rate = Estimate(
        min(value, high), low, high, len(cluster_N), clusters, "profile likelihood", level
    )
    return FlipRate(rate, bound, best.model, best.link, best.doubt, reach, profile, best.z_N)


def _curves(t_N: Floats, model: int, doubt: float) -> Iterator[Curve]:
    spread = float(np.sqrt(np.mean(t_N**2))) or 1.0
    t_B, n_B = binned(t_N / spread)
    for link, g in LINKS.items():
        agree_AB = g(SCALES[:, None] * t_B)
        logl_FA = np.stack(
            [np.log(np.maximum(f + (1 - 2 * f) * agree_AB, 1e-12)) @ n_B for f in FLIPS]
        )
        f, a = np.unravel_index(int(logl_FA.argmax()), logl_FA.shape)
        yield Curve(peaks(logl_FA), model, link, doubt, float(FLIPS[f]), SCALES[a] * t_N / spread)


def peaks(logl_FA: Floats) -> Floats:
    """The greatest value of each row, between the points of the grid of scales, too: that of the
    parabola through the greatest and its neighbors. Where rows are many the likelihood is sharper
    than the grid."""
    at_F = logl_FA.argmax(1)
    i_F = np.clip(at_F, 2, logl_FA.shape[1] - 2)
    below_F, top_F, above_F = (
        np.take_along_axis(logl_FA, i_F[:, None] + k, 1)[:, 0] for k in (-1, 0, 1)
    )
    bend_F = below_F - 2 * top_F + above_F
    inside_F = (at_F == i_F) & (bend_F < 0)
    return np.where(
        inside_F,
        top_F - (above_F - below_F) ** 2 / (8 * np.where(inside_F, bend_F, -1.0)),
        logl_FA.max(1),
    )


def by_models(data: Comparisons, *, level: float = 0.95, seed: int = 0) -> FlipRate:
    """The flip rate by the check-up's own `MODELS`: of topics, of words, of the words of the
    prompt, and of what an answer looks like. Shared by the findings.

    Head-to-head results between names have one strength a name, and where names beat each other in
    cycles no ranking says what is clear: upsets there look like flips. So all that is known is an
    upper end: the lower of the profile's and of the clearest rows'.
    """

    def make() -> FlipRate:
        t_MN = [model(data, seed=seed).logit_N for model in MODELS]
        found = flip_rate(
            t_MN, data.cluster_N, size_N=(dense_ND(data, seed=seed) ** 2).sum(1), level=level
        )
        if not data.named:
            return found
        most = min(found.rate.ends[1], found.bound)
        upper = replace(found.rate, value=min(found.rate.point, most), low=0.0, high=most)
        return replace(found, rate=upper)

    found: FlipRate = data.once(("flips", level, seed), make)
    return found


def binned(t_N: Floats) -> tuple[Floats, Floats]:
    """Means and sizes of bins of equal size, in the order of t."""
    parts = [part for part in np.array_split(np.sort(t_N), min(BINS, len(t_N))) if len(part)]
    return np.array([part.mean() for part in parts]), np.array([float(len(part)) for part in parts])


def design_effect(pull_N: Floats, cluster_N: Ints) -> float:
    """Variance of a sum over clusters, over that of independent rows; at least 1."""
    pull_N = pull_N - pull_N.mean()
    total = float((pull_N**2).sum())
    return (
        max(1.0, float((np.bincount(cluster_N, weights=pull_N) ** 2).sum()) / total)
        if total > 0
        else 1.0
    )


def upper_bound(t_N: Floats, cluster_N: Ints, level: float) -> float:
    """At any t, P(disagree) = f + (1 - 2f)(1 - G) >= f where the model leans the right way: the
    clearest rows' share bounds f. The least of several limits, each at a level that pays for the
    others."""
    order = np.argsort(-np.abs(t_N))
    limits = [0.5]
    for share in CLEAREST:
        clear = order[: max(int(share * len(t_N)), 1)]
        wrong_N = (1 - np.sign(t_N[clear])) / 2  # a model that says nothing is right half the time
        n = len(clear) / design_effect(wrong_N, cluster_N[clear])
        wrong = n * wrong_N.mean()
        alpha = (1 - level) / (2 * len(CLEAREST))
        limits.append(float(stats.beta.ppf(1 - alpha, wrong + 1, n - wrong)) if wrong < n else 1.0)
    return min(limits)


def posterior_wrong(found: FlipRate) -> Floats:
    """P(a label is flipped | z, it is what it is): f (1 - G) / [f (1 - G) + (1 - f) G]."""
    g_N = found.sided(found.z_N)
    wrong_N = found.rate.point * (1 - g_N)
    return np.asarray(wrong_N / np.maximum(wrong_N + (1 - found.rate.point) * g_N, 1e-12))


def flips_from_agreement(agreement: float) -> float:
    """f from the chance that two raters of one comparison agree, A = 1 - 2 f (1 - f), each flipping
    on his own; also where raters have rates of their own that average f. One half where they agree
    no more often than chance."""
    return float((1 - np.sqrt(max(2 * agreement - 1, 0.0))) / 2)
