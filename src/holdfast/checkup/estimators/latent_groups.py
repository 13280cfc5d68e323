"""Latent groups: mixtures of preference models over raters, and preference models of known
groups, both judged on held-out rows.

Preferences that differ must be told from two things that look alike. Raters who differ in care
have one preference at several strengths: so one preference and several are compared with strengths
free in both. And the verdicts of a rater on pairs that share an answer are alike whatever his
subgroup, since an answer may be good for reasons that no feature shows: so of a rater's pairs
those are kept that share no answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.special import expit, logsumexp

from holdfast.checkup.comparisons import Comparisons
from holdfast.checkup.estimators.features import SURFACE, dense_ND, surface_ND
from holdfast.checkup.estimators.relevance import relevance_names
from holdfast.pluralism.mixture import Mixture, by_rater, log_right, mixture
from holdfast.stats.arrays import Floats, Ints
from holdfast.stats.cross_fitting import folds_by
from holdfast.text.codes import Coded

COLUMNS, ROWS_A_COLUMN = (
    40,
    60,
)  # of the features: the surface, and as many leading topics as there are rows for
FEW_ANSWERS, MEETINGS = 30, 20  # with so few answers, met so often, an answer is its own feature
ROWS, EACH = (
    20_000,
    300,
)  # that are looked at, in all and of a rater; of more raters, some are drawn
STRENGTHS = np.array([0.0, 0.25, 0.5, 1.0, 1.5, 2.5, 4.0])  # of a preference, beside the fitted one
FOLDS = 5
RIDGE = 10.0  # of a preference, towards 0
TIE = 50.0  # of a known group's preference, towards everybody's


class Features(NamedTuple):
    x_ND: Floats
    names: tuple[str, ...]


def features(data: Comparisons, seed: int) -> Features:
    """The check-up's features, fewer; what other raters make of the same answers and the same pair,
    where they met them.
    """
    answers = int(data.answers_N2.max()) + 1
    if answers <= FEW_ANSWERS and len(data) >= MEETINGS * answers:
        x_ND = np.eye(answers)[data.answers_N2[:, 0]] - np.eye(answers)[data.answers_N2[:, 1]]
        texts = dict(
            zip(
                data.answers_N2.ravel().tolist(),
                np.stack([data.chosen, data.rejected], 1).ravel().tolist(),
                strict=True,
            )
        )
        return Features(x_ND * np.sqrt(answers / 2), tuple(texts[a] for a in range(answers)))
    x_ND = dense_ND(data, seed=seed)
    there = np.sqrt((surface_ND(data) ** 2).mean(0)) > 1e-9
    names, fits = (
        [name for name, yes in zip(SURFACE, there, strict=True) if yes],
        relevance_names(data, seed=seed),
    )
    kept = min(x_ND.shape[1], max(len(names), min(COLUMNS, len(data) // ROWS_A_COLUMN)))
    names = [
        *names,
        *(f"topic {i + 1}" for i in range(x_ND.shape[1] - len(names) - len(fits))),
        *fits,
    ][:kept]
    others_N2 = others(data)
    told = np.sqrt((others_N2**2).mean(0)) > 0.05
    scaled_N2 = others_N2[:, told] / np.sqrt((others_N2[:, told] ** 2).mean(0))
    said = tuple(
        name
        for name, yes in zip(
            ("others chose this answer", "others chose so in this pair"), told, strict=True
        )
        if yes
    )
    return Features(np.hstack([x_ND[:, :kept], scaled_N2]), (*names, *said))


def drawn(data: Comparisons) -> Ints:
    """What is drawn again: raters, where they are more than prompts (or pairs of one prompt); else
    those.
    """
    clusters = data.cluster_N
    if len(data.rater.names) <= clusters.max() + 1:
        return clusters
    rater_N = data.rater.code_N
    return np.where(rater_N >= 0, rater_N, rater_N.max() + 1 + np.arange(len(rater_N)))


def others(data: Comparisons) -> Floats:
    """What other raters say, N x 2: the difference of the answers' shares of wins, and the lead of
    this verdict within its pair.
    """
    rater_N, n = data.rater.code_N, len(data)
    if data.rater.given == 0:
        return np.zeros((n, 2))
    side_M, rater_M = data.answers_N2.T.ravel(), np.tile(rater_N, 2)
    win_M = np.repeat([1.0, -1.0], n)
    answer_N2 = _without_own(side_M, rater_M, win_M, np.ones(2 * n)).reshape(2, n).T
    sign_N = np.where(data.forward_N, 1.0, -1.0)
    pair_N = sign_N * _without_own(data.pair.code_N, rater_N, sign_N, np.ones(n))
    known_N = rater_N >= 0
    return np.where(known_N[:, None], np.stack([answer_N2[:, 0] - answer_N2[:, 1], pair_N], 1), 0.0)


def _without_own(code_M: Ints, rater_M: Ints, value_M: Floats, one_M: Floats) -> Floats:
    """The mean of a code's values, without this rater's, drawn to 0 by two more of them."""
    own_M = np.unique(code_M * (rater_M.max() + 2) + rater_M + 1, return_inverse=True)[1]
    value, size = (
        np.bincount(code_M, weights=w)[code_M] - np.bincount(own_M, weights=w)[own_M]
        for w in (value_M, one_M)
    )
    return np.asarray(value / (size + 2))


# ------------------------------------------------------------ hidden subgroups


@dataclass(frozen=True)
class LatentGroups:
    """Hidden subgroups among U units (raters, or prompts). Arrays with S are of the rows looked
    at, at their places `row_S`.
    """

    units: str  # "raters" or "prompts"
    unit_S: Ints
    row_S: Ints
    gains: tuple[Floats, ...]  # held-out nats of each unit by a second, third, ... preference
    model: Mixture  # with as many preferences as were asked for last
    single_S: (
        Floats  # P(verdict) for a unit held out, told the unit's other verdicts: one preference
    )
    several_S: Floats  # the same, several preferences


class Units(NamedTuple):
    name: str
    row_S: Ints
    unit_S: Ints


def units_of(data: Comparisons, seed: int, *, least: int = 3, enough: int = 10) -> Units | None:
    """Raters, else prompts, with at least `least` verdicts on pairs that share no answer; None
    where fewer than `enough` have them.
    """
    for name, code_N in (("raters", data.rater.code_N), ("prompts", data.prompt.code_N)):
        row_S = some_of_each(disjoint(data.answers_N2, code_N, seed), code_N, seed)
        count = np.bincount(code_N[row_S], minlength=1)
        row_S = row_S[count[code_N[row_S]] >= least]
        _, unit_S = np.unique(code_N[row_S], return_inverse=True)
        if unit_S.max(initial=-1) + 1 >= enough:
            order = np.random.default_rng([seed, 7]).permutation(unit_S.max() + 1)[unit_S]
            sizes = np.bincount(order)
            kept = np.flatnonzero(order <= np.searchsorted(np.cumsum(sizes), ROWS))
            return Units(name, row_S[kept], np.unique(order[kept], return_inverse=True)[1])
        if name == "raters" and data.rater.given:
            return None
    return None


def disjoint(answers_N2: Ints, code_N: Ints, seed: int) -> Ints:
    """Rows, at random, such that no two of one code share an answer."""
    order = np.random.default_rng([seed, 5]).permutation(len(code_N))
    used: set[tuple[int, int]] = set()
    kept = []
    for i, code, a, b in zip(
        order.tolist(), code_N[order].tolist(), *answers_N2[order].T.tolist(), strict=True
    ):
        if code >= 0 and (code, a) not in used and (code, b) not in used:
            used |= {(code, a), (code, b)}
            kept.append(i)
    return np.sort(np.array(kept, np.int64))


def some_of_each(row_S: Ints, code_N: Ints, seed: int) -> Ints:
    """At most `EACH` rows of each code, at random."""
    mixed_S = np.random.default_rng([seed, 11]).permutation(row_S)
    mixed_S = mixed_S[np.argsort(code_N[mixed_S], kind="stable")]
    _, first, size = np.unique(code_N[mixed_S], return_index=True, return_counts=True)
    return np.sort(mixed_S[np.arange(len(mixed_S)) - np.repeat(first, size) < EACH])


def latent_groups_of(
    x_ND: Floats, units: Units, k: int, *, seed: int, before: LatentGroups | None = None
) -> LatentGroups:
    """Fit k preferences, and one fewer, to units of other folds; judge by units held out."""
    x_SD, unit_S = x_ND[units.row_S], units.unit_S
    count = int(unit_S.max()) + 1
    fold_U = folds_by(np.arange(count), min(FOLDS, count), seed)
    gain_U, ways_KS = np.zeros(count), np.zeros((2, len(unit_S)))
    for fold in range(int(fold_U.max()) + 1):
        held = fold_U[unit_S] == fold
        own_H, own_T = (np.unique(unit_S[part], return_inverse=True) for part in (held, ~held))
        total = []
        for way, preferences in enumerate((k - 1, k)):
            fitted = mixture(
                x_SD[~held], own_T[1], k=preferences, ridge=RIDGE, restarts=4, seed=seed
            )
            weight_C = _weights(by_rater(_each(x_SD[~held], fitted), own_T[1], len(own_T[0])))
            right_HC = _each(x_SD[held], fitted)
            joint_UC = np.log(weight_C) + by_rater(right_HC, own_H[1], len(own_H[0]))
            total.append(logsumexp(joint_UC, axis=1))
            without_HC = joint_UC[own_H[1]] - right_HC
            ways_KS[way, held] = np.exp(
                logsumexp(without_HC + right_HC, axis=1) - logsumexp(without_HC, axis=1)
            )
        gain_U[own_H[0]] = total[1] - total[0]
    model = mixture(x_SD, unit_S, k=k, ridge=RIDGE, restarts=6, seed=seed)
    single_S = ways_KS[0] if before is None else before.single_S
    gains = (gain_U,) if before is None else (*before.gains, gain_U)
    return LatentGroups(units.name, unit_S, units.row_S, gains, model, single_S, ways_KS[1])


def _each(x_SD: Floats, fitted: Mixture) -> Floats:
    """log P(verdict) for each preference at each strength, S x (preferences * strengths)."""
    theta_CD = (fitted.theta_KD[:, None, :] * STRENGTHS[:, None]).reshape(-1, x_SD.shape[1])
    return log_right(x_SD, theta_CD)


def _weights(joint_UC: Floats, rounds: int = 60) -> Floats:
    """The shares of units of each preference at each strength that make what they said likeliest,
    by expectation maximization.
    """
    share_UC = np.exp(joint_UC - joint_UC.max(1, keepdims=True))
    weight_C = np.full(joint_UC.shape[1], 1 / joint_UC.shape[1])
    for _ in range(rounds):
        q_UC = weight_C * share_UC
        weight_C = (q_UC / q_UC.sum(1, keepdims=True)).mean(0)
    return np.maximum(weight_C, 1e-6) / np.maximum(weight_C, 1e-6).sum()


# ------------------------------------------------------------ known groups


@dataclass(frozen=True)
class KnownGroups:
    """Groups of a column, each judged by everybody's preference at its own strength, by its own,
    and by each other group's.

    Arrays with S are of the rows looked at, at their places `row_S`; all log-odds are of models
    that saw no row of the row's prompt.
    """

    names: tuple[str, ...]
    group_S: Ints
    row_S: Ints
    cluster_S: Ints
    shared_S: Floats  # log-odds that the verdict is right, by everybody's preference
    own_S: Floats
    by_GS: Floats  # by the preference of each group alone

    @property
    def gain_S(self) -> Floats:
        """Nats by a preference of the group's own."""
        return np.asarray(np.logaddexp(0, -self.shared_S) - np.logaddexp(0, -self.own_S))


