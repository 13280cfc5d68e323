"""What the values of a verdict column mean, judged over the whole column and never value by value.

`winner` may be coded model_a/model_b/tie, A/B, 1/2, 0/1, -1/0/1, true/false, or hold the names of
who met. A column is read when its values can mean one thing only, given what the answers' columns
are called: 1 and 2 count from one, 0 and 1 beside `response_0` and `response_1` are these. A code
that can mean two things is refused with both readings, and `verdicts` decides:

    verdicts={"0": "first", "1": "second"}        --verdicts 0=first,1=second
            (also tie, and skip for rows without a verdict)
    verdicts={"<0": "first", ">0": "second"}      --verdicts "<0=first,>0=second"
            (numbers: the distance is the strength)
    verdicts={"1": "good", "2": "bad"}            --verdicts 1=good,2=bad
            (labels of single answers)
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from holdfast.data import columns, fields
from holdfast.data.row_errors import RowError, empty
from holdfast.errors import DataError, OptionError
from holdfast.visible import one_line

FIRST, SECOND, TIE, SKIP, GOOD, BAD = "first", "second", "tie", "skip", "good", "bad"
OF_PAIRS, OF_LABELS = (FIRST, SECOND, TIE, SKIP), (GOOD, BAD, SKIP)
MANY = 40  # distinct values from which a column is no code
SOME = 0.01  # share of the rows from which a value is a class of its own
# rows that would name a side by chance alone, from which a column of names is believed to be one
SURE = 10
# share of the rows from which values that mean nothing are no slips but another kind of column
FREE = 0.2

TIES = frozenset(
    {
        "tie",
        "tied",
        "draw",
        "both",
        "neither",
        "equal",
        "same",
        "tie_bothbad",
        "tie_both_bad",
        "bothbad",
        "both_bad",
        "both_good",
        "bothgood",
        "even",
        "no_preference",
        "a=b",
        "a~b",
        "c",
    }
)
FIRSTS = frozenset({"first", "a", "left", "one", "1st"})
SECONDS = frozenset({"second", "b", "right", "two", "2nd"})
GOODS = frozenset(
    {
        "good",
        "true",
        "yes",
        "up",
        "desirable",
        "positive",
        "chosen",
        "thumbs_up",
        "correct",
        "like",
        "liked",
        "accepted",
        "accept",
        "pass",
        "preferred",
        "+",
    }
)
BADS = frozenset(
    {
        "bad",
        "false",
        "no",
        "down",
        "undesirable",
        "negative",
        "rejected",
        "thumbs_down",
        "incorrect",
        "wrong",
        "dislike",
        "disliked",
        "reject",
        "fail",
        "-",
    }
)
YES_NO = {"yes": 1.0, "y": 1.0, "no": 0.0, "n": 0.0}
NEUTRALS = frozenset(["neutral", "unsure", "unknown", "skip", "mixed"])
NOUN = (
    r"(?:the_)?(?:model|response|answer|output|completion|option|assistant|candidate|text|summary|system|generation|reply|choice|player"
    r"|side)"
)

NAMES = "names"  # verdicts=NAMES: the values are the names of who won
Token = str | float | bool  # a value without its type's accidents: "1" and 1.0 are the number 1
Names = tuple[str, str] | None


class Verdict(NamedTuple):
    """`won` is the side (0 or 1), None for a tie. `strength` is how clearly, where the code is
    graded. `skip`: there is no verdict.
    """

    won: int | None
    strength: float | None = None
    skip: bool = False


def token_of(value: Any) -> Token | None:
    """A verdict as the number, the truth value or the word that it is; None where there is none."""
    if not fields.present(value):
        return None
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return None if math.isnan(value) else float(value)
    word = str(value).strip()
    if word.lower() in ("true", "false"):
        return word.lower() == "true"
    try:
        number = float(word)
    except ValueError:
        return word or None
    return number if math.isfinite(number) else word


def _plain(word: str) -> str:
    return re.sub(r"[\s\-]+", "_", re.sub(r"[\[\]()\"'.:*]", "", word.strip().lower())).strip("_")


def shown(token: Token) -> str:
    return (
        f"{token:g}"
        if isinstance(token, float)
        else str(token).lower()
        if isinstance(token, bool)
        else token
    )


# --------------------------------------------------------------------------------- what was counted


@dataclass
class Tally:
    """Every value of a verdict column, with how often it names the first or the second of who
    met.
    """

    counts: Counter[Token] = field(default_factory=Counter)
    named: Counter[str] = field(
        default_factory=Counter
    )  # "first", "second", "neither"; of words and numbers that could be names
    placed: int = 0  # rows whose value reads as a place (1, a, left) or a tie
    disagree: int = 0  # rows in which the reading as a name and as a place differ
    # rows whose value names a side though the other place would not: read as a place it would be
    # chance
    telling: int = 0
    total: int = 0

    def add(self, value: Any, names: Names) -> None:
        token = token_of(value)
        if token is None:
            return
        self.total += 1
        if token in self.counts or len(self.counts) < 1000:
            self.counts[token] += 1
        if names is not None:
            name, place = _name_place(token, names), _place(token)
            self.named[name or ("tie" if place == TIE else "neither")] += 1
            self.placed += place is not None
            self.disagree += name is not None and place is not None and name != place
            self.telling += (
                name is not None
                and place is not None
                and _other_place(token) not in [n.strip().lower() for n in names]
            )


def _place(token: Token) -> str | None:
    if isinstance(token, str):
        plain = _plain(token)
        return (
            TIE
            if plain in TIES - {"c"}
            else FIRST
            if plain in FIRSTS
            else SECOND
            if plain in SECONDS
            else None
        )
    return None if isinstance(token, bool) else {1.0: FIRST, 2.0: SECOND}.get(token)


def _other_place(token: Token) -> str:
    return {"1": "2", "2": "1", "a": "b", "b": "a", "first": "second", "second": "first"}.get(
        shown(token).strip().lower(), ""
    )


def _name_place(token: Token, names: tuple[str, str]) -> str | None:
    said = shown(token)
    return next(
        (
            place
            for place, name in zip((FIRST, SECOND), names, strict=True)
            if said.strip() == name.strip()
        ),
        None,
    )


# ----------------------------------------------------------------------------------- how it is read


@dataclass(frozen=True)
class Code:
    """How one column's verdicts are read."""

    column: str
    says: str
    meaning: Mapping[Token, str] = field(default_factory=dict)
    ranges: Sequence[
        tuple[str, float, str]
    ] = ()  # ("<", 0.0, "first"): tried in order where no value matches
    by_name: bool = False
    graded: Callable[[float], Verdict] | None = None

    def read(self, value: Any, names: Names = None) -> Verdict:
        """The verdict of one row. Raises RowError for a value that the code does not have."""
        token = token_of(value)
        if token is None:
            raise RowError(
                empty(self.column),
                field=self.column,
                cure=f"write a `{self.column}`, or remove the row",
            )
        if self.by_name and names is not None and (place := _name_place(token, names)):
            return _verdict(place)
        if token in self.meaning:
            return _verdict(self.meaning[token])
        if isinstance(token, float) and not isinstance(token, bool):
            if self.graded is not None:
                return self.graded(token)
            for sign, border, meaning in self.ranges:
                if (sign == "<" and token < border) or (sign == ">" and token > border):
                    return _verdict(meaning, abs(token - border))
        cure = (
            f"write one of {', '.join(sorted(set(map(shown, self.meaning))))}"
            if self.meaning
            else "name the winner, or write tie"
        )
        cure += (
            f'; or say what it means: --verdicts "{shown(token)[:20]}=tie" (skip leaves such '
            "rows out)"
        )
        reason = (
            f"`{self.column}` is neither side"
            if self.by_name
            else f"`{self.column}` holds a value that is no verdict"
        )
        raise RowError(reason, field=self.column, detail=shown(token)[:40], cure=cure)


