"""Records out of JSON: an object a line, an array, or an object that holds one list of objects."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import IO, Any

from holdfast.data.lines import WRITE_JSONL, Record, bad_utf8, lines, too_long
from holdfast.data.trouble import RowError
from holdfast.errors import DataError
from holdfast.types import Where


def _not_an_object(where: Where, value: Any, raw: str) -> Record:
    trouble = RowError("not a JSON object", detail=f"a {type(value).__name__}", cure=f"write {WRITE_JSONL}")
    return Record(where, None, trouble, raw=raw)


def _bad_json(where: Where, raw: str, error: Exception) -> Record:
    detail = f"{error.msg} at column {error.colno}" if isinstance(error, json.JSONDecodeError) else str(error)
    return Record(where, None, RowError("invalid JSON", detail=detail, cure=f"write {WRITE_JSONL}"), raw=raw)


def read_jsonl(stream: IO[bytes], name: str) -> Iterator[Record]:
    """One object a line. Blank lines are no rows."""
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
