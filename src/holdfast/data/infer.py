"""Which format a file has: `infer` looks at the first rows, takes the one format that most of them
fit, and says why.

Every row is then read as that format, so a row of another format is an error. Where a format fits
whose columns include another's, it is taken; where two fit and neither does, the file is refused
with both named. Verdicts are judged over the whole column (`holdfast.data.verdicts`), columns that
no format reads are sorted (`holdfast.data.unread`) and kept in `Row.extra`.
"""

from __future__ import annotations

import difflib
import json
import shlex
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from holdfast.data import columns as named_columns
from holdfast.data import fields, parsers
from holdfast.data.columns import (
    ANSWER,
    ANSWERS,
    LABELS,
    MESSAGE,
    MESSAGES,
    OPTIONAL,
    ORDERS,
    PAIRS,
    TEXT,
    Kinds,
    Roles,
    kinds_of,
)
from holdfast.data.formats import DOCUMENT, FORMATS, MATCH, SINGLE, Format
from holdfast.data.lines import Record
from holdfast.data.message_text import messages_in
from holdfast.data.parsers import Form, Parsed, Parts, differing
from holdfast.data.repeats import freed, repeated
from holdfast.data.row_errors import RowError
from holdfast.data.transcript import choose_split, split_text
from holdfast.data.unread import Unread
from holdfast.data.verdicts import (
    OF_LABELS,
    OF_PAIRS,
    Code,
    Tally,
    Token,
    decide,
    label_code,
    refuse_unread,
    said_code,
    token_of,
)
from holdfast.errors import DataError, OptionError
from holdfast.types import Row, Text
from holdfast.visible import listed as in_a_row
from holdfast.visible import one_line

PROBE = 200  # rows that are looked at before the format is settled
MEMORY = 4096  # combinations of columns whose format is remembered
_known: dict[frozenset[tuple[str, str]], tuple[Format, ...]] = {}


# -------------------------------------------------------------------------------- one row's columns


def uncelled(record: Record) -> Mapping[str, Any]:
    """A row under the names that formats know. A CSV cell that holds JSON is what it holds, in the
    columns that may hold a list.
    """
    value = {
        key: _talk(item, key) for key, item in named_columns.canonical(record.value or {}).items()
    }
    if not record.cells:
        return value
    return {key: _json(item, key) for key, item in value.items()}


LISTS = frozenset((*ANSWERS, *ORDERS, "history", "summaries"))
OBJECT_CELLS = frozenset(("question", "info", "input"))


def _talk(value: Any, column: str) -> Any:
    """A message list that was stored as text is that list. One that cannot be read is refused where
    it is used (`Form.text`).
    """
    if not isinstance(value, str):
        return value
    try:
        found = messages_in(value, column)
    except RowError:
        return value
    return value if found is None else found


def _json(cell: Any, column: str) -> Any:
    if not isinstance(cell, str) or cell.lstrip()[:1] not in ("[", "{"):
        return cell
    try:
        value = json.loads(cell)
    except (ValueError, RecursionError):
        return cell
    talk = [value] if isinstance(value, dict) else value
    messages = bool(talk) and all(
        isinstance(item, dict) and ("role" in item or {"from", "value"} <= item.keys())
        for item in talk
    )
    if (
        messages
        or (isinstance(value, list) and column in LISTS)
        or (isinstance(value, dict) and column in OBJECT_CELLS)
    ):
        return value
    return cell  # a text such as "[1, 2]" stays text


def formats_of(kinds: Kinds) -> tuple[Format, ...]:
    """The format of a row with such columns; several where two fit and neither reads all that the
    other does; none where none fits.
    """
    key = frozenset(kinds.items())
    found = _known.get(key)
    if found is None:
        if len(_known) >= MEMORY:
            _known.clear()
        found = _known[key] = _formats_of(kinds)
    return found


def _formats_of(kinds: Kinds) -> tuple[Format, ...]:
    fitting = [
        (known, set(roles.values()))
        for known in FORMATS
        if not known.asked and (roles := known.fits(kinds)) is not None
    ]
    if not fitting:
        return ()
    tier = min(known.tier for known, _ in fitting)
    fitting = [(known, read) for known, read in fitting if known.tier == tier]
    best = [
        (known, read)
        for at, (known, read) in enumerate(fitting)
        if not any(
            read < other or (read == other and before < at)
            for before, (_, other) in enumerate(fitting)
        )
    ]
    return tuple(known for known, _ in best)