def _verdict(meaning: str, strength: float | None = None) -> Verdict:
    if meaning == SKIP:
        return Verdict(None, skip=True)
    return Verdict(
        {FIRST: 0, GOOD: 0, SECOND: 1, BAD: 1, TIE: None}[meaning],
        strength if meaning in (FIRST, SECOND) else None,
    )


def named_verdicts(verdicts: Mapping[Any, str] | str | Iterable[str] | None) -> dict[str, str]:
    """Value -> meaning, from a mapping or from "0=first,1=second"."""
    if not verdicts:
        return {}
    if isinstance(verdicts, Mapping):
        pairs = [
            (shown("" if (token := token_of(key)) is None else token), str(value))
            for key, value in verdicts.items()
        ]
    else:
        pairs = []
        for part in [verdicts] if isinstance(verdicts, str) else verdicts:
            for pair in part.split(","):
                if pair.strip() == NAMES:
                    pair = f"{NAMES}={NAMES}"
                key, equals, meaning = pair.rpartition("=")
                if not equals:
                    raise OptionError(
                        f"verdicts must be like 0=first,1=second, not {pair!r}",
                        hint=f"a value, =, and one of {_known()}",
                    )
                pairs.append((key.strip(), meaning.strip()))
    for key, meaning in pairs:
        if (meaning.lower() not in {*OF_PAIRS, *OF_LABELS} and key != NAMES) or not key:
            raise OptionError(
                f"verdicts: {key!r} cannot mean {meaning!r}",
                hint=f"a value means one of {_known()}",
            )
    kinds = {meaning.lower() for _, meaning in pairs} - {SKIP}
    if kinds & {FIRST, SECOND, TIE} and kinds & {GOOD, BAD}:
        raise OptionError(
            "verdicts mixes sides and labels",
            hint="first, second, tie are for two answers; good, bad for single ones",
        )
    return {key: meaning.lower() for key, meaning in pairs}


