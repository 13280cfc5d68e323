"""What a method consumes, out of what the rows hold: comparisons for a `PairMethod`, single answers
for an `AnswerMethod`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import overload

from holdfast.card import AnswerMethod, Method, PairMethod
from holdfast.errors import NeedError
from holdfast.inputs import label
from holdfast.inputs.base import Input
from holdfast.types import Row

NAMES = "matches between names, without texts"  # a reason to skip a row


@dataclass(frozen=True)
class Examples(Sequence[Row]):
    """The rows a method reads, and the count of those it does not, by reason."""

    rows: tuple[Row, ...]
    read: int
    skipped: Mapping[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Row, ...]: ...
    def __getitem__(self, index: int | slice) -> Row | tuple[Row, ...]:
        return self.rows[index]

    @property
    def counts(self) -> dict[str, int]:
        return {"read": self.read, "examples": len(self.rows), **self.skipped}

    def lines(self) -> list[str]:
        return [f"{self.read:,} rows make {len(self.rows):,} examples"] + [
            f"skipped {n:,}: {reason}" for reason, n in self.skipped.items()
        ]


def to_examples(rows: Iterable[Row], method: Method, *, needs: Iterable[Input] = ()) -> Examples:
    """The rows as `method` consumes them.

    A `PairMethod` reads comparisons. An `AnswerMethod` that needs a label reads judged answers, and
    makes two of each comparison (the chosen one desirable, the rejected one not); one that needs
    none reads every answer that was not judged undesirable, and of a comparison the chosen one.
    Ties have no winner and are skipped. `needs` adds to those of the card and of its reduction.

    Raises:
        NeedError: the rows hold nothing the method can read, or lack a column that it needs; names
            the need.
    """
    rows = tuple(rows)
    wanted = tuple(dict.fromkeys((*method.card.needs, *method.reduction.needs, *needs)))
    skipped: Counter[str] = Counter()
    refuse_names(rows, f"{method.name} trains on")
    reads = _pairs if isinstance(method, PairMethod) else _judged if label in wanted else _answers
    found = tuple(reads(rows, skipped))
    if not found:
        raise _nothing(
            method,
            rows,
            skipped,
            "label" if reads is _judged else "pairs" if reads is _pairs else "answers",
        )
    for need in wanted:
        need.check_rows(found, method.name)
    return Examples(found, len(rows), dict(skipped))


def refuse_names(rows: Sequence[Row], who: str) -> None:
    """Raises NeedError where the rows are matches between names and nothing else; `who` is "rdpo
    trains on", say.
    """
    if rows and all(row.named for row in rows):
        hint = (
            "`holdfast check` reads who beat whom; for this, give `prompt`, `chosen` and "
            "`rejected` as texts"
        )
        raise NeedError(
            "texts",
            f"{who} texts; the rows say who beat whom, by name, first {rows[0].where}",
            hint=hint,
        )


def _pairs(rows: Iterable[Row], skipped: Counter[str]) -> Iterator[Row]:
    for row in rows:
        if row.named:
            skipped[NAMES] += 1
        elif row.chosen is None or row.rejected is None:
            skipped["single answers, where comparisons are read"] += 1
        elif row.tie:
            skipped["ties"] += 1
        else:
            yield row


def _judged(rows: Iterable[Row], skipped: Counter[str]) -> Iterator[Row]:
    for row in rows:
        if row.named:
            skipped[NAMES] += 1
        elif row.chosen is not None and row.rejected is not None:
            if row.tie:
                skipped["ties"] += 1
                continue
            yield replace(row, chosen=None, rejected=None, answer=row.chosen, desirable=True)
            yield replace(row, chosen=None, rejected=None, answer=row.rejected, desirable=False)
        elif row.desirable is None:
            skipped["answers without a label"] += 1
        else:
            yield row


def _answers(rows: Iterable[Row], skipped: Counter[str]) -> Iterator[Row]:
    for row in rows:
        if row.named:
            skipped[NAMES] += 1
        elif row.chosen is not None:
            if row.tie:
                skipped["ties"] += 1
                continue
            yield replace(row, chosen=None, rejected=None, answer=row.chosen)
        elif row.desirable is False:
            skipped["undesirable answers"] += 1
        else:
            yield row


def _nothing(
    method: Method, rows: Sequence[Row], skipped: Mapping[str, int], need: str
) -> NeedError:
    seen = "; ".join(f"{n} {reason}" for reason, n in skipped.items()) or "there are no rows"
    if need == "label":
        return label.missing(method.name, f"the data have none ({seen})")
    if isinstance(method, AnswerMethod):
        return NeedError(
            need,
            f"{method.name} reads answers that were not judged bad; the data have none ({seen})",
            hint="check the labels",
        )
    judged = any(row.desirable is not None for row in rows)
    other = "kto reads answers with a label" if judged else "sft reads single answers"
    hint = f"add `chosen` and `rejected`; {other}"
    return NeedError(
        need, f"{method.name} reads comparisons; the data have none ({seen})", hint=hint
    )