def known_groups(
    x_ND: Floats, column: Coded, cluster_N: Ints, *, seed: int, least: int, most: int
) -> KnownGroups | None:
    """The largest `most` groups of at least `least` rows; None where there are fewer than two."""
    sizes = np.bincount(column.code_N[column.code_N >= 0], minlength=len(column.names))
    kept = [int(g) for g in np.argsort(-sizes, kind="stable")[:most] if sizes[g] >= least]
    if len(kept) < 2:
        return None
    place = np.full(len(column.names) + 1, -1)
    place[kept] = np.arange(len(kept))
    row_S = np.flatnonzero(place[column.code_N] >= 0)
    if len(row_S) > ROWS:
        row_S = np.sort(np.random.default_rng([seed, 9]).choice(row_S, ROWS, replace=False))
    x_SD, group_S, cluster_S = (
        x_ND[row_S],
        place[column.code_N[row_S]],
        np.unique(cluster_N[row_S], return_inverse=True)[1],
    )
    fold_S = folds_by(cluster_S, FOLDS, seed)
    shared_S, own_S, by_GS = (
        np.zeros(len(row_S)),
        np.zeros(len(row_S)),
        np.zeros((len(kept), len(row_S))),
    )
    for fold in range(FOLDS):
        held, train = fold_S == fold, fold_S != fold
        if not held.any() or not train.any():
            continue
        all_D = tied(x_SD[train], np.zeros(x_SD.shape[1]), RIDGE)
        for g in range(len(kept)):
            mine = train & (group_S == g)
            strength = (
                tied((x_SD[mine] @ all_D)[:, None], np.ones(1), 1.0)[0] if mine.any() else 1.0
            )
            own_D = tied(x_SD[mine], strength * all_D, TIE)
            alone_D = tied(x_SD[mine], np.zeros_like(all_D), RIDGE)
            by_GS[g, held] = x_SD[held] @ alone_D
            ours = held & (group_S == g)
            shared_S[ours], own_S[ours] = strength * (x_SD[ours] @ all_D), x_SD[ours] @ own_D
    return KnownGroups(
        tuple(str(column.names[g]) for g in kept), group_S, row_S, cluster_S, shared_S, own_S, by_GS
    )


