"""What a method may ask for beside the answers that it compares: one object each.

An input says what it is, where it comes from, and what becomes of it when a label is turned. The
stages of a run each loop over the kind that is theirs to make, and no stage knows an input by its
name:

    Column        read from rows                  reward_gap, win_rate, confidence, group, ...
    ExtraPrompt   made where rows are rendered    revision, rationale, mismatched, copies
    TokenValue    made where tokens are scored    reference, token_kl, activation, head
    Online        drawn at each step              samples

A method declares its inputs and reads them by calling them:

    def madpo(pairs, *, beta=0.1, ...):
        gap_N = reward_gap(pairs)
    METHOD = PairMethod(madpo, card=Card(needs=(reference, reward_gap), ...))

To add one: an object here (or in your own file), its producer if it is of no kind above, and the
methods that read it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor

from holdfast.errors import NeedError
from holdfast.types import Batch, Row, Scored

X = TypeVar("X")


def same(x: X) -> X:
    """Of the row or the prompt, not of its sides: stays when the label is turned."""
    return x


def negate(x: Any) -> Any:
    """A difference, chosen less rejected: changes its sign when the label is turned."""
    return -x


YES_AND_NO = (
    ("true", "false"),
    ("yes", "no"),
    ("first", "second"),
    ("a", "b"),
    ("left", "right"),
    ("1", "0"),
)
OPPOSITE = {word: other for pair in YES_AND_NO for word, other in (pair, pair[::-1])}


def complement(x: Any) -> Any:
    """Yes or no of the chosen answer, also in words: becomes the other when the label is turned."""
    if isinstance(x, str):
        other = OPPOSITE.get(x.strip().lower(), x)
        return other.upper() if x.isupper() else other.title() if x.istitle() else other
    if isinstance(x, bool):
        return not x
    return 1 - x if x in (0, 1) else x


def flip_sides(x_N2: Tensor) -> Tensor:
    """A value of chosen and one of rejected: they change places when the label is turned."""
    return x_N2.flip(-1)


@dataclass(frozen=True, eq=False)
class Input:
    """What a method may ask for.

    Attributes:
        name: in messages, on pages and in run records
        says: what it is, a phrase that can follow "needs"
        hint: how to get it
    """

    name: str
    says: str
    hint: str = ""

    def __str__(self) -> str:
        return self.name

    def missing(self, who: str = "", seen: str = "this batch has none") -> NeedError:
        """The error of a batch or of rows without it."""
        return NeedError(
            self.name,
            f"{who + ' ' if who else ''}needs {self.name}: {self.says}; {seen}",
            hint=self.hint or None,
        )

    def check_rows(self, rows: Sequence[Row], who: str) -> None:
        """Refuse rows out of which it cannot be made.

        Raises:
            NeedError: names method, input, first row without it and cure.
        """

    def fill(self, inputs: dict[Input, Tensor], extra: dict[str, Scored], one: Scored) -> None:
        """Put a made-up value of N = 2 rows into a batch for a dry run; `one` is what two answers
        of one token look like.
        """


# ------------------------------------------------------------ read from rows


@dataclass(frozen=True, eq=False)
class Column(Input):
    """A number of every row, as a tensor (N,), or (N, 2) where chosen and rejected have one each.

    Attributes:
        columns: the names of the columns it is read from, of `Row` or of its further columns; two
            for chosen and rejected
        swap: what becomes of the tensor, and of a row's value where there is one column, when the
            label is turned
        example: a made-up value of n rows
        default: in the place of a value that a row lacks, where others have one; NaN if there is
            none, and then all rows must have it
    """

    columns: tuple[str, ...] = ()
    swap: Callable[[Any], Any] = same
    example: Callable[[int], Tensor] = lambda n: torch.full((n,), 0.5)
    default: float = math.nan

    def of(self, batch: Batch) -> Tensor | None:
        return batch.inputs.get(self)

    def __call__(self, batch: Batch) -> Tensor:
        """Its value of each row.

        Raises:
            NeedError: the batch has none.
        """
        value = batch.inputs.get(self)
        if value is None:
            raise self.missing()
        return value

    def read(self, rows: Sequence[Row], device: torch.device) -> Tensor | None:
        """The column of these rows; None where no row has a value, or where some lack it and there
        is no default.
        """
        sides = [[number_in(row, name) for row in rows] for name in self.columns]
        for values in sides:
            missing = sum(value is None for value in values)
            if missing == len(values) or (missing and math.isnan(self.default)):
                return None
        filled = [
            [self.default if value is None else value for value in values] for values in sides
        ]
        value_CN = torch.tensor(filled, dtype=torch.float32, device=device)
        return value_CN[0] if len(sides) == 1 else value_CN.T.contiguous()

    def check_rows(self, rows: Sequence[Row], who: str) -> None:
        self._refuse(
            rows,
            [row for row in rows if not all(self.there(row, name) for name in self.columns)],
            who,
        )

    def there(self, row: Row, name: str) -> bool:
        value = number_in(row, name)
        return value is not None and math.isfinite(value)

    def _refuse(self, rows: Sequence[Row], lacking: Sequence[Row], who: str) -> None:
        if lacking:
            some = f"{len(lacking)} of {len(rows)} rows have none, first {lacking[0].where}"
            raise self.missing(who, "the data have none" if len(lacking) == len(rows) else some)

    def fill(self, inputs: dict[Input, Tensor], extra: dict[str, Scored], one: Scored) -> None:
        inputs[self] = self.example(2)


@dataclass(frozen=True, eq=False)
class Code(Column):
    """A column of names, as integers: a name's place among all names of the run's rows, (N,)."""

    example: Callable[[int], Tensor] = lambda n: torch.zeros(n, dtype=torch.long)

    def coded(
        self, rows: Sequence[Row], names: Sequence[str | None], device: torch.device
    ) -> Tensor | None:
        """None where there are no names, or where a row's is not among them."""
        number = {name: k for k, name in enumerate(names)}
        own = [getattr(row, self.columns[0]) for row in rows]
        if not names or any(name not in number for name in own):
            return None
        return torch.tensor([number[name] for name in own], device=device)

    def there(self, row: Row, name: str) -> bool:
        return getattr(row, name) is not None


