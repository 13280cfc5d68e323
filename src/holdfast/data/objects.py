"""Records out of Python objects: dicts, columns, data frames, tables, with NumPy's and pandas'
values as Python's own.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from holdfast.data.lines import Record
from holdfast.data.row_errors import RowError
from holdfast.errors import DataError
from holdfast.types import Where
from holdfast.visible import listed

PLAIN = (str, int, bool, type(None))
NESTED = 64  # lists within lists that are gone through


def from_rows(rows: Iterable[Any], name: str) -> Iterator[Record]:
    """Records of anything that gives rows: dicts, or rows of a data frame."""
    for number, value in enumerate(rows, 1):
        where = Where(name, number)
        if not isinstance(value, Mapping) and hasattr(value, "to_dict"):  # a pandas Series
            value = value.to_dict()
        if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
            yield Record(where, {str(key): native(item) for key, item in value.items()})
        else:
            detail = (
                "a column name is no text"
                if isinstance(value, Mapping)
                else f"a {type(value).__name__}"
            )
            error = RowError(
                "not a row",
                detail=detail,
                cure='give rows as dicts, as in {"prompt": ..., "chosen": ..., "rejected": ...}',
            )
            yield Record(where, None, error, raw=written(value))


def is_table(value: Any) -> bool:
    """A data frame of pandas or Polars, or an Arrow table."""
    return (hasattr(value, "to_dict") and hasattr(value, "columns")) or (
        hasattr(value, "to_pylist") and hasattr(value, "column_names")
    )


def from_table(frame: Any) -> Iterator[Record]:
    """Rows of a data frame, numbered from 1. A missing value (NaN, NaT, NA) is null.

    Raises:
        DataError: two columns of one name.
    """
    names = [
        str(name)
        for name in (frame.column_names if hasattr(frame, "column_names") else frame.columns)
    ]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(
            f"the data frame names columns twice: {listed(twice)}",
            hint="give every column a name of its own",
        )
    if hasattr(frame, "to_batches"):
        rows: Iterable[Any] = (
            row for batch in frame.to_batches(max_chunksize=1024) for row in batch.to_pylist()
        )
    elif hasattr(frame, "iter_rows"):
        rows = frame.iter_rows(named=True)
    else:
        columns = [frame.iloc[:, place] for place in range(len(names))]
        rows = (dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True))
    for record in from_rows(rows, "data frame"):
        yield (
            record
            if record.value is None
            else Record(record.where, {name: _known(item) for name, item in record.value.items()})
        )


def from_columns(columns: Mapping[str, Any], name: str) -> Iterator[Record]:
    """Rows of a dict of columns of one length."""
    lists = {str(key): native(column) for key, column in columns.items()}
    return from_rows(rows_of_columns(lists, name), name)


def rows_of_columns(columns: Mapping[str, Any], name: str) -> Iterator[dict[str, Any]]:
    """Rows out of lists of one length. Raises DataError where they are not."""
    lengths = {key: len(column) for key, column in columns.items()}
    if len(set(lengths.values())) > 1:
        said = ", ".join(f"{key} has {length:,}" for key, length in lengths.items())
        raise DataError(
            f"{name}: the columns are of different lengths: {said}",
            hint="give every column a value for every row",
        )
    return (
        dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)
    )


def are_columns(value: Mapping[str, Any]) -> bool:
    """Whether a dict holds columns rather than one row: nothing but lists, and no list of messages,
    which one row may hold.
    """
    return bool(value) and all(_is_column(column) for column in value.values())


def _is_column(value: Any) -> bool:
    if (
        isinstance(value, str | bytes | Mapping)
        or not hasattr(value, "__len__")
        or not hasattr(value, "__iter__")
    ):
        return False
    first = next(iter(value), None)
    return not (isinstance(first, Mapping) and ("role" in first or "from" in first))


def native(value: Any, depth: int = 0) -> Any:
    """The same value with NumPy's arrays and scalars, tensors, and containers of them as Python's
    own. What is nested deeper than anyone reads stays as it is."""
    if (isinstance(value, PLAIN) and type(value) in PLAIN) or isinstance(value, float):
        return value
    if depth > NESTED:
        return value
    if isinstance(value, Mapping):
        return {key: native(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [native(item, depth + 1) for item in value]
    if isinstance(value, str):
        return str(value)
    if hasattr(value, "tolist") and not isinstance(value, bytes):
        return native(value.tolist(), depth + 1)
    return value


def _known(value: Any) -> Any:
    missing = (isinstance(value, float) and math.isnan(value)) or type(value).__name__ in (
        "NAType",
        "NaTType",
    )
    return None if missing else value


def written(value: Any) -> str:
    """What a value that is no row looks like, as far as that can be said."""
    try:
        return repr(value)[:10_000]
    except (RecursionError, ValueError):
        return f"a {type(value).__name__} that cannot be written down"