def tied(x_ND: Floats, to_D: Floats, ridge: float, steps: int = 12) -> Floats:
    """argmax over theta of sum log sigma(theta . x) - ridge/2 |theta - to|^2, by Newton's method
    with halved steps.
    """

    def value(theta_D: Floats) -> float:
        return float(
            -np.logaddexp(0.0, -(x_ND @ theta_D)).sum() - ridge / 2 * ((theta_D - to_D) ** 2).sum()
        )

    theta_D, here = to_D.copy(), value(to_D)
    for _ in range(steps):
        right_N = expit(x_ND @ theta_D)
        slope_D = x_ND.T @ (1 - right_N) - ridge * (theta_D - to_D)
        curve_DD = (x_ND * (right_N * (1 - right_N))[:, None]).T @ x_ND + ridge * np.eye(len(to_D))
        step_D, size = np.linalg.solve(curve_DD, slope_D), 1.0
        while (there := value(theta_D + size * step_D)) < here and size > 1e-4:
            size /= 2
        if there - here < 1e-7 * (1 + len(x_ND)):
            break
        theta_D, here = theta_D + size * step_D, there
    return theta_D


def largest(names: Sequence[str], theta_KD: Floats, shown: int) -> list[int]:
    """Features that have a name and that preferences weigh most differently."""
    gap_D = theta_KD.max(0) - theta_KD.min(0)
    return [int(d) for d in np.argsort(-gap_D) if not names[d].startswith("topic ")][:shown]
