"""How the costs of a batch become one number: averaged, or taken at the worst (once: the best) case
over reweightings of the rows.

Each factory returns a `holdfast.card.Reduction`, whose name is its own specification:
`parse(reduction.name)` gives it back. The gradient of its scalar in the costs is the adversary's
weighting of the rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from difflib import get_close_matches
from typing import TypeVar

from holdfast.card import Average, Method, Reduction, settings_of
from holdfast.errors import OptionError
from holdfast.reductions.averages import AVERAGES
from holdfast.reductions.chi_square import chi_square
from holdfast.reductions.cvar import cvar
from holdfast.reductions.groups import groups
from holdfast.reductions.kl import kl
from holdfast.reductions.kl_best_case import kl_best_case
from holdfast.reductions.mean import mean

__all__ = [
    "AVERAGES",
    "REDUCTIONS",
    "chi_square",
    "cvar",
    "groups",
    "kl",
    "kl_best_case",
    "mean",
    "parse",
    "parse_average",
    "parsed",
    "with_average",
]

Made = TypeVar("Made")

REDUCTIONS: dict[str, Callable[..., Reduction]] = {
    "mean": mean,
    "kl": kl,
    "kl_best_case": kl_best_case,
    "chi_square": chi_square,
    "cvar": cvar,
    "groups": groups,
}


def parse(text: str) -> Reduction:
    """The reduction written as `name` or `name:setting=value,setting=value`: "mean",
    "kl:temperature=0.5", "groups:k=3,step=0.01".

    Raises:
        OptionError: no such reduction or setting, a setting is missing, given twice, not a number
            or out of range.
    """
    return parsed(text, REDUCTIONS, "reduction")


def parse_average(text: str) -> Average:
    """The average over tokens written in the same way: "token_mean", "constant:length=512".

    Raises:
        OptionError: as `parse`.
    """
    return parsed(text, AVERAGES, "average")


def with_average(method: Method, average: str | Average | None) -> Method:
    """The method with another average over tokens; as it is where none is given.

    Raises:
        OptionError: no such average, or a method whose costs are of whole answers.
    """
    if average is None:
        return method
    if method.average is None:
        raise OptionError(
            f"{method.name} has no average over tokens: its cost is of whole answers",
            hint="leave average out",
        )
    return replace(method, average=parse_average(average) if isinstance(average, str) else average)


def parsed(text: str, table: Mapping[str, Callable[..., Made]], kind: str) -> Made:
    """What a table's factory makes of `name:setting=value`; `kind` is what to call it in errors."""
    name, _, rest = text.strip().partition(":")
    if name not in table:
        near = get_close_matches(name, table, n=1)
        raise OptionError(
            f"there is no {kind} {name!r}",
            hint=f"did you mean {near[0]}?" if near else f"one of {', '.join(table)}",
        )
    parameters = settings_of(table[name])
    usage = name + (":" + ",".join(f"{s}=..." for s in parameters) if parameters else "")
    settings: dict[str, float | int] = {}
    for part in filter(None, (part.strip() for part in rest.split(","))):
        setting, equals, value = (piece.strip() for piece in part.partition("="))
        if setting not in parameters or not equals or setting in settings:
            raise OptionError(
                f"cannot read {part!r} in the {kind} {text!r}", hint=f"write it as {usage}"
            )
        try:
            settings[setting] = (
                int(value) if parameters[setting].annotation == "int" else float(value)
            )
        except ValueError:
            raise OptionError(
                f"{setting} is {value!r} in the {kind} {text!r}, not a number",
                hint=f"write it as {usage}",
            ) from None
    missing = [s for s, p in parameters.items() if p.default is p.empty and s not in settings]
    if missing:
        raise OptionError(
            f"the {kind} {name} wants {', '.join(missing)}", hint=f"write it as {usage}"
        )
    return table[name](**settings)