# ------------------------------------------------------------------------------------------------
# a file's format


@dataclass(frozen=True)
class Layout:
    """The format of a file, the columns that play its roles, and why it was taken."""

    format: Format
    why: str
    form: Form
    roles: Roles
    unread: Unread
    forced: bool = False
    notes: tuple[str, ...] = ()
    misplaced: Counter[str] = field(
        default_factory=Counter
    )  # optional columns of the wrong type, which are carried along
    repeats: bool = False  # answers repeat their prompt in front
    repeated: list[int] = field(default_factory=lambda: [0])  # rows whose answers did
    known: dict[frozenset[tuple[str, str]], Roles | None] = field(default_factory=dict)
    ordered: list[int] = field(
        default_factory=lambda: [0, 0]
    )  # rows with a verdict and scores; those whose winner has the lower score

    def rows(self, record: Record, value: Mapping[str, Any]) -> tuple[list[Row], Parsed]:
        """The rows of one record, whose columns are `value` (see `uncelled`), and what else came of
        parsing it. Raises `RowError`.
        """
        kinds = kinds_of(value)
        roles = self._roles(kinds)
        others = () if self.forced else formats_of(kinds)
        other = others[0] if len(others) == 1 and others[0].parse is not self.format.parse else None
        try:
            parsed = self.format.parse(value, roles or self.roles, self.form)
        except RowError as error:
            if (
                roles is None
                and other is not None
                and error.field is not None
                and value.get(error.field) is None
            ):
                error.detail = (
                    f"the row looks like `{other.name}`, the file like `{self.format.name}`"
                )
            raise
        if self.repeats:
            parsed = parsed._replace(rows=[self._freed(parts) for parts in parsed.rows])
        if other is not None and FORMATS.index(other) < FORMATS.index(self.format):
            detail = f"the row looks like `{other.name}`, the file like `{self.format.name}`"
            raise RowError(
                "another format than the file's",
                detail=detail,
                cure="put rows of one format in one file",
            )
        if not self.forced and len(others) > 1 and roles is None:
            raise RowError(
                "another format than the file's",
                detail=" or ".join(f"`{o.name}`" for o in others),
                cure="put rows of one format in one file",
            )
        common = optional_columns(value, cells=record.cells, misplaced=self.misplaced)
        kept_apart = {
            name for name in OPTIONAL if name in parsed.used or common.get(name) is not None
        }
        rest = {
            _bare(key, value): fields.plain(item)
            for key, item in value.items()
            if key not in parsed.used
            and key not in kept_apart
            and not (key in OPTIONAL and (item is None or key not in self.misplaced))
        }
        rows = []
        for parts in parsed.rows:
            extra = {**rest, **parts.pop("extra", {})}
            if self.form.code is not None and "score_chosen" in extra and not parts.get("tie"):
                self.ordered[0] += 1
                self.ordered[1] += bool(extra["score_chosen"] < extra["score_rejected"])
            rows.append(Row(**{"where": record.where, **common, **parts, "extra": extra}))
        self.unread.see(
            value,
            parsed.used,
            [text for row in rows for text in (row.prompt, row.chosen, row.rejected, row.answer)],
        )
        return rows, parsed

    def _freed(self, parts: Parts) -> Parts:
        free = freed(parts)
        if free is None:
            return parts
        self.repeated[0] += 1
        return differing(free) if "chosen" in free else free

    def _roles(self, kinds: Kinds) -> Roles | None:
        key = frozenset(kinds.items())
        if key not in self.known:
            if len(self.known) >= MEMORY:
                self.known.clear()
            self.known[key] = self.format.fits(kinds)
        return self.known[key]

    def verdict(self, value: Mapping[str, Any]) -> Token | None:
        """The verdict of a row as it is written, where its column is a code."""
        column = verdict_column(self.roles)
        return None if self.form.code is None or column is None else token_of(value.get(column))


