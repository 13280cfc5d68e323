"""Texts that are nearly the same: MinHash finds candidates, the Jaccard overlap of their pairs of neighboring words decides.

J(a, b) = |a and b| / |a or b| over sets of word pairs. One word changed among n costs two pairs: J = (n - 3) / (n + 1). Candidates
come from locality-sensitive hashing (Broder 1997; datasketch), so that the work grows with the number of texts, not with its square.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from scipy import sparse

from holdfast.checkup.comparisons import Ints

ALIKE = 0.7  # overlap from which two texts count as nearly the same
FEWEST = 5  # words; a shorter text is the same or it is not
PERMUTATIONS = 64
LONGEST = 2000  # words of a text that are looked at
MOST = 50  # candidates of one text that are compared with it: a template of thousands of texts needs no more to hold together
WORD = re.compile(r"\w+")


def words_of(text: str) -> list[str]:
    return WORD.findall(text[: 20 * LONGEST].casefold())[:LONGEST]


def bare(text: str) -> str:
    """A text without case, punctuation and spacing; itself where nothing else is left."""
    return " ".join(WORD.findall(text.casefold())) or text.strip()


def shingles(text: str) -> set[int]:
    """Hashes of the pairs of neighboring words; nothing for a text that is too short to be nearly like another."""
    words = words_of(text)
    return {zlib.crc32(f"{one} {two}".encode("utf-8", "surrogatepass")) for one, two in pairwise(words)} if len(words) >= FEWEST else set()


def overlap(left: set[int], right: set[int]) -> float:
    shared = len(left & right)
    return shared / max(1, len(left) + len(right) - shared)


def alike(left: str, right: str) -> bool:
    """Whether two texts are the same but for case, punctuation and spacing, or nearly the same."""
    return bare(left) == bare(right) or overlap(shingles(left), shingles(right)) >= ALIKE


class Index:
    """Texts that can be looked up by likeness."""

    def __init__(self, texts: Sequence[str], *, least: float = ALIKE, seed: int = 0):
        from datasketch import MinHashLSH

        self.least, self.seed = least, seed
        self.sets = [shingles(text) for text in texts]
        self.lsh = MinHashLSH(threshold=least - 0.2, num_perm=PERMUTATIONS, weights=(0.1, 0.9))  # miss little: what is found is checked
        self.places = [i for i, words in enumerate(self.sets) if words]
        self.hashes = dict(zip(self.places, self._sketches([self.sets[i] for i in self.places]), strict=True))
        with self.lsh.insertion_session() as session:
            for place, sketch in self.hashes.items():
                session.insert(place, sketch)

    def _sketches(self, sets: Sequence[set[int]]) -> list[Any]:
        from datasketch import MinHash

        return list(MinHash.bulk(sets, num_perm=PERMUTATIONS, seed=self.seed + 1, hashfunc=int)) if sets else []

    def pairs(self) -> Iterator[tuple[int, int, float]]:
        """(i, j, overlap) of texts that are nearly the same, i < j."""
        for i in self.places:
            yield from ((i, j, shared) for j, shared in self._like(self.sets[i], self.hashes[i]) if j > i)

    def like(self, texts: Sequence[str]) -> Iterator[tuple[int, int, float]]:
        """(place in `texts`, place in the index, overlap) of the nearest text of the index, where one is near enough."""
        sets = [shingles(text) for text in texts]
        places = [i for i, words in enumerate(sets) if words]
        for i, sketch in zip(places, self._sketches([sets[i] for i in places]), strict=True):
            near = max(self._like(sets[i], sketch), key=lambda found: found[1], default=None)
            if near is not None:
                yield i, *near

    def _like(self, words: set[int], sketch: Any) -> Iterator[tuple[int, float]]:
        for j in sorted(self.lsh.query(sketch))[:MOST]:
            shared = overlap(words, self.sets[j])
            if shared >= self.least:
                yield j, shared


def grouped(size: int, pairs: Sequence[tuple[int, int, float]]) -> Ints:
    """A code for each of `size` texts, the same for texts that a chain of pairs connects."""
    if not pairs:
        return np.arange(size)
    one, two, _ = zip(*pairs, strict=True)
    links = sparse.coo_matrix((np.ones(len(one)), (one, two)), shape=(size, size))
    return np.asarray(sparse.csgraph.connected_components(links, directed=False)[1], np.int64)
