"""How reliable each rater is, and whether raters differ at all.

The one-coin model (Dawid and Skene 1979, with one number a rater): each pair has a side that is
right; rater r takes it with probability a_r, whatever the pair. Raters' a_r share a Beta prior
whose mean (at least one half: people are right more often than not, without which nothing is
identified) and strength are not known either; one in ten is thought to be like nobody else, and
anything from 0 to 1, so that a single contrary rater is not drawn to the rest. Everything unknown
is drawn by Gibbs sampling, the prior with the a_r integrated out (a chain that draws it given the
a_r hardly moves where the raters' verdicts are few): a rater with few verdicts is drawn to the
others and has a wide interval, and the doubt about who is right is in every interval.

Which side is right is told by the pair's other raters, or by a preference model that never saw the
verdict (`side_P`), or by both.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy.special import betaln, expit, logit

from holdfast.stats.arrays import Floats, Ints

MEANS = np.linspace(0.5, 0.98, 25)  # of the prior
STRENGTHS = np.linspace(0.58, 0.02, 29) ** -2 - 1  # a + b of the Beta: even steps of its spread
WARM_UP, SWEEPS = 200, 1000
ODD = 0.1  # share of raters who are like nobody else, before anything is known
EDGE = 1e-3
CLOSE = 1e-9  # sums that differ by less are the same


class Reliabilities(NamedTuple):
    """a by rater with its interval, and the mean and spread (standard deviation) of the prior that
    raters share, each with its own.
    """

    value_R: Floats
    low_R: Floats
    high_R: Floats
    mean: tuple[float, float, float]  # value, low, high
    spread: tuple[float, float, float]
    right_N: Floats  # of each verdict: the probability that it is right


def reliabilities(
    forward_N: Floats,
    pair_N: Ints,
    rater_N: Ints,
    raters: int,
    *,
    side_P: Floats | None = None,
    effect: float = 1.0,
    level: float = 0.95,
    seed: int = 0,
) -> Reliabilities:
    """a of each rater.

    Args:
        forward_N: +1 or -1, the side of its pair that a verdict is for
        pair_N: the pair, a code from 0
        rater_N: the rater, a code from 0 to `raters` - 1
        raters: their number
        side_P: log-odds, before any verdict, that a pair's right side is +1; 0 unless given
        effect: what a rater's verdicts count less, where they depend on one another (1: not at all)
        level: of the intervals
        seed: of the draws
    """
    rng = np.random.default_rng([seed, 0xD5])
    pairs = int(pair_N.max()) + 1
    prior_P = np.zeros(pairs) if side_P is None else side_P
    said_R = np.bincount(rater_N, minlength=raters)
    most = said_R.max() + 1
    a_R, m, s = (
        np.full(raters, 0.8),
        MEANS[np.argmin(abs(MEANS - 0.8))],
        STRENGTHS[np.argmin(abs(STRENGTHS - 10))],
    )
    kept_SR, hyper_S2, right_N = (
        np.empty((SWEEPS, raters)),
        np.empty((SWEEPS, 2)),
        np.zeros(len(forward_N)),
    )
    for sweep in range(-WARM_UP, SWEEPS):
        odds_P = prior_P + np.bincount(
            pair_N, weights=forward_N * logit(a_R)[rater_N], minlength=pairs
        )
        side = np.where(rng.random(pairs) < expit(odds_P), 1.0, -1.0)
        agree_R = np.bincount(rater_N, weights=side[pair_N] == forward_N, minlength=raters)
        yes_R, no_R = agree_R / effect, (said_R - agree_R) / effect
        like = rng.random(raters) < expit(
            _chance(m, s, yes_R, no_R) - betaln(1 + yes_R, 1 + no_R) + logit(1 - ODD)
        )
        _, first_U, times_U = np.unique(
            agree_R[like] * most + said_R[like], return_index=True, return_counts=True
        )
        yes_U, no_U = yes_R[like][first_U], no_R[like][first_U]
        m = _drawn(MEANS, _chance(MEANS[:, None], s, yes_U, no_U) @ times_U, rng)
        s = _drawn(STRENGTHS, _chance(m, STRENGTHS[:, None], yes_U, no_U) @ times_U, rng)
        a_R = rng.beta(
            np.where(like, m * s, 1) + yes_R, np.where(like, (1 - m) * s, 1) + no_R
        ).clip(EDGE, 1 - EDGE)
        if sweep >= 0:
            kept_SR[sweep], hyper_S2[sweep] = a_R, (m, np.sqrt(m * (1 - m) / (1 + s)))
            right_N += expit(forward_N * odds_P[pair_N]) / SWEEPS
    tails = [(1 - level) / 2, (1 + level) / 2]
    low_R, high_R = np.quantile(kept_SR, tails, axis=0)
    mean, spread = (_summary(h_S, tails) for h_S in hyper_S2.T)
    return Reliabilities(kept_SR.mean(0), low_R, high_R, mean, spread, right_N)


def _chance(m: Any, s: Any, yes: Floats, no: Floats) -> Floats:
    """Log-probability of a rater's verdicts where a_r is drawn from Beta(m s, (1 - m) s), and
    integrated out.
    """
    return np.asarray(betaln(m * s + yes, (1 - m) * s + no) - betaln(m * s, (1 - m) * s))


def _drawn(value_K: Floats, chance_K: Floats, rng: np.random.Generator) -> float:
    return float(value_K[np.argmax(chance_K + rng.gumbel(size=len(chance_K)))])


def _summary(drawn_S: Floats, tails: list[float]) -> tuple[float, float, float]:
    low, high = map(float, np.quantile(drawn_S, tails))
    return float(drawn_S.mean()), low, high


# ------------------------------------------------------------ do raters differ?


class Apart(NamedTuple):
    """Whether raters differ beyond chance: p of the whole, of each rater that he agrees less than
    the rest (for all raters at once), and of both questions together."""

    p: float
    p_low_R: Floats
    p_either: float
    excess_R: Floats  # mean score: agreement with the others beyond what was expected


class Scores(NamedTuple):
    """Scores that raters got, and which of them could as well be any other's.

    `value_V` are values, exchangeable within a `pool_V` if raters are alike; entry E is a value
    `at_E` of a rater `rater_E`.
    """

    value_V: Floats
    pool_V: Ints
    at_E: Ints
    rater_E: Ints


def differ(scores: Scores, raters: int, *, resamples: int, seed: int) -> Apart:
    """A test by exchange: values are dealt anew within their pools.

    The whole is judged by the sum over raters of squared totals, the score test of a variance
    between raters, which gives weight to those who say much. Each rater is judged by his
    standardized total against the lowest of all raters' in each deal. The smaller of the two p is
    then held against the smaller p of every deal: if raters are alike, what was seen is one deal
    like the others, so `p_either` is below any q in at most a share q of data sets, whoever judged
    what (the test by the least p: Westfall and Young 1993).
    """
    order = np.argsort(scores.pool_V, kind="stable")
    pool_V = scores.pool_V[order].astype(float)
    place_V = np.empty(len(order), np.int64)
    place_V[order] = np.arange(len(order))
    at_E = place_V[scores.at_E]
    _, pool, size = np.unique(scores.pool_V[order], return_inverse=True, return_counts=True)
    value_V = (
        scores.value_V[order] - (np.bincount(pool, weights=scores.value_V[order]) / size)[pool]
    )
    spread_V = (np.bincount(pool, weights=value_V**2) / size)[pool]
    sd_R = np.sqrt(np.bincount(scores.rater_E, weights=spread_V[at_E], minlength=raters))

    def total(value_V: Floats) -> Floats:
        return np.asarray(np.bincount(scores.rater_E, weights=value_V[at_E], minlength=raters))

    def standard(total_R: Floats) -> Floats:
        return np.where(sd_R > 1e-9, total_R / np.maximum(sd_R, 1e-9), 0.0)

    rng = np.random.default_rng(seed)
    seen_R = total(value_V)
    dealt_BR = np.stack(
        [
            seen_R,
            *(
                total(value_V[np.argsort(pool_V + 0.5 * rng.random(len(pool_V)))])
                for _ in range(resamples)
            ),
        ]
    )
    apart_B, lowest_B = (dealt_BR**2).sum(1), standard(dealt_BR).min(1)
    p_B, p_low_B = _ranked(-apart_B), _ranked(lowest_B)
    p_low_R = np.searchsorted(np.sort(lowest_B), standard(seen_R) + CLOSE, side="right") / len(
        lowest_B
    )
    least_B = np.minimum(p_B, p_low_B)
    entries_R = np.bincount(scores.rater_E, minlength=raters)
    return Apart(
        float(p_B[0]),
        np.maximum(p_low_R, 1 / len(lowest_B)),
        float(_ranked(least_B)[0]),
        seen_R / np.maximum(entries_R, 1),
    )


def _ranked(value_B: Floats) -> Floats:
    """The share of values that are as low as this one, itself among them."""
    return np.searchsorted(np.sort(value_B), value_B + CLOSE, side="right") / len(value_B)