def number_in(row: Row, name: str) -> float | None:
    """A row's number in a column of `Row` or in a further one; None where it has none there."""
    value = getattr(row, name) if name in Row.__dataclass_fields__ else row.extra.get(name)
    if isinstance(value, bool) and name in Row.__dataclass_fields__:
        return float(value)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


# ------------------------------------------------------------ made where rows are rendered


@dataclass(frozen=True, eq=False)
class ExtraPrompt(Input):
    """Further sequences of a row, made of its texts or of other rows' answers (by the producers of
    `holdfast.data.producers`).

    Attributes:
        branches: the names of all branches it makes, as a batch's `extra` has them
        check: `check(rows)` says why these rows cannot give it; nothing where they can
    """

    branches: tuple[str, ...] = ()
    check: Callable[[Sequence[Row]], str] = lambda rows: ""

    def __call__(self, batch: Batch, branch: str = "") -> Scored:
        """The sequence of that branch; of an input with one branch, that one.

        Raises:
            NeedError: the batch has none.
        """
        part = batch.extra.get(branch or self.branches[0])
        if part is None:
            raise self.missing()
        return part

    def check_rows(self, rows: Sequence[Row], who: str) -> None:
        seen = self.check(rows)
        if seen:
            raise self.missing(who, seen)

    def fill(self, inputs: dict[Input, Tensor], extra: dict[str, Scored], one: Scored) -> None:
        extra |= dict.fromkeys(self.branches, one)


# ------------------------------------------------------------ made where tokens are scored


@dataclass(frozen=True, eq=False)
class TokenValue(Input):
    """A value at each response token of every sequence.

    Attributes:
        field: of `Scored`
        in_memory: whether only a reference in memory gives it, since no cache could hold it
    """

    field: str = ""
    in_memory: bool = False

    def __call__(self, part: Scored) -> Tensor:
        """Its value at each token.

        Raises:
            NeedError: the sequences have none.
        """
        value: Tensor | None = getattr(part, self.field)
        if value is None:
            raise self.missing(seen="these sequences have none")
        return value


# ------------------------------------------------------------ drawn at each step


@dataclass(frozen=True, eq=False)
class Online(Input):
    """Answers that the policy draws itself, new at every step: the branches `NAME_1`, `NAME_2`, ...
    of a batch.

    Attributes:
        branch: NAME
        least: how many a method needs at least
    """

    branch: str = ""
    least: int = 1

    @property
    def branches(self) -> tuple[str, ...]:
        """The names of as many as are needed."""
        return tuple(f"{self.branch}_{i + 1}" for i in range(self.least))

    def of(self, batch: Batch) -> list[Scored]:
        return [part for name, part in batch.extra.items() if name.startswith(f"{self.branch}_")]

    def __call__(self, batch: Batch) -> list[Scored]:
        """All of them.

        Raises:
            NeedError: there are too few.
        """
        found = self.of(batch)
        if len(found) < self.least:
            raise self.missing()
        return found