def _bare(key: str, value: Mapping[str, Any]) -> str:
    """The own name of a column that the user left out (`--columns name=`), unless what comes after
    the reading would take it for that.
    """
    left_out = key[:1] == "[" and key[-1:] == "]"
    return (
        key[1:-1]
        if left_out and key[1:-1] not in value and key[1:-1] not in named_columns.RENDERED
        else key
    )


def verdict_column(roles: Roles) -> str | None:
    return roles.get("verdict") or roles.get("directed") or roles.get("label")


def optional_columns(
    value: Mapping[str, Any], *, cells: bool, misplaced: Counter[str] | None = None
) -> dict[str, Any]:
    """The columns of `OPTIONAL` that a row of any format may have, checked. Raises `RowError`.

    With `misplaced`, a column that holds something else altogether (a list as `source`, words as
    `strength`) is counted there and not read.
    """
    if misplaced is not None:
        wrong = [name for name in OPTIONAL if name != "tie" and not _may_be(name, value.get(name))]
        misplaced.update(wrong)
        value = {name: value.get(name) for name in OPTIONAL if name not in wrong}
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


def _may_be(name: str, value: Any) -> bool:
    """Whether a value is of the type that this optional column has, or of one that is a slip worth
    an error.
    """
    if not fields.present(value) or isinstance(value, bool | int | float):
        return True
    if not isinstance(value, str):
        return False
    if name in ("rater", "group", "source"):
        return True
    try:
        float(value)
    except ValueError:
        return False
    return True


def infer(
    samples: Sequence[Record],
    *,
    file: str,
    format: str | None = None,
    verdicts: Mapping[str, str] | None = None,
    whole: Callable[[], Iterable[Record]] | None = None,
) -> Layout:
    """The format that most of these rows have, and why.

    Args:
        samples: the first rows.
        file: what to call them in complaints.
        format: the format to take instead.
        verdicts: what the values of the verdict column mean (see `holdfast.data.verdicts`).
        whole: gives all rows, for a verdict column is judged as a whole; the samples unless given.

    Raises:
        DataError: no format fits, or two do; a verdict column that can mean two things; a prompt
            that would have to be invented.
        OptionError: an unknown format; verdicts for rows without a verdict column.
    """
    values = [uncelled(record) for record in samples if record.value is not None]
    if not values:
        taken = FORMATS[-1] if format is None else named(format)
        return Layout(
            taken, "no row could be read", Form(), {}, Unread(file, single=True, invented=False)
        )
    columns = list(dict.fromkeys(key for value in values for key in value))
    kinds = [kinds_of(value) for value in values]
    if format is not None:
        taken, why = named(format), "it was asked for"
        if not any(taken.fits(each) for each in kinds):
            raise _no_format(columns, values, file, (taken,))
    else:
        votes = Counter(found for found in map(formats_of, kinds) if found)
        keyed = next(
            (known for known in FORMATS if known.plain and set(known.needs) <= set(columns)), None
        )
        if not votes and keyed is not None:
            why = f"the columns are {in_a_row(columns)}, though no row fills them"
            unread = Unread(file, single=True, invented=False, forced=True)
            return Layout(
                keyed, why, Form(), {ROLES.get(name, name): name for name in keyed.needs}, unread
            )
        if not votes:
            raise _no_format(columns, values, file, FORMATS)
        best = max(votes, key=lambda found: votes[found])
        if len(best) > 1:
            raise _two_formats(best, columns, file)
        taken = best[0]
        why = f"{votes[best]} of the first {len(values)} rows have {taken.says}"
        same = [
            found
            for found in votes
            if len(found) == 1 and found[0].parse is taken.parse and found != best
        ]
        for other in same:  # the same columns but for some that are empty here and there
            why += f", {votes[other]} are {other[0].name}"
    fitting = [
        (value, found)
        for value, each in zip(values, kinds, strict=True)
        if (found := taken.fits(each)) is not None
    ]
    roles = dict(Counter(tuple(found.items()) for _, found in fitting).most_common(1)[0][0])
    if (
        taken.tier < MATCH
        and "system" in roles
        and all(_is_name(value[found["system"]]) for value, found in fitting if "system" in found)
    ):
        column = roles["system"]
        raise DataError(
            f"{file}: `{column}` holds single words such as "
            f"{fitting[0][0].get(column)!r}, which are no system prompt",
            hint=f"leave it out: --columns {column}=",
        )
    form, how, invented = _form(
        taken, [value for value, _ in fitting], roles, columns, file, forced=format is not None
    )
    code, said = _code(taken, roles, file, verdicts or {}, whole or (lambda: samples))
    unread = Unread(
        file,
        single=taken.tier in (SINGLE, DOCUMENT),
        invented=invented,
        document=taken.tier == DOCUMENT,
        names_only=taken.tier == MATCH,
        forced=format is not None,
        prompted=bool({"prompt", "messages", "input", "info", "question"} & roles.keys()),
    )
    note = taken.notes({name: kind for each in kinds for name, kind in each.items()})
    form = Form(form.as_messages, form.split, code)
    notes = (*_notes(columns), *([note] if note else []))
    repeats = (
        taken.tier != MATCH
        and taken.parse is not parsers.implicit
        and repeated(_parts(taken, fitting, form))
    )
    return Layout(
        taken, why + how + said, form, roles, unread, format is not None, notes, repeats=repeats
    )


