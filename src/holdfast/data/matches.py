"""Who beat whom: two sides and a verdict, with or without the texts that met.

    winner, loser                              the order of the sides is not known
    first, second, winner                      winner names a side, its place (first, 1, a, model_a, ...) or a tie
    generator_1, generator_2, preference       1 (the first) to 2 (the second), 1.5 or 0 is a tie
    home, away, home_goals, away_goals         the higher score wins

A side is named in any of the columns `SIDES`, first shown first. Where the rows also hold a prompt and both texts (`TEXTS`), they become
comparisons of these texts; otherwise the names themselves are what won and lost, and `Row.named` says so. Either way the row keeps both
names as `chosen_model` and `rejected_model`, and whether the winner came first as `chosen_first`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from holdfast.data import fields
from holdfast.data.parsers import Form, Parsed, Parts, conversation_of, differing
from holdfast.data.trouble import RowError, empty

Pair = tuple[str, str]
SIDES: tuple[Pair, ...] = (
    ("first", "second"),
    ("model_a", "model_b"),
    ("home", "away"),
    ("generator_1", "generator_2"),
    ("player_1", "player_2"),
)
SCORES: tuple[Pair, ...] = (
    ("first_score", "second_score"),
    ("home_goals", "away_goals"),
    ("home_score", "away_score"),
    ("score_a", "score_b"),
)
TEXTS: tuple[Pair, ...] = (("response_a", "response_b"), ("answer_a", "answer_b"), ("output_1", "output_2"), ("text_1", "text_2"))
PROMPTS = ("prompt", "instruction", "question")
MATCHES = ("item", "question_id", *PROMPTS)  # what a match of names was about, if it says
WON_LOST: Pair = ("winner", "loser")
TIES = frozenset({"tie", "draw", "both", "neither", "tie (bothbad)", "tie (both bad)", "bothbad", "both_bad", "1.5", "0.5"})
FIRST = frozenset({"first", "1", "1.0", "a", "left", *(first for first, _ in SIDES)})
SECOND = frozenset({"second", "2", "2.0", "b", "right", *(second for _, second in SIDES)})


def marks(there: set[str]) -> set[str]:
    """What these columns amount to: "two sides", "a verdict"."""
    if set(WON_LOST) <= there:
        return set() if "prompt" in there else {"two sides", "a verdict"}  # with a prompt, they may be texts: ask
    found = {"two sides"} if _pair(SIDES, there) else set()
    return found | ({"a verdict"} if {"winner", "preference"} & there or _pair(SCORES, there) else set())


def match(record: Mapping[str, Any], form: Form) -> Parsed:
    """One match. The first side of a tie stands as `chosen`."""
    there = {key for key, value in record.items() if fields.present(value)}
    sides = _pair(SIDES, there)
    one, two = sides or WON_LOST
    names = _name(record, one), _name(record, two)
    won, used, more = _verdict(record, sides, names) if sides else (0, WON_LOST, {})
    if names[0] == names[1] and names[0]:
        raise RowError("a side meets itself", field=(sides or WON_LOST)[0], detail=names[0][:40], cure="remove the row")
    texts, read = _texts(record, there) if sides else (None, ())
    best, worst = (1, 0) if won == 1 else (0, 1)
    shown = texts or {"prompt": _match(record), "answers": names}
    parts: Parts = {
        "prompt": shown["prompt"],
        "chosen": shown["answers"][best],
        "rejected": shown["answers"][worst],
        "named": texts is None,
        "tie": won is None,
    }
    extra: dict[str, Any] = {"chosen_model": names[best], "rejected_model": names[worst]}
    if sides:
        extra["chosen_first"] = best == 0
    scores = more.pop("scores", None)
    if scores:
        extra |= {"score_chosen": scores[best], "score_rejected": scores[worst]}
    parts |= more | {"extra": extra}
    return Parsed([differing(parts) if texts else parts], frozenset({*(sides or ()), *used, *read}))


def _verdict(record: Mapping[str, Any], sides: Pair, names: Pair) -> tuple[int | None, tuple[str, ...], dict[str, Any]]:
    """The side that won (0, 1, None for a tie), the columns that said so, and what else they say."""
    if "winner" in record:
        return _named_winner(record, sides, names), ("winner",), {}
    if "preference" in record:
        value = fields.number(fields.required(record, "preference"), "preference", parse=True)
        if value is None or not (value == 0 or 1 <= value <= 2):
            cure = "write 1 (the first), 2 (the second), 1.5 (a tie), or a number between"
            raise RowError("`preference` is not from 1 to 2", field="preference", detail=str(value), cure=cure)
        won = None if value in (0, 1.5) else int(value > 1.5)
        return won, ("preference",), {} if value in (0, 1, 1.5, 2) else {"strength": abs(2 * value - 3)}
    columns = _pair(SCORES, set(record)) or SCORES[0]
    one, two = (fields.number(record.get(column), column, parse=True) for column in columns)
    if one is None or two is None:
        raise RowError(empty(columns[one is not None]), field=columns[one is not None], cure="give both scores, or remove the row")
    won = None if one == two else int(two > one)
    return won, columns, {"strength": abs(one - two), "scores": (one, two)}


def _named_winner(record: Mapping[str, Any], sides: Pair, names: Pair) -> int | None:
    said = _name(record, "winner")
    if said in names:
        return names.index(said)
    word = said.strip().lower()
    if word in TIES:
        return None
    if word in FIRST or word in SECOND:
        return int(word in SECOND)
    cure = f"name the winner, or write {sides[0]}, {sides[1]} or tie"
    raise RowError("`winner` is neither side", field="winner", detail=said[:40], cure=cure)


def _texts(record: Mapping[str, Any], there: set[str]) -> tuple[dict[str, Any] | None, tuple[str, ...]]:
    columns, prompt = _pair(TEXTS, there), next((name for name in PROMPTS if name in there), None)
    if columns is None or prompt is None:
        return None, ()
    one, two = columns
    found = conversation_of(fields.text(record[prompt], prompt), **{one: fields.text(record[one], one), two: fields.text(record[two], two)})
    return {"prompt": found["prompt"], "answers": (found[one], found[two])}, (prompt, one, two)


def _match(record: Mapping[str, Any]) -> str:
    return next((fields.name_of(record[name], name) or "" for name in MATCHES if fields.present(record.get(name))), "")


def _name(record: Mapping[str, Any], column: str) -> str:
    name = fields.name_of(fields.required(record, column), column)
    if name is None:
        raise RowError(empty(column), field=column, cure=f"write a `{column}`, or remove the row")
    return name


def _pair(pairs: tuple[Pair, ...], there: set[str]) -> Pair | None:
    return next((pair for pair in pairs if set(pair) <= there), None)
