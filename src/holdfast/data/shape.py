"""Which shape a file has: one inference function, and one entry for each shape.

A shape is known by its columns. `infer` looks at the first rows, takes the first shape of `SHAPES` that most of them fit, and says why;
every row is then read as that shape, so a row of another shape is a bad row. Columns that no shape reads are kept in `Row.extra`.
"""

from __future__ import annotations

import difflib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any, NamedTuple

from holdfast.data import fields
from holdfast.data.files import Record
from holdfast.data.transcript import Split, choose_split, split_text
from holdfast.data.trouble import RowError
from holdfast.errors import DataError, OptionError
from holdfast.types import Message, Row, Text

PROBE = 200  # rows that are looked at before the shape is settled
ANSWER = ("completion", "answer", "response")  # names of the column with a single answer
ANSWERS = ("answers", "completions", "responses")  # names of the column with a list of answers
ORDERS = ("scores", "ranks", "ranking")
ENTRY_TEXT = ("text", "answer", "response", "completion", "content")
OPTIONAL = ("rater", "group", "source", "strength", "confidence", "weight", "tie")
PROMPT_LIKE = ("question", "instruction", "query", "input", "context", "problem", "post")

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


@dataclass(frozen=True)
class Shape:
    name: str
    needs: tuple[tuple[str, ...], ...]  # a column of each, by any of its names
    says: str
    parse: Callable[[Mapping[str, Any], Form], Parsed]

    def fits(self, there: set[str]) -> bool:
        return all(there & set(names) for names in self.needs)

    def missing(self, there: set[str]) -> list[str]:
        return [names[0] for names in self.needs if not there & set(names)]


@dataclass(frozen=True)
class Found:
    """The shape of a file, and why it was taken."""

    shape: Shape
    why: str
    form: Form
    forced: bool = False
    notes: tuple[str, ...] = ()

    def rows(self, record: Record) -> tuple[list[Row], int]:
        """The rows of one record, and how many pairs of its answers had equal scores. Raises `RowError`."""
        value = uncelled(record)
        try:
            parsed = self.shape.parse(value, self.form)
        except RowError as error:
            other = shape_of(value)
            if (
                error.field is not None
                and value.get(error.field) is None
                and other is not None
                and other is not self.shape
                and not self.forced
            ):
                error.detail = f"the row looks like `{other.name}`, the file like `{self.shape.name}`"
            raise
        other = shape_of(value)
        if not self.forced and other is not None and SHAPES.index(other) < SHAPES.index(self.shape):
            detail = f"the row looks like `{other.name}`, the file like `{self.shape.name}`"
            raise RowError("another shape than the file's", detail=detail, cure="put rows of one shape in one file")
        common = _optional(value, cells=record.cells)
        rest = {key: fields.plain(item) for key, item in value.items() if key not in parsed.used and key not in OPTIONAL}
        rows = []
        for parts in parsed.rows:
            extra = {**rest, **parts.pop("extra", {})}
            rows.append(Row(**{"where": record.where, **common, **parts, "extra": extra}))
        return rows, parsed.equal


def _optional(value: Mapping[str, Any], *, cells: bool) -> Parts:
    number = fields.number
    return {
        "rater": fields.name_of(value.get("rater"), "rater"),
        "group": fields.name_of(value.get("group"), "group"),
        "source": fields.name_of(value.get("source"), "source"),
        "strength": number(value.get("strength"), "strength", parse=cells),
        "confidence": number(value.get("confidence"), "confidence", low=0.0, high=1.0, parse=cells),
        "weight": number(value.get("weight"), "weight", low=0.0, parse=cells),
        "tie": bool(fields.boolean(value.get("tie"), "tie")),
    }


def uncelled(record: Record) -> Mapping[str, Any]:
    """A CSV cell that holds a JSON list is that list, in the columns that may hold one."""
    value = record.value or {}
    if not record.cells:
        return value
    lists = {"prompt", "chosen", "rejected", "messages", *ANSWER, *ANSWERS, *ORDERS}
    return {key: _json_list(item) if key in lists else item for key, item in value.items()}


def _json_list(cell: Any) -> Any:
    if not isinstance(cell, str) or not cell.lstrip().startswith("["):
        return cell
    try:
        value = json.loads(cell)
    except (ValueError, RecursionError):
        return cell
    return value if isinstance(value, list) and value else cell


# ----------------------------------------------------------------------------------------------------------------------- one parser a shape


def _conversation(prompt: Text, **answers: Text) -> Parts:
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
        raise RowError("`prompt` is empty", field="prompt", cure="write a `prompt`, or remove the row")
    return parts


def _differing(parts: Parts) -> Parts:
    chosen, rejected = parts["chosen"], parts["rejected"]
    same = chosen.strip() == rejected.strip() if isinstance(chosen, str) and isinstance(rejected, str) else chosen == rejected
    if same:
        raise RowError("`chosen` and `rejected` are the same", field="rejected", cure="remove the row: it says nothing")
    return parts


