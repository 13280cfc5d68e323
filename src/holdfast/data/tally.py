"""Counts over every row of a read, and a sample of the rows, in memory that does not grow with the
texts.
"""

from __future__ import annotations

import random
from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from holdfast.types import Row, Text


@dataclass(frozen=True)
class Sample:
    """So many comparisons, each as likely as any other. The same file and seed give the same
    rows.
    """

    rows: int
    seed: int = 0

    def says(self, total: int) -> str:
        return (
            f"a sample of {self.rows:,} of {total:,} comparisons, drawn at random with seed "
            f"{self.seed}"
        )


@dataclass
class Tally:
    """What all rows amount to. Kept are three numbers of 8 bytes a comparison, so that repeats can
    be counted over the whole, and one for each name of a rater, group or source."""

    comparisons: int = 0
    ties: int = 0
    others: int = 0
    raters: set[int] = field(default_factory=set)  # hashes of names
    groups: set[int] = field(default_factory=set)
    sources: set[int] = field(default_factory=set)
    _prompt: array[int] = field(default_factory=lambda: array("q"))
    _forward: array[int] = field(
        default_factory=lambda: array("q")
    )  # of (prompt, chosen, rejected)
    _backward: array[int] = field(
        default_factory=lambda: array("q")
    )  # of (prompt, rejected, chosen)

    def add(self, row: Row) -> bool:
        """Count a row; whether it is a comparison with a winner."""
        if row.chosen is None or row.rejected is None:
            self.others += 1
            return False
        if row.tie:
            self.ties += 1
            return False
        self.comparisons += 1
        for seen, name in (
            (self.raters, row.rater),
            (self.groups, row.group),
            (self.sources, row.source),
        ):
            if name is not None:
                seen.add(hash(name))
        prompt, chosen, rejected = (
            hash(_frozen(text)) for text in (row.prompt, row.chosen, row.rejected)
        )
        self._prompt.append(prompt)
        self._forward.append(hash((prompt, chosen, rejected)))
        self._backward.append(hash((prompt, rejected, chosen)))
        return True

    def counts(self) -> dict[str, int]:
        """Comparisons, ties and others; and of the comparisons: distinct prompts, raters, groups
        and sources, those that repeat an earlier one, and pairs of answers that were labeled both
        ways."""
        prompt_N, forward_N, backward_N = (
            np.frombuffer(kept, np.int64) for kept in (self._prompt, self._forward, self._backward)
        )
        distinct = np.unique(forward_N)
        return {
            "comparisons": self.comparisons,
            "ties": self.ties,
            "others": self.others,
            "prompts": len(np.unique(prompt_N)),
            "raters": len(self.raters),
            "groups": len(self.groups),
            "sources": len(self.sources),
            "repeated": self.comparisons - len(distinct),
            "both_ways": int(np.isin(distinct, backward_N).sum()) // 2,
        }


def _frozen(text: Text) -> str | tuple[tuple[str, str], ...]:
    return (
        text
        if isinstance(text, str)
        else tuple((message["role"], message["content"]) for message in text)
    )


class Reservoir:
    """The rows of a read: all of them, or a uniform sample of the comparisons (Vitter's algorithm
    R), in the order of the file.
    """

    def __init__(self, sample: Sample | None = None):
        self.sample, self.tally = sample, Tally()
        self._kept: list[tuple[int, Row]] = []
        self._draw = random.Random(sample.seed if sample else 0)
        self.seen = 0

    def add(self, rows: Iterable[Row]) -> None:
        for row in rows:
            comparison = self.tally.add(row)
            if self.sample is None or (comparison and len(self._kept) < self.sample.rows):
                self._kept.append((self.seen, row))
            elif (
                comparison
                and (place := self._draw.randrange(self.tally.comparisons)) < self.sample.rows
            ):
                self._kept[place] = (self.seen, row)
            self.seen += 1

    @property
    def rows(self) -> tuple[Row, ...]:
        return tuple(row for _, row in sorted(self._kept, key=lambda kept: kept[0]))
