"""Head-to-head results: who beat whom, by name, without the texts that met.

    winner, loser                              the order of the sides is not known
    first, second, winner                      winner names a side, its place (first, 1, a, model_a,
                                               ...) or a tie
    generator_1, generator_2, preference       1 (the first) to 2 (the second), 1.5 or 0 is a tie
    home, away, home_goals, away_goals         the higher score wins

The first side named is the one shown first. The names themselves are what won and lost, and
`Row.named` says so. The row keeps both names as `chosen_model` and `rejected_model`, and whether
the winner came first as `chosen_first`. With a prompt and both texts such a row is a comparison of
these texts, whoever wrote them (format `pairwise`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from holdfast.data import fields, verdicts
from holdfast.data.columns import NUMBER, TEXT, Kinds, Roles, name_sides, verdict_roles
from holdfast.data.parsers import Form, Parsed, compared
from holdfast.data.row_errors import RowError, empty

PROMPTS = ("prompt", "instruction", "question")
ABOUT = ("item", "question_id", *PROMPTS)  # what a match was about, if it says


def columns(kinds: Kinds) -> dict[str, str] | None:
    """The columns of who met and who won; `won` and `lost` where these are named themselves."""
    if {kinds.get("winner"), kinds.get("loser")} <= {TEXT, NUMBER}:
        return (
            None if "prompt" in kinds else {"won": "winner", "lost": "loser"}
        )  # with a prompt, they may be texts: ask
    names = name_sides(kinds)
    if names is None:
        return None
    about = next((name for name in ABOUT if name in kinds), None)
    roles = verdict_roles(kinds, {names.first, names.second, *([about] if about else [])})
    if roles is None:
        return None
    return {
        "first_name": names.first,
        "second_name": names.second,
        **({"about": about} if about else {}),
        **roles,
    }


def match(record: Mapping[str, Any], roles: Roles, form: Form) -> Parsed:
    """One match. The first side of a tie stands as `chosen`."""
    about = fields.name_of(record.get(roles.get("about", "")), roles.get("about", "")) or ""
    if "won" in roles:
        won, lost = (_name(record, roles[role]) for role in ("won", "lost"))
        _refuse_itself(won, lost, roles["won"])
        parts = {
            "prompt": about,
            "chosen": won,
            "rejected": lost,
            "named": True,
            "extra": {"chosen_model": won, "rejected_model": lost},
        }
        return Parsed([parts], frozenset(roles.values()))
    names = _name(record, roles["first_name"]), _name(record, roles["second_name"])
    _refuse_itself(*names, roles["first_name"])
    return compared(record, roles, form, about, names, named=True)


def documented(column: str, tally: verdicts.Tally) -> verdicts.Code | None:
    """The code of AlpacaEval's column `preference`, where the values are in it."""
    return verdicts.graded(column, tally) if column == "preference" else None


def _refuse_itself(one: str, two: str, column: str) -> None:
    if one == two:
        raise RowError("a side meets itself", field=column, detail=one[:40], cure="remove the row")


def _name(record: Mapping[str, Any], column: str) -> str:
    name = fields.name_of(fields.required(record, column), column)
    if name is None:
        raise RowError(empty(column), field=column, cure=f"write a `{column}`, or remove the row")
    return name
