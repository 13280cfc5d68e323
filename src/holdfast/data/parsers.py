"""How a record's columns become the parts of its rows: one function for each way of giving answers.
Each raises `RowError`.

Prompt and answers leave in one form: all text, or the prompt as messages and each answer as the
assistant's words. So the same data give the same rows whether an answer came as text or as a
message list, with or without the prompt's messages repeated in front.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any, NamedTuple, cast

from holdfast.data import fields
from holdfast.data.columns import ENTRY_SCORE, ENTRY_TEXT, SCORE_LISTS, TIES, Roles
from holdfast.data.message_text import messages_in
from holdfast.data.prompts import prompt_of
from holdfast.data.row_errors import SAME, RowError, empty
from holdfast.data.transcript import Split, split_text
from holdfast.data.verdicts import Code, Verdict
from holdfast.types import Message, Text

Record = Mapping[str, Any]
Parts = dict[str, Any]  # keyword arguments of a Row


class Parsed(NamedTuple):
    rows: list[Parts]
    used: frozenset[str]  # the columns that were read
    equal: int = 0  # pairs of answers with equal scores, which give no row
    same: int = 0  # pairs of answers with the same text, which give no row
    unscored: int = 0  # answers without a score, which are in no pair
    reason: str = ""  # why there are no rows, where that is no error


@dataclass(frozen=True)
class Form:
    """What the rows of one file have in common beyond their columns: which columns hold message
    lists, how transcripts are split, and what the verdicts mean."""

    as_messages: Mapping[str, bool] = field(default_factory=dict)
    split: Split = split_text
    code: Code | None = None

    def text(self, record: Record, name: str) -> Text:
        value = fields.required(record, name)
        if isinstance(value, str):
            messages_in(value, name)  # refuses what looks like messages and cannot be read
        if isinstance(value, Mapping) and ("role" in value or "from" in value):
            value = [value]
        lists = fields.is_messages(value)
        if (lists or isinstance(value, str)) and lists != self.as_messages.get(name, lists):
            was, others = ("message lists", "text") if lists else ("text", "message lists")
            raise RowError(
                f"`{name}` is {was} where the file has {others}",
                field=name,
                cure="write every row of a file alike",
            )
        return fields.text(value, name)

    def prompt(self, record: Record, roles: Roles) -> Text:
        return prompt_of(record, roles, self.text)


def conversation_of(prompt: Text, **answers: Text) -> Parts:
    """Prompt and answers in one form: all text, or the prompt as messages and each answer as the
    assistant's words.

    Answers that repeat the prompt's messages in front are freed of them.
    """
    if isinstance(prompt, str) and all(isinstance(answer, str) for answer in answers.values()):
        return {"prompt": prompt, **answers}
    asked: Sequence[Message] = (
        ({"role": "user", "content": prompt},) if isinstance(prompt, str) else tuple(prompt)
    )
    fronts = [
        tuple(answer[:-1])
        for answer in answers.values()
        if not isinstance(answer, str) and len(answer) > 1
    ]
    if (
        isinstance(prompt, str)
        and len(fronts) == len(answers)
        and all(front == fronts[0] for front in fronts)
    ):
        says_it = any(
            m["role"] == "user" and m["content"].strip() == prompt.strip() for m in fronts[0]
        )
        asked = fronts[0] if says_it else asked
    parts: Parts = {"prompt": asked}
    for name, answer in answers.items():
        if (
            not isinstance(answer, str)
            and len(answer) > len(asked)
            and tuple(answer[: len(asked)]) == tuple(asked)
        ):
            answer = answer[len(asked) :]
        parts[name] = fields.reply(answer, name)
    if not any(message["content"].strip() for message in asked):
        raise RowError(empty("prompt"), field="prompt", cure="write a `prompt`, or remove the row")
    return parts


def _say_the_same(parts: Parts) -> bool:
    chosen, rejected = parts["chosen"], parts["rejected"]
    return bool(
        chosen.strip() == rejected.strip()
        if isinstance(chosen, str) and isinstance(rejected, str)
        else chosen == rejected
    )


def differing(parts: Parts) -> Parts:
    if _say_the_same(parts):
        raise RowError(SAME, field="rejected", cure="remove the row: it says nothing")
    return parts


def preference(record: Record, roles: Roles, form: Form) -> Parsed:
    """A prompt and the two answers."""
    prompt = form.prompt(record, roles)
    chosen, rejected = (form.text(record, roles[name]) for name in ("chosen", "rejected"))
    parts = differing(conversation_of(_before(prompt, chosen), chosen=chosen, rejected=rejected))
    return Parsed([parts], frozenset(roles.values()))


def _before(prompt: Text, chosen: Text) -> Text:
    """A conversation that ends in the chosen answer, up to that answer."""
    if isinstance(prompt, str) or len(prompt) < 2 or prompt[-1]["role"] not in fields.ASSISTANT:
        return prompt
    said = chosen if isinstance(chosen, str) else chosen[-1]["content"]
    return prompt[:-1] if prompt[-1]["content"].strip() == said.strip() else prompt


def several(record: Record, roles: Roles, form: Form) -> Parsed:
    """Lists of chosen and of rejected answers: every chosen one against every rejected one."""
    prompt = form.prompt(record, roles)
    lists = []
    for name in ("chosen", "rejected"):
        texts = fields.required(record, roles[name])
        if not fields.is_messages(texts) or not texts:
            raise RowError(
                f"`{name}` is not a list of answers",
                field=name,
                cure="give a list of one answer or more",
            )
        lists.append([fields.string(text, roles[name]) for text in texts])
    rows, same = [], 0
    for chosen in lists[0]:
        for rejected in lists[1]:
            if chosen.strip() == rejected.strip():
                same += 1
            else:
                rows.append(conversation_of(prompt, chosen=chosen, rejected=rejected))
    if not rows:
        raise RowError(SAME, field="rejected", cure="remove the row: it says nothing")
    return Parsed(rows, frozenset(roles.values()), same=same)


def implicit(record: Record, roles: Roles, form: Form) -> Parsed:
    """Two transcripts that share a beginning."""
    prompt, chosen, rejected = form.split(
        form.text(record, roles["chosen"]), form.text(record, roles["rejected"])
    )
    for name, answer in (("chosen", chosen), ("rejected", rejected)):
        if isinstance(answer, str):
            fields.string(answer, name)
    if "system" in roles and isinstance(prompt, str):
        prompt = (
            {"role": "system", "content": fields.string(record[roles["system"]], roles["system"])},
            {"role": "user", "content": prompt},
        )
    elif "system" in roles:
        held = {"prompt": list(prompt), "system": record[roles["system"]]}
        prompt = prompt_of(
            held, {"prompt": "prompt", "system": "system"}, lambda row, name: row[name]
        )
    parts = differing(conversation_of(prompt, chosen=chosen, rejected=rejected))
    return Parsed([parts], frozenset(roles.values()))


# ------------------------------------------------------------------------ two answers and a verdict


def two_answers(record: Record, roles: Roles, form: Form) -> Parsed:
    """Two answers, `first` and `second`, and who won. The first of a tie stands as `chosen`."""
    prompt = form.prompt(record, roles)
    answers = conversation_of(
        prompt, first=form.text(record, roles["first"]), second=form.text(record, roles["second"])
    )
    return compared(
        record, roles, form, answers.pop("prompt"), (answers["first"], answers["second"])
    )


def compared(
    record: Record,
    roles: Roles,
    form: Form,
    prompt: Text,
    answers: tuple[Text, Text],
    *,
    named: bool = False,
) -> Parsed:
    """One comparison of two answers (or of two names), with who won by the columns that `roles`
    names.
    """
    names = names_of(record, roles)
    verdict, scores = verdict_of(record, roles, form, names)
    used = frozenset(roles.values())
    if verdict.skip:
        return Parsed(
            [],
            used,
            reason=f"`{roles.get('verdict', 'verdict')}` is no verdict, as --verdicts says",
        )
    best, worst = (1, 0) if verdict.won == 1 else (0, 1)
    parts: Parts = {
        "prompt": prompt,
        "chosen": answers[best],
        "rejected": answers[worst],
        "tie": verdict.won is None,
    }
    if verdict.strength is not None:
        parts["strength"] = verdict.strength
    extra: dict[str, Any] = {"chosen_first": best == 0}
    if names is not None:
        extra |= {"chosen_model": names[best], "rejected_model": names[worst]}
    if scores is not None:
        extra |= {"score_chosen": scores[best], "score_rejected": scores[worst]}
    if verdict.won is None and isinstance(record.get(roles.get("verdict", "")), str):
        extra["verdict"] = record[roles["verdict"]]  # "both bad" is not the same tie as "both good"
    parts |= {"extra": extra}
    return Parsed([{**parts, "named": True} if named else differing(parts)], used)


def names_of(record: Record, roles: Roles) -> tuple[str, str] | None:
    """Who met, where the row says it."""
    if "first_name" not in roles:
        return None
    one, two = (
        fields.name_of(fields.required(record, roles[role]), roles[role])
        for role in ("first_name", "second_name")
    )
    for role, name in (("first_name", one), ("second_name", two)):
        if name is None:
            raise RowError(
                empty(roles[role]),
                field=roles[role],
                cure=f"write a `{roles[role]}`, or remove the row",
            )
    return str(one), str(two)


def verdict_of(
    record: Record, roles: Roles, form: Form, names: tuple[str, str] | None
) -> tuple[Verdict, tuple[float, float] | None]:
    """Who won, and both scores if there are any."""
    scores = None
    if "first_score" in roles:
        one, two = (
            fields.number(record.get(roles[role]), roles[role], parse=True)
            for role in ("first_score", "second_score")
        )
        scores = (one, two) if one is not None and two is not None else None
        if "rank" in roles["first_score"].lower() and scores is not None:
            scores = (-scores[0], -scores[1])
    if "verdict" in roles or "directed" in roles:
        column = roles.get("verdict") or roles["directed"]
        value = fields.required(record, column)
        if form.code is None:
            raise RowError(
                f"`{column}` has the wrong type", field=column, cure="write which answer won"
            )
        return form.code.read(value, names), scores
    if "first_won" in roles:
        won = [
            bool(fields.boolean(record.get(roles[role]), roles[role])) if role in roles else False
            for role in ("first_won", "second_won", *TIES)
        ]
        if sum(won) != 1:
            column = roles["first_won"]
            raise RowError(
                "the columns of the verdict do not say one thing",
                field=column,
                detail=f"{sum(won)} are true",
                cure="make one of them 1",
            )
        return Verdict(None if any(won[2:]) else won.index(True)), scores
    if scores is None:
        missing = (
            roles["second_score"]
            if fields.present(record.get(roles["first_score"]))
            else roles["first_score"]
        )
        raise RowError(empty(missing), field=missing, cure="give both scores, or remove the row")
    return Verdict(
        None if scores[0] == scores[1] else int(scores[1] > scores[0]), abs(scores[0] - scores[1])
    ), scores


# ------------------------------------------------------------------------------ answers in an order


def ranked(record: Record, roles: Roles, form: Form) -> Parsed:
    """K answers and an order: every pair with unequal score, the gap as its strength."""
    prompt = form.prompt(record, roles)
    column = roles["answers"]
    entries = fields.required(record, column)
    if not fields.is_messages(entries) or len(entries) < 2:
        raise RowError(
            f"`{column}` is not a list of two or more answers",
            field=column,
            cure="give two or more answers a row",
        )
    texts, own, models = zip(*(_entry(entry, column) for entry in entries), strict=True)
    scores = _scores(record, own, column, roles.get("order"))
    answers = [conversation_of(prompt, answer=text) for text in texts]
    rows, equal, same = [], 0, 0
    scored = [place for place, score in enumerate(scores) if score is not None]
    for left, right in combinations(scored, 2):
        if scores[left] == scores[right]:
            equal += 1
            continue
        best, worst = (left, right) if scores[left] > scores[right] else (right, left)
        parts = {
            "prompt": answers[best]["prompt"],
            "chosen": answers[best]["answer"],
            "rejected": answers[worst]["answer"],
        }
        if _say_the_same(parts):
            same += 1
            continue
        extra: dict[str, Any] = {"score_chosen": scores[best], "score_rejected": scores[worst]}
        if models[best] is not None and models[worst] is not None:
            extra |= {"chosen_model": models[best], "rejected_model": models[worst]}
        rows.append({**parts, "strength": scores[best] - scores[worst], "extra": extra})
    if same and not rows:
        raise RowError(SAME, field="rejected", cure="remove the row: it says nothing")
    reason = (
        ""
        if rows
        else "every answer has the same score"
        if len(scored) > 1
        else "fewer than two answers have a score"
    )
    return Parsed(rows, frozenset(roles.values()), equal, same, len(scores) - len(scored), reason)


def _entry(entry: Any, column: str) -> tuple[Text, float | None, str | None]:
    """One answer, bare or as an object with its own score or rank (1 is best), and who wrote it."""
    if isinstance(entry, Mapping) and "role" not in entry:
        name = next((key for key in ENTRY_TEXT if key in entry), None)
        if name is None:
            raise RowError(
                f"`{column}` holds an object without text",
                field=column,
                cure=f"name the text one of {', '.join(ENTRY_TEXT)}",
            )
        key = next((key for key in ENTRY_SCORE if fields.present(entry.get(key))), "score")
        score, rank = (
            fields.number(entry.get(key), f"{column}: {key}", parse=True) for key in (key, "rank")
        )
        model = entry["model"] if isinstance(entry.get("model"), str) else None
        return (
            fields.text(entry[name], column),
            score if score is not None else None if rank is None else -rank,
            model,
        )
    return fields.text([entry] if isinstance(entry, Mapping) else entry, column), None, None


def _scores(
    record: Record, own: Sequence[float | None], column: str, name: str | None
) -> list[Any]:
    """A number for each answer, high is good; None for one that was not scored."""
    if name is None:
        if all(score is None for score in own):
            raise RowError(
                "`scores` is missing",
                field="scores",
                cure="give `scores` (high is good), `ranks` (1 is best) or `ranking`",
            )
        return list(own)
    order: Any = record.get(name)
    if not fields.is_messages(order) or len(order) != len(own):
        raise RowError(
            f"`{name}` does not match `{column}`",
            field=name,
            cure="give one number for each answer",
        )
    numbers = [fields.number(item, name) for item in order]
    if name in SCORE_LISTS:
        return numbers
    if any(item is None for item in numbers):
        raise RowError(f"`{name}` has a gap", field=name, cure="give one number for each answer")
    values = [item for item in numbers if item is not None]
    if name == "ranks":
        return [-item for item in values]
    if sorted(values) != list(range(len(values))):
        cure = (
            "list the answers' positions best first, counted from 0 ([2, 0, 1]); or give each "
            "answer's rank in `ranks`"
        )
        raise RowError("`ranking` is no ordering", field=name, detail=str(order)[:40], cure=cure)
    best_first = [int(item) for item in values]
    return [float(-best_first.index(place)) for place in range(len(best_first))]


# -------------------------------------------------------------------- single answers, conversations


def unpaired(record: Record, roles: Roles, form: Form) -> Parsed:
    """A single answer, or a conversation that ends in one, and whether it is good."""
    parsed = (
        conversation(record, roles, form)
        if "answer" not in roles
        else supervised(record, roles, form)
    )
    value = fields.required(record, roles["label"])
    if not fields.present(value):
        raise RowError(empty("label"), field="label", cure="write true or false, or remove the row")
    if form.code is None:
        raise RowError(
            "`label` has the wrong type", field=roles["label"], cure="write true or false"
        )
    verdict = form.code.read(value)
    if verdict.skip:
        return Parsed([], parsed.used, reason=f"`{roles['label']}` is neutral")
    return Parsed([{**parsed.rows[0], "desirable": verdict.won == 0}], parsed.used)


def supervised(record: Record, roles: Roles, form: Form) -> Parsed:
    """A prompt and one answer."""
    column = roles["answer"]
    parts = conversation_of(form.prompt(record, roles), **{column: form.text(record, column)})
    return Parsed([{"prompt": parts["prompt"], "answer": parts[column]}], frozenset(roles.values()))


def _ended(record: Record, roles: Roles) -> tuple[tuple[Message, ...], Text]:
    """A conversation with its system prompt, split before the last turn."""
    column = roles["messages"]
    turns = fields.messages(fields.required(record, column), column)
    if "system" in roles:
        held = {"prompt": list(turns), "system": record[roles["system"]]}
        asked = prompt_of(
            held, {"prompt": "prompt", "system": "system"}, lambda row, name: row[name]
        )
        turns = tuple(cast("Sequence[Mapping[str, Any]]", asked))
    if len(turns) < 2:
        raise RowError(
            f"`{column}` holds no prompt and answer",
            field=column,
            cure="give a user turn and an assistant turn at least",
        )
    return turns[:-1], fields.reply(turns[-1:], column)


def conversation(record: Record, roles: Roles, form: Form) -> Parsed:
    """Messages, of which the last one is the answer."""
    prompt, answer = _ended(record, roles)
    return Parsed([{"prompt": prompt, "answer": answer}], frozenset(roles.values()))


def against_last_turn(record: Record, roles: Roles, form: Form) -> Parsed:
    """Messages, of which the last one is the chosen answer, and a rejected one: a text, or messages
    that share all turns but the last.
    """
    prompt, chosen = _ended(record, roles)
    column = roles["rejected"]
    parts = differing(conversation_of(prompt, chosen=chosen, rejected=form.text(record, column)))
    return Parsed([parts], frozenset(roles.values()))


def document(record: Record, roles: Roles, form: Form) -> Parsed:
    """A text of its own."""
    column = roles["text"]
    return Parsed(
        [{"prompt": "", "answer": fields.string(fields.required(record, column), column)}],
        frozenset({column}),
    )
