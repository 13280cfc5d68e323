"""Texts that are nearly the same: MinHash finds candidates, the Jaccard overlap of their pairs of
neighboring words decides.

J(a, b) = |a and b| / |a or b| over sets of word pairs. One word changed among n costs two pairs: J
= (n - 3) / (n + 1). Candidates are texts that agree in all of a band of MinHashes (Broder 1997;
Leskovec et al., "Mining of Massive Datasets", chapter 3), so that the work grows with the number of
texts, not with its square. Two texts with J = 0.7 are candidates with probability 1 - (1 -
0.7^4)^16 = 0.99. All texts are hashed at once, in arrays: one sketch object a text took a minute
and 2 GiB for 100,000 comparisons. Whoever has a text more than once gives it once.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import DisjointSet

from holdfast.stats.arrays import Ints
from holdfast.text.codes import coded

ALIKE = 0.7  # overlap from which two texts count as nearly the same
FEWEST = 5  # words; a shorter text is the same or it is not
LONGEST = (
    600  # words of a text that are looked at: half of them from its beginning, half from its end
)
BANDS, ROWS = 16, 4
BLOCK = 2**21  # word pairs that are hashed at once
# neighbors in a band that a text is compared with: a template of thousands of texts needs no more
# to hold together
MOST = 50
WORD = re.compile(r"\w+")

Hashes = NDArray[np.uint64]


def words_of(text: str) -> list[str]:
    words = WORD.findall(text.casefold())
    return words if len(words) <= LONGEST else words[: LONGEST // 2] + words[-LONGEST // 2 :]


def bare(text: str) -> str:
    """A text without case, punctuation and spacing; itself where nothing else is left."""
    return " ".join(WORD.findall(text.casefold())) or text.strip()


def similar(left: str, right: str) -> float:
    """The overlap of the word pairs of two texts; 0 where one is too short to be nearly like
    another.
    """
    (one, a), (two, b) = word_pairs(left), word_pairs(right)
    return 0.0 if min(one, two) < FEWEST or min(one, two) < 0.5 * max(one, two) else overlap(a, b)


@lru_cache(maxsize=2**8)  # texts that are compared with each other come together
def word_pairs(text: str) -> tuple[int, frozenset[tuple[str, str]]]:
    """How many words a text has, and its pairs of neighbors."""
    words = words_of(text)
    return len(words), frozenset(pairwise(words))


def overlap(one: Set[Any], two: Set[Any]) -> float:
    shared = len(one & two)
    return shared / max(1, len(one) + len(two) - shared)


@dataclass(frozen=True)
class Sketches:
    """Hashes of the word pairs of T texts, end to end, and a hash of each band of MinHashes of
    those that are long enough.
    """

    pair_M: NDArray[np.uint32]
    start_T: Ints  # T + 1 of them
    long_L: Ints  # texts that are long enough
    band_LB: Hashes

    def pairs_of(self, i: int) -> frozenset[int]:
        return frozenset(self.pair_M[self.start_T[i] : self.start_T[i + 1]].tolist())


class Index:
    """Texts that can be looked up by likeness."""

    def __init__(self, texts: Sequence[str], *, seed: int = 0):
        self._number: dict[str, int] = {}
        self._odd_K = np.random.default_rng(seed).integers(
            0, 2**63, BANDS * ROWS, dtype=np.uint64
        ) * np.uint64(2) + np.uint64(1)
        self.here = self._sketches(texts)

    def groups(self) -> Ints:
        """A code for each text, the same for texts that a chain of near likenesses connects. What
        is connected is not compared again.
        """
        texts = range(len(self.here.start_T) - 1)
        joined, unlike = DisjointSet(texts), set[tuple[int, int]]()
        pairs_of = lru_cache(maxsize=2**14)(self.here.pairs_of)
        for band_L in self.here.band_LB.T:
            order = np.argsort(band_L, kind="stable")
            ends = np.flatnonzero(np.r_[True, band_L[order][1:] != band_L[order][:-1], True])
            for k in np.flatnonzero(np.diff(ends) > 1):
                group = self.here.long_L[order[ends[k] : ends[k + 1]]].tolist()
                for at, j in enumerate(group):
                    for i in group[max(0, at - MOST) : at]:
                        if (i, j) not in unlike and not joined.connected(i, j):
                            if overlap(pairs_of(i), pairs_of(j)) >= ALIKE:
                                joined.merge(i, j)
                            else:
                                unlike.add((i, j))
        return coded([joined[i] for i in texts]).code_N

    def like(self, texts: Sequence[str]) -> Iterator[tuple[int, int, float]]:
        """(place in `texts`, place in the index, overlap) of the nearest text of the index, where
        one is near enough.
        """
        there = self._sketches(texts)
        pairs_of = lru_cache(maxsize=2**14)(self.here.pairs_of)
        near: list[set[int]] = [set() for _ in there.long_L]
        for mine_L, band_L in zip(self.here.band_LB.T, there.band_LB.T, strict=True):
            order = np.argsort(mine_L, kind="stable")
            low, high = (
                np.searchsorted(mine_L[order], band_L, side=side) for side in ("left", "right")
            )
            for at in np.flatnonzero(high > low):
                near[at].update(
                    self.here.long_L[order[low[at] : min(high[at], low[at] + MOST)]].tolist()
                )
        for i, places in zip(there.long_L.tolist(), near, strict=True):
            mine = there.pairs_of(i)
            best, j = max(((overlap(mine, pairs_of(j)), -j) for j in places), default=(0.0, 0))
            if best >= ALIKE:
                yield i, -j, best

    def _sketches(self, texts: Sequence[str]) -> Sketches:
        ids, ends = array("I"), array("q", [0])
        for text in texts:
            words = words_of(text)
            if len(words) >= FEWEST:
                ids.extend([self._number.setdefault(word, len(self._number)) for word in words])
            ends.append(len(ids))
        word_M, end_T = (
            np.frombuffer(ids, np.uint32).astype(np.uint64),
            np.frombuffer(ends, np.int64),
        )
        long_L = np.flatnonzero(np.diff(end_T))
        inner = np.ones(len(word_M), bool)
        inner[end_T[1:][long_L] - 1] = False  # a text's last word begins no pair
        first = np.flatnonzero(inner)
        pair_M = (
            _mixed(word_M[first] << np.uint64(32) | word_M[first + 1]) >> np.uint64(32)
        ).astype(np.uint32)
        start_T = np.r_[0, np.cumsum(np.maximum(np.diff(end_T) - 1, 0))]
        return Sketches(pair_M, start_T, long_L, self._bands(pair_M, start_T, long_L))

    def _bands(self, pair_M: NDArray[np.uint32], start_T: Ints, long_L: Ints) -> Hashes:
        out = np.zeros((len(long_L), BANDS), np.uint64)
        starts, ends = start_T[long_L], start_T[long_L + 1]
        blocks = (
            np.searchsorted(starts, np.arange(0, int(start_T[-1]) + BLOCK, BLOCK))
            if len(long_L)
            else np.zeros(1, np.int64)
        )
        for low, high in zip(blocks, np.r_[blocks[1:], len(long_L)], strict=True):
            if low == high:
                continue
            part_M = pair_M[starts[low] : ends[high - 1]].astype(np.uint64)
            for k, odd in enumerate(self._odd_K):
                least = np.minimum.reduceat(_mixed(part_M * odd), starts[low:high] - starts[low])
                out[low:high, k // ROWS] = _mixed(out[low:high, k // ROWS] ^ least)
        return out


def _mixed(x: Hashes) -> Hashes:
    """Bits stirred so that every one depends on all below it (the finisher of SplitMix64,
    shortened).
    """
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    return x ^ (x >> np.uint64(31))
