"""Answers that say nothing, and pairs of answers that say the same."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from holdfast.checkup.comparisons import Comparisons
from holdfast.checkup.request import CheckRequest
from holdfast.data.columns import is_answer
from holdfast.data.row_errors import SAME, empty
from holdfast.stats.intervals import Estimate, mean_interval
from holdfast.text.minhash import similar, words_of

NEARLY = 0.9  # overlap of word pairs from which two answers of one row say the same
EMPTY = re.compile(empty("(.+)"))
NOTHING = frozenset(
    {
        "nooutput",
        "no output",
        "none",
        "null",
        "nan",
        "n a",
        "na",
        "empty",
        "deleted",
        "removed",
        "error",
        "no response",
        "no answer",
        "undefined",
    }
)
READING = ("skipped", "same")  # kinds that are counted while the file is read, over all of it
VOID = ("letterless", "placeholder")  # kinds that are seen in the answers, and are flaws
CLOSE = ("marks", "nearly")  # kinds that differ in something a judge may have meant: no flaw


@dataclass(frozen=True)
class EmptyAnswers:
    """Rows without two answers that say something different.

    Attributes:
        counts: rows by kind: `READING`, `VOID` and `CLOSE`
        share: of the examined comparisons, those of a kind of `VOID`
        examined: comparisons
        sampled: whether they are a sample, and `READING` counts over the whole file
        places: the first rows of each kind that is seen in the answers
    """

    counts: Mapping[str, int]
    share: Estimate
    examined: int
    sampled: bool
    places: Mapping[str, tuple[int, ...]]

    @property
    def skipped(self) -> int:
        """Rows that were counted while the file was read."""
        return sum(self.counts[kind] for kind in READING)

    @property
    def comparable(self) -> dict[str, int]:
        """Counts of the same rows: of a sample, without what counts over the whole file."""
        return {
            kind: n for kind, n in self.counts.items() if not (self.sampled and kind in READING)
        }

    @property
    def flawed(self) -> int:
        """Rows of all kinds that are flaws, among the same rows."""
        return sum(n for kind, n in self.comparable.items() if kind not in CLOSE)

    @property
    def share_with_skipped(self) -> float:
        """Share of flaws among the rows of the file; of a sample, among its comparisons."""
        return self.flawed / (self.examined + (0 if self.sampled else self.skipped))

    def to_dict(self) -> dict[str, Any]:
        return {
            **self.counts,
            "share": self.share.to_dict(),
            "share_with_skipped_rows": self.share_with_skipped,
            "of_the_whole": list(READING) if self.sampled else [],
        }


def empty_answers(data: Comparisons, request: CheckRequest) -> EmptyAnswers:
    """Rows with an empty answer, an answer without a letter or one that is a placeholder, and rows
    whose two answers are (nearly) the same.

    Truly empty and identical answers are skipped while the file is read; they are counted here
    all the same. Names are not looked into.
    """
    skipped = dict(data.report.skipped) if data.report else {}
    found = {kind: np.zeros(len(data), bool) for kind in (*VOID, *CLOSE)}
    for i in range(0 if data.named else len(data)):
        kind = _kind(data.chosen[i], data.rejected[i])
        if kind:
            found[kind][i] = True
    counts = {
        "skipped": sum(
            n
            for reason, n in skipped.items()
            if (named := EMPTY.fullmatch(reason)) and is_answer(named[1])
        ),
        "same": skipped.get(SAME, 0),
        **{kind: int(at_N.sum()) for kind, at_N in found.items()},
    }
    void_N = np.any([found[kind] for kind in VOID], axis=0)
    share = mean_interval(void_N, data.cluster_N.tolist(), level=request.level, seed=request.seed)
    places = {kind: tuple(np.flatnonzero(at_N)[:5].tolist()) for kind, at_N in found.items()}
    return EmptyAnswers(counts, share, len(data), bool(data.note), places)


def _kind(chosen: str, rejected: str) -> str | None:
    one, two = chosen.strip(), rejected.strip()
    if not all(any(map(str.isalnum, text)) for text in (one, two)):
        return "letterless"
    if len(one) == len(two) or abs(len(one) - len(two)) < 0.2 * max(len(one), len(two)):
        if words_of(one) == words_of(two):
            return "marks"
        if similar(one, two) >= NEARLY:
            return "nearly"
    return (
        "placeholder"
        if any(len(text) < 20 and " ".join(words_of(text)) in NOTHING for text in (one, two))
        else None
    )
