"""Verdicts of several raters on the same pair, and how alike they are."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse

from holdfast.checkup.comparisons import Comparisons
from holdfast.checkup.estimators.reliability import Scores
from holdfast.stats.arrays import Floats, Ints
from holdfast.text.codes import Coded

FEW = 10  # prompts below which pairs are what was drawn
MANY_PEOPLE, PEOPLE_PER_PROMPT = 20, 5  # raters from which verdicts are opinions
SEES_MANY = 4  # prompts a rater, on the average, from which a rater's prompts are a sample


class SharedVerdicts(NamedTuple):
    """V verdicts on pairs that at least two raters judged; a rater who judged a pair twice counts
    once, by what he said first.
    """

    row_V: Ints
    pair_V: Ints  # codes from 0 without gaps
    rater_V: Ints  # codes from 0 without gaps: `raters`
    item_V: Ints  # what is drawn again in an interval
    # answers of one prompt that pairs connect, whoever judged them: what one rater says of them
    # follows from one ranking, and is one draw
    block_V: Ints
    forward_V: Floats  # +1 or -1: the side of the pair
    raters: tuple[str, ...]

    def at(self, place_W: Ints) -> SharedVerdicts:
        """Some of the verdicts, whole pairs of them."""
        return SharedVerdicts(
            self.row_V[place_W],
            np.unique(self.pair_V[place_W], return_inverse=True)[1],
            self.rater_V[place_W],
            self.item_V[place_W],
            self.block_V[place_W],
            self.forward_V[place_W],
            self.raters,
        )

    @property
    def size_V(self) -> Ints:
        """Verdicts on the same pair."""
        return np.asarray(np.bincount(self.pair_V)[self.pair_V])

    @property
    def agreement_V(self) -> Floats:
        """The share of the pair's other raters who agree with this one."""
        return self.agreement_within(np.zeros(len(self.row_V), np.int64))

    def agreement_within(self, group_V: Ints, *, outside: bool = False) -> Floats:
        """The share of the pair's other raters of this one's group (or of other groups) who agree;
        NaN where there are none.
        """
        key = self.pair_V * (int(group_V.max(initial=0)) + 1) + group_V
        inside, counted = np.unique(key, return_inverse=True)[1], self.pair_V
        total_V, for_V = (_sums(counted, np.ones(len(counted))), _sums(counted, self.forward_V > 0))
        same_V, same_for_V = (
            _sums(inside, np.ones(len(inside))),
            _sums(inside, self.forward_V > 0),
        )
        n_V = total_V - same_V if outside else same_V - 1
        ayes_V = for_V - same_for_V if outside else same_for_V - (self.forward_V > 0)
        return np.where(
            n_V > 0, np.where(self.forward_V > 0, ayes_V, n_V - ayes_V) / np.maximum(n_V, 1), np.nan
        )


def _sums(code_V: Ints, value_V: ArrayLike) -> Floats:
    return np.asarray(np.bincount(code_V, weights=value_V)[code_V])


def shared_verdicts(data: Comparisons, *, without: Ints | None = None) -> SharedVerdicts:
    """The verdicts on pairs that several raters judged; none, where there are no such pairs or no
    raters. Raters `without` (names' codes in `data.rater`) are left out.
    """
    pair_N, rater_N = data.pair.code_N, data.rater.code_N
    if without is not None:
        rater_N = np.where(np.isin(rater_N, without), -1, rater_N)
    known = np.flatnonzero(rater_N >= 0)
    first = known[
        np.unique(pair_N[known] * (rater_N.max(initial=0) + 1) + rater_N[known], return_index=True)[
            1
        ]
    ]
    row_V = np.sort(first[np.bincount(pair_N[first], minlength=1)[pair_N[first]] >= 2])
    whose, rater_V = np.unique(rater_N[row_V], return_inverse=True)
    pair_V = np.unique(pair_N[row_V], return_inverse=True)[1]
    forward_V = np.where(data.forward_N[row_V], 1.0, -1.0)
    return SharedVerdicts(
        row_V,
        pair_V,
        rater_V,
        item(data, rater_V, row_V, pair_V),
        _blocks(data)[row_V],
        forward_V,
        tuple(str(data.rater.names[r]) for r in whose),
    )


