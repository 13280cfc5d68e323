"""How surely the labels of a place in the data run against those of the rest, by a model that
leaves the place out.

A comparison is a difference x = f(chosen) - f(rejected), so the sign of its label is in x.
Whitened, z = (X'X / 4 + I)^(-1/2) x, the first step of Newton's method for a Bradley-Terry model
with a normal prior, fitted to rows R, gives row i the log-odds z_i S_R up to a factor, S_R the sum
of z over R. A place W (a stretch of the file, a source) is scored by the agreement of its rows with
all rows of the rest that answer another prompt:

    T_W = sum over prompts c, c' that differ of  S_Wc S_Rc'
            (S_Wc: the sum of z over the rows of W with prompt c)

With every prompt on one side it is S_W S_R, the inner product of the place's direction and the
rest's. No row of W is in the fit that judges W. If W alone were inverted, T_W would be -T_W:
so the same numbers tell what would have been seen.

The null hypothesis is E[T_W] >= 0: labels of W are as sound as those of the rest, or noisier, or
nothing but random labels, or follow a preference that has nothing to do with the rest's. Its worst
case is E[T_W] = 0. There are two ways to get there, and they have different spreads. Random
labels: given the rest, T_W = sum over c of a_c, a_c = S_Wc (S_R - S_Rc), is a sum of terms of
random sign, whose squares sum to A = sum a_c^2. An unrelated preference: T_W also moves with the
noise of the rest along the direction of W; inverted, b_c = S_Rc (S_W - S_Wc), B = sum b_c^2, and
the variance is estimated by sum (a_c + b_c)^2 - C (Hajek's projection of a U-statistic, less what
the noise of both sides counts twice: C, the variance of T_W under random signs of all prompts, of
which those with rows on both sides are left out; where there are many, V is too wide, and a place
less sure than it might be). Signs drawn anew in W alone would give A and miss the second; signs
drawn anew everywhere would give C and miss both preferences. So T_W is divided by the root of

    V_W = max(A, B, sum (a_c + b_c)^2 - C)

As V >= A, random labels in W, whatever the rest is, make -T_W / sqrt(V_W) at most a sum of fixed
terms of random sign over the root of its sum of squares: P(it exceeds t) <= exp(-t^2 / 2)
(Hoeffding, 1963), in any number of prompts, and near the normal tail in many. As V >= B the same
holds if the rest is at random, whatever W is. In between it is the central limit theorem. Rows of a
prompt may depend on one another: signs are whole prompts', and a place of few prompts can never be
sure (|T_W| / sqrt(V_W) is at most the root of their number).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from holdfast.stats.arrays import Floats, Ints
from holdfast.stats.cross_fitting import one_way_folds
from holdfast.stats.intervals import Estimate, mean_interval

# of float32, relative to what a score is the small difference of: below it there is nothing to be
# sure of
ROUNDING = 1e-4
AT_ONCE = 40_000  # rows of places that are scored in one go, for memory


def whitened(x_ND: Floats) -> NDArray[np.float32]:
    """(X'X / 4 + I)^(-1/2) x of each row, in the directions of X'X."""
    lambda_D, turn_DD = np.linalg.eigh(np.asarray(x_ND.T @ x_ND, float))
    return np.asarray(x_ND @ (turn_DD / np.sqrt(np.maximum(lambda_D, 0) / 4 + 1)), np.float32)


@dataclass(frozen=True)
class Places:
    """P sets of rows: row `row_E` belongs to place `place_E`, which rises."""

    place_E: Ints
    row_E: Ints
    count: int

    @classmethod
    def stretches(cls, from_P: Ints, to_P: Ints) -> Places:
        """Rows [from, to) each."""
        size_P = to_P - from_P
        place_E = np.repeat(np.arange(len(from_P)), size_P)
        return cls(
            place_E,
            np.arange(size_P.sum()) - np.repeat(np.cumsum(size_P) - size_P - from_P, size_P),
            len(from_P),
        )

    @classmethod
    def codes(cls, code_N: Ints, count: int) -> Places:
        """The rows of each code; -1 is no place."""
        order = np.argsort(code_N, kind="stable")
        order = order[code_N[order] >= 0]
        return cls(code_N[order], order, count)


@dataclass(frozen=True)
class Labels:
    """Whitened signed rows, and the clusters (prompts) whose labels may depend on one another."""

    z_ND: NDArray[np.float32]
    cluster_N: Ints

    @cached_property
    def sums_CD(self) -> NDArray[np.float32]:
        n = len(self.cluster_N)
        return np.asarray(
            _adds(self.cluster_N, np.arange(n), int(self.cluster_N.max()) + 1, n) @ self.z_ND
        )

    @cached_property
    def total_D(self) -> NDArray[np.float32]:
        return np.asarray(self.sums_CD.sum(0, dtype=float), np.float32)

    @cached_property
    def second_DD(self) -> NDArray[np.float32]:
        return self.sums_CD.T @ self.sums_CD

    @cached_property
    def own_N(self) -> Floats:
        """z S_c of each row, c its own prompt: what must not judge it."""
        return _dots(self.z_ND, self.sums_CD, self.cluster_N)

    @cached_property
    def noise_C(self) -> Floats:
        """S_c Sigma S_c of each prompt, Sigma the second moment of the others."""
        return (
            np.einsum("cd,cd->c", self.sums_CD @ self.second_DD, self.sums_CD).astype(float)
            - self.length_C**2
        )

    @cached_property
    def length_C(self) -> Floats:
        return np.einsum("cd,cd->c", self.sums_CD, self.sums_CD).astype(float)

    def without(self, inside_N: NDArray[np.bool_]) -> Labels:
        """The same with nothing said by these rows."""
        return Labels(np.where(inside_N[:, None], np.float32(0), self.z_ND), self.cluster_N)

    def judged(self, inside_N: NDArray[np.bool_]) -> Floats:
        """Log-odds, up to a factor, that a model of the rows outside gives to every label, the rows
        of its own prompt left out of it.
        """
        inside = np.flatnonzero(inside_N)
        s_N = (self.z_ND @ (self.total_D - self.z_ND[inside].sum(0))).astype(float) - self.own_N
        touched = np.unique(self.cluster_N[inside])
        at = np.flatnonzero(np.isin(self.cluster_N, touched))
        code_C = np.zeros(len(self.sums_CD), np.int64)
        code_C[touched] = np.arange(len(touched))
        within_GD = (
            _adds(code_C[self.cluster_N[inside]], inside, len(touched), len(self.z_ND)) @ self.z_ND
        )
        s_N[at] += _dots(self.z_ND[at], within_GD, code_C[self.cluster_N[at]])
        return s_N

    def agreement(self, *, level: float, seed: int) -> tuple[Floats, Estimate]:
        """Of each row, whether a model of other prompts agrees with its label (1, 0, or 1/2 where
        it says nothing), and the mean: folds judge each other one way only (`one_way`), which is
        what makes the interval hold."""
        right_N = np.full(len(self.z_ND), 0.5)
        for fitted, rest in one_way_folds(self.cluster_N, seed=seed):
            right_N[rest] = right(self.z_ND[rest] @ self.z_ND[fitted].sum(0))
        return right_N, mean_interval(right_N, self.cluster_N.tolist(), level=level, seed=seed)


def right(s_N: Floats) -> Floats:
    return np.where(s_N == 0, 0.5, s_N > 0)


def agreeing(labels: Labels, places: Places) -> Floats:
    """T_W / sqrt(V_W) of each place: how surely its labels go with the rest's; far below zero,
    against them.
    """
    ends_P = np.searchsorted(places.place_E, np.arange(places.count), side="right")
    out_P, first = np.zeros(places.count), 0
    while first < places.count:
        start = ends_P[first - 1] if first else 0
        last = max(first + 1, int(np.searchsorted(ends_P, start + AT_ONCE, side="right")))
        part = slice(start, ends_P[last - 1])
        out_P[first:last] = _agreeing(
            labels, places.place_E[part] - first, places.row_E[part], last - first
        )
        first = last
    return out_P


def _agreeing(labels: Labels, place_E: Ints, row_E: Ints, count: int) -> Floats:
    """The same of places that are small enough together. G are the groups of rows of one prompt in
    one place.
    """
    many = len(labels.sums_CD)
    key_G, group_E = np.unique(place_E * many + labels.cluster_N[row_E], return_inverse=True)
    place_G, cluster_G = key_G // many, key_G % many
    group_GD = _adds(group_E, row_E, len(key_G), len(labels.z_ND)) @ labels.z_ND
    of_place = _adds(place_G, np.arange(len(key_G)), count, len(key_G))
    place_PD = of_place @ group_GD

    same_G = np.einsum("gd,gd->g", group_GD, group_GD).astype(float)  # S_Wc S_Wc
    prompt_G = np.bincount(group_E, weights=labels.own_N[row_E], minlength=len(key_G))  # S_Wc S_c
    place_with_G = _dots(group_GD, place_PD, place_G)  # S_Wc S_W
    prompt_with_G = _dots(labels.sums_CD, place_PD, place_G, cluster_G)  # S_c S_W
    a_G = (group_GD @ labels.total_D).astype(float) - place_with_G - prompt_G + same_G
    b_G = prompt_with_G - prompt_G - place_with_G + same_G
    beyond_P = (
        np.einsum("pd,pd->p", place_PD @ labels.second_DD, place_PD) - of_place @ prompt_with_G**2
    )  # b^2 of prompts not in W

    whole_G = (
        np.bincount(group_E, minlength=len(key_G))
        == np.bincount(labels.cluster_N, minlength=many)[cluster_G]
    )
    share_P = (
        of_place
        @ np.where(whole_G, labels.length_C[cluster_G], 0.0)
        / max(labels.length_C.sum(), 1e-30)
    )
    twice_P = (1 - share_P) * (
        of_place @ np.where(whole_G, labels.noise_C[cluster_G], 0.0)
    )  # C, of the prompts that are whole
    spread_P = np.maximum(
        0,
        np.max(
            [
                of_place @ a_G**2,
                beyond_P + of_place @ b_G**2,
                beyond_P + of_place @ (a_G + b_G) ** 2 - twice_P,
            ],
            0,
        ),
    )
    size_P = np.linalg.norm(place_PD, axis=1) * (
        np.linalg.norm(place_PD, axis=1) + np.linalg.norm(labels.total_D)
    )
    return of_place @ a_G / np.maximum(np.sqrt(spread_P), ROUNDING * size_P + 1e-30)


def _adds(to_E: Ints, from_E: Ints, rows: int, columns: int) -> sparse.csr_matrix:
    """The matrix that adds up what belongs together."""
    return sparse.csr_matrix(
        (np.ones(len(to_E), np.float32), (to_E, from_E)), shape=(rows, columns)
    )


def _dots(
    left_ND: NDArray[np.float32],
    right_MD: NDArray[np.float32],
    at_N: Ints,
    left_at_N: Ints | None = None,
) -> Floats:
    """Inner products of rows with rows, a part at a time."""
    out_N = np.empty(len(at_N))
    for k in range(0, len(at_N), AT_ONCE):
        part = slice(k, k + AT_ONCE)
        left = left_ND[part] if left_at_N is None else left_ND[left_at_N[part]]
        out_N[part] = np.einsum("nd,nd->n", left, right_MD[at_N[part]])
    return out_N
