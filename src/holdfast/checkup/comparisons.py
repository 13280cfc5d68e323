"""Comparisons as a check-up sees them: the rows, and what is common to many findings, computed
once.

Codes are integers from 0; -1 stands for "not given". Answers are told apart by their text within a
prompt; prompts by theirs.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from holdfast.data import Dataset, ReadReport
from holdfast.inputs.columns import SHOWN_FIRST
from holdfast.inputs.swap import other_side
from holdfast.stats.arrays import Ints
from holdfast.text.codes import Coded, coded
from holdfast.text.plain import plain_text
from holdfast.types import Row

if TYPE_CHECKING:
    from holdfast.checkup.estimators.model_scores import ModelScores

YES = frozenset({"true", "yes", "first", "a", "left", "chosen"})
NO = frozenset({"false", "no", "second", "b", "right", "rejected"})
PLACES = ("chosen_position", "chosen_order", "chosen_place")  # counted from 0 or from 1
MODEL_COLUMNS = (
    ("chosen_model", "rejected_model"),
    ("chosen_source", "rejected_source"),
    ("chosen_generator", "rejected_generator"),
)


@dataclass(frozen=True)
class Comparisons:
    """N comparisons without ties, in the order of the file (or of the sample).

    Attributes:
        rows: the comparisons
        total: comparisons in the whole source; more than N where they are a sample of it
        ties: comparisons that were ties, left out
        others: rows that were no comparison, left out
        note: how the sample was drawn, in a sentence; empty if there was none
        view: a model's view of them, where one was given: `checkup/estimators/model_scores.py`
        report: how the rows were read, with what was skipped and counts over the whole source;
            None where a program made them
    """

    rows: tuple[Row, ...]
    total: int
    ties: int = 0
    others: int = 0
    note: str = ""
    report: ReadReport | None = None
    model_scores: ModelScores | None = field(default=None, compare=False, repr=False)
    memory: dict[Hashable, Any] = field(
        default_factory=dict, compare=False, repr=False
    )  # of `once`

    @classmethod
    def of(cls, rows: Iterable[Row], *, total: int | None = None, note: str = "") -> Comparisons:
        rows = tuple(rows)
        kept = tuple(
            row
            for row in rows
            if row.chosen is not None and row.rejected is not None and not row.tie
        )
        ties = sum(row.tie for row in rows)
        return cls(
            kept, len(kept) if total is None else total, ties, len(rows) - len(kept) - ties, note
        )

    @classmethod
    def read(cls, found: Dataset) -> Comparisons:
        """The comparisons of a read, which may have kept a sample of them."""
        kept = cls.of(found.rows, note=found.report.sampled)
        counts = found.report.counts
        return replace(
            kept,
            total=counts["comparisons"],
            ties=counts["ties"],
            others=counts["others"],
            report=found.report,
        )

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def whole(self) -> Mapping[str, int] | None:
        """Counts over the whole source where these are a sample of it; None where they are all of
        it.
        """
        return self.report.counts if self.report and self.note else None

    @property
    def distinct(self) -> dict[str, int]:
        """Distinct prompts, raters, groups and sources, of the whole source."""
        own = {
            "prompts": self.prompt,
            "raters": self.rater,
            "groups": self.group,
            "sources": self.source,
        }
        return {
            what: self.whole[what] if self.whole else len(column.names)
            for what, column in own.items()
        }

    def take(self, places: Sequence[int] | Ints) -> Comparisons:
        """The comparisons at these places, with nothing remembered."""
        return replace(self, rows=tuple(self.rows[i] for i in places), memory={})

    def once(self, key: Hashable, make: Any) -> Any:
        """`make()`, remembered under `key`: what several findings share and only some need
        (features, a fitted preference model).
        """
        if key not in self.memory:
            self.memory[key] = make()
        return self.memory[key]

    # ------------------------------------------------------------ texts

    @cached_property
    def chosen(self) -> list[str]:
        return [plain_text(row.chosen) for row in self.rows]

    @cached_property
    def rejected(self) -> list[str]:
        return [plain_text(row.rejected) for row in self.rows]

    @cached_property
    def prompts(self) -> list[str]:
        return [plain_text(row.prompt) for row in self.rows]

    # ------------------------------------------------------------ who met whom

    @cached_property
    def prompt(self) -> Coded:
        """Rows of one prompt are not independent: it is the cluster of every interval."""
        return coded(self.prompts)

    @cached_property
    def named(self) -> bool:
        """Whether these are head-to-head results between names, of which no text is known."""
        return bool(self.rows) and all(row.named for row in self.rows)

    @cached_property
    def cluster_N(self) -> Ints:
        """Codes of what is drawn again in an interval: prompts; unordered pairs of answers where
        every row has the same prompt.
        """
        return self.prompt.code_N if len(self.prompt.names) > 1 else self.pair.code_N

    @cached_property
    def answers_N2(self) -> Ints:
        """Codes of (chosen, rejected): one code for each text under each prompt."""
        codes: dict[Hashable, int] = {}
        out = np.empty((len(self), 2), np.int64)
        for i, (prompt, *sides) in enumerate(
            zip(self.prompt.code_N.tolist(), self.chosen, self.rejected, strict=True)
        ):
            for k, side in enumerate(sides):
                out[i, k] = codes.setdefault((prompt, side), len(codes))
        return out

    @cached_property
    def pair(self) -> Coded:
        """The unordered pair of answers: rows with the same code judge the same comparison."""
        low_N2 = np.sort(self.answers_N2, axis=1)
        return coded(list(map(tuple, low_N2.tolist())))

    @cached_property
    def forward_N(self) -> NDArray[np.bool_]:
        """Whether the answer of the smaller code was chosen: the verdict on the unordered pair."""
        return self.answers_N2[:, 0] < self.answers_N2[:, 1]

    @cached_property
    def models_N2(self) -> tuple[Ints, tuple[str, ...]] | None:
        """Codes of the models that wrote (chosen, rejected), and their names; None where the rows
        do not say.
        """
        for pair in MODEL_COLUMNS:
            if any(pair[0] in row.extra and pair[1] in row.extra for row in self.rows):
                both = coded(
                    [name_or_none(row.extra.get(column)) for column in pair for row in self.rows]
                )
                return both.code_N.reshape(2, -1).T.copy(), both.names
        return None

    @cached_property
    def first_N(self) -> Ints:
        """1 where the chosen answer was shown first, 0 where the rejected one was, -1 where the row
        does not say.
        """
        for column in (*SHOWN_FIRST, *PLACES):
            chosen, rejected = (self._words_in(name) for name in (column, other_side(column)))
            if any(chosen) or (any(rejected) and column != other_side(column)):
                numbers = (
                    ("1", "0")
                    if column in SHOWN_FIRST
                    else ("0", "1")
                    if "0" in {*chosen, *rejected}
                    else ("1", "2")
                )
                first_N, second_N = (_first(words, numbers) for words in (chosen, rejected))
                return np.where((first_N < 0) & (second_N >= 0), 1 - second_N, first_N)
        return np.full(len(self), -1)

    def _words_in(self, column: str) -> list[str]:
        return [
            str(row.extra.get(column, "")).strip().lower().removesuffix(".0") for row in self.rows
        ]

    # ------------------------------------------------------------ who says so

    @cached_property
    def rater(self) -> Coded:
        return coded([row.rater for row in self.rows])

    @cached_property
    def group(self) -> Coded:
        return coded([row.group for row in self.rows])

    @cached_property
    def source(self) -> Coded:
        return coded([row.source for row in self.rows])


def _first(words: Sequence[str], numbers: tuple[str, str]) -> Ints:
    """1 where the word says first, 0 where it says second, -1 where it says neither."""
    return np.array(
        [int(w in YES or w == numbers[0]) if w in YES | NO | {*numbers} else -1 for w in words],
        np.int64,
    )


def name_or_none(value: Any) -> str | None:
    return None if value is None or value == "" else str(value)