def repeated_verdicts(data: Comparisons) -> SharedVerdicts:
    """The verdicts on pairs that stand in several rows, each row by a rater of its own: where no
    raters are given.
    """
    code_N = data.pair.code_N
    row_V = np.flatnonzero(np.bincount(code_N)[code_N] >= 2)
    pair_V = np.unique(code_N[row_V], return_inverse=True)[1]
    return SharedVerdicts(
        row_V,
        pair_V,
        np.arange(len(row_V)),
        pair_V,
        _blocks(data)[row_V],
        np.where(data.forward_N[row_V], 1.0, -1.0),
        tuple(str(row) for row in row_V.tolist()),
    )


def are_opinions(data: Comparisons) -> bool:
    """Many people on few prompts: nobody need be wrong where they differ."""
    people, prompts = len(data.rater.names), len(data.prompt.names)
    return people >= MANY_PEOPLE and people >= PEOPLE_PER_PROMPT * prompts


def _blocks(data: Comparisons) -> Ints:
    """Codes of the connected parts of the graph of answers, a row's pair being an edge."""
    size = int(data.answers_N2.max(initial=0)) + 1
    links = sparse.coo_matrix((np.ones(len(data)), data.answers_N2.T), shape=(size, size))
    part = sparse.csgraph.connected_components(links, directed=False)[1]
    return np.asarray(part[data.answers_N2[:, 0]], np.int64)


def item(data: Comparisons, rater_V: Ints, row_V: Ints, pair_V: Ints) -> Ints:
    """What was drawn when pairs were: prompts, or the pairs themselves where prompts are few, in
    all or for a rater.
    """
    prompt_V = data.prompt.code_N[row_V]
    raters = int(rater_V.max(initial=0)) + 1
    seen = len(np.unique(prompt_V * raters + rater_V))
    many = len(np.unique(prompt_V)) >= FEW and seen >= SEES_MANY * raters
    return np.asarray(np.unique(prompt_V, return_inverse=True)[1]) if many else pair_V


def exchangeable(found: SharedVerdicts, source: Coded) -> Scores:
    """How much each rater agreed with the others, as values that could as well be another's if
    raters are alike.

    What one rater said of a block (answers that pairs connect: a prompt's) is one draw, however
    many pairs it makes. Where three or more judged a pair, agreement beyond the pair's own, summed
    over a block, could be that of any rater who judged about as many pairs of the block, however
    hard they are. Where two did, both get the same, and it could be that of any two of the same
    source who shared as many pairs of a block.
    """
    agreement_V, many_V = found.agreement_V, found.size_V >= 3
    beyond_V = np.where(many_V, agreement_V - _sums(found.pair_V, agreement_V) / found.size_V, 0.0)
    block_E, entry, size_E = np.unique(
        np.stack([found.block_V[many_V], found.rater_V[many_V]]),
        axis=1,
        return_inverse=True,
        return_counts=True,
    )
    entry = entry.ravel()
    value_E = np.bincount(entry, weights=beyond_V[many_V], minlength=block_E.shape[1])
    pool_E = np.unique(np.stack([block_E[0], _sized(size_E)]), axis=1, return_inverse=True)[1]

    two = np.flatnonzero(~many_V)
    first_V, last_V = (
        np.full(int(found.pair_V.max(initial=0)) + 1, value) for value in (len(found.raters), -1)
    )
    np.minimum.at(first_V, found.pair_V[two], found.rater_V[two])
    np.maximum.at(last_V, found.pair_V[two], found.rater_V[two])
    duo = np.stack([found.block_V[two], first_V[found.pair_V[two]], last_V[found.pair_V[two]]])
    whole, first, at, twice = np.unique(
        duo, axis=1, return_index=True, return_inverse=True, return_counts=True
    )
    at = at.ravel()
    shared = twice / 2  # each pair is there twice, once for each of the two
    value_D = np.bincount(at, weights=agreement_V[two], minlength=whole.shape[1]) / 2
    pool_D = np.unique(
        np.stack([source.code_N[found.row_V[two][first]], _sized(shared)]),
        axis=1,
        return_inverse=True,
    )[1]
    return Scores(
        np.concatenate([value_E, value_D]),
        np.concatenate([pool_E.ravel(), int(pool_E.max(initial=-1)) + 1 + pool_D.ravel()]),
        np.concatenate(
            [np.arange(len(value_E)), np.repeat(len(value_E) + np.arange(len(shared)), 2)]
        ),
        np.concatenate([block_E[1], whole[1:].T.ravel()]),
    )


def _sized(count_E: ArrayLike) -> Ints:
    """Counts that differ by less than a fifth are one size."""
    return np.floor(np.log(np.maximum(count_E, 1)) / np.log(1.2) + 1e-9).astype(np.int64)
