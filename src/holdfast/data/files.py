"""Records out of one file, a line at a time: JSONL, JSON, CSV, Parquet, each also gzipped.

A `Record` is either a mapping of columns or a complaint about one place; a file that cannot be read at all is a `DataError`.
Gzip is known by its first bytes, so a gzipped file may keep its plain name.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from holdfast.data.trouble import RowError
from holdfast.errors import DataError
from holdfast.types import Where

LONGEST = 64 * 2**20  # bytes of one line; anything longer is no row but a broken file
BLOCK = 2**20
WRITE_JSONL = 'one JSON object a line, as in {"prompt": ..., "chosen": ..., "rejected": ...}'


@dataclass(frozen=True, slots=True)
class Record:
    """One row before anyone knows its shape. `cells` is True where every value arrives as text (CSV)."""

    where: Where
    value: Mapping[str, Any] | None
    trouble: RowError | None = None
    raw: str | bytes | None = None
    cells: bool = False


def records(path: Path, name: str | None = None) -> Iterator[Record]:
    """Every record of a file. `name` is what complaints call the file."""
    name = name or str(path)
    reader = READERS.get(suffix(path))
    if reader is None:
        known = ", ".join(READERS)
        raise DataError(f"{name}: the ending {suffix(path) or '(none)'} is not known", hint=f"known are {known}, each also with .gz")
    with _opened(path, name) as stream:
        empty = True
        for record in reader(stream, name):
            empty = False
            yield record
        if empty:
            raise DataError(f"{name}: the file holds no rows", hint=f"write {WRITE_JSONL}")


def suffix(path: Path) -> str:
    """The ending that tells the format: `prefs.jsonl.gz` -> `.jsonl`."""
    return Path(path.name.removesuffix(".gz")).suffix.lower()


@contextmanager
def _opened(path: Path, name: str) -> Iterator[IO[bytes]]:
    try:
        with path.open("rb") as raw:
            head = raw.read(4)
            raw.seek(0)
            if head.startswith((b"\xff\xfe", b"\xfe\xff")):
                raise DataError(f"{name}: this looks like UTF-16", hint="save the file as UTF-8")
            if head.startswith(b"\x1f\x8b"):
                with gzip.open(raw) as stream:
                    yield stream  # type: ignore[misc]
            elif path.name.endswith(".gz") and head:
                raise DataError(f"{name}: ends in .gz but is not gzip", hint="rename the file, or fetch it again")
            else:
                yield raw
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(
            f"{name}: the gzip stream is cut short or broken ({error})", hint="the file is incomplete: fetch it again"
        ) from error
    except OSError as error:
        raise DataError(f"{name}: cannot be read ({error.strerror or error})", hint="check the path and its permissions") from error


def _lines(stream: IO[bytes]) -> Iterator[tuple[int, bytes | None]]:
    """Numbered lines, from 1; None for one longer than `LONGEST`. A byte-order mark at the start is taken off."""
    number = 0
    while line := stream.readline(LONGEST + 1):
        number += 1
        if len(line) > LONGEST and not line.endswith(b"\n"):
            while line and not line.endswith(b"\n"):
                line = stream.readline(BLOCK)
            yield number, None
            continue
        yield number, line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line


def _too_long(where: Where) -> Record:
    trouble = RowError(
        "the line is too long", detail=f"more than {LONGEST >> 20} MiB", cure="check that the file has line breaks, or split the row"
    )
    return Record(where, None, trouble, raw="")


def _bad_utf8(where: Where, raw: bytes, error: UnicodeDecodeError | None = None) -> Record:
    detail = f"byte {error.start + 1} of the line" if error else ""
    return Record(where, None, RowError("invalid UTF-8", detail=detail, cure="save the file as UTF-8"), raw=raw)


def _not_an_object(where: Where, value: Any, raw: str) -> Record:
    trouble = RowError("not a JSON object", detail=f"a {type(value).__name__}", cure=f"write {WRITE_JSONL}")
    return Record(where, None, trouble, raw=raw)


def _bad_json(where: Where, raw: str, error: Exception) -> Record:
    detail = f"{error.msg} at column {error.colno}" if isinstance(error, json.JSONDecodeError) else str(error)
    return Record(where, None, RowError("invalid JSON", detail=detail, cure=f"write {WRITE_JSONL}"), raw=raw)


def read_jsonl(stream: IO[bytes], name: str) -> Iterator[Record]:
    """One object a line. Blank lines are no rows."""
    for number, line in _lines(stream):
        where = Where(name, number)
        if line is None:
            yield _too_long(where)
        elif line.strip():
            yield _jsonl_record(where, line)


def _jsonl_record(where: Where, line: bytes) -> Record:
    try:
        raw = line.decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError as error:
        return _bad_utf8(where, line, error)
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError) as error:
        return _bad_json(where, raw, error)
    return Record(where, value, raw=raw) if isinstance(value, dict) else _not_an_object(where, value, raw)


def read_json(stream: IO[bytes], name: str) -> Iterator[Record]:
    """An array of objects; an object that holds one list of objects; or, as many such files are, JSONL under another name."""
    data = stream.read()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(f"{name}:{line}: invalid UTF-8", hint="save the file as UTF-8") from error
    start = _skip_space(text, 0)
    if text[start : start + 1] == "[":
        yield from _array(text, start, name)
    elif text[start : start + 1] == "{":
        yield from _object(text, start, name)
    elif start < len(text):
        raise DataError(f"{name}:1: invalid JSON: neither an array nor an object", hint=f"write an array of objects, or {WRITE_JSONL}")


def _object(text: str, start: int, name: str) -> Iterator[Record]:
    try:
        members, end = _members(text, start)
    except (ValueError, RecursionError) as error:
        if text[start:].partition("\n")[0].strip().endswith("}"):  # one object a line, the first of them broken
            yield from read_jsonl(io.BytesIO(text.encode("utf-8")), name)
            return
        raise DataError(f"{name}: invalid JSON: {error}", hint="check the file with a JSON tool; it may be cut short") from error
    lists = {key: at for key, (at, value) in members.items() if _are_rows(value)}
    if _skip_space(text, end) < len(text):
        yield from read_jsonl(io.BytesIO(text.encode("utf-8")), name)
    elif len(lists) == 1:
        yield from _array(text, next(iter(lists.values())), name)
    elif not lists:
        yield Record(Where(name, 1), {key: value for key, (_, value) in members.items()}, raw=text)
    else:
        hint = f"write an array of objects, or {WRITE_JSONL}"
        raise DataError(f"{name}: the object holds several lists of rows: {', '.join(lists)}", hint=hint)


def _are_rows(value: Any) -> bool:
    """A list of objects that are no messages."""
    return isinstance(value, list) and bool(value) and all(isinstance(item, dict) and "role" not in item for item in value)


def _members(text: str, start: int) -> tuple[dict[str, tuple[int, Any]], int]:
    """The members of the object that opens at `start`: where each value begins, and the value; and where the object ends."""
    decoder, found, at = json.JSONDecoder(), {}, _skip_space(text, start + 1)
    while text[at : at + 1] != "}":
        key, at = decoder.raw_decode(text, at)
        at = _skip_space(text, at)
        if not isinstance(key, str) or text[at : at + 1] != ":":
            raise json.JSONDecodeError("expected a name and ':'", text, at)
        begins = _skip_space(text, at + 1)
        value, at = decoder.raw_decode(text, begins)
        found[key] = (begins, value)
        at = _skip_space(text, at)
        if text[at : at + 1] == ",":
            at = _skip_space(text, at + 1)
        elif text[at : at + 1] != "}":
            raise json.JSONDecodeError("expected ',' or '}'", text, at)
    return found, at + 1


def _array(text: str, start: int, name: str) -> Iterator[Record]:
    """The elements of the array that opens at `start`, each with the line it begins on. A break in it ends the file."""
    decoder = json.JSONDecoder()
    line, counted, at = 1, 0, _skip_space(text, start + 1)
    while text[at : at + 1] != "]":
        line, counted = line + text.count("\n", counted, at), at
        try:
            value, end = decoder.raw_decode(text, at)
            at = _skip_space(text, end)
            if text[at : at + 1] not in (",", "]"):
                raise json.JSONDecodeError("expected ',' or ']'", text, at)
        except (ValueError, RecursionError) as error:
            hint = "the rest of the array cannot be read: check the file with a JSON tool; it may be cut short"
            raise DataError(f"{name}:{line}: invalid JSON: {error}", hint=hint) from error
        where = Where(name, line)
        yield Record(where, value, raw=text[counted:end]) if isinstance(value, dict) else _not_an_object(where, value, text[counted:end])
        if text[at] == ",":
            at = _skip_space(text, at + 1)


def _skip_space(text: str, at: int) -> int:
    while at < len(text) and text[at] in " \t\r\n":
        at += 1
    return at


def read_csv(stream: IO[bytes], name: str) -> Iterator[Record]:
    """Comma-separated, the header in the first record. A record may span lines and is named by the line it begins on."""
    limit = csv.field_size_limit(LONGEST)
    try:
        yield from _csv_records(stream, name)
    finally:
        csv.field_size_limit(limit)


def _csv_records(stream: IO[bytes], name: str) -> Iterator[Record]:
    broken: list[int] = []  # lines too long to hold
    taken: list[bytes] = []  # lines of the record being read

    def decoded() -> Iterator[str]:
        for number, line in _lines(stream):
            if line is None:
                broken.append(number)
                line = b"\n"
            taken.append(line)
            yield line.decode("utf-8", "surrogateescape")

    reader = csv.reader(decoded(), strict=True)
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
                    f"{name}:{begins}: the header cannot be read ({error})", hint="check the quotes of the first line"
                ) from error
            trouble = RowError(
                "invalid CSV", detail=str(error), cure='put text with quotes, commas or line breaks in "...", with inner quotes doubled'
            )
            yield Record(where, None, trouble, raw=b"".join(taken).decode("utf-8", "replace"))
            continue
        if not fields:
            continue
        raw = b"".join(taken)
        try:
            as_text = raw.decode("utf-8")
        except UnicodeDecodeError as error:
            if header is None:
                raise DataError(f"{name}:{begins}: the header is not UTF-8", hint="save the file as UTF-8") from error
            yield _bad_utf8(where, raw)
            continue
        if broken:
            broken.clear()
            yield _too_long(where)
        elif header is None:
            header = _header(fields, name, begins)
        elif len(fields) != len(header):
            detail = f"{len(fields)} instead of {len(header)}"
            trouble = RowError("wrong number of cells", detail=detail, cure='put text with commas or line breaks in "..."')
            yield Record(where, None, trouble, raw=as_text)
        else:
            yield Record(where, dict(zip(header, fields, strict=True)), cells=True)


def _header(fields: list[str], name: str, line: int) -> list[str]:
    names = [field.strip() for field in fields]
    twice = sorted({field for field in names if names.count(field) > 1})
    if twice:
        raise DataError(f"{name}:{line}: columns named twice: {', '.join(twice)}", hint="give every column a name of its own")
    return names


def read_parquet(stream: IO[bytes], name: str) -> Iterator[Record]:
    """Rows of a Parquet file, numbered from 1."""
    import pyarrow as pa  # type: ignore[import-untyped]
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    source = stream if isinstance(stream, io.BufferedReader) else io.BytesIO(stream.read())
    number = 0
    try:
        for batch in pq.ParquetFile(source).iter_batches(batch_size=1024):
            for value in batch.to_pylist():
                number += 1
                yield Record(Where(name, number), value)
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f"{name}: not a readable Parquet file, after row {number} ({error})", hint="write or fetch the file again"
        ) from error


READERS: Mapping[str, Callable[[IO[bytes], str], Iterator[Record]]] = {
    ".jsonl": read_jsonl,
    ".ndjson": read_jsonl,
    ".json": read_json,
    ".csv": read_csv,
    ".parquet": read_parquet,
}
