"""The columns of a `datasets.Dataset` that a pairwise method may read besides its answers, as
rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from holdfast.card import PairMethod, Reduction
from holdfast.data.examples import to_examples
from holdfast.data.infer import optional_columns
from holdfast.data.row_errors import BadRow, RowError, RowErrors
from holdfast.errors import DataError, OptionError
from holdfast.types import Row, Where

COLUMNS = ("weight", "group", "rater", "confidence", "reward_gap", "tie")


def read_columns(
    dataset: Any, name: str, method: PairMethod, reduction: Reduction
) -> list[Row] | None:
    """One row per example, without its text; None if the dataset has none of `COLUMNS`.

    Args:
        dataset: a `datasets.Dataset` or a stream (`IterableDataset`).
        name: what to call it in complaints.
        method: whose needs, and those of `reduction`, must be met by every row.

    Raises:
        DataError: a value of the wrong type or out of range, or ties, which have no chosen answer.
        NeedError: the method or the reduction needs a column that is not there, or that some rows
            leave empty.
        OptionError: a stream has such a column: rows are numbered, and a stream's cannot be.
    """
    method = replace(method, reduction=reduction)
    there = _names(dataset)
    if not there:
        to_examples([_row({}, Where(name, 1))], method)
        return None
    if not hasattr(dataset, "add_column") or not hasattr(dataset, "__len__"):
        hint = "pass a datasets.Dataset, or remove the column"
        raise OptionError(
            f"{name} is a stream, of which the column {there[0]} is not read", hint=hint
        )
    rows: list[Row] = []
    row_errors = RowErrors("read")
    for line, values in enumerate(dataset.select_columns(there), start=1):
        where = Where(name, line)
        try:
            rows.append(_row(values, where))
        except RowError as error:
            row_errors.add(BadRow(where, error, row=values))
    if row_errors.total:
        raise DataError(row_errors.text(len(dataset)), hint="cure these rows, or filter them out")
    ties = len(rows) - len(to_examples(rows, method))
    if ties:
        raise DataError(
            f"{ties} of {len(rows)} rows of {name} are ties",
            hint='filter them out: dataset.filter(lambda row: not row["tie"])',
        )
    return rows


def _names(dataset: Any) -> list[str]:
    known = dataset.column_names or list(next(iter(dataset), {}))
    return [column for column in COLUMNS if column in known]


def _row(values: Any, where: Where) -> Row:
    common = optional_columns(values, cells=False)
    return Row(
        where,
        chosen="",
        rejected="",
        **common,
        extra={name: values[name] for name in ("reward_gap",) if name in values},
    )


def names_of(rows: Sequence[Row], column: str) -> set[str | None]:
    return {getattr(row, column) for row in rows}