def _known() -> str:
    return ", ".join(dict.fromkeys((*OF_PAIRS, *OF_LABELS)))


def said_code(
    column: str, verdicts: Mapping[str, str], wanted: Sequence[str], tally: Tally, file: str
) -> Code:
    """The code that the user gave. Raises OptionError where it says nothing about values that the
    column holds.
    """
    if NAMES in verdicts:
        return Code(column, "the name of the winner, as --verdicts says", {}, by_name=True)
    wrong = sorted(set(verdicts.values()) - set(wanted))
    if wrong:
        raise OptionError(
            f"verdicts: `{column}` cannot mean {wrong[0]}",
            hint=f"here a value means one of {', '.join(wanted)}",
        )
    words = (
        {token: _word(token, None) for token in tally.counts if isinstance(token, str)}
        if SECOND in wanted
        else {}
    )
    meaning: dict[Token, str] = {
        token: value for token, value in words.items() if isinstance(value, str)
    }
    given: dict[Token, str] = {}
    ranges = []
    for key, value in verdicts.items():
        border = re.fullmatch(r"([<>])\s*(-?\d+(?:\.\d+)?)", key)
        if border:
            ranges.append((border[1], float(border[2]), value))
        else:
            token = token_of(key)
            assert token is not None
            given[token] = value
            if isinstance(token, str):
                given |= {
                    other: value
                    for other in tally.counts
                    if isinstance(other, str) and other.lower() == token.lower()
                }
    meaning |= given
    if not (set(tally.counts) & set(given)) and not ranges:
        there = ", ".join(shown(token) for token, _ in tally.counts.most_common(8))
        raise OptionError(
            f"{file}: verdicts names no value of `{column}`, which holds {there}",
            hint="name those values",
        )
    code = Code(
        column,
        "as --verdicts says: " + ", ".join(f"{k} = {v}" for k, v in verdicts.items()),
        meaning,
        ranges,
    )
    refuse_unread(code, tally, file, wanted)
    return code


# ------------------------------------------------------------------------------------ the inference


