"""Which format a file has: one inference function, and one entry for each format.

A format is known by its columns. `infer` looks at the first rows, takes the first format of `FORMATS` that most of them fit, and says why;
every row is then read as that format, so a row of another format is a bad row. Columns that no format reads are kept in `Row.extra`.
"""

from __future__ import annotations

import difflib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from holdfast.data import fields, matches, parsers
from holdfast.data.lines import Record
from holdfast.data.parsers import ANSWER, ANSWERS, ORDERS, Form, Parsed
from holdfast.data.transcript import choose_split, split_text
from holdfast.data.trouble import RowError
from holdfast.errors import DataError, OptionError
from holdfast.types import Row, Text

PROBE = 200  # rows that are looked at before the format is settled
OPTIONAL = ("rater", "group", "source", "strength", "confidence", "weight", "tie")
PROMPT_LIKE = ("question", "instruction", "query", "input", "context", "problem", "post")


@dataclass(frozen=True)
class Format:
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
    """The format of a file, and why it was taken."""

    format: Format
    why: str
    form: Form
    forced: bool = False
    notes: tuple[str, ...] = ()

    def rows(self, record: Record) -> tuple[list[Row], int]:
        """The rows of one record, and how many pairs of its answers had equal scores. Raises `RowError`."""
        value = uncelled(record)
        try:
            parsed = self.format.parse(value, self.form)
        except RowError as error:
            other = format_of(value)
            if (
                error.field is not None
                and value.get(error.field) is None
                and other is not None
                and other is not self.format
                and not self.forced
            ):
                error.detail = f"the row looks like `{other.name}`, the file like `{self.format.name}`"
            raise
        other = format_of(value)
        if not self.forced and other is not None and FORMATS.index(other) < FORMATS.index(self.format):
            detail = f"the row looks like `{other.name}`, the file like `{self.format.name}`"
            raise RowError("another format than the file's", detail=detail, cure="put rows of one format in one file")
        common = optional_columns(value, cells=record.cells)
        rest = {key: fields.plain(item) for key, item in value.items() if key not in parsed.used and key not in OPTIONAL}
        rows = []
        for parts in parsed.rows:
            extra = {**rest, **parts.pop("extra", {})}
            rows.append(Row(**{"where": record.where, **common, **parts, "extra": extra}))
        return rows, parsed.equal


def optional_columns(value: Mapping[str, Any], *, cells: bool) -> dict[str, Any]:
    """The columns of `OPTIONAL` that a row of any format may have, checked. Raises `RowError`."""
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
    conversations = {"prompt", "chosen", "rejected", "messages", *ANSWER}
    lists = {*conversations, *ANSWERS, *ORDERS}
    return {key: _json_list(item, of_messages=key in conversations) if key in lists else item for key, item in value.items()}


def _json_list(cell: Any, *, of_messages: bool) -> Any:
    if not isinstance(cell, str) or not cell.lstrip().startswith("["):
        return cell
    try:
        value = json.loads(cell)
    except (ValueError, RecursionError):
        return cell
    messages = bool(value) and all(isinstance(item, dict) and "role" in item for item in value)
    return value if messages or not of_messages else cell  # a text such as "[1, 2]" stays text


FORMATS = (
    Format("preference", (("prompt",), ("chosen",), ("rejected",)), "prompt, chosen, rejected (text or message lists)", parsers.preference),
    Format("implicit", (("chosen",), ("rejected",)), "chosen, rejected: two transcripts that share a beginning", parsers.implicit),
    Format(
        "ranked", (("prompt",), ANSWERS, (*ORDERS, "answers with scores")), "prompt, answers, and scores, ranks or ranking", parsers.ranked
    ),
    Format(
        "matches",
        (("two sides",), ("a verdict",)),
        "two sides and a verdict (model_a, model_b, winner; or winner, loser)",
        matches.match,
    ),
    Format("unpaired", (("prompt",), ANSWER, ("label",)), "prompt, completion (or answer, response), label", parsers.unpaired),
    Format("supervised", (("prompt",), ANSWER), "prompt, completion (or answer, response)", parsers.supervised),
    Format("messages", (("messages",),), "messages: conversations, of which the last turn is the answer", parsers.conversation),
    Format("text", (("text",),), "text: documents", parsers.document),
)