def preference(record: Mapping[str, Any], form: Form) -> Parsed:
    prompt, chosen, rejected = (form.text(record, name) for name in ("prompt", "chosen", "rejected"))
    parts = _differing(_conversation(prompt, chosen=chosen, rejected=rejected))
    return Parsed([parts], frozenset({"prompt", "chosen", "rejected"}))


def implicit(record: Mapping[str, Any], form: Form) -> Parsed:
    prompt, chosen, rejected = form.split(form.text(record, "chosen"), form.text(record, "rejected"))
    for name, answer in (("chosen", chosen), ("rejected", rejected)):
        if isinstance(answer, str):
            fields.string(answer, name)
    parts = _differing(_conversation(prompt, chosen=chosen, rejected=rejected))
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
    answers = [_conversation(prompt, answer=text) for text in texts]
    rows, equal = [], 0
    for left, right in combinations(range(len(answers)), 2):
        if scores[left] == scores[right]:
            equal += 1
            continue
        best, worst = (left, right) if scores[left] > scores[right] else (right, left)
        parts = {"prompt": answers[best]["prompt"], "chosen": answers[best]["answer"], "rejected": answers[worst]["answer"]}
        extra = {"score_chosen": scores[best], "score_rejected": scores[worst]}
        rows.append(_differing({**parts, "strength": scores[best] - scores[worst], "extra": extra}))
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
        raise RowError("`label` is empty", field="label", cure="write true or false, or remove the row")
    return Parsed([{**parsed.rows[0], "desirable": label}], parsed.used | {"label"})


def supervised(record: Mapping[str, Any], form: Form) -> Parsed:
    column = _first(record, ANSWER)
    parts = _conversation(form.text(record, "prompt"), **{column: form.text(record, column)})
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


SHAPES = (
    Shape("preference", (("prompt",), ("chosen",), ("rejected",)), "prompt, chosen, rejected (text or message lists)", preference),
    Shape("implicit", (("chosen",), ("rejected",)), "chosen, rejected: two transcripts that share a beginning", implicit),
    Shape("ranked", (("prompt",), ANSWERS, (*ORDERS, "answers with scores")), "prompt, answers, and scores, ranks or ranking", ranked),
    Shape("unpaired", (("prompt",), ANSWER, ("label",)), "prompt, completion (or answer, response), label", unpaired),
    Shape("supervised", (("prompt",), ANSWER), "prompt, completion (or answer, response)", supervised),
    Shape("messages", (("messages",),), "messages: conversations, of which the last turn is the answer", conversation),
    Shape("text", (("text",),), "text: documents", document),
)


# ---------------------------------------------------------------------------------------------------------------------------- the inference


def _there(value: Mapping[str, Any]) -> set[str]:
    there = {key for key, item in value.items() if item is not None}
    for name in ANSWERS:
        entries = value.get(name)
        if isinstance(entries, list) and entries and isinstance(entries[0], Mapping) and {"score", "rank"} & entries[0].keys():
            there.add("answers with scores")
    return there


def shape_of(value: Mapping[str, Any]) -> Shape | None:
    """The first shape that one row fits."""
    there = _there(value)
    return next((shape for shape in SHAPES if shape.fits(there)), None)


def infer(samples: Sequence[Record], *, file: str, shape: str | None = None) -> Found:
    """The shape that most of these rows have, and why. Raises `DataError` naming columns, shapes and the nearest match when none fits."""
    values = [uncelled(record) for record in samples if record.value is not None]
    if not values:
        return Found(SHAPES[0] if shape is None else named(shape), "no row could be read", Form())
    columns = list(dict.fromkeys(key for value in values for key in value))
    if shape is not None:
        taken = named(shape)
        if not taken.fits(set(columns).union(*map(_there, values))):
            raise _no_shape(columns, file, (taken,))
        why = "it was asked for"
    else:
        votes = Counter(found.name for found in map(shape_of, values) if found)
        if not votes:
            keyed = next((s for s in SHAPES if s.fits(set(columns))), None)
            if keyed is None:
                raise _no_shape(columns, file, SHAPES)
            taken, why = keyed, f"the columns are {', '.join(columns)}, though no row fills them"
        else:
            taken = named(max(votes, key=lambda name: votes[name]))
            why = f"{votes[taken.name]} of the first {len(values)} rows have {taken.says}"
    fitting = [value for value in values if taken.fits(_there(value))] or values
    form, how = _form(taken, fitting, columns, file, forced=shape is not None)
    return Found(taken, why + how, form, shape is not None, _notes(columns))


def named(shape: str) -> Shape:
    for known in SHAPES:
        if known.name == shape:
            return known
    names = [known.name for known in SHAPES]
    near = difflib.get_close_matches(shape, names, 1)
    raise OptionError(f"there is no shape `{shape}`", hint=f"did you mean `{near[0]}`?" if near else f"known are {', '.join(names)}")


