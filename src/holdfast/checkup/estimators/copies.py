"""Raters who are one rater twice: agreement beyond what their error rates allow.

Let each rater r of a pair be right with chance a_r, independently, and q_r = 2 a_r - 1. For
verdicts +1 and -1, E[s_a s_b] = q_a q_b, whoever is right. So with o the mean verdict of two or
more other raters of the pair

    E[s_a s_b] E[s_c s_d] = E[s_a o] E[s_b o]        (c, d: two of the others)

and a and b, if independent, disagree on a share (1 - E[s_a o] E[s_b o] / E[s_c s_d]) / 2 of pairs.
Pairs that are hard for everybody leave the equation as it is. Raters of one taste agree beyond it,
too, so a copy must also disagree on less than a third of that share.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse, stats

from holdfast.checkup.comparisons import Comparisons
from holdfast.checkup.estimators.agreement import SharedVerdicts, shared_verdicts
from holdfast.stats.arrays import Floats, Ints

MOST = 300  # raters, those with most verdicts, that are held against each other
ENOUGH = 30  # pairs that two raters must share, and that two others must have judged, too
DISTANCE = 2.0  # standard errors beyond independence
PART = 1 / 3  # of the disagreement of independent raters that copies may still show
ALIKE = 0.03  # more disagreement than this beyond that of two raters: another one is not of them
RESAMPLES = 200


@dataclass(frozen=True)
class Copies:
    """Two raters that are one. `expected` is the number of shared pairs on which independent
    raters of their error rates would differ; NaN where fewer than two others judged the pairs, and
    two perfect raters cannot be told from a rater and a copy.
    """

    one: str
    other: str
    shared: int
    differ: int
    expected: float

    @property
    def sure(self) -> bool:
        return bool(np.isfinite(self.expected))

    def to_dict(self) -> dict[str, object]:
        return {
            "one": self.one,
            "other": self.other,
            "shared": self.shared,
            "differ": self.differ,
            "expected": self.expected if self.sure else None,
        }


def copied_raters(found: SharedVerdicts, *, seed: int = 0) -> list[Copies]:
    """Every pair of raters, of the `MOST` busiest, that is one rater, the least different first."""
    n_R = np.bincount(found.rater_V, minlength=len(found.raters))
    busy = np.argsort(-n_R, kind="stable")[:MOST]
    busy = np.sort(busy[n_R[busy] >= ENOUGH])
    if len(busy) < 3 or len(found.raters) < 3:
        return []
    size = (len(found.raters), int(found.pair_V.max()) + 1)
    side_RP = sparse.csr_matrix((found.forward_V, (found.rater_V, found.pair_V)), shape=size)
    sum_P = np.asarray(side_RP.sum(axis=0)).ravel()
    count_P = np.bincount(found.pair_V, minlength=size[1]).astype(float)
    some_RP = side_RP[busy]
    met_RR: Floats = np.asarray((abs(some_RP) @ abs(some_RP).T).todense())
    differ_RR = (met_RR - np.asarray((some_RP @ some_RP.T).todense())) / 2
    share_RR = np.where(met_RR > 0, differ_RR / np.maximum(met_RR, 1), 1.0)
    rng = np.random.default_rng(seed)
    copies = []
    close = (met_RR >= ENOUGH) & (share_RR <= PART / 2)
    for a, b in np.argwhere(np.triu(close, 1)):
        like = np.flatnonzero(
            (np.minimum(share_RR[a], share_RR[b]) <= share_RR[a, b] + ALIKE)
            & (met_RR[a] + met_RR[b] > 0)
        )
        like = like[(like != a) & (like != b)]  # third copies: not others
        gone_P = np.asarray(some_RP[like].sum(axis=0)).ravel()
        gone_count_P = np.asarray(abs(some_RP[like]).sum(axis=0)).ravel()
        s_a, s_b = (some_RP[r].toarray().ravel() for r in (a, b))
        o_P, k_P = sum_P - s_a - s_b - gone_P, count_P - abs(s_a) - abs(s_b) - gone_count_P
        there = (s_a != 0) & (s_b != 0)
        n, differ = int(met_RR[a, b]), int(differ_RR[a, b])
        expected = _expected(s_a, s_b, o_P, k_P, there, rng)
        most = float(stats.beta.ppf(0.975, differ + 1, n - differ))
        names = found.raters[int(busy[a])], found.raters[int(busy[b])]
        if expected is None:
            other = there & (k_P > 0)
            against = (1 - (s_a * o_P / np.maximum(k_P, 1))[other]) / 2
            if other.sum() >= 2 * ENOUGH and most <= PART / 2 * float(against.mean()):
                copies.append(Copies(*names, n, differ, float("nan")))
        elif most <= PART * expected:
            copies.append(Copies(*names, n, differ, expected * n))
    return sorted(copies, key=lambda c: (c.differ / c.shared, -c.shared))


def _expected(
    a_P: Floats,
    b_P: Floats,
    o_P: Floats,
    k_P: Floats,
    there_P: NDArray[np.bool_],
    rng: np.random.Generator,
) -> float | None:
    """The share of pairs on which these two would differ if independent; 0 where they may be; None
    where too few others say.
    """
    at = np.flatnonzero(there_P & (k_P >= 2))
    if len(at) < ENOUGH:
        return None
    k = k_P[at]
    o = o_P[at] / k
    terms = np.stack(
        [a_P[at] * b_P[at], (o_P[at] ** 2 - k) / (k * (k - 1)), a_P[at] * o, b_P[at] * o]
    )
    ab, oo, ao, bo = terms.mean(axis=1)
    weight = rng.multinomial(len(at), np.full(len(at), 1 / len(at)), RESAMPLES) / len(at)
    again = terms @ weight.T
    beyond_B = again[0] * again[1] - again[2] * again[3]
    if ab * oo - ao * bo <= DISTANCE * float(beyond_B.std()) or oo <= 0.05:
        return 0.0
    return float(np.clip((1 - ao * bo / oo) / 2, 0, 0.5))


def counted_once(copies: Sequence[Copies], raters: Sequence[str]) -> Ints:
    """Codes of the raters to leave out, so that of raters who are one, one is left."""
    code = {name: i for i, name in enumerate(raters)}
    links = np.array([[code[c.one], code[c.other]] for c in copies]).reshape(-1, 2)
    graph = sparse.coo_matrix((np.ones(len(links)), links.T), shape=(len(raters), len(raters)))
    _, part_R = sparse.csgraph.connected_components(graph, directed=False)
    first = np.unique(part_R, return_index=True)[1]
    return np.setdiff1d(np.arange(len(raters)), first)


def independent_verdicts(
    data: Comparisons, *, seed: int = 0
) -> tuple[SharedVerdicts, list[Copies]]:
    """The verdicts on pairs that several raters judged, raters who are one counted once, and who
    those are. Shared by the findings.
    """

    def make() -> tuple[SharedVerdicts, list[Copies]]:
        found = shared_verdicts(data)
        copies = copied_raters(found, seed=seed)
        if not copies:
            return found, copies
        gone = {found.raters[r] for r in counted_once(copies, found.raters)}
        codes = np.flatnonzero([str(name) in gone for name in data.rater.names])
        return shared_verdicts(data, without=codes), copies

    made: tuple[SharedVerdicts, list[Copies]] = data.once(("verdicts", seed), make)
    return made
