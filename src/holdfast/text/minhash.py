"""Texts that are nearly the same: MinHash finds candidates, the Jaccard overlap of their pairs of
neighboring words decides.

J(a, b) = |a and b| / |a or b| over sets of word pairs. One word changed among n costs two pairs: J
= (n - 3) / (n + 1). In scripts that put no spaces between words (Chinese, Japanese, Thai, ...)
every character is a word. Between texts of fewer than `BOTH` words misspelled words are forgiven
first: a word that is written nearly as its counterpart counts as the same, a number never, so that
a question with a typo is the same question and one about another number is not.

Candidates are texts that agree in all of a band of MinHashes (Broder 1997; Leskovec et al., "Mining
of Massive Datasets", chapter 3), so that the work grows with the number of texts, not with its
square: hashes of word pairs, and for texts of fewer than `BOTH` words of runs of three characters.
Two texts with J = 0.7 are candidates with probability 1 - (1 - 0.7^4)^16 = 0.99. All texts are
hashed at once, in arrays: one sketch object a text took a minute and 2 GiB for 100,000 comparisons.
Whoever has a text more than once gives it once.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import DisjointSet

from holdfast.stats.arrays import Ints
from holdfast.text.codes import coded

ALIKE = 0.7  # overlap from which two texts count as nearly the same
FEWEST = 5  # words, where those are compared; a shorter text is the same or it is not
SHORT, BOTH = 20, 24  # words from which pairs of words find candidates, below which characters do
HOPELESS = 0.5  # share of their sketches below which two texts are not nearly the same
TYPO = 0.66  # likeness of two words (2 matches / letters of both) from which one is misspelled
LETTERS = 3  # of a word that may be misspelled; shorter ones are other words
LONGEST = (
    600  # words of a text that are looked at: half of them from its beginning, half from its end
)
HASHES = 64
WORDS, CHARACTERS = 4, 5  # hashes of a band; runs of characters are shared by many texts
BLOCK = 2**21  # word pairs that are hashed at once
# neighbors in a band that a text is compared with: a template of thousands of texts needs no more
# to hold together
MOST = 50
# Letters of scripts that put no spaces between words, one a word; runs of other letters and digits.
UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
    "\uf900-\ufaff\U00020000-\U0003134f"
)
WORD = re.compile(rf"[{UNSPACED}]|[^\W{UNSPACED}]+")
# What stands between words and is none, but changes what a formula or a program says.
OPERATOR = r"[+*/=<>%^&|~]|(?<=[\w\s])-(?=[\s\d])"
MARKED = re.compile(rf"{WORD.pattern}|{OPERATOR}")

Hashes = NDArray[np.uint64]


def words_of(text: str) -> list[str]:
    words = WORD.findall(text.casefold())
    return words if len(words) <= LONGEST else words[: LONGEST // 2] + words[-LONGEST // 2 :]


def bare(text: str) -> str:
    """A text without case, punctuation and spacing; itself where nothing else is left. Operators
    stay: `a + b` and `a - b` are two texts.
    """
    return " ".join(MARKED.findall(text.casefold())) or text.strip()


def similar(left: str, right: str) -> float:
    """The overlap of the word pairs of two texts, misspelled words of short ones forgiven; 0 where
    one is too short to be nearly like another.
    """
    (one, a), (two, b) = word_pairs(left), word_pairs(right)
    if min(one, two) < FEWEST or min(one, two) < 0.5 * max(one, two):
        return 0.0
    alike = overlap(a, b)
    if alike < ALIKE and max(one, two) < BOTH:
        mine = words_of(left)
        return overlap(frozenset(pairwise(mine)), frozenset(pairwise(_forgiven(mine, right))))
    return alike


@lru_cache(maxsize=2**8)  # texts that are compared with each other come together
def word_pairs(text: str) -> tuple[int, frozenset[tuple[str, str]]]:
    """How many words a text has, and its pairs of neighbors."""
    words = words_of(text)
    return len(words), frozenset(pairwise(words))


def _forgiven(mine: Sequence[str], text: str) -> list[str]:
    """The words of a text, those that are nearly written as their counterparts in mine put right,
    run together or apart too.
    """
    theirs, out = words_of(text), list[str]()
    for kind, a, b, c, d in SequenceMatcher(None, mine, theirs, autojunk=False).get_opcodes():
        ours, other = mine[a:b], theirs[c:d]
        if kind == "replace" and _misspelled("".join(ours), "".join(other)):
            out += ours
        elif kind == "replace" and len(ours) == len(other):
            out += [
                one if _misspelled(one, two) else two for one, two in zip(ours, other, strict=True)
            ]
        else:
            out += other
    return out


def _misspelled(one: str, two: str) -> bool:
    """Whether two words are one: no digit in them, and `LETTERS` or more with one letter too few,
    too many or wrong in about five.
    """
    if min(len(one), len(two)) < LETTERS or any(map(str.isdigit, one + two)):
        return False
    return SequenceMatcher(None, one, two, autojunk=False).ratio() >= TYPO


def by_words(text: str, words: int) -> bool:
    """Whether pairs of words find the candidates of a text with so many."""
    return words >= FEWEST and (words >= SHORT or _unspaced(text))


def by_characters(text: str, words: int) -> bool:
    """Whether runs of characters find the candidates of a text with so many words."""
    return FEWEST <= words < BOTH and not _unspaced(text)


def runs_of(words: Sequence[str]) -> list[str]:
    """Runs of three characters of words with a space between them."""
    plain = " ".join(words)
    return [plain[i : i + 3] for i in range(len(plain) - 2)]


_NO_SPACES = re.compile(f"[{UNSPACED}]")


def _unspaced(text: str) -> bool:
    """Whether most letters are of a script without spaces."""
    return 2 * len(_NO_SPACES.findall(text)) > sum(map(str.isalnum, text))


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
            0, 2**63, HASHES, dtype=np.uint64
        ) * np.uint64(2) + np.uint64(1)
        self.texts = texts
        self.here = self._sketches(texts)

    def groups(self) -> Ints:
        """A code for each text, the same for texts that a chain of near likenesses connects. What
        is connected is not compared again.
        """
        joined = DisjointSet(range(len(self.texts)))
        for sketches in self.here:
            self._join(sketches, joined)
        return coded([joined[i] for i in range(len(self.texts))]).code_N

    def _join(self, sketches: Sketches, joined: DisjointSet) -> None:
        unlike = set[tuple[int, int]]()
        pairs_of = lru_cache(maxsize=2**14)(sketches.pairs_of)
        for band_L in sketches.band_LB.T:
            order = np.argsort(band_L, kind="stable")
            ends = np.flatnonzero(np.r_[True, band_L[order][1:] != band_L[order][:-1], True])
            for k in np.flatnonzero(np.diff(ends) > 1):
                group = sketches.long_L[order[ends[k] : ends[k + 1]]].tolist()
                for at, j in enumerate(group):
                    for i in group[max(0, at - MOST) : at]:
                        if (i, j) not in unlike and not joined.connected(i, j):
                            if self._alike(overlap(pairs_of(i), pairs_of(j)), i, self.texts[j]):
                                joined.merge(i, j)
                            else:
                                unlike.add((i, j))

    def like(self, texts: Sequence[str]) -> Iterator[tuple[int, int, float]]:
        """(place in `texts`, place in the index, overlap) of the nearest text of the index, where
        one is near enough.
        """
        best: dict[int, tuple[float, int]] = {}
        for here, there in zip(self.here, self._sketches(texts), strict=True):
            for i, j in self._like(here, there):
                alike = similar(self.texts[j], texts[i])
                if alike >= ALIKE:
                    best[i] = max(best.get(i, (0.0, 0)), (alike, -j))
        for i in sorted(best):
            yield i, -best[i][1], best[i][0]

    def _alike(self, shared: float, i: int, text: str) -> bool:
        """Whether candidates that share so much of their sketches are nearly the same: what cannot
        be is not looked at again.
        """
        return shared >= HOPELESS and similar(self.texts[i], text) >= ALIKE

    def _like(self, here: Sketches, there: Sketches) -> Iterator[tuple[int, int]]:
        pairs_of = lru_cache(maxsize=2**14)(here.pairs_of)
        near: list[set[int]] = [set() for _ in there.long_L]
        for mine_L, band_L in zip(here.band_LB.T, there.band_LB.T, strict=True):
            order = np.argsort(mine_L, kind="stable")
            low, high = (
                np.searchsorted(mine_L[order], band_L, side=side) for side in ("left", "right")
            )
            for at in np.flatnonzero(high > low):
                near[at].update(
                    here.long_L[order[low[at] : min(high[at], low[at] + MOST)]].tolist()
                )
        for i, places in zip(there.long_L.tolist(), near, strict=True):
            mine = there.pairs_of(i)
            shared, j = max(((overlap(mine, pairs_of(j)), -j) for j in places), default=(0.0, 0))
            if shared >= HOPELESS:
                yield i, -j

    def _sketches(self, texts: Sequence[str]) -> tuple[Sketches, Sketches]:
        """By pairs of words, and by runs of characters."""
        words, word_ends = array("I"), array("q", [0])
        runs, run_ends = array("I"), array("q", [0])
        number = self._number
        for text in texts:
            found = words_of(text)
            # numbers from 1: 0 is mixed to 0, the least hash of every text that has it
            if by_words(text, len(found)):
                words.extend([number.setdefault(word, len(number) + 1) for word in found])
            if by_characters(text, len(found)):
                runs.extend([number.setdefault(run, len(number) + 1) for run in runs_of(found)])
            word_ends.append(len(words))
            run_ends.append(len(runs))
        word_M, end_T = (
            np.frombuffer(words, np.uint32).astype(np.uint64),
            np.frombuffer(word_ends, np.int64),
        )
        inner = np.ones(len(word_M), bool)
        inner[end_T[1:][np.flatnonzero(np.diff(end_T))] - 1] = False  # a last word begins no pair
        first = np.flatnonzero(inner)
        start_T = np.r_[0, np.cumsum(np.maximum(np.diff(end_T) - 1, 0))]
        run_M = np.frombuffer(runs, np.uint32).astype(np.uint64)
        return (
            self._sketch(word_M[first] << np.uint64(32) | word_M[first + 1], start_T, WORDS),
            self._sketch(run_M, np.frombuffer(run_ends, np.int64), CHARACTERS),
        )

    def _sketch(self, shingle_M: Hashes, start_T: Ints, rows: int) -> Sketches:
        pair_M = (_mixed(shingle_M) >> np.uint64(32)).astype(np.uint32)
        long_L = np.flatnonzero(np.diff(start_T))
        return Sketches(pair_M, start_T, long_L, self._bands(pair_M, start_T, long_L, rows))

    def _bands(self, pair_M: NDArray[np.uint32], start_T: Ints, long_L: Ints, rows: int) -> Hashes:
        out = np.zeros((len(long_L), HASHES // rows), np.uint64)
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
            for k, odd in enumerate(self._odd_K[: HASHES // rows * rows]):
                least = np.minimum.reduceat(_mixed(part_M * odd), starts[low:high] - starts[low])
                out[low:high, k // rows] = _mixed(out[low:high, k // rows] ^ least)
        return out


def _mixed(x: Hashes) -> Hashes:
    """Bits stirred so that every one depends on all below it (the finisher of SplitMix64,
    shortened).
    """
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    return x ^ (x >> np.uint64(31))
