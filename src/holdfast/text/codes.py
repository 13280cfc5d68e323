"""Values as integers: codes from 0 in the order of first appearance, -1 where nothing is given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from holdfast.stats.arrays import Ints


class Coded(NamedTuple):
    """A column as integers: `names[code_N[i]]` is what row i says, -1 where it says nothing."""

    code_N: Ints
    names: tuple[Any, ...]

    @property
    def given(self) -> int:
        """Rows that say something."""
        return int((self.code_N >= 0).sum())


def coded(values: Sequence[Any]) -> Coded:
    """Codes in the order of first appearance."""
    codes: dict[Any, int] = {}
    code_N = np.array(
        [-1 if value is None else codes.setdefault(value, len(codes)) for value in values], np.int64
    )
    return Coded(code_N, tuple(codes))