def _parts(
    taken: Format, fitting: Sequence[tuple[Mapping[str, Any], Roles]], form: Form
) -> Iterator[Parts]:
    """The rows of these records, of those that can be read."""
    for value, roles in fitting:
        try:
            yield from (
                parts for parts in taken.parse(value, roles, form).rows if "prompt" in parts
            )
        except RowError:
            continue


ROLES = {
    "completion": "answer",
    "scores": "order",
    "response_a": "first",
    "response_b": "second",
    "winner": "verdict",
}  # roles of columns that have other names


def _is_name(value: Any) -> bool:
    return (
        isinstance(value, str) and value.isascii() and len(value) <= 40 and len(value.split()) == 1
    )


def named(format: str) -> Format:
    for known in FORMATS:
        if known.name == format:
            return known
    names = [known.name for known in FORMATS]
    near = difflib.get_close_matches(format, names, 1)
    raise OptionError(
        f"there is no format `{format}`",
        hint=f"did you mean `{near[0]}`?" if near else f"known are {', '.join(names)}",
    )


def _code(
    taken: Format,
    roles: Roles,
    file: str,
    verdicts: Mapping[str, str],
    whole: Callable[[], Iterable[Record]],
) -> tuple[Code | None, str]:
    """What the verdicts of the file mean, and how that was found."""
    column = verdict_column(roles)
    if column is None:
        if verdicts:
            raise OptionError(
                f"{file}: verdicts says what a verdict column means, and `{taken.name}` reads none",
                hint="leave it out",
            )
        return None, ""
    tally = Tally()
    for record in whole():
        if record.value is None:
            continue
        value = uncelled(record)
        names = None
        if "first_name" in roles:
            names = (
                str(value.get(roles["first_name"])).strip(),
                str(value.get(roles["second_name"])).strip(),
            )
        tally.add(value.get(column), names)
    labels = "label" in roles
    wanted = OF_LABELS if labels else OF_PAIRS
    if verdicts:
        code = said_code(column, verdicts, wanted, tally, file)
    elif documented := taken.code(column, tally) if taken.code is not None else None:
        code = documented
        refuse_unread(code, tally, file, wanted)
    elif labels:
        code = label_code(column, tally, file)
    else:
        sides = next(
            (
                s
                for s in named_columns.sides_of(roles.values())
                if {s.first, s.second} == {roles.get("first"), roles.get("second")}
            ),
            None,
        )
        sides = sides or next(
            (
                s
                for s in named_columns.sides_of(roles.values())
                if s.first == roles.get("first_name")
            ),
            None,
        )
        shown = (
            roles.get("first") or roles["first_name"],
            roles.get("second") or roles["second_name"],
        )
        code = decide(column, tally, sides, file, what=shown)
    return (
        code,
        f"; `{column}` says who won ({code.says})" if not labels else f"; `{column}`: {code.says}",
    )


