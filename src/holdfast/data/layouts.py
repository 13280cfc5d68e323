"""Published layouts whose rows take more than a choice of columns to read. Each function raises
`RowError` naming the field.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from holdfast.data import fields
from holdfast.data.columns import CODED, OBJECT, OBJECTS, SCORED, Kinds, Roles
from holdfast.data.parsers import Form, Parsed, compared, conversation_of, differing, two_answers
from holdfast.data.row_errors import RowError
from holdfast.types import Message

Record = Mapping[str, Any]
FIRST_TURN = (
    "--format arena_first_turn reads the first question and its two answers alone; "
    "--quarantine leaves such rows out"
)


def openai_preference(record: Record, roles: Roles, form: Form) -> Parsed:
    """OpenAI's preference fine-tuning: the conversation is an object, with the tools beside it."""
    held = record["input"] if isinstance(record.get("input"), Mapping) else {}
    prompt = fields.messages(fields.required(held, "messages"), "input")
    chosen, rejected = (
        form.text(record, name) for name in ("preferred_output", "non_preferred_output")
    )
    parts = differing(conversation_of(prompt, chosen=chosen, rejected=rejected))
    tools = fields.plain(held.get("tools"))
    return Parsed(
        [{**parts, "extra": {"tools": tools} if tools else {}}], frozenset(roles.values())
    )


def shp(record: Record, roles: Roles, form: Form) -> Parsed:
    """Stanford Human Preferences: how many times more votes the better answer had is the
    strength.
    """
    parsed = two_answers(record, roles, form)
    ratio = fields.number(record.get("score_ratio"), "score_ratio", parse=True)
    return (
        parsed._replace(rows=[{**parts, "strength": ratio} for parts in parsed.rows])
        if ratio is not None
        else parsed
    )


def webgpt(record: Record, roles: Roles, form: Form) -> Parsed:
    """WebGPT comparisons: the question is an object, the higher score wins."""
    question = record["question"] if isinstance(record.get("question"), Mapping) else {}
    held = {**record, "question": question.get("full_text")}
    inner = {
        "prompt": "question",
        "first": "answer_0",
        "second": "answer_1",
        "first_score": "score_0",
        "second_score": "score_1",
    }
    return two_answers(held, inner, form)._replace(used=frozenset(roles.values()))


def tldr_columns(kinds: Kinds) -> dict[str, str] | None:
    there = (
        kinds.get("info") == OBJECT
        and kinds.get("summaries") in (OBJECTS, SCORED)
        and kinds.get("choice") in CODED
    )
    return {"info": "info", "summaries": "summaries", "verdict": "choice"} if there else None


def tldr(record: Record, roles: Roles, form: Form) -> Parsed:
    """OpenAI's comparisons of summaries: the post as its models read it, two summaries, the worker
    as the rater.
    """
    info = fields.required(record, "info")
    parts = (
        ("SUBREDDIT: r/", "subreddit"),
        ("TITLE: ", "title"),
        ("POST: ", "post"),
        ("ARTICLE: ", "article"),
    )
    lines = [
        (label, info[name])
        for label, name in parts
        if isinstance(info.get(name), str) and info[name].strip()
    ]
    if not any(label in ("POST: ", "ARTICLE: ") for label, _ in lines):
        raise RowError(
            "`info` holds no post", field="info", cure="give info a `post` or an `article`"
        )
    prompt = (
        lines[0][1]
        if len(lines) == 1
        else "\n".join(label + text for label, text in lines) + "\nTL;DR:"
    )
    summaries = fields.required(record, "summaries")
    if len(summaries) != 2:
        raise RowError(
            "`summaries` is not two summaries",
            field="summaries",
            detail=f"{len(summaries)} of them",
            cure="give two a row",
        )
    texts = [fields.string(entry.get("text"), "summaries") for entry in summaries]
    parsed = compared(record, roles, form, prompt, (texts[0], texts[1]))
    worker = fields.name_of(record.get("worker"), "worker")
    rows = [{**row, **({"rater": worker} if worker else {})} for row in parsed.rows]
    return parsed._replace(rows=rows, used=parsed.used | {"worker"} if worker else parsed.used)