def _form(shape: Shape, values: Sequence[Mapping[str, Any]], columns: Sequence[str], file: str, *, forced: bool) -> tuple[Form, str]:
    lists = {}
    for name in ("prompt", "chosen", "rejected", *ANSWER):
        kinds = [fields.is_messages(v[name]) for v in values if fields.is_messages(v.get(name)) or isinstance(v.get(name), str)]
        if kinds and any(name in names for names in shape.needs):
            lists[name] = sum(kinds) * 2 > len(kinds)
    how = "".join(f"; `{name}` as {'message lists' if as_list else 'text'}" for name, as_list in lists.items())
    if shape.parse is not implicit:
        return Form(lists), how
    misnamed = _near("prompt", [c for c in columns if c not in ("chosen", "rejected", *OPTIONAL)], PROMPT_LIKE)
    if misnamed and not forced:
        hint = f'pass columns={{"prompt": "{misnamed}"}}; or shape="implicit" if `chosen` and `rejected` hold the prompt'
        raise DataError(f"{file}: there is no column `prompt`, but there is `{misnamed}`; columns found: {', '.join(columns)}", hint=hint)
    split, said = choose_split([pair for value in values if (pair := _sides(value)) is not None])
    if split is split_text and not forced and not _share_a_beginning(values):
        message = (
            f"{file}: there is no column `prompt`, and `chosen` and `rejected` share no beginning; columns found: {', '.join(columns)}"
        )
        raise DataError(message, hint='name the prompt\'s column: columns={"prompt": "my_column"}')
    return Form(lists, split), f"; {said}"


def _sides(value: Mapping[str, Any]) -> tuple[Text, Text] | None:
    try:
        return fields.text(value.get("chosen"), "chosen"), fields.text(value.get("rejected"), "rejected")
    except RowError:
        return None


def _share_a_beginning(values: Sequence[Mapping[str, Any]]) -> bool:
    """Whether at least half of the pairs that could be split were."""
    tried = shared = 0
    for sides in filter(None, map(_sides, values)):
        try:
            split_text(*sides)
            shared += 1
        except RowError as error:
            if error.field == "rejected":  # identical sides say nothing about beginnings
                continue
        tried += 1
    return shared * 2 >= tried


def _near(name: str, columns: Sequence[str], like: Sequence[str] = ()) -> str | None:
    for column in columns:
        if column.lower() in (name, *like):
            return column
    near = difflib.get_close_matches(name, [c.lower() for c in columns], 1, cutoff=0.8)
    return next((c for c in columns if near and c.lower() == near[0]), None)


LIKE = {
    "prompt": PROMPT_LIKE,
    "chosen": ("preferred", "winner", "accepted", "better", "win", "positive"),
    "rejected": ("dispreferred", "loser", "worse", "lose", "negative"),
    "completion": ("output", "reply", "generation", "solution", "target"),
    "label": ("correct", "thumbs_up", "desirable", "good"),
    "text": ("document", "body"),
}


def _no_shape(columns: Sequence[str], file: str, shapes: Sequence[Shape]) -> DataError:
    there = set(columns)
    lines = [f"{file}: no shape fits the columns found: {', '.join(columns) or '(none)'}", "  shapes known:"]
    lines += [f"    {shape.name}: {shape.says}" for shape in shapes]

    def matches(shape: Shape) -> dict[str, str]:
        free = [column for column in columns if all(column not in names for names in shape.needs) and column not in OPTIONAL]
        return {name: near for name in shape.missing(there) if (near := _near(name, free, LIKE.get(name, ())))}

    def closeness(shape: Shape) -> tuple[float, int]:
        absent = len(shape.missing(there)) - len(matches(shape))
        return 1 - absent / len(shape.needs), len(shape.needs)

    nearest = max(shapes, key=closeness)
    mapping = matches(nearest)
    if closeness(nearest)[0]:
        lines.append(f"  nearest: {nearest.name}, for want of {', '.join(f'`{name}`' for name in nearest.missing(there))}")
    else:
        lines.append("  none is near")
        mapping = {"prompt": "my_prompt", "chosen": "my_chosen", "rejected": "my_rejected"}
    mapping |= {name: f"my_{name}" for name in nearest.missing(there) if name not in mapping}
    renamed = ", ".join(f'"{name}": "{column}"' for name, column in mapping.items())
    return DataError("\n".join(lines), hint=f"say which column is which: columns={{{renamed}}}")


def _notes(columns: Sequence[str]) -> tuple[str, ...]:
    """Columns that look like a misspelled optional one: kept, but read by nobody."""
    known = {*OPTIONAL, "prompt", "chosen", "rejected", "label", "split", *ANSWER, *ANSWERS, *ORDERS, "messages", "text"}
    notes = []
    for column in columns:
        near = difflib.get_close_matches(column.lower(), OPTIONAL, 1, cutoff=0.8)
        if column not in known and near and near[0] not in columns:
            notes.append(f"column `{column}` is carried along, not read as `{near[0]}`; columns={{{near[0]!r}: {column!r}}} would")
    return tuple(notes)