def _form(
    format: Format,
    values: Sequence[Mapping[str, Any]],
    roles: Roles,
    columns: Sequence[str],
    file: str,
    *,
    forced: bool,
) -> tuple[Form, str, bool]:
    """How the texts of the file are written, in words too, and whether a prompt is made of what two
    texts share.
    """
    lists = {}
    for name in dict.fromkeys(
        roles[role]
        for role in ("prompt", "chosen", "rejected", "answer", "first", "second")
        if role in roles
    ):
        found = [
            kind
            for value in values
            if (kind := named_columns.kind_of(value.get(name))) in (TEXT, MESSAGES, MESSAGE)
        ]
        if found:
            lists[name] = sum(kind != TEXT for kind in found) * 2 > len(found)
    how = "".join(
        f"; `{name}` as {'message lists' if as_list else 'text'}" for name, as_list in lists.items()
    )
    if format.parse is not parsers.implicit:
        return Form(lists), how, False
    if "prompt" in columns and not forced:
        hint = "write the prompts; or --format implicit if `chosen` and `rejected` hold them"
        raise DataError(
            f"{file}: the column `prompt` is empty in the first {len(values)} rows", hint=hint
        )
    misnamed = _near(
        "prompt",
        [
            c
            for c in columns
            if c not in (*roles.values(), *OPTIONAL) and not named_columns.is_remark(c)
        ],
    )
    row_errors = (
        [error for value in values if (error := _no_text(value, "prompt")) is not None]
        if misnamed == "prompt"
        else []
    )
    if row_errors and not forced:  # rightly named, and in most rows no text
        hint = (
            f'{row_errors[0].cure}; or format="implicit" if `chosen` and `rejected` hold the prompt'
        )
        raise DataError(f"{file}: {row_errors[0]}; columns found: {in_a_row(columns)}", hint=hint)
    if misnamed and not forced:
        hint = (
            f"{_mapped({'prompt': misnamed})}; or --format implicit if `chosen` and "
            "`rejected` hold the prompt"
        )
        raise DataError(
            f"{file}: there is no column `prompt`, but there is `{misnamed}`; columns "
            f"found: {in_a_row(columns)}",
            hint=hint,
        )
    split, said = choose_split(
        [pair for value in values if (pair := _sides(value, roles)) is not None]
    )
    if split is split_text and not forced and not _share_a_beginning(values, roles):
        one, two = roles["chosen"], roles["rejected"]
        message = (
            f"{file}: there is no column `prompt`, and `{one}` and `{two}` share no "
            f"beginning; columns found: {in_a_row(columns)}"
        )
        raise DataError(
            message, hint=f"name the prompt's column: {_mapped({'prompt': 'my_column'})}"
        )
    return Form(lists, split), f"; {said}", split is split_text


def _no_text(value: Mapping[str, Any], column: str) -> RowError | None:
    """Why a row's column is no text and no messages, if it is not."""
    try:
        fields.text(fields.required(value, column), column)
    except RowError as error:
        return error
    return None


def _sides(value: Mapping[str, Any], roles: Roles) -> tuple[Text, Text] | None:
    try:
        return fields.text(value.get(roles["chosen"]), "chosen"), fields.text(
            value.get(roles["rejected"]), "rejected"
        )
    except RowError:
        return None


def _share_a_beginning(values: Sequence[Mapping[str, Any]], roles: Roles) -> bool:
    """Whether at least half of the pairs that could be split were."""
    tried = shared = 0
    for sides in (_sides(value, roles) for value in values):
        if sides is None:
            continue
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


# ------------------------------------------------------------------------------------------------
# complaints

LIKE = {
    "prompt": ("ask", "asked", "goal", "task", "x", "source_text"),
    "chosen": ("accepted", "better", "win", "positive", "good"),
    "rejected": ("dispreferred", "worse", "lose", "negative", "bad"),
    "completion": ("output", "target", "assistant"),
    "label": ("correct", "is_correct", "thumbs_up", "desirable"),
    "text": ("document", "body", "content"),
    "messages": ("thread", "talk"),
}
HOLDS = {"label": (bool, int, float), "scores": (list,), "answers": (list,), "messages": (list,)}


