"""Subgroups among raters: a mixture of linear rewards, fitted by expectation maximization over
raters.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import inf

import numpy as np
from numpy.typing import ArrayLike, NDArray
from rich.progress import track
from scipy.special import expit, logsumexp, softmax

from holdfast.card import check
from holdfast.errors import DataError
from holdfast.stats.arrays import Floats, Ints, floats, whole
from holdfast.terminal import Terminal

Assign = Callable[
    [Floats], Floats
]  # log of (share of the group x likelihood of the rater), R x K -> responsibilities, R x K

TRIAL = 6  # rounds that every start gets before the most promising one goes on
# steps of an M-step, which starts where the last one ended: enough to gain, and the next round goes
# on from there
NEWTON = 1
OPENING = 3  # steps of the first one


def soft(joint_RK: Floats) -> Floats:
    """The probability of each group given all that a rater said: expectation maximization
    proper.
    """
    return np.asarray(softmax(joint_RK, axis=1))


def hard(joint_RK: Floats) -> Floats:
    """The likeliest group takes a rater whole, as in the paper (equal shares give its argmax of the
    likelihood alone).
    """
    taken_RK: Floats = np.eye(joint_RK.shape[1])[joint_RK.argmax(1)]
    return taken_RK


@dataclass(frozen=True)
class Mixture:
    """A fitted mixture: P(rater's labels) = sum_k share_k prod_i sigma(theta_k . x_i). Groups are
    sorted, the largest share first.

    Attributes:
        theta_KD: each group's reward, linear in the features.
        share_K: the share of raters in each group; sums to 1.
        responsibility_RK: the probability that a rater belongs to each group, rows in the order of
            rater codes; a code that no row has holds the shares. With `hard`, zeros and ones.
        group_N: each row's likeliest group: that of its rater.
        log_likelihood: of all labels under the mixture, nats; without the penalty.
        penalized: log-likelihood - ridge/2 |theta|^2, round after round: with `soft` it never
            falls.
        rounds: of the start that won, with those of its trial.
        converged: False where the rounds ran out.
        starts: penalized log-likelihood that each start had reached after its trial: a wide spread
            asks for more restarts.
    """

    theta_KD: Floats
    share_K: Floats
    responsibility_RK: Floats
    group_N: Ints
    log_likelihood: float
    penalized: tuple[float, ...]
    rounds: int
    converged: bool
    starts: tuple[float, ...]

    @property
    def k(self) -> int:
        return len(self.share_K)

    def joint(self, x_ND: ArrayLike, rater_N: ArrayLike | None = None) -> Floats:
        """log share_k + log-likelihood under group k of everything each rater said: raters x
        groups, raters in the order of their codes.
        """
        x_ND, code_N, raters = rows_of(x_ND, rater_N)
        return np.log(np.maximum(self.share_K, 1e-300)) + by_rater(
            log_right(x_ND, self.theta_KD), code_N, raters
        )

    def rater_log_likelihood(self, x_ND: ArrayLike, rater_N: ArrayLike | None = None) -> Floats:
        """log P(all labels of a rater), nats, for raters old or new."""
        return np.asarray(logsumexp(self.joint(x_ND, rater_N), axis=1))

    def responsibilities(self, x_ND: ArrayLike, rater_N: ArrayLike | None = None) -> Floats:
        """The probability of each group given what these raters said."""
        return soft(self.joint(x_ND, rater_N))

    def disagreement(self, x_ND: ArrayLike) -> Floats:
        """K x K: the share of rows on which two groups favor different answers."""
        favors_NK = np.asarray(x_ND, float) @ self.theta_KD.T > 0
        return np.asarray((favors_NK[:, :, None] != favors_NK[:, None, :]).mean(0))


def mixture(
    x_ND: ArrayLike,
    rater_N: ArrayLike | None = None,
    *,
    k: int = 2,
    assign: Assign = soft,
    ridge: float = 1.0,
    restarts: int = 5,
    rounds: int = 200,
    tolerance: float = 1e-6,
    seed: int = 0,
    progress: bool = False,
) -> Mixture:
    """Find k groups of raters, each with a linear reward of its own, in comparisons given as
    differences of features.

        P(label i | group k) = sigma(theta_k . x_i),    x_i = f(chosen) - f(rejected)
                (Chakraborty et al. 2024, equation of w)
        E-step   joint_hk = log share_k + sum over i of rater h of log sigma(theta_k . x_i),
                 q = assign(joint)
        M-step   theta_k = argmax sum_i q_h(i)k log sigma(theta_k . x_i) - ridge/2 |theta_k|^2,
                 share_k = mean_h q_hk

    A rater's labels are judged together: one label says next to nothing of whose it is, ten say
    much. Where raters are not known every row stands alone, and groups can be told apart only by
    what they say on the average: see `held_out` before believing them. A reward's scale is its
    group's certainty: a group whose theta is near 0 labels at random.

    Args:
        x_ND: N rows of D features, chosen minus rejected. No column may be centered, and no
            constant is added: a pair inverted must be its own negative. Standardize columns,
            since the ridge treats them alike.
        rater_N: the rater of each row as a code from 0; -1 where not known (such a row stands
            alone).
        k: groups; 1 is plain logistic regression.
        assign: `soft` or `hard`.
        ridge: the inverse variance of a normal prior on each number of theta; 0 diverges where a
            group's labels are separable.
        restarts: starts; the first splits raters by how they pull at the pooled reward, the others
            at random.
        rounds: of expectation and maximization at most.
        tolerance: stop when a round gains less than this, nats a row.
        seed: of the starts.
        progress: a bar over the starts.

    Returns:
        Mixture.

    Raises:
        DataError: no rows, rows that are not finite, codes that are not whole numbers of at least
            -1 or not one a row.
        OptionError: k below 1 or above the number of raters, or another setting out of range.

    Departures:
        1. Linear rewards over given features, fitted whole by Newton's method, where the paper
           trains a language model a group.
        2. `soft` is the default, with shares; the paper gives each rater whole to one group and has
           no shares. `hard` does that, with shares.
        3. A group that loses all raters gets the rater that is explained worst.
    """
    x_ND, code_N, raters = rows_of(x_ND, rater_N)
    check(
        "k",
        k,
        lambda: whole(k, 1) and k <= raters,
        f"be a whole number from 1 to the number of raters, {raters}",
    )
    check("ridge", ridge, lambda: 0 <= ridge < inf, "be at least 0 and finite", hint="1 is a start")
    check("restarts", restarts, lambda: whole(restarts, 1), "be a whole number of at least 1")
    check("rounds", rounds, lambda: whole(rounds, 1), "be a whole number of at least 1")
    check("tolerance", tolerance, lambda: 0 < tolerance < inf, "be above 0 and finite")
    problem = _Problem(x_ND, code_N, raters, assign, ridge, tolerance)
    rng = np.random.default_rng([seed, 0x3A3])
    pooled_D = _maximize(x_ND, np.ones(len(x_ND)), np.zeros(x_ND.shape[1]), ridge, steps=50)
    starts = [
        problem.run(problem.start(pooled_D, k, rng, first=s == 0), min(TRIAL, rounds))
        for s in _shown(1 if k == 1 else restarts, progress)
    ]
    best = max(starts, key=lambda run: run.penalized[-1])
    if not best.converged and rounds > TRIAL:
        best = problem.run(best, rounds - TRIAL)
    return _finished(problem, best, tuple(run.penalized[-1] for run in starts))


def held_out(
    x_ND: ArrayLike,
    rater_N: ArrayLike | None = None,
    *,
    k: int = 2,
    folds: int = 5,
    seed: int = 0,
    assign: Assign = soft,
    ridge: float = 1.0,
    restarts: int = 5,
    rounds: int = 200,
    progress: bool = False,
) -> Floats:
    """log P(all labels of a rater), nats, under mixtures fitted to other raters: shape (raters,),
    NaN for codes without rows.

    Compare numbers of groups rater by rater: `held_out(k=2) - held_out(k=1)` above 0 on the
    average, by its interval over raters, says that subgroups are real; one rater's difference grows
    with the number of labels that rater gave.

    Args:
        x_ND: as for `mixture`.
        rater_N: as for `mixture`.
        k: groups.
        folds: parts that raters are dealt into; the same for every k and the same seed.
        seed: of the folds and the starts.
        assign: as for `mixture`.
        ridge: as for `mixture`.
        restarts: as for `mixture`.
        rounds: as for `mixture`.
        progress: a bar over the folds.

    Raises:
        DataError: as for `mixture`, or fewer raters than folds.
    """
    x_ND, code_N, raters = rows_of(x_ND, rater_N)
    check("folds", folds, lambda: whole(folds, 2), "be a whole number of at least 2")
    there = np.unique(code_N)
    if len(there) < folds:
        raise DataError(
            f"{len(there)} raters cannot be dealt into {folds} folds",
            hint=f"folds={len(there)}, or more raters",
        )
    fold_R = np.full(raters, -1)
    fold_R[np.random.default_rng([seed, 0xF01D]).permutation(there)] = np.arange(len(there)) % folds
    out_R = np.full(raters, np.nan)
    for fold in _shown(folds, progress):
        held_N = fold_R[code_N] == fold
        _, own_N = np.unique(code_N[~held_N], return_inverse=True)
        fitted = mixture(
            x_ND[~held_N],
            own_N,
            k=k,
            assign=assign,
            ridge=ridge,
            restarts=restarts,
            rounds=rounds,
            seed=seed,
        )
        whose, own_N = np.unique(code_N[held_N], return_inverse=True)
        out_R[whose] = fitted.rater_log_likelihood(x_ND[held_N], own_N)
    return out_R


# ------------------------------------------------------------ parts


def rows_of(x_ND: ArrayLike, rater_N: ArrayLike | None) -> tuple[Floats, Ints, int]:
    """Features, a code from 0 for each row (rows of -1 get codes of their own, after the others),
    and the number of codes.
    """
    x = floats(x_ND, "features", finite=False, hint="one row a comparison, one column a feature")
    if x.ndim != 2 or not x.size:
        raise DataError(
            f"features must be a table of rows and columns; these have shape {x.shape}",
            hint="one row a comparison",
        )
    if not np.isfinite(x).all():
        row, column = np.argwhere(~np.isfinite(x))[0]
        raise DataError(
            f"row {row}, column {column} of the features is {x[row, column]}",
            hint="leave such rows out",
        )
    given = np.full(len(x), -1) if rater_N is None else floats(rater_N, "rater_N", finite=False)
    if np.asarray(rater_N).dtype.kind in "iu" and np.abs(given).max(initial=0) < 2**31:
        given = given.astype(np.int64)
    if given.shape != (len(x),) or not np.issubdtype(given.dtype, np.integer) or given.min() < -1:
        raise DataError(
            f"raters must be one whole number of at least -1 for each of {len(x)} rows; "
            f"these are {given.dtype} of shape {given.shape}",
            hint="number the raters from 0; -1 where not known",
        )
    code = given.astype(np.int64)
    known = int(code.max()) + 1
    alone = np.flatnonzero(code < 0)
    code[alone] = known + np.arange(len(alone))
    return x, code, known + len(alone)


def log_right(x_ND: Floats, theta_KD: Floats) -> Floats:
    """log sigma(theta_k . x_i), N x K."""
    return -np.logaddexp(0.0, -(x_ND @ theta_KD.T))


def by_rater(values_NK: Floats, code_N: Ints, raters: int) -> Floats:
    """Sums over each rater's rows."""
    return np.stack(
        [np.bincount(code_N, weights=column, minlength=raters) for column in values_NK.T], axis=1
    )


@dataclass(frozen=True)
class _Run:
    theta_KD: Floats
    share_K: Floats
    penalized: tuple[float, ...] = ()
    converged: bool = False


@dataclass(frozen=True)
class _Problem:
    x_ND: Floats
    code_N: Ints
    raters: int
    assign: Assign
    ridge: float
    tolerance: float

    @property
    def there_R(self) -> NDArray[np.bool_]:
        """Codes that some row has; the others must not count towards shares."""
        return np.bincount(self.code_N, minlength=self.raters) > 0

    def start(self, pooled_D: Floats, k: int, rng: np.random.Generator, *, first: bool) -> _Run:
        """Rewards fitted to raters split in k: by the direction in which they pull at the pooled
        reward, or at random.
        """
        if k == 1:
            return _Run(pooled_D[None], np.ones(1))
        there = np.flatnonzero(self.there_R)
        group_R = np.zeros(self.raters, np.int64)
        group_R[there] = (
            rng.permutation(np.arange(len(there)) % k)
            if not first
            else self._split(pooled_D, k, there, rng)
        )
        return self._maximized(np.tile(pooled_D, (k, 1)), np.eye(k)[group_R], OPENING)

    def _split(self, pooled_D: Floats, k: int, there: Ints, rng: np.random.Generator) -> Ints:
        from sklearn.cluster import KMeans

        surprise_N = expit(-(self.x_ND @ pooled_D))
        pull_RD = by_rater(self.x_ND * surprise_N[:, None], self.code_N, self.raters)[there]
        pull_RD /= np.maximum(np.linalg.norm(pull_RD, axis=1, keepdims=True), 1e-12)
        pull_RD += rng.normal(
            scale=1e-9, size=pull_RD.shape
        )  # so that raters who pull alike can still be split
        return np.asarray(
            KMeans(k, n_init=3, random_state=int(rng.integers(2**31))).fit(pull_RD).labels_,
            np.int64,
        )

    def run(self, run: _Run, rounds: int) -> _Run:
        """Rounds of expectation and maximization. `penalized` ends with the value before the last
        maximization.
        """
        penalized = list(run.penalized)
        for _ in range(rounds):
            joint_RK = np.log(np.maximum(run.share_K, 1e-300)) + by_rater(
                log_right(self.x_ND, run.theta_KD), self.code_N, self.raters
            )
            penalized.append(self._penalized(joint_RK, run.theta_KD))
            if len(penalized) > 1 and abs(penalized[-1] - penalized[-2]) < self.tolerance * len(
                self.x_ND
            ):
                return replace(run, penalized=tuple(penalized), converged=True)
            run = self._maximized(run.theta_KD, self._filled(self.assign(joint_RK), joint_RK))
        return replace(run, penalized=tuple(penalized))

    def _penalized(self, joint_RK: Floats, theta_KD: Floats) -> float:
        return float(
            logsumexp(joint_RK[self.there_R], axis=1).sum() - self.ridge / 2 * (theta_KD**2).sum()
        )

    def _filled(self, q_RK: Floats, joint_RK: Floats) -> Floats:
        """An empty group takes the rater that is explained worst, for the number of labels
        given.
        """
        empty = np.flatnonzero(q_RK[self.there_R].sum(0) < 1e-6)
        if len(empty):
            labels_R = np.bincount(self.code_N, minlength=self.raters)
            each_R = np.where(
                self.there_R, logsumexp(joint_RK, axis=1) / np.maximum(labels_R, 1), inf
            )
            q_RK = q_RK.copy()
            for group, rater in zip(empty, np.argsort(each_R), strict=False):
                q_RK[rater] = np.eye(q_RK.shape[1])[group]
        return q_RK

    def _maximized(self, theta_KD: Floats, q_RK: Floats, steps: int = NEWTON) -> _Run:
        theta = [
            _maximize(self.x_ND, q_RK[self.code_N, k], theta_KD[k], self.ridge, steps=steps)
            for k in range(len(theta_KD))
        ]
        return _Run(np.array(theta), q_RK[self.there_R].mean(0))


def _maximize(
    x_ND: Floats, weight_N: Floats, theta_D: Floats, ridge: float, *, steps: int
) -> Floats:
    """Newton's method on sum_i weight_i log sigma(theta . x_i) - ridge/2 |theta|^2, with halved
    steps where a whole one goes too far.
    """

    def value(theta_D: Floats) -> float:
        return float(
            weight_N @ -np.logaddexp(0.0, -(x_ND @ theta_D)) - ridge / 2 * theta_D @ theta_D
        )

    here = value(theta_D)
    for _ in range(steps):
        right_N = expit(x_ND @ theta_D)
        slope_D = x_ND.T @ (weight_N * (1 - right_N)) - ridge * theta_D
        curve_DD = (x_ND * (weight_N * right_N * (1 - right_N))[:, None]).T @ x_ND
        curve_DD[np.diag_indices_from(curve_DD)] += ridge + 1e-9 * (
            1 + np.trace(curve_DD) / len(theta_D)
        )
        step_D = np.linalg.solve(curve_DD, slope_D)
        size = 1.0
        while (there := value(theta_D + size * step_D)) < here and size > 1e-6:
            size /= 2
        if there <= here:
            break
        theta_D, gain, here = theta_D + size * step_D, there - here, there
        if gain < 1e-9 * len(x_ND):
            break
    return theta_D


def _finished(problem: _Problem, run: _Run, starts: tuple[float, ...]) -> Mixture:
    order = np.argsort(-run.share_K, kind="stable")
    theta_KD, share_K = run.theta_KD[order], run.share_K[order]
    joint_RK = np.log(np.maximum(share_K, 1e-300)) + by_rater(
        log_right(problem.x_ND, theta_KD), problem.code_N, problem.raters
    )
    q_RK = np.where(problem.there_R[:, None], problem.assign(joint_RK), share_K)
    return Mixture(
        theta_KD,
        share_K,
        q_RK,
        q_RK.argmax(1)[problem.code_N],
        float(logsumexp(joint_RK[problem.there_R], axis=1).sum()),
        run.penalized,
        len(run.penalized),
        run.converged,
        starts,
    )


def _shown(n: int, progress: bool) -> list[int]:
    return (
        list(range(n))
        if not progress or n == 1
        else list(track(range(n), "mixture", console=Terminal(stderr=True), transient=True))
    )
