"""Records out of JSON: an object a line, an array, or an object that holds one list of objects."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import IO, Any

from holdfast.data.lines import BLOCK, WRITE_JSONL, Record, bad_utf8, lines, too_long
from holdfast.data.objects import are_columns, from_rows, rows_of_columns
from holdfast.data.row_errors import RowError
from holdfast.errors import DataError
from holdfast.types import Where
from holdfast.visible import listed, one_line


class DuplicateKeyError(ValueError):
    """One object gives one key two values."""


def _object_of(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        key = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise DuplicateKeyError(f"`{one_line(key)}`")
    return found


DECODER = json.JSONDecoder(
    object_pairs_hook=_object_of
)  # every object of a row, the messages of a list as well
UNREADABLE = (
    ValueError,
    RecursionError,
)  # what the decoder raises; its limit of digits is a ValueError


def _not_an_object(where: Where, value: Any, raw: str) -> Record:
    error = RowError(
        "not a JSON object", detail=f"a {type(value).__name__}", cure=f"write {WRITE_JSONL}"
    )
    return Record(where, None, error, raw=raw)


def _why(error: Exception) -> RowError:
    """What was wrong with a value that the decoder refused."""
    if isinstance(error, DuplicateKeyError):
        cure = "give every key of an object one value: the other would be lost"
        return RowError(
            "an object names a key twice", field=str(error).strip("`"), detail=str(error), cure=cure
        )
    if isinstance(error, RecursionError):
        return RowError(
            "nested too deeply",
            detail="lists or objects within each other",
            cure="flatten the column, or remove it",
        )
    if isinstance(error, json.JSONDecodeError):
        return RowError(
            "invalid JSON",
            detail=f"{error.msg} at column {error.colno}",
            cure=f"write {WRITE_JSONL}",
        )
    digits = "a whole number of more than 4,300 digits" if "digits" in str(error) else str(error)
    return RowError(
        "a number is too large", detail=digits, cure="write it as text, or leave it out"
    )


def _bad_json(where: Where, raw: str, error: Exception, *, cut: bool = False) -> Record:
    error = _why(error)
    if cut and error.reason == "invalid JSON":
        error.cure = (
            "the file ends within this line, as a download does that was cut short: fetch it again"
        )
    return Record(where, None, error, raw=raw)


def read_jsonl(stream: IO[bytes], name: str) -> Iterator[Record]:
    """One object a line. Blank lines are no rows. An array under the name of such a file is read as
    one.
    """
    if isinstance(stream, io.BufferedReader) and _opens_an_array(stream.peek(BLOCK)):
        yield from read_json(stream, name)
        return
    for number, line in lines(stream):
        where = Where(name, number)
        if line is None:
            yield too_long(where)
        elif line.strip():
            yield _jsonl_record(where, line)


def _jsonl_record(where: Where, line: bytes) -> Record:
    try:
        raw = line.decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError as error:
        return bad_utf8(where, line, error)
    try:
        value = DECODER.decode(raw)
    except UNREADABLE as error:
        return _bad_json(where, raw, error, cut=not line.endswith(b"\n"))
    return (
        Record(where, value, raw=raw)
        if isinstance(value, dict)
        else _not_an_object(where, value, raw)
    )


def _opens_an_array(head: bytes) -> bool:
    """Whether a file begins with an array of objects: on a line of its own, or over several."""
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if not text.startswith(b"["):
        return False
    line, broken, _ = text.partition(b"\n")
    try:
        value = json.loads(line)
    except UNREADABLE:
        return not broken or line.strip() in (b"[", b"[{") or line.strip().endswith(b",")
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)


def read_json(stream: IO[bytes], name: str) -> Iterator[Record]:
    """An array of objects; an object that holds one list of objects; columns, each a list or (as
    pandas writes them) an object from row numbers to values; or, as many such files are, JSONL
    under another name."""
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
        raise DataError(
            f"{name}:1: invalid JSON: neither an array nor an object",
            hint=f"write an array of objects, or {WRITE_JSONL}",
        )


def _object(text: str, start: int, name: str) -> Iterator[Record]:
    try:
        members, end = _members(text, start)
    except UNREADABLE as error:
        if (
            text[start:].partition("\n")[0].strip().endswith("}")
        ):  # one object a line, the first of them broken
            yield from read_jsonl(io.BytesIO(text.encode("utf-8")), name)
            return
        raise _broken(f"{name}:{_line_of(text, error)}", error) from error
    lists = {key: at for key, (at, value) in members.items() if _are_rows(value)}
    if _skip_space(text, end) < len(text):
        yield from read_jsonl(io.BytesIO(text.encode("utf-8")), name)
    elif len(lists) == 1:
        yield from _array(text, next(iter(lists.values())), name)
    elif not lists:
        value = {key: value for key, (_, value) in members.items()}
        columns = _columns(value)
        if columns is None:
            yield Record(Where(name, 1), value, raw=text)
        else:
            yield from from_rows(rows_of_columns(columns, name), name)
    else:
        hint = f"write an array of objects, or {WRITE_JSONL}"
        raise DataError(
            f"{name}: the object holds several lists of rows: {listed(lists)}", hint=hint
        )


def _are_rows(value: Any) -> bool:
    """A list of objects that are no messages."""
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(item, dict) and "role" not in item for item in value)
    )


def _columns(value: dict[str, Any]) -> dict[str, list[Any]] | None:
    """Column -> values, where an object holds columns and not one row."""
    if value.keys() >= {"columns", "data"} and value.keys() <= {
        "columns",
        "data",
        "index",
    }:  # pandas, orient="split"
        names, rows = value["columns"], value["data"]
        if all(isinstance(name, str) for name in names) and all(
            isinstance(row, list) and len(row) == len(names) for row in rows
        ):
            return {name: [row[place] for row in rows] for place, name in enumerate(names)}
    if are_columns(value):
        lengths = {len(column) for column in value.values()}
        texts = any(
            isinstance(item, str)
            for name in ("prompt", "chosen", "rejected")
            for item in value.get(name, ())
        )
        return (
            value if len(lengths) == 1 or texts else None
        )  # one row may hold lists of several lengths
    if value and all(
        isinstance(column, dict) and column and "role" not in column for column in value.values()
    ):
        places = [list(column) for column in value.values()]
        if all(there == places[0] for there in places) and all(
            place.isdecimal() for place in places[0]
        ):
            return {name: list(column.values()) for name, column in value.items()}
    return None


def _broken(place: str, error: Exception) -> DataError:
    """A file of one JSON value that cannot be read: what follows the break is unknown."""
    why = _why(error)
    if why.reason != "invalid JSON":
        return DataError(f"{place}: {why.reason}: {why.detail}", hint=why.cure)
    return DataError(
        f"{place}: invalid JSON: {error}",
        hint="what follows cannot be read: check the file with a JSON tool; it may be cut short",
    )


def _line_of(text: str, error: Exception) -> int:
    return error.lineno if isinstance(error, json.JSONDecodeError) else 1


def _members(text: str, start: int) -> tuple[dict[str, tuple[int, Any]], int]:
    """The members of the object that opens at `start`: where each value begins, and the value; and
    where the object ends.
    """
    found: dict[str, tuple[int, Any]] = {}
    at = _skip_space(text, start + 1)
    while text[at : at + 1] != "}":
        key, at = DECODER.raw_decode(text, at)
        at = _skip_space(text, at)
        if not isinstance(key, str) or text[at : at + 1] != ":":
            raise json.JSONDecodeError("expected a name and ':'", text, at)
        begins = _skip_space(text, at + 1)
        value, at = DECODER.raw_decode(text, begins)
        if key in found:
            raise DuplicateKeyError(f"`{one_line(key)}`")
        found[key] = (begins, value)
        at = _skip_space(text, at)
        if text[at : at + 1] == ",":
            at = _skip_space(text, at + 1)
        elif text[at : at + 1] != "}":
            raise json.JSONDecodeError("expected ',' or '}'", text, at)
    return found, at + 1


def _array(text: str, start: int, name: str) -> Iterator[Record]:
    """The elements of the array that opens at `start`, each with the line it begins on. A break in
    it ends the file.
    """
    line, counted, at = 1, 0, _skip_space(text, start + 1)
    while text[at : at + 1] != "]":
        line, counted = line + text.count("\n", counted, at), at
        try:
            value, end = DECODER.raw_decode(text, at)
            at = _skip_space(text, end)
            if text[at : at + 1] not in (",", "]"):
                raise json.JSONDecodeError("expected ',' or ']'", text, at)
        except UNREADABLE as error:
            raise _broken(f"{name}:{line}", error) from error
        where = Where(name, line)
        yield (
            Record(where, value, raw=text[counted:end])
            if isinstance(value, dict)
            else _not_an_object(where, value, text[counted:end])
        )
        if text[at] == ",":
            at = _skip_space(text, at + 1)


def _skip_space(text: str, at: int) -> int:
    while at < len(text) and text[at] in " \t\r\n":
        at += 1
    return at