def decide(
    column: str, tally: Tally, sides: columns.Sides | None, file: str, *, what: Names = None
) -> Code:
    """The one code that the verdicts about two answers can be in.

    Args:
        column: of the verdicts.
        tally: of all its values.
        sides: the columns of the two answers (or of who met), whose names may decide.
        file: for complaints.
        what: what the two sides are called in complaints.

    Raises:
        DataError: the values can mean two things (both are named), or a value that many rows have
            can mean nothing.
    """
    first, second = what or ((sides.first, sides.second) if sides else (FIRST, SECOND))
    meaning: dict[Token, str] = {}
    numbers: dict[float, list[Token]] = {}
    spoken = columns.side_spoken_of(column)
    for token in tally.counts:
        if isinstance(token, float) and not isinstance(token, bool):
            numbers.setdefault(token, []).append(token)
        elif isinstance(token, str):
            spoken_word = YES_NO.get(_plain(token)) if spoken is not None else None
            read = _word(token, sides) if spoken_word is None else spoken_word
            if isinstance(read, float):
                numbers.setdefault(read, []).append(token)
            elif read is not None:
                meaning[token] = read
    bools = [token for token in tally.counts if isinstance(token, bool)]
    by_name = (
        bool(tally.named[FIRST] + tally.named[SECOND])
        and tally.named["neither"] <= tally.total * 0.2
    )
    if by_name:
        if tally.placed == tally.total and tally.disagree and tally.telling < SURE:
            places = {
                token: str(_place(token))
                for token in tally.counts
                if _place(token) in (FIRST, SECOND)
            }
            lines = [
                f"{file}: `{column}` holds {_list(tally)}, which can mean two things:",
                "  the name of the winner",
            ]
            lines.append(
                "  the winner's place: "
                + ", ".join(
                    f"{shown(token)} is `{(first, second)[side == SECOND]}`"
                    for token, side in places.items()
                )
            )
            said = ",".join(f"{shown(token)}={side}" for token, side in places.items())
            raise DataError(
                "\n".join(lines),
                hint=(
                    f"say which: --verdicts {NAMES} or --verdicts {said} (in Python: verdicts=...)"
                ),
            )
        code = Code(
            column, f"the name of the winner ({len(tally.counts)} different)", meaning, by_name=True
        )
        refuse_unread(code, tally, file, OF_PAIRS)
        return code
    how = "words"
    if numbers or bools:
        readings = _readings(column, set(numbers), bool(bools), sides)
        if len(readings) != 1:
            raise _two_readings(column, tally, readings, first, second, file)
        how, of_numbers = readings[0]
        meaning |= {
            token: of_numbers[number] for number, tokens in numbers.items() for token in tokens
        }
        meaning |= {token: of_numbers[float(token)] for token in bools}
    said = ", ".join(f"{shown(token)} = {value}" for token, value in list(meaning.items())[:6])
    code = Code(column, f"{how}: {said}", meaning)
    refuse_unread(code, tally, file, OF_PAIRS)
    return code


Reading = tuple[str, Mapping[float, str]]


def _word(word: str, sides: columns.Sides | None) -> str | float | None:
    """What a word says: a side, a tie, or the number in it ("response_1"), which is judged with the
    others; None if nothing.
    """
    plain = _plain(word)
    if sides is not None and word.strip() in (sides.first, sides.second):
        return SECOND if word.strip() == sides.second else FIRST
    if plain in TIES or re.fullmatch(r"(tie|draw|both|neither)_.*", plain):
        return TIE
    if plain in FIRSTS or plain in SECONDS:
        return FIRST if plain in FIRSTS else SECOND
    if more := re.fullmatch(
        r"(?:model_|response_|assistant_)?([ab])_*(>+|<+|=+)_*(?:model_|response_|assistant_)?([ab])",
        plain,
    ):
        if more[1] == more[3]:
            return None
        if more[2][0] == "=":
            return TIE
        return FIRST if (more[1] == "a") == (more[2][0] == ">") else SECOND
    if named := re.fullmatch(
        rf"{NOUN}_?(a|b|first|second|left|right|one|two|\d)(?:_(?:is_)?(?:slightly_|much_)?(?:better|wins|won))?",
        plain,
    ):
        return float(named[1]) if named[1].isdigit() else FIRST if named[1] in FIRSTS else SECOND
    if named := re.fullmatch(
        r"(a|b|first|second|left|right)_(?:is_)?(?:slightly_|much_)?(?:better|wins|won|win)", plain
    ):
        return FIRST if named[1] in FIRSTS else SECOND
    if named := re.fullmatch(rf"(first|second|1st|2nd)_{NOUN}", plain):
        return FIRST if named[1] in FIRSTS else SECOND
    return None


