"""How the costs of a batch become one number: averaged, or taken at the worst (once: the best) case
over reweightings of the rows.

Each factory returns a `holdfast.card.Reduction`, whose name is its own specification:
`parse(reduction.name)` gives it back. The gradient of its scalar in the costs is the adversary's
weighting of the rows.
"""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches

from holdfast.card import Reduction, settings_of
from holdfast.errors import OptionError
from holdfast.reductions.chi_square import chi_square
from holdfast.reductions.cvar import cvar
from holdfast.reductions.groups import groups
from holdfast.reductions.kl import kl
from holdfast.reductions.kl_best_case import kl_best_case
from holdfast.reductions.mean import mean

__all__ = ["REDUCTIONS", "chi_square", "cvar", "groups", "kl", "kl_best_case", "mean", "parse"]

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
    name, _, rest = text.strip().partition(":")
    if name not in REDUCTIONS:
        near = get_close_matches(name, REDUCTIONS, n=1)
        raise OptionError(
            f"there is no reduction {name!r}",
            hint=f"did you mean {near[0]}?" if near else f"one of {', '.join(REDUCTIONS)}",
        )
    parameters = settings_of(REDUCTIONS[name])
    usage = name + (":" + ",".join(f"{s}=..." for s in parameters) if parameters else "")
    settings: dict[str, float | int] = {}
    for part in filter(None, (part.strip() for part in rest.split(","))):
        setting, equals, value = (piece.strip() for piece in part.partition("="))
        if setting not in parameters or not equals or setting in settings:
            raise OptionError(
                f"cannot read {part!r} in the reduction {text!r}", hint=f"write it as {usage}"
            )
        try:
            settings[setting] = (
                int(value) if parameters[setting].annotation == "int" else float(value)
            )
        except ValueError:
            raise OptionError(
                f"{setting} is {value!r} in the reduction {text!r}, not a number",
                hint=f"write it as {usage}",
            ) from None
    missing = [s for s, p in parameters.items() if p.default is p.empty and s not in settings]
    if missing:
        raise OptionError(
            f"the reduction {name} wants {', '.join(missing)}", hint=f"write it as {usage}"
        )
    return REDUCTIONS[name](**settings)