def arena(record: Record, roles: Roles, form: Form) -> Parsed:
    """Chatbot Arena: two whole conversations with the same question. The judge is the rater."""
    sides = [
        fields.messages(fields.required(record, roles[side]), roles[side])
        for side in ("first", "second")
    ]
    shared = 0
    while shared < min(map(len, sides)) - 1 and sides[0][shared] == sides[1][shared]:
        shared += 1
    if not shared or any(len(side) - shared != 1 for side in sides):
        detail = (
            f"{len(sides[0]) - shared} and {len(sides[1]) - shared} turns after the {shared} "
            "that they share"
        )
        raise RowError(
            "the two conversations differ before their last turn",
            field=roles["second"],
            detail=detail,
            cure=FIRST_TURN,
        )
    answers = conversation_of(sides[0][:shared], first=sides[0][shared:], second=sides[1][shared:])
    parsed = compared(
        record, roles, form, answers.pop("prompt"), (answers["first"], answers["second"])
    )
    judge = fields.name_of(record.get("judge"), "judge")
    rows = [{**row, **({"rater": judge} if judge else {})} for row in parsed.rows]
    return parsed._replace(rows=rows, used=parsed.used | {"judge"} if judge else parsed.used)


def _turns(record: Record, roles: Roles) -> tuple[tuple[Message, ...], tuple[Message, ...]]:
    """The two conversations of a row of arena_55k, whose prompts and answers are lists of texts as
    JSON text.
    """
    lists = []
    for role in ("prompt", "first", "second"):
        value = fields.required(record, roles[role])
        if isinstance(value, str) and value.lstrip().startswith("["):
            try:
                value = json.loads(value)
            except ValueError:
                raise RowError(
                    f"`{roles[role]}` is not JSON",
                    field=roles[role],
                    cure="write the turns as a JSON list",
                ) from None
        lists.append([value] if isinstance(value, str) else list(value))
    sides = []
    for role, answers in zip(("first", "second"), lists[1:], strict=True):
        turns: list[Message] = []
        for asked, told in zip(lists[0], answers, strict=False):
            if told is None:  # no answer was kept, mostly of the turns after the first
                break
            turns += [
                {"role": "user", "content": asked},
                {"role": "assistant", "content": fields.string(told, roles[role])},
            ]
        if not turns:
            raise RowError(f"`{roles[role]}` is empty", field=roles[role], cure="remove the row")
        sides.append(tuple(turns))
    return sides[0], sides[1]


def arena_55k(record: Record, roles: Roles, form: Form) -> Parsed:
    """The arena's 55k set: one column says who won for each outcome."""
    lengths = {len(_list(record.get(roles[role]))) for role in ("prompt", "first", "second")}
    if lengths != {1}:
        detail = f"{max(lengths)} turns"
        raise RowError(
            "the two conversations differ before their last turn",
            field=roles["prompt"],
            detail=detail,
            cure=FIRST_TURN,
        )
    return first_turn(record, roles, form)


def _list(value: Any) -> list[Any]:
    try:
        found = (
            json.loads(value)
            if isinstance(value, str) and value.lstrip().startswith("[")
            else value
        )
    except ValueError:
        return [value]
    return list(found) if isinstance(found, list | tuple) else [found]


def first_turn_columns(
    conversations: Callable[[Kinds], Any], answers: Callable[[Kinds], Any]
) -> Callable[[Kinds], dict[str, str] | None]:
    def roles(kinds: Kinds) -> dict[str, str] | None:
        found: dict[str, str] | None = conversations(kinds) or answers(kinds)
        return found

    return roles


def first_turn(record: Record, roles: Roles, form: Form) -> Parsed:
    """The first question and its two answers, whatever was said after them."""
    if "prompt" in roles:
        one, two = _turns(record, roles)
    else:
        one, two = (
            tuple(fields.messages(fields.required(record, roles[side]), roles[side]))
            for side in ("first", "second")
        )
        ends = [
            next(
                (at for at, turn in enumerate(side) if turn["role"] in fields.ASSISTANT), len(side)
            )
            for side in (one, two)
        ]
        one, two = one[: ends[0] + 1], two[: ends[1] + 1]
        if one[:-1] != two[:-1]:
            raise RowError(
                "the two conversations do not begin alike",
                field=roles["second"],
                cure="remove the row",
            )
        answers = conversation_of(one[:-1], first=one[-1:], second=two[-1:])
        return compared(
            record, roles, form, answers.pop("prompt"), (answers["first"], answers["second"])
        )
    return compared(record, roles, form, one[:1], (one[1]["content"], two[1]["content"]))
