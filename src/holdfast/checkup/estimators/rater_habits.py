"""What a rater does that no answer explains: takes one place, or prefers answers of its own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from holdfast.checkup.comparisons import Comparisons
from holdfast.stats.intervals import Estimate, mean_interval

ENOUGH = 20  # verdicts of a rater
NEARLY_ALWAYS = 0.9  # share of verdicts for one place, at the lower end of its interval
REST = 0.75  # the most that the other raters may take the same place
ALPHA = 0.01  # for all raters together
COMPARED = 30  # verdicts of others on the same two models, from which theirs are the measure


@dataclass(frozen=True)
class Place:
    rater: str
    first: bool
    taken: int
    verdicts: int


def one_place(data: Comparisons) -> list[Place]:
    """Raters who take the first answer, or the second, nearly always, where the others do not."""
    known = np.flatnonzero((data.first_N >= 0) & (data.rater.code_N >= 0))
    if not len(known) or len(data.rater.names) < 2:
        return []
    rater_K, first_K = data.rater.code_N[known], data.first_N[known]
    n_R = np.bincount(rater_K, minlength=len(data.rater.names))
    first_R = np.bincount(rater_K, weights=first_K, minlength=len(n_R))
    alpha = ALPHA / max((n_R >= ENOUGH).sum(), 1)
    found = []
    for r in np.flatnonzero(n_R >= ENOUGH):
        for first, taken_R in ((True, first_R), (False, n_R - first_R)):
            k, n = int(taken_R[r]), int(n_R[r])
            low = float(stats.beta.ppf(alpha, k, n - k + 1)) if k else 0.0
            rest = float((taken_R.sum() - k) / max(n_R.sum() - n, 1))
            if low > NEARLY_ALWAYS and rest <= REST:
                found.append(Place(str(data.rater.names[r]), first, k, n))
    return found


@dataclass(frozen=True)
class SelfPreference:
    """How often a judge that wrote one of the two answers takes its own.

    `expected` is how often raters who wrote neither take that model's against the same others;
    None where too few judged them, and then a judge that is better is not told from one that is
    partial.
    """

    judge: str
    own: Estimate
    expected: float | None
    others: int
    partial: bool


def self_preferences(data: Comparisons, *, level: float, seed: int) -> list[SelfPreference]:
    """Every judge whose name is among the models that wrote the answers, with `ENOUGH` verdicts on
    pairs where one of the two is its own.
    """
    if data.models_N2 is None or data.rater.given == 0:
        return []
    models_N2, names = data.models_N2
    code = {name: k for k, name in enumerate(names)}
    judge_R = np.array([code.get(str(name), -1) for name in data.rater.names])
    rater_N = data.rater.code_N
    judge_N = np.where(rater_N >= 0, judge_R[rater_N], -1)
    known_N = (models_N2 >= 0).all(axis=1) & (models_N2[:, 0] != models_N2[:, 1]) & (rater_N >= 0)
    own_N2 = models_N2 == np.where(judge_N >= 0, judge_N, -2)[:, None]
    outside_N = known_N & ~own_N2.any(axis=1)
    found = []
    judges = np.unique(judge_N[known_N & own_N2.any(axis=1)])
    for judge in judges:
        rows = np.flatnonzero(known_N & (judge_N == judge) & own_N2.any(axis=1))
        if len(rows) < ENOUGH:
            continue
        took = own_N2[rows, 0].astype(float)
        rival = np.where(took > 0, models_N2[rows, 1], models_N2[rows, 0])
        clusters = data.prompt.code_N[rows].tolist()
        own = mean_interval(took, clusters, level=level, seed=seed)
        about = outside_N & (models_N2 == judge).any(axis=1)
        won_N, against_N = models_N2[:, 0] == judge, models_N2.sum(axis=1) - judge
        weight = np.bincount(rival, minlength=len(names)) / len(rows)
        n_M = np.bincount(against_N[about], minlength=len(names))
        win_M = np.bincount(against_N[about], weights=won_N[about], minlength=len(names))
        met = n_M > 0
        expected = None
        partial = bool(own.low is not None and own.low > 0.5)
        if n_M[weight > 0].sum() >= COMPARED and weight[met].sum() > 0.9:
            share_M = (win_M + 0.5) / (n_M + 1)
            weight = weight * met / weight[met].sum()
            expected = float((weight * share_M).sum())
            error = np.sqrt((weight**2 * share_M * (1 - share_M) / np.maximum(n_M, 1)).sum())
            low = own.low if own.low is not None else 0.0
            gap = float(own.value or 0.0) - expected
            partial = bool(gap > np.hypot(float(own.value or 0.0) - low, 1.96 * error))
        found.append(
            SelfPreference(names[judge], own, expected, int(n_M[weight > 0].sum()), partial)
        )
    return found
