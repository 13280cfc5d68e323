"""Reading one field of one row: its type, its range, and the cure when it is wrong. Each function
raises `RowError`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from holdfast.data.row_errors import RowError, empty
from holdfast.types import Message, Text
from holdfast.visible import one_line

ASSISTANT = ("assistant", "model")  # the roles under which a conversation may hold the answer
SPEAKERS = {  # what ShareGPT and others call the roles of a chat template
    "human": "user",
    **dict.fromkeys(
        ("gpt", "chatgpt", "ai", "bot", "chatbot", "bing", "bard", "claude"), "assistant"
    ),
    "observation": "tool",
}
DEPTH = 64  # of lists within lists, in a column that is only carried along
LONGEST_NAME = 200  # characters of a rater, a group, a source
DIGITS = 4300  # of a whole number; Python writes down no longer one


def is_messages(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def present(value: Any) -> bool:
    """A column that is null, or an empty cell, says nothing."""
    return value is not None and value != ""


def required(record: Mapping[str, Any], name: str) -> Any:
    if name not in record:
        raise RowError(f"`{name}` is missing", field=name, cure=f"give the row a `{name}`")
    if record[name] is None:
        raise RowError(
            f"`{name}` is null", field=name, cure=f"give the row a `{name}`, or remove the row"
        )
    return record[name]


def string(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise RowError(
            f"`{name}` has the wrong type",
            field=name,
            detail=f"{_kind(value)}, not text",
            cure="write it as a string",
        )
    if not value.strip():
        raise RowError(empty(name), field=name, cure=f"write a `{name}`, or remove the row")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise RowError(
            f"`{name}` is not valid Unicode",
            field=name,
            detail="half a surrogate pair",
            cure="write the character whole",
        ) from None
    return value


def messages(value: Any, name: str) -> tuple[Message, ...]:
    if not is_messages(value):
        raise RowError(
            f"`{name}` has the wrong type",
            field=name,
            detail=f"{_kind(value)}, not a list of messages",
            cure="write messages",
        )
    if not value:
        raise RowError(
            empty(name),
            field=name,
            detail="a list of no messages",
            cure=f"write a `{name}`, or remove the row",
        )
    return tuple(_message(item, name, place) for place, item in enumerate(value))


def text(value: Any, name: str) -> Text:
    """Text or a list of messages, whichever it is."""
    if is_messages(value):
        return messages(value, name)
    return string(value, name)


def _message(item: Any, name: str, place: int) -> Message:
    where = f"message {place + 1}"
    if isinstance(item, Mapping) and "role" not in item and {"from", "value"} <= item.keys():
        item = {
            **{key: value for key, value in item.items() if key not in ("from", "value")},
            "role": item["from"],
            "content": item["value"],
        }
    cure = 'write each message as {"role": "user", "content": "..."}'
    if (
        not isinstance(item, Mapping)
        or not isinstance(item.get("role"), str)
        or not item["role"].strip()
    ):
        raise RowError(
            f"`{name}` holds something that is no message",
            field=name,
            detail=f"{where} has no role",
            cure=cure,
        )
    content = item.get("content")
    if isinstance(content, Sequence) and not isinstance(content, str | bytes):
        content = "".join(_part(part, name, where) for part in content)
    others = {
        key: plain(value)
        for key, value in item.items()
        if key not in ("role", "content") and value is not None
    }
    if content is None and {"tool_calls", "function_call"} & others.keys():
        content = ""
    if not isinstance(content, str):
        raise RowError(
            f"`{name}` holds something that is no message",
            field=name,
            detail=f"the content of {where} is {_kind(content)}",
            cure=cure,
        )
    try:
        (item["role"] + content).encode("utf-8")
    except UnicodeEncodeError:
        raise RowError(
            f"`{name}` is not valid Unicode",
            field=name,
            detail=f"half a surrogate pair in {where}",
            cure="write it whole",
        ) from None
    role = SPEAKERS.get(item["role"].strip().lower(), item["role"])
    return {"role": role, "content": content, **others}


def _part(part: Any, name: str, where: str) -> str:
    if (
        isinstance(part, Mapping)
        and part.get("type") == "text"
        and isinstance(part.get("text"), str)
    ):
        return part["text"]
    kind = part.get("type") if isinstance(part, Mapping) else None
    said = f"a part of {where}" + (
        f" is of type {kind[:40]!r}" if isinstance(kind, str) and kind != "text" else ""
    )
    raise RowError(
        f"`{name}` holds something that is not text",
        field=name,
        detail=said,
        cure="keep to text; images are not read",
    )


def reply(value: Text, name: str) -> Text:
    """The one assistant message of an answer, as its bare text when it holds nothing else."""
    if isinstance(value, str):
        return value
    if len(value) != 1 or value[0]["role"] not in ASSISTANT:
        roles = ", ".join(m["role"] for m in value)
        raise RowError(
            f"`{name}` is not one assistant message",
            field=name,
            detail=f"roles: {roles}",
            cure="an answer is the assistant's last turn, alone",
        )
    message = value[0]
    if message.keys() == {"role", "content"}:
        return string(message["content"], name)
    if not message["content"].strip() and not (
        message.get("tool_calls") or message.get("function_call")
    ):
        raise RowError(empty(name), field=name, cure=f"write a `{name}`, or remove the row")
    return value


def name_of(value: Any, name: str) -> str | None:
    """A rater, a group, a source: text, or a number taken as a name. Names are compared, printed
    and put on pages, never trained on, so that one which holds control characters is kept with
    these visible, and one of more than `LONGEST_NAME` characters shortened, with a mark that tells
    it from others."""
    if not present(value):
        return None
    if isinstance(value, int):
        return str(whole(value, name))
    if isinstance(value, float) and math.isfinite(value):
        return str(int(value)) if value == int(value) else str(value)
    return one_line(string(value, name), LONGEST_NAME)


def number(
    value: Any, name: str, *, low: float = -math.inf, high: float = math.inf, parse: bool = False
) -> float | None:
    """A finite number from `low` to `high`. With `parse` (cells of a CSV file) text is read as a
    number.
    """
    if not present(value):
        return None
    if isinstance(value, str) and parse:
        try:
            value = float(value)
        except ValueError:
            raise RowError(
                f"`{name}` is no number",
                field=name,
                detail=repr(value[:40]),
                cure="write a number, or leave it empty",
            ) from None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise RowError(
            f"`{name}` has the wrong type",
            field=name,
            detail=f"{_kind(value)}, not a number",
            cure="write a number, or leave it out",
        )
    try:
        result = float(value)
    except OverflowError:
        result = math.inf
    if not math.isfinite(result):
        raise RowError(
            f"`{name}` is not finite",
            field=name,
            detail=str(result),
            cure="write a finite number, or leave it out",
        )
    if not low <= result <= high:
        span = f"{low:g} to {high:g}" if math.isfinite(high) else f"{low:g} or more"
        raise RowError(
            f"`{name}` is out of range",
            field=name,
            detail=f"{result:g}",
            cure=f"write a number: {span}",
        )
    return result


YES_OR_NO = {"true": True, "1": True, "false": False, "0": False}


def boolean(value: Any, name: str) -> bool | None:
    """true or false; 1 or 0; or these as text."""
    if not present(value):
        return None
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float) and value in (0, 1):
        return bool(value)
    if isinstance(value, str) and value.strip().lower() in YES_OR_NO:
        return YES_OR_NO[value.strip().lower()]
    raise RowError(
        f"`{name}` is neither true nor false",
        field=name,
        detail=repr(value)[:40],
        cure="write true or false (or 1 or 0)",
    )


def plain(value: Any, depth: int = 0, *, broken: bool = False) -> Any:
    """The same value in JSON's own types, so that rows can be hashed and written whatever a column
    held. Raises `RowError` for what cannot be written down; `broken` lets half a surrogate pair
    pass, for a row that is skipped."""
    if value is None or isinstance(value, float):
        return value
    if isinstance(value, int):
        return whole(value)
    if isinstance(value, str):
        return value if broken else unicode(value)
    if depth > DEPTH:
        raise RowError(
            "a column is nested too deeply",
            detail=f"more than {DEPTH} levels",
            cure="flatten the column, or remove it",
        )
    if isinstance(value, Mapping):
        return {
            plain(str(key), broken=broken): plain(item, depth + 1, broken=broken)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [plain(item, depth + 1, broken=broken) for item in value]
    if hasattr(value, "tolist"):  # numpy arrays and scalars, tensors
        return plain(value.tolist(), depth + 1, broken=broken)
    return str(value) if hasattr(value, "isoformat") else repr(value)


def whole(value: int, name: str | None = None) -> int:
    """A whole number that can be written down. Raises `RowError` for one of thousands of digits."""
    if value.bit_length() > DIGITS * 3.3:
        raise RowError(
            "a number is too large",
            field=name,
            detail=f"about {value.bit_length() * 0.30103:,.0f} digits",
            cure="write it as text, or leave it out",
        )
    return value


def unicode(value: str) -> str:
    """A text that can be written down. Raises `RowError` for half a surrogate pair."""
    if not value.isascii():
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            raise RowError(
                "a column is not valid Unicode",
                detail="half a surrogate pair",
                cure="write the character whole",
            ) from None
    return value


def _kind(value: Any) -> str:
    names = {
        type(None): "null",
        bool: "a boolean",
        int: "a number",
        float: "a number",
        str: "text",
        list: "a list",
        dict: "an object",
    }
    return names.get(type(value), f"a {type(value).__name__}")
