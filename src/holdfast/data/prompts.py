"""The prompt of a row, out of every column that belongs to it: the question itself, a system
prompt, earlier turns, further input.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from holdfast.data import fields
from holdfast.data.columns import SYSTEM
from holdfast.data.row_errors import RowError
from holdfast.data.transcript import FAMILIES, Markers
from holdfast.types import Message, Text

ASKED = (
    "user",
    "human",
    "question",
    "query",
    "prompt",
    "instruction",
    "input",
    "q",
)  # keys of one earlier exchange, and its answer's
TOLD = ("assistant", "gpt", "bot", "ai", "answer", "response", "output", "completion", "a", "model")


def prompt_of(
    record: Mapping[str, Any],
    roles: Mapping[str, str],
    text: Callable[[Mapping[str, Any], str], Text],
) -> Text:
    """The prompt, as text if it is nothing but text, or else as messages: system, earlier turns,
    the question.

    `input` is joined to the question by a line break, as instruction and input are in the Alpaca
    format, unless the question holds it already. Raises RowError naming the column.
    """
    name = roles["prompt"]
    asked = text(record, name)
    roles = {
        role: column for role, column in roles.items() if column in record
    }  # other rows may have more columns
    if more := roles.get("input"):
        asked = _joined(asked, fields.string(record[more], more), more)
    front = turns_of(record[roles["history"]], roles["history"]) if "history" in roles else ()
    told = fields.string(record[roles["system"]], roles["system"]) if "system" in roles else None
    if not front and told is None:
        return asked
    turns: tuple[Message, ...] = (
        ({"role": "user", "content": asked},) if isinstance(asked, str) else tuple(asked)
    )
    if front and tuple(turns[: len(front)]) != front:
        turns = (*front, *turns)
    if told is not None and turns[0]["role"] == "system":
        if turns[0]["content"].strip() != told.strip():
            column = roles["system"]
            cure = f"write one of them, or leave the column out: --columns {column}="
            raise RowError(
                f"`{column}` and the prompt's own system turn differ", field=column, cure=cure
            )
    elif told is not None:
        turns = ({"role": "system", "content": told}, *turns)
    return turns


def _joined(asked: Text, more: str, column: str) -> Text:
    if isinstance(asked, str):
        return asked if more.strip() in asked else f"{asked}\n{more}"
    if any(more.strip() in message["content"] for message in asked):
        return asked
    cure = f"put it into the messages, or leave the column out: --columns {column}="
    raise RowError(f"`{column}` stands beside a prompt of messages", field=column, cure=cure)


def turns_of(value: Any, name: str) -> tuple[Message, ...]:
    """Earlier turns: messages; pairs of question and answer; a list of texts, the user's first; or
    a transcript with marked turns.
    """
    if isinstance(value, str):
        found = next(
            (turns for family in FAMILIES if (turns := Markers(*family).turns(value)) is not None),
            None,
        )
        if found is not None:
            return found
        raise RowError(f"`{name}` is text without marked turns", field=name, cure=_cure(name))
    if not fields.is_messages(value):
        raise RowError(f"`{name}` holds no turns", field=name, cure=_cure(name))
    if not value:
        return ()
    if all(isinstance(item, Mapping) and ("role" in item or "from" in item) for item in value):
        return fields.messages(value, name)
    if all(isinstance(item, Mapping) for item in value):
        return tuple(turn for item in value for turn in _exchange(_sides(item, name), name))
    if all(isinstance(item, str) for item in value):
        if len(value) % 2:
            detail = f"{len(value)} texts, so the last one has no answer"
            raise RowError(
                f"`{name}` is no list of questions and answers",
                field=name,
                detail=detail,
                cure=_cure(name),
            )
        return _exchange(value, name)
    if all(fields.is_messages(item) and len(item) == 2 for item in value):
        return tuple(turn for item in value for turn in _exchange(item, name))
    raise RowError(f"`{name}` holds no turns", field=name, cure=_cure(name))


def _exchange(texts: Sequence[Any], name: str) -> tuple[Message, ...]:
    roles = ("user", "assistant")
    return tuple(
        {"role": roles[at % 2], "content": fields.string(text, name)}
        for at, text in enumerate(texts)
    )


def _sides(item: Mapping[str, Any], name: str) -> tuple[Any, Any]:
    asked, told = (next((item[key] for key in keys if key in item), None) for keys in (ASKED, TOLD))
    if asked is None or told is None or len(item) > 2:
        raise RowError(
            f"`{name}` holds no turns",
            field=name,
            detail=f"an object of {', '.join(map(str, item))}"[:60],
            cure=_cure(name),
        )
    return asked, told


def _cure(name: str) -> str:
    kept = "" if name in SYSTEM else ' as [["question", "answer"], ...] or as messages'
    return f"write `{name}`{kept}, or leave the column out: --columns {name}="