# ---------------------------------------------------------------------------------------------------------------------------- the inference


def _there(value: Mapping[str, Any]) -> set[str]:
    there = {key for key, item in value.items() if item is not None}
    for name in ANSWERS:
        entries = value.get(name)
        if isinstance(entries, list) and entries and isinstance(entries[0], Mapping) and {"score", "rank"} & entries[0].keys():
            there.add("answers with scores")
    return there | matches.marks(there)


def format_of(value: Mapping[str, Any]) -> Format | None:
    """The first format that one row fits."""
    there = _there(value)
    return next((known for known in FORMATS if known.fits(there)), None)


def infer(samples: Sequence[Record], *, file: str, format: str | None = None) -> Found:
    """The format that most of these rows have, and why. Raises `DataError` naming columns, formats and the nearest match when none fits."""
    values = [uncelled(record) for record in samples if record.value is not None]
    if not values:
        return Found(FORMATS[0] if format is None else named(format), "no row could be read", Form())
    columns = list(dict.fromkeys(key for value in values for key in value))
    if format is not None:
        taken = named(format)
        if not taken.fits(set(columns).union(*map(_there, values))):
            raise _no_format(columns, file, (taken,))
        why = "it was asked for"
    else:
        votes = Counter(found.name for found in map(format_of, values) if found)
        if not votes:
            keyed = next((s for s in FORMATS if s.fits(set(columns))), None)
            if keyed is None:
                raise _no_format(columns, file, FORMATS)
            taken, why = keyed, f"the columns are {', '.join(columns)}, though no row fills them"
        else:
            taken = named(max(votes, key=lambda name: votes[name]))
            why = f"{votes[taken.name]} of the first {len(values)} rows have {taken.says}"
    fitting = [value for value in values if taken.fits(_there(value))] or values
    form, how = _form(taken, fitting, columns, file, forced=format is not None)
    return Found(taken, why + how, form, format is not None, _notes(columns))


def named(format: str) -> Format:
    for known in FORMATS:
        if known.name == format:
            return known
    names = [known.name for known in FORMATS]
    near = difflib.get_close_matches(format, names, 1)
    raise OptionError(f"there is no format `{format}`", hint=f"did you mean `{near[0]}`?" if near else f"known are {', '.join(names)}")


def _form(format: Format, values: Sequence[Mapping[str, Any]], columns: Sequence[str], file: str, *, forced: bool) -> tuple[Form, str]:
    lists = {}
    for name in ("prompt", "chosen", "rejected", *ANSWER):
        kinds = [fields.is_messages(v[name]) for v in values if fields.is_messages(v.get(name)) or isinstance(v.get(name), str)]
        if kinds and any(name in names for names in format.needs):
            lists[name] = sum(kinds) * 2 > len(kinds)
    how = "".join(f"; `{name}` as {'message lists' if as_list else 'text'}" for name, as_list in lists.items())
    if format.parse is not parsers.implicit:
        return Form(lists), how
    misnamed = _near("prompt", [c for c in columns if c not in ("chosen", "rejected", *OPTIONAL)], PROMPT_LIKE)
    if misnamed and not forced:
        hint = f'pass columns={{"prompt": "{misnamed}"}}; or format="implicit" if `chosen` and `rejected` hold the prompt'
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


def _no_format(columns: Sequence[str], file: str, formats: Sequence[Format]) -> DataError:
    there = set(columns)
    lines = [f"{file}: no format fits the columns found: {', '.join(columns) or '(none)'}", "  formats known:"]
    lines += [f"    {known.name}: {known.says}" for known in formats]

    def matches(format: Format) -> dict[str, str]:
        free = [column for column in columns if all(column not in names for names in format.needs) and column not in OPTIONAL]
        return {name: near for name in format.missing(there) if (near := _near(name, free, LIKE.get(name, ())))}

    def closeness(format: Format) -> tuple[float, int]:
        absent = len(format.missing(there)) - len(matches(format))
        return 1 - absent / len(format.needs), len(format.needs)

    nearest = max(formats, key=closeness)
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