def _no_format(
    columns: Sequence[str],
    values: Sequence[Mapping[str, Any]],
    file: str,
    formats: Sequence[Format],
) -> DataError:
    """The columns, the formats, and the nearest one with a mapping of columns that hold what their
    role asks for.
    """
    there = {
        *columns,
        *(["prompt"] if set(columns) & set(named_columns.PROMPT_TEXTS) else []),
    }  # a prompt by another name is one
    lines = [f"{file}: no format fits the columns found: {in_a_row(columns) or '(none)'}"]
    many = [
        stem
        for stem in ("response", "answer", "completion", "output")
        if sum(c.lower().startswith(stem) and c[-1:].isdigit() for c in columns) > 2
    ]
    if many:
        lines.append(
            f"  three or more answers stand in columns of their own (`{many[0]}...`): put "
            "them into one list `answers`"
        )
    if {"winner", "loser", "prompt"} <= there:
        texts = _mapped({"chosen": "winner", "rejected": "loser"})
        hint = f"if winner and loser are texts: {texts}; if they are names: --format matches"
        return DataError(
            "\n".join([*lines, "  `winner` and `loser` beside a `prompt` could be texts or names"]),
            hint=hint,
        )

    def holds(role: str, column: str) -> bool:
        seen = [value[column] for value in values[:50] if fields.present(value.get(column))]
        kinds = HOLDS.get(role, (str, list, dict))
        return bool(seen) and all(
            isinstance(item, kinds) or (role == "label" and str(item).lower() in fields.YES_OR_NO)
            for item in seen
        )

    def missing(known: Format) -> list[str]:
        return [name for name in known.needs if name not in there]

    def matching(known: Format) -> dict[str, str]:
        free = [
            c
            for c in columns
            if c not in known.needs and c not in OPTIONAL and c not in named_columns.VERDICTS
        ]
        names = {
            name: near
            for name in missing(known)
            if (near := _near(name, [c for c in free if holds(name, c)], LIKE.get(name, ())))
        }
        return names if len(set(names.values())) == len(names) else {}

    def closeness(known: Format) -> tuple[float, int]:
        absent = len(missing(known)) - len(matching(known))
        return 1 - absent / len(known.needs), len(known.needs)

    listed = sorted(
        (known for known in formats if known.plain), key=closeness, reverse=True
    ) or list(formats)
    nearest = listed[0]
    lines += ["  formats that are near:" if len(listed) > 1 else "  its columns:"]
    lines += [f"    {known.name}: {known.says}" for known in listed[:4]]
    others = [known.name for known in formats if known not in listed[:4]]
    lines += [f"  others: {', '.join(others)} (docs/reference/data-formats.md)"] if others else []
    mapping = matching(nearest)
    if closeness(nearest)[0]:
        lines.append(
            f"  nearest: {nearest.name}, for want of "
            f"{', '.join(f'`{name}`' for name in missing(nearest))}"
        )
    else:
        lines.append("  none is near")
        nearest = named("preference")
        mapping = {}
    mapping |= {name: f"my_{name}" for name in missing(nearest) if name not in mapping}
    return DataError("\n".join(lines), hint=f"say which column is which: {_mapped(mapping)}")


def _mapped(mapping: Mapping[str, str]) -> str:
    """How to say it, on the command line and in Python."""
    flags = " ".join(
        f"--columns {shlex.quote(f'{ours}={one_line(theirs)}')}" for ours, theirs in mapping.items()
    )
    return f"{flags} (in Python: columns={json.dumps(mapping, ensure_ascii=False)})"


def _two_formats(found: Sequence[Format], columns: Sequence[str], file: str) -> DataError:
    lines = [f"{file}: the columns found can be read as two formats: {in_a_row(columns)}"]
    lines += [f"    {known.name}: {known.says}" for known in found]
    return DataError(
        "\n".join(lines),
        hint=f"say which: {' or '.join(f'--format {known.name}' for known in found)}",
    )


def _notes(columns: Sequence[str]) -> tuple[str, ...]:
    """Columns that look like a misspelled optional one: kept, but read by nobody."""
    known = {
        *OPTIONAL,
        *(name for pair in PAIRS for name in pair),
        *LABELS,
        "split",
        *ANSWER,
        *ANSWERS,
        *ORDERS,
        *named_columns.KNOWN,
    }
    notes = []
    for column in columns:
        near = difflib.get_close_matches(column.lower(), OPTIONAL, 1, cutoff=0.8)
        if column not in known and near and near[0] not in columns:
            notes.append(
                f"column `{column}` is carried along, not read as `{near[0]}`; "
                f"{_mapped({near[0]: column})} would"
            )
    return tuple(notes)
