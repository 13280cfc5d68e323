"""Records out of tables: CSV and TSV, Parquet and Arrow."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from typing import IO, Any

from holdfast.data.lines import BLOCK, LONGEST, Record, bad_utf8, lines, too_long
from holdfast.data.row_errors import RowError
from holdfast.errors import DataError
from holdfast.types import Where
from holdfast.visible import listed

DELIMITERS = (",", "\t", ";")


def read_csv(stream: IO[bytes], name: str) -> Iterator[Record]:
    """Cells between commas, tabs or semicolons, whichever makes most of the header, which is the
    first record. A record may span lines and is named by the line it begins on."""
    return _separated(stream, name, DELIMITERS)


def read_tsv(stream: IO[bytes], name: str) -> Iterator[Record]:
    """The same, tabs first."""
    return _separated(stream, name, ("\t", ",", ";"))


def _separated(stream: IO[bytes], name: str, delimiters: Sequence[str]) -> Iterator[Record]:
    limit = csv.field_size_limit(LONGEST)
    try:
        yield from _csv_records(stream, name, delimiters)
    finally:
        csv.field_size_limit(limit)


def _delimiter(stream: IO[bytes], delimiters: Sequence[str]) -> str:
    """The one that makes the most cells of the header; the first of those that make as many."""
    head = stream.peek(BLOCK) if isinstance(stream, io.BufferedReader) else b""
    header = (
        head.decode("utf-8", "replace").lstrip("\ufeff \r\n").replace("\r", "\n").partition("\n")[0]
    )

    def cells(delimiter: str) -> int:
        try:
            return len(next(csv.reader([header], delimiter=delimiter), []))
        except csv.Error:  # told with its place when the header is read
            return 0

    return max(delimiters, key=cells)


def _csv_records(stream: IO[bytes], name: str, delimiters: Sequence[str]) -> Iterator[Record]:
    broken: list[int] = []  # lines too long to hold
    taken: list[bytes] = []  # lines of the record being read

    def decoded() -> Iterator[str]:
        for number, line in lines(stream):
            if line is None:
                broken.append(number)
                line = b"\n"
            taken.append(line)
            yield line.decode("utf-8", "surrogateescape")

    reader = csv.reader(decoded(), strict=True, delimiter=_delimiter(stream, delimiters))
    header: list[str] | None = None
    while True:
        begins = reader.line_num + 1
        where = Where(name, begins)
        taken.clear()
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            if header is None:
                raise DataError(
                    f"{name}:{begins}: the header cannot be read ({error})",
                    hint="check the quotes of the first line",
                ) from error
            bad = RowError(
                "invalid CSV",
                detail=str(error),
                cure=(
                    'put text with quotes, commas or line breaks in "...", with inner quotes '
                    "doubled"
                ),
            )
            raw = b"".join(taken)
            yield Record(where, None, bad, raw=raw.decode("utf-8") if _is_utf8(raw) else raw)
            continue
        if broken:
            broken.clear()
            yield too_long(where)
            continue
        if not fields:
            continue
        raw = b"".join(taken)
        try:
            as_text = raw.decode("utf-8")
        except UnicodeDecodeError as error:
            if header is None:
                raise DataError(
                    f"{name}:{begins}: the header is not UTF-8", hint="save the file as UTF-8"
                ) from error
            yield bad_utf8(where, raw)
            continue
        if header is None:
            header = _header(fields, name, begins)
        elif len(fields) != len(header):
            detail = f"{len(fields)} instead of {len(header)}"
            bad = RowError(
                "wrong number of cells",
                detail=detail,
                cure='put text with commas or line breaks in "..."',
            )
            yield Record(where, None, bad, raw=as_text)
        else:
            yield Record(where, dict(zip(header, fields, strict=True)), cells=True)


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _header(fields: list[str], name: str, line: int) -> list[str]:
    names = [field.strip() for field in fields]
    twice = sorted({field for field in names if names.count(field) > 1})
    if twice:
        raise DataError(
            f"{name}:{line}: columns named twice: {listed(twice)}",
            hint="give every column a name of its own",
        )
    return names


def read_parquet(stream: IO[bytes], name: str) -> Iterator[Record]:
    """Rows of a Parquet file, numbered from 1."""
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    source = stream if isinstance(stream, io.BufferedReader) else io.BytesIO(stream.read())

    def batches() -> Iterator[Any]:
        file = pq.ParquetFile(source)
        _distinct(file.schema_arrow.names, name)
        yield from file.iter_batches(batch_size=1024)

    return _rows_of(batches, name, "Parquet")


def read_arrow(stream: IO[bytes], name: str) -> Iterator[Record]:
    """Rows of an Arrow file or an Arrow stream, as the cache of the datasets library holds them,
    numbered from 1.
    """
    import pyarrow as pa

    source = (
        stream
        if isinstance(stream, io.BufferedReader)
        else io.BufferedReader(io.BytesIO(stream.read()))
    )

    def batches() -> Iterator[Any]:
        if source.peek(6)[:6] == b"ARROW1":
            file = pa.ipc.open_file(source)
            _distinct(file.schema.names, name)
            yield from (file.get_batch(place) for place in range(file.num_record_batches))
        else:
            opened = pa.ipc.open_stream(source)
            _distinct(opened.schema.names, name)
            yield from opened

    return _rows_of(batches, name, "Arrow")


def _rows_of(batches: Callable[[], Iterator[Any]], name: str, kind: str) -> Iterator[Record]:
    import pyarrow as pa

    number = 0
    try:
        for batch in batches():
            for value in batch.to_pylist():
                number += 1
                yield Record(Where(name, number), value)
    except (pa.ArrowException, OSError, ValueError, OverflowError, EOFError) as error:
        raise DataError(
            f"{name}: not a readable {kind} file, after row {number} ({error})",
            hint="the file is incomplete or broken: write or fetch it again",
        ) from error


def _distinct(names: Sequence[str], name: str) -> None:
    twice = sorted({column for column in names if names.count(column) > 1})
    if twice:
        raise DataError(
            f"{name}: columns named twice: {listed(twice)}",
            hint="give every column a name of its own",
        )