def _readings(
    column: str, numbers: set[float], bools: bool, sides: columns.Sides | None
) -> list[Reading]:
    """What these numbers can mean, each reading with its meaning of every number."""
    values = numbers | ({0.0, 1.0} if bools else set())
    tokens = sides.tokens if sides else None
    counted_from_0: Reading = ("counted from 0", {0.0: FIRST, 1.0: SECOND})
    first_won: Reading = ("1 or true says that the first won", {1.0: FIRST, 0.0: SECOND})
    counted_from_1: Reading = ("counted from 1", {1.0: FIRST, 2.0: SECOND})
    if bools and numbers - {0.0, 1.0}:
        return []
    spoken = columns.side_spoken_of(column)
    if spoken is not None and values <= {0.0, 1.0}:
        return [
            (
                f"`{column}` speaks of the {('first', 'second')[spoken]}",
                {1.0: (FIRST, SECOND)[spoken], 0.0: (SECOND, FIRST)[spoken]},
            )
        ]
    if values <= {0.0, 1.0}:
        if tokens == ("0", "1") and not bools and column in columns.BY_INDEX:
            return [counted_from_0]
        if values == {1.0} and not bools and tokens != ("0", "1"):
            return [counted_from_1, ("counted from 0", {1.0: SECOND})]
        return [counted_from_0, first_won]
    if values == {1.0, 2.0}:
        return (
            [counted_from_1]
            if tokens != ("0", "1")
            else [counted_from_1, ("as in the columns' names", {1.0: SECOND, 2.0: TIE})]
        )
    if values == {2.0}:
        return [counted_from_1, ("2 is a tie, counted from 0", {2.0: TIE})]
    if values == {0.0, 1.0, 2.0}:
        return [
            ("0 is a tie, then counted from 1", {0.0: TIE, 1.0: FIRST, 2.0: SECOND}),
            ("counted from 0, 2 is a tie", {0.0: FIRST, 1.0: SECOND, 2.0: TIE}),
            ("2 says that the first won, 1 is a tie", {2.0: FIRST, 1.0: TIE, 0.0: SECOND}),
        ]
    if values == {1.0, 2.0, 3.0}:
        return [
            ("counted from 1, 3 is a tie", {1.0: FIRST, 2.0: SECOND, 3.0: TIE}),
            ("a scale with a tie in the middle", {1.0: FIRST, 2.0: TIE, 3.0: SECOND}),
        ]
    if values <= {1.0, 1.5, 2.0} and values & {1.0, 2.0} and 1.5 in values:
        return [("counted from 1, 1.5 is a tie", {1.0: FIRST, 2.0: SECOND, 1.5: TIE})]
    if len(values) == 1 and min(values) > 0:
        return []
    if min(values) < 0 < max(values) or values in ({-1.0}, {-1.0, 0.0}):
        low = {v: FIRST if v < 0 else SECOND if v > 0 else TIE for v in values}
        high = {v: SECOND if v < 0 else FIRST if v > 0 else TIE for v in values}
        return [
            ("negative says that the first won", low),
            ("positive says that the first won", high),
        ]
    middle = (min(values) + max(values)) / 2
    low = {v: FIRST if v < middle else SECOND if v > middle else TIE for v in values}
    high = {v: SECOND if v < middle else FIRST if v > middle else TIE for v in values}
    return [("low says that the first won", low), ("high says that the first won", high)]


