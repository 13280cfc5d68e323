"""The swapped pair, the label given to the other answer, of a row and of a batch: one definition.

What is of the two answers goes with them: their texts, every column or sequence named after one of
them (`chosen_...`, `..._rejected`), a difference of the two (`reward_gap`, `earlier_gap`), which of
them was shown first. What is of the label, of the prompt or of the rater stays: `confidence`,
`strength`, `weight`, `group`, `rater`, a rationale.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from holdfast.inputs.base import Column
from holdfast.inputs.columns import earlier_gap, reward_gap, shown_first
from holdfast.types import Pairs, Row

SIDES = {"chosen": "rejected", "rejected": "chosen"}
_SIDE = re.compile(r"(?<![^_])(chosen|rejected)(?![^_])")
ONE_COLUMN = {
    name: column for column in (reward_gap, earlier_gap, shown_first) for name in column.columns
}


def other_side(name: str) -> str:
    """`chosen_given_rejected` -> `rejected_given_chosen`; a name that speaks of no side stays as it
    is.
    """
    return _SIDE.sub(lambda found: SIDES[found[0]], name)


def swapped_row(row: Row) -> Row:
    """The comparison as if the other answer had been chosen."""
    return replace(row, chosen=row.rejected, rejected=row.chosen, extra=_swapped_columns(row.extra))


def _swapped_columns(extra: Mapping[str, Any]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for name, value in extra.items():
        column = ONE_COLUMN.get(name)
        if column is None:
            out[other_side(name)] = value
        else:
            out[name] = column.swap(value) if column is shown_first or _is_number(value) else value
    return out


def _is_number(value: object) -> bool:
    """Anything else is not what the column holds, and stays as it is."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def swapped(pairs: Pairs) -> Pairs:
    """The batch as if the other answer of every row had been chosen."""
    inputs = {
        given: given.swap(x) if isinstance(given, Column) else x
        for given, x in pairs.inputs.items()
    }
    parts = {other_side(name): part for name, part in pairs.parts.items()}
    return replace(pairs.with_parts(parts), inputs=inputs)
