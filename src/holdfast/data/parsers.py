"""One parser a format: a record's columns in, the parts of its rows out. Each raises `RowError` naming the field.

Prompt and answers leave in one form: all text, or the prompt as messages and each answer as the assistant's words. So the same data give
the same rows whether an answer came as text or as a message list, with or without the prompt's messages repeated in front.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any, NamedTuple

from holdfast.data import fields
from holdfast.data.transcript import Split, split_text
from holdfast.data.trouble import SAME, RowError, empty
from holdfast.types import Message, Text

ANSWER = ("completion", "answer", "response")  # names of the column with a single answer
ANSWERS = ("answers", "completions", "responses")  # names of the column with a list of answers
ORDERS = ("scores", "ranks", "ranking")
ENTRY_TEXT = ("text", "answer", "response", "completion", "content")

Parts = dict[str, Any]  # keyword arguments of a Row


class Parsed(NamedTuple):
    rows: list[Parts]
    used: frozenset[str]  # the columns that were read
    equal: int = 0  # pairs of answers with equal scores, which give no row


@dataclass(frozen=True)
class Form:
    """What the rows of one file have in common beyond their columns: which columns hold message lists, and how transcripts are split."""

    as_messages: Mapping[str, bool] = field(default_factory=dict)
    split: Split = split_text

    def text(self, record: Mapping[str, Any], name: str) -> Text:
        value = fields.required(record, name)
        lists = fields.is_messages(value)
        if (lists or isinstance(value, str)) and lists != self.as_messages.get(name, lists):
            was, others = ("message lists", "text") if lists else ("text", "message lists")
            raise RowError(f"`{name}` is {was} where the file has {others}", field=name, cure="write every row of a file alike")
        return fields.text(value, name)


def conversation_of(prompt: Text, **answers: Text) -> Parts:
    """Prompt and answers in one form: all text, or the prompt as messages and each answer as the assistant's words.

    Answers that repeat the prompt's messages in front are freed of them.
    """
    if isinstance(prompt, str) and all(isinstance(answer, str) for answer in answers.values()):
        return {"prompt": prompt, **answers}
    asked: Sequence[Message] = ({"role": "user", "content": prompt},) if isinstance(prompt, str) else tuple(prompt)
    fronts = [tuple(answer[:-1]) for answer in answers.values() if not isinstance(answer, str) and len(answer) > 1]
    if isinstance(prompt, str) and len(fronts) == len(answers) and all(front == fronts[0] for front in fronts):
        says_it = any(m["role"] == "user" and m["content"].strip() == prompt.strip() for m in fronts[0])
        asked = fronts[0] if says_it else asked
    parts: Parts = {"prompt": asked}
    for name, answer in answers.items():
        if not isinstance(answer, str) and len(answer) > len(asked) and tuple(answer[: len(asked)]) == tuple(asked):
            answer = answer[len(asked) :]
        parts[name] = fields.reply(answer, name)
    if not any(message["content"].strip() for message in asked):
        raise RowError(empty("prompt"), field="prompt", cure="write a `prompt`, or remove the row")
    return parts


def differing(parts: Parts) -> Parts:
    chosen, rejected = parts["chosen"], parts["rejected"]
    same = chosen.strip() == rejected.strip() if isinstance(chosen, str) and isinstance(rejected, str) else chosen == rejected
    if same:
        raise RowError(SAME, field="rejected", cure="remove the row: it says nothing")
    return parts


def preference(record: Mapping[str, Any], form: Form) -> Parsed:
    prompt, chosen, rejected = (form.text(record, name) for name in ("prompt", "chosen", "rejected"))
    parts = differing(conversation_of(prompt, chosen=chosen, rejected=rejected))
    return Parsed([parts], frozenset({"prompt", "chosen", "rejected"}))


def implicit(record: Mapping[str, Any], form: Form) -> Parsed:
    prompt, chosen, rejected = form.split(form.text(record, "chosen"), form.text(record, "rejected"))
    for name, answer in (("chosen", chosen), ("rejected", rejected)):
        if isinstance(answer, str):
            fields.string(answer, name)
    parts = differing(conversation_of(prompt, chosen=chosen, rejected=rejected))
    return Parsed([parts], frozenset({"chosen", "rejected"}))


def ranked(record: Mapping[str, Any], form: Form) -> Parsed:
    """K answers and an order: every pair with unequal score, the gap as its strength."""
    prompt = form.text(record, "prompt")
    column = _first(record, ANSWERS)
    entries = fields.required(record, column)
    if not fields.is_messages(entries) or len(entries) < 2:
        raise RowError(f"`{column}` is not a list of two or more answers", field=column, cure="give two or more answers a row")
    texts, own = zip(*(_entry(entry, column) for entry in entries), strict=True)
    scores, used = _scores(record, own, column)
    answers = [conversation_of(prompt, answer=text) for text in texts]
    rows, equal = [], 0
    for left, right in combinations(range(len(answers)), 2):
        if scores[left] == scores[right]:
            equal += 1
            continue
        best, worst = (left, right) if scores[left] > scores[right] else (right, left)
        parts = {"prompt": answers[best]["prompt"], "chosen": answers[best]["answer"], "rejected": answers[worst]["answer"]}
        extra = {"score_chosen": scores[best], "score_rejected": scores[worst]}
        rows.append(differing({**parts, "strength": scores[best] - scores[worst], "extra": extra}))
    return Parsed(rows, frozenset({"prompt", column, *used}), equal)


def _entry(entry: Any, column: str) -> tuple[Text, float | None]:
    """One answer, bare or as an object with its own score or rank (1 is best)."""
    if isinstance(entry, Mapping) and "role" not in entry:
        name = next((key for key in ENTRY_TEXT if key in entry), None)
        if name is None:
            raise RowError(f"`{column}` holds an object without text", field=column, cure=f"name the text one of {', '.join(ENTRY_TEXT)}")
        score, rank = (fields.number(entry.get(key), f"{column}: {key}") for key in ("score", "rank"))
        return fields.text(entry[name], column), score if score is not None else None if rank is None else -rank
    return fields.text([entry] if isinstance(entry, Mapping) else entry, column), None


def _scores(record: Mapping[str, Any], own: Sequence[float | None], column: str) -> tuple[list[float], set[str]]:
    name = next((key for key in ORDERS if record.get(key) is not None), None)
    if name is None:
        if any(score is None for score in own):
            raise RowError("`scores` is missing", field="scores", cure="give `scores` (high is good), `ranks` (1 is best) or `ranking`")
        return [score for score in own if score is not None], set()
    order = record[name]
    if not fields.is_messages(order) or len(order) != len(own):
        raise RowError(f"`{name}` does not match `{column}`", field=name, cure="give one number for each answer")
    numbers = [fields.number(item, name) for item in order]
    if any(item is None for item in numbers):
        raise RowError(f"`{name}` has a gap", field=name, cure="give one number for each answer")
    values = [item for item in numbers if item is not None]
    if name == "scores":
        return values, {name}
    if name == "ranks":
        return [-item for item in values], {name}
    if sorted(values) != list(range(len(values))):
        cure = "list the answers' positions best first, counted from 0 ([2, 0, 1]); or give each answer's rank in `ranks`"
        raise RowError("`ranking` is no ordering", field=name, detail=str(order)[:40], cure=cure)
    best_first = [int(item) for item in values]
    return [float(-best_first.index(place)) for place in range(len(best_first))], {name}


def unpaired(record: Mapping[str, Any], form: Form) -> Parsed:
    parsed = supervised(record, form)
    label = fields.boolean(fields.required(record, "label"), "label")
    if label is None:
        raise RowError(empty("label"), field="label", cure="write true or false, or remove the row")
    return Parsed([{**parsed.rows[0], "desirable": label}], parsed.used | {"label"})


def supervised(record: Mapping[str, Any], form: Form) -> Parsed:
    column = _first(record, ANSWER)
    parts = conversation_of(form.text(record, "prompt"), **{column: form.text(record, column)})
    return Parsed([{"prompt": parts["prompt"], "answer": parts[column]}], frozenset({"prompt", column}))


def conversation(record: Mapping[str, Any], form: Form) -> Parsed:
    turns = fields.messages(fields.required(record, "messages"), "messages")
    if len(turns) < 2:
        raise RowError("`messages` holds no prompt and answer", field="messages", cure="give a user turn and an assistant turn at least")
    return Parsed([{"prompt": turns[:-1], "answer": fields.reply(turns[-1:], "messages")}], frozenset({"messages"}))


def document(record: Mapping[str, Any], form: Form) -> Parsed:
    return Parsed([{"prompt": "", "answer": fields.string(fields.required(record, "text"), "text")}], frozenset({"text"}))


def _first(record: Mapping[str, Any], names: Sequence[str]) -> str:
    there = [name for name in names if name in record]
    return next((name for name in there if record[name] is not None), there[0] if there else names[0])