def _graded(value: float) -> Verdict:
    if not 1 <= value <= 2:
        cure = "write 1 (the first), 2 (the second), 1.5 (a tie), or a number between"
        raise RowError(
            "`preference` is not from 1 to 2", field="preference", detail=f"{value:g}", cure=cure
        )
    won = None if value == 1.5 else int(value > 1.5)
    return Verdict(won, None if value in (1, 1.5, 2) else abs(2 * value - 3))


def label_code(column: str, tally: Tally, file: str) -> Code:
    """The one code that labels of single answers can be in: true is good, 1 is good, -1 is bad
    beside it.

    Raises:
        DataError: the values can mean two things, or a value that many rows have can mean nothing.
    """
    meaning: dict[Token, str] = {}
    numbers = {
        token for token in tally.counts if isinstance(token, float) and not isinstance(token, bool)
    }
    for token in tally.counts:
        if isinstance(token, bool):
            meaning[token] = GOOD if token else BAD
        elif isinstance(token, str):
            plain = _plain(token) or token
            value = (
                GOOD
                if plain in GOODS
                else BAD
                if plain in BADS
                else SKIP
                if plain in NEUTRALS
                else None
            )
            if value is not None:
                meaning[token] = value
    if numbers <= {0.0, 1.0}:
        meaning |= {number: GOOD if number else BAD for number in numbers}
    elif numbers in ({-1.0, 1.0}, {-1.0, 0.0, 1.0}, {-1.0}):
        meaning |= {
            number: GOOD if number > 0 else BAD if number < 0 else SKIP for number in numbers
        }
    elif sum(tally.counts[number] for number in numbers - {0.0, 1.0}) >= max(2, SOME * tally.total):
        middle = (min(numbers) + max(numbers)) / 2
        values = _list(tally)
        lines = [f"{file}: `{column}` holds {values}, which can mean two things:"]
        lines += [
            "  high is good: a rating",
            "  low is good: a rank, or a code such as 1 = good, 2 = bad",
        ]
        hint = (
            f'say which: --verdicts "<{middle:g}=bad,>{middle:g}=good" (or the other '
            "way), or value by value, as in "
            f"--verdicts {shown(min(numbers))}=bad,{shown(max(numbers))}=good; skip "
            "leaves a value out"
        )
        raise DataError("\n".join(lines), hint=hint)
    else:
        meaning |= {number: GOOD if number else BAD for number in numbers & {0.0, 1.0}}
    code = Code(
        column,
        ", ".join(f"{shown(token)} = {value}" for token, value in list(meaning.items())[:6]),
        meaning,
    )
    refuse_unread(code, tally, file, OF_LABELS)
    return code


def _list(tally: Tally) -> str:
    shown_values = [
        f"{shown(token)[:30]} ({n:,} row{'s' * (n != 1)})"
        for token, n in tally.counts.most_common(6)
    ]
    more = len(tally.counts) - len(shown_values)
    return ", ".join(shown_values) + (f" and {more:,} more values" if more > 0 else "")


def refuse_unread(code: Code, tally: Tally, file: str, wanted: Sequence[str]) -> None:
    """A value that is one row's slip is that row's error; one that many rows share is a class,
    and would vanish whole.
    """
    if code.graded is not None or code.by_name:
        return
    unread = {}
    for token, n in tally.counts.items():
        ranged = isinstance(token, float) and any(
            (s == "<" and token < b) or (s == ">" and token > b) for s, b, _ in code.ranges
        )
        if token not in code.meaning and not ranged:
            unread[token] = n
    lost = [token for token, n in unread.items() if n >= 2 and n >= SOME * tally.total]
    if not lost and len(unread) >= 3 and sum(unread.values()) >= FREE * tally.total:
        lost = list(unread)
    if not lost:
        return
    some = ", ".join(f"{shown(token)[:30]!r} ({tally.counts[token]:,} rows)" for token in lost[:5])
    message = (
        f"{file}: `{code.column}` holds {some}, which is no verdict: all these rows would be lost"
    )
    example = ",".join(f"{one_line(shown(token))}=MEANING" for token in lost[:2])
    hint = (
        f'say what it means: --verdicts "{example}", each MEANING one of {", ".join(wanted)} '
        "(skip leaves such rows out)"
    )
    hint += ", in Python verdicts={...}"
    raise DataError(message, hint=hint)


