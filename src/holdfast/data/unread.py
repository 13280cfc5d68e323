"""Columns that no format read: harmless ones, and those that could carry the prompt, the answers or
the verdict.

Ids, dates, links, numbers, categories and remarks are carried along in `Row.extra`. A column is
refused when its name says that it is part of a conversation, an answer or a verdict, and when a
prompt would be invented beside it from words that two answers share. What stands in the texts that
were read already (a `messages` column that repeats prompt and chosen answer) is harmless whatever
it is called. The way out is always the same: name what the column is, or `columns={"name": None}`
(`--columns name=`), which leaves it out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from holdfast.data import columns as named
from holdfast.data.columns import LIST, MESSAGE, MESSAGES, NUMBER, OBJECT, TEXT, TEXTS
from holdfast.errors import DataError
from holdfast.types import Text
from holdfast.visible import one_line

LOOKED_AT = 200  # values of a column from which it is judged
PART_OF_PROMPT = frozenset(
    (
        *named.PROMPT_TEXTS,
        *named.CONVERSATIONS,
        *named.SYSTEM,
        *named.HISTORY,
        named.INPUT,
        "context",
        "contexts",
        "passage",
        "passages",
        "document",
        "documents",
        "background",
        "persona",
        "preamble",
        "premise",
        "scenario",
        "choices",
        "options",
    )
)
ANSWERS = frozenset(
    (*(name for pair in named.PAIRS for name in pair), *named.ANSWER, *named.ANSWERS)
)
REJECTED = frozenset(pair[1] for pair in named.PAIRS)
VERDICT = frozenset((*named.VERDICTS, *named.LABELS)) - {
    "result",
    "outcome",
    "selection",
    "selected",
    "pick",
}
GOODNESS = frozenset(  # words of a column's name
    {
        "safe",
        "helpful",
        "harmless",
        "passed",
        "accepted",
        "approved",
        "liked",
        "like",
        "upvoted",
        "thumb",
        "thumbs",
        "good",
        "correct",
        "desirable",
        "reaction",
    }
)
BADNESS = frozenset(
    {
        "unsafe",
        "toxic",
        "harmful",
        "unhelpful",
        "failed",
        "rejected",
        "flagged",
        "disliked",
        "dislike",
        "downvoted",
        "down",
        "bad",
        "wrong",
        "incorrect",
        "undesirable",
        "hallucination",
        "hallucinated",
        "not",
    }
)
TRUE = frozenset(("true", "1", "1.0", "yes"))
SCORE = frozenset(
    {
        "score",
        "scores",
        "rating",
        "ratings",
        "reward",
        "rewards",
        "quality",
        "helpfulness",
        "correctness",
        "overall_score",
        "overall_rating",
        "grade",
        "stars",
        "points",
    }
)
MARK = "\N{SECTION SIGN}"


def words_in(value: Any) -> str:
    """All text of a value, its white space made even, so that it can be looked for in other
    text.
    """
    parts: list[str] = []

    def collect(item: Any) -> None:
        if isinstance(item, str):
            parts.append(item)
        elif isinstance(item, Mapping):
            for key, inner in item.items():
                if key not in ("role", "from", "type"):
                    collect(inner)
        elif isinstance(item, list | tuple):
            for inner in item:
                collect(inner)

    collect(value)
    return MARK.join(" ".join(part.split()) for part in parts if part.strip())


def count_words(text: str) -> int:
    """Words between spaces; two characters of a script without spaces count as one."""
    return len(text.split()) + sum(ord(letter) > 0x2E80 for letter in text) // 2


def _stands_in(said: str, read: str) -> bool:
    """Whether every text of one value stands in the other; a single word (a verdict, say) only as a
    text of its own.
    """
    texts = read.split(MARK)
    return all(
        part in texts or (part in read and count_words(part) > 1) for part in said.split(MARK)
    )


@dataclass
class Column:
    """What was seen of one unread column."""

    seen: int = 0
    repeated: int = 0  # rows in which it repeats what was read
    kinds: Counter[str] = field(default_factory=Counter)
    values: Counter[str] = field(default_factory=Counter)
    words: int = 0

    @property
    def own(self) -> bool:
        """Whether it says something that was not read, in more than a few rows."""
        return self.seen - self.repeated > 0.05 * self.seen

    @property
    def varies(self) -> bool:
        return len(self.values) > 1

    @property
    def conversation(self) -> bool:
        talks = self.kinds[MESSAGES] + self.kinds[MESSAGE]
        return (
            talks + self.kinds[LIST] * (self.words >= 2 * self.seen)
        ) * 2 > self.seen  # a list of lists of texts may be turns

    @property
    def prose(self) -> bool:
        """Text in sentences, that differs from row to row."""
        texts = self.kinds[TEXT] + self.kinds[TEXTS]
        if texts * 2 <= self.seen or self.words < 3 * self.seen:
            return False
        return self.seen < 10 or len(self.values) > 0.5 * self.seen


@dataclass
class Unread:
    """The unread columns of one read. `see` each row; `judge` raises DataError at the first column
    that is not harmless.
    """

    file: str
    single: bool  # rows hold one answer
    invented: bool  # the prompt is what two texts share, no column
    document: bool = False  # rows are texts of their own
    names_only: bool = False  # rows are names that met
    forced: bool = False  # the user said the format
    prompted: bool = True  # some column is the prompt
    cleared: set[str] = field(default_factory=set)
    columns: dict[str, Column] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def see(
        self, value: Mapping[str, Any], used: Iterable[str], read: Iterable[Text | None]
    ) -> None:
        """One row: its columns, those that were read, and the texts that became of them."""
        whole = None
        for name, item in value.items():
            if (
                name in used
                or name in self.cleared
                or name.startswith("[")
                or name in named.OPTIONAL
            ):
                continue
            kind = named.kind_of(item)
            if kind is None:
                continue
            column = self.columns.setdefault(name, Column())
            column.seen += 1
            column.kinds[kind] += 1
            if kind in (NUMBER, "bool") or not isinstance(item, str | list | tuple | Mapping):
                column.values[str(item)] += 1
            else:
                said = words_in(item)
                if whole is None:
                    whole = words_in([text for text in read if text is not None])
                column.repeated += bool(said) and (
                    _stands_in(said, whole) or all(part in said for part in whole.split(MARK))
                )
                column.values[said[:200]] += 1
                column.words += count_words(said[:2000])
            if column.seen >= LOOKED_AT:
                self._judge(name, column)

    def judge(self) -> None:
        """Judge every column that was not yet."""
        for name, column in list(self.columns.items()):
            self._judge(name, column)

    def _judge(self, name: str, column: Column) -> None:
        self.cleared.add(name)
        why = self._error(name, column)
        shown = one_line(name)
        if why is None:
            if column.own and (column.prose or column.conversation) and not named.is_remark(name):
                self.notes.append(f"column `{shown}` holds text that is carried along and not read")
        elif self.forced:
            self.notes.append(f"column `{shown}` is not read, though {why[0]}")
        else:
            message, hint = why
            raise DataError(
                f"{self.file}: column `{shown}` is not read, though {message}",
                hint=f"{hint}, or leave it out: --columns {shown}=",
            )
        del self.columns[name]

    def _error(self, name: str, column: Column) -> tuple[str, str] | None:
        """What such a column could be, and what to do about it; None if it is harmless."""
        if not column.own:
            return None
        plain = name.lower()
        name = one_line(name)
        said = (
            column.kinds[TEXT]
            + column.kinds[MESSAGES]
            + column.kinds[MESSAGE]
            + column.kinds[TEXTS]
            + column.kinds[OBJECT]
        ) * 2 > column.seen
        if self.names_only:
            text = plain in ANSWERS or any(
                name in (p.first, p.second)
                for p in named.sides_of(self.columns.keys() | {name})
                if p.stem in named.TEXT_STEMS
            )
            if text and said and (column.prose or column.conversation):
                return (
                    "it could hold the texts that were compared",
                    "name the texts and their prompt: --columns prompt=MINE",
                )
            return None
        if (
            plain in PART_OF_PROMPT
            and said
            and (column.conversation or column.words >= 2 * column.seen)
            and not (self.document and plain in named.LESS_SURE)
        ):
            if plain in named.SYSTEM:
                return "it could be the system prompt", "give each row one prompt"
            return "it could be part of the prompt", self._as_prompt(name, column)
        answer = column.prose or (
            plain in REJECTED and column.words > column.seen
        )  # refusals are often alike
        if plain in ANSWERS and said and answer and not self.document:
            ours = (
                "chosen=MINE --columns rejected=MINE"
                if plain in REJECTED or not self.single
                else f"completion={name}"
            )
            return (
                "it could be an answer",
                f"say which columns hold the answers, as in --columns {ours}",
            )
        coded = sum(column.kinds[kind] for kind in named.CODED) * 2 > column.seen
        if (
            (plain in VERDICT or (self.single and _of_goodness(name)))
            and column.varies
            and coded
            and len(column.values) <= 20
            and not self.names_only
        ):
            if self.document:
                return (
                    "it could say which texts are good",
                    "documents have no verdict: name a prompt and a completion",
                )
            if self.single:
                return (
                    "it could say which answers are good",
                    f"read it as their label: {self._as_label(name, column)}",
                )
            return (
                "it could say which answer is better",
                "give the two answers and this verdict in columns of their own",
            )
        if plain in SCORE and column.varies and self.single and not self.document:
            return (
                "it could say how good each answer is",
                "make a column `label` of it (true or false)",
            )
        if self.invented and (column.conversation or (column.prose and not named.is_remark(name))):
            return (
                "it could be the prompt: there is no column `prompt`, and one would be "
                "made of the words that both answers begin with",
                f"name it: --columns prompt={name}",
            )
        if column.conversation and not named.is_remark(name):
            return "it holds messages", self._as_prompt(name, column)
        return None

    def _as_prompt(self, name: str, column: Column) -> str:
        """How to read it without losing what is read now."""
        if not self.prompted:
            return f"name it: --columns prompt={name}"
        if column.kinds[TEXTS] * 2 > column.seen:
            return "write it into the prompt"
        if column.conversation:
            return f"if it comes before the prompt, read it so: --columns history={name}"
        return f"join it to the prompt: --columns {named.INPUT}={name}"

    def _as_label(self, name: str, column: Column) -> str:
        """How to read it as a label that is true of good answers, whatever the column speaks of."""
        if not BADNESS & set(named.words_of(name)):
            return f"--columns label={name}"
        values = ",".join(
            f"{value.lower()}={'bad' if value.lower() in TRUE else 'good'}"
            for value in sorted(column.values)
        )
        return f"--columns label={name} --verdicts {values}"


def _of_goodness(name: str) -> bool:
    return bool(
        (GOODNESS | BADNESS - {"not", "down"}) & set(named.words_of(name))
    ) and not named.is_remark(name)


__all__ = ["Unread", "words_in"]
