"""Finding an entry of a table by its name, or saying which name was meant."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import TypeVar

from holdfast.errors import OptionError

T = TypeVar("T")


def named(name: str, table: Mapping[str, T], what: str, *, lists: str) -> T:
    """`table[name]`.

    Args:
        name: as it was given
        table: name -> entry
        what: what the entries are: "method"
        lists: the command that lists them, for the hint

    Raises:
        OptionError: there is none; the hint gives the nearest name.
    """
    if name in table:
        return table[name]
    near = get_close_matches(name.lower(), table, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}?" if near else f"`{lists}` lists them all"
    raise OptionError(f"there is no {what} {name!r}; there are {', '.join(table)}", hint=hint)