def _two_readings(
    column: str, tally: Tally, readings: Sequence[Reading], first: str, second: str, file: str
) -> DataError:
    sides = {FIRST: f"`{first}`", SECOND: f"`{second}`", TIE: "a tie"}
    lines = [
        f"{file}: `{column}` holds {_list(tally)}, which can mean "
        f"{'two' if len(readings) < 3 else 'several'} things:"
    ]
    options = []
    there = {float(token) for token in tally.counts if not isinstance(token, str)}
    for how, meaning in readings:
        shown_meaning = {
            value: said for value, said in meaning.items() if value in there or len(meaning) <= 3
        }
        lines.append(
            f"  {how}: "
            + ", ".join(
                f"{value:g} is {sides[said]}" for value, said in sorted(shown_meaning.items())[:7]
            )
        )
        bools = any(isinstance(token, bool) for token in tally.counts)
        spell = {0.0: "false", 1.0: "true"} if bools else {}
        if len(meaning) > 7:
            low = meaning[min(meaning)]
            middle = 0.0 if min(meaning) < 0 < max(meaning) else (min(meaning) + max(meaning)) / 2
            high = SECOND if low == FIRST else FIRST
            options.append(f'"<{middle:g}={low},>{middle:g}={high},{middle:g}=tie"')
        else:
            options.append(
                ",".join(
                    f"{spell.get(v, f'{v:g}')}={said}" for v, said in sorted(shown_meaning.items())
                )
            )
    if not readings:
        lines = [f"{file}: `{column}` holds {_list(tally)}, which is no code that is known"]
    options = options or ['"VALUE=first,OTHER=second"']
    hint = f"say which: --verdicts {' or --verdicts '.join(options)} (in Python: verdicts={{...}})"
    return DataError("\n".join(lines), hint=hint)


# ------------------------------------------------------------------- codes that somebody documented


def spelled(how: str, meaning: Mapping[float, str]) -> Callable[[str, Tally], Code | None]:
    """A code with one meaning for each number. Of other values there is none."""

    def code(column: str, tally: Tally) -> Code | None:
        named: dict[Token, str] = {
            token: meaning[float(token)]
            for token in tally.counts
            if not isinstance(token, str) and float(token) in meaning
        }
        if not named:
            return None
        said = ", ".join(f"{value:g} = {side}" for value, side in sorted(meaning.items()))
        every: dict[Token, str] = dict(meaning.items())
        return Code(column, f"{how}: {said}", every | named)

    return code


def signed(column: str, tally: Tally) -> Code | None:
    """Negative numbers say that the first is better, and how much: -3 to 3. Without a negative
    number it is no such code.
    """
    numbers = [
        token for token in tally.counts if isinstance(token, float) and not isinstance(token, bool)
    ]
    if not numbers or min(numbers) >= 0:
        return None
    return Code(
        column,
        "as published: negative = first, positive = second",
        {0.0: TIE},
        (("<", 0.0, FIRST), (">", 0.0, SECOND)),
    )


def graded(column: str, tally: Tally) -> Code | None:
    """AlpacaEval's: from 1, the first, to 2, the second; 1.5 and 0 are ties. Where no value lies
    above 1 it is no such code.
    """
    numbers = [
        token for token in tally.counts if isinstance(token, float) and not isinstance(token, bool)
    ]
    if (
        not numbers
        or max(numbers) <= 1
        or any(number > 2 or 0 < number < 1 or number < 0 for number in numbers)
    ):
        return None
    return Code(column, "from 1 (the first) to 2 (the second)", {0.0: TIE}, graded=_graded)
