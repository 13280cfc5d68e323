"""Newton-Schulz coefficients by shape (ROOT, arXiv:2511.20626): the table that ships, and how to
look a matrix up in it.

The singular values of an m x n matrix of Frobenius norm 1 lie where its shape puts them: about
`(1 +- sqrt(m/n)) / sqrt(m)` for a Gaussian one. One set of coefficients for all shapes is therefore
right for few of them. `coefficients.json` holds a set for each shape of a grid, made by
`python -m holdfast.optimization.optimizers.fit`; a matrix takes that of the nearest shape in
log m and log n/m.
"""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from math import log

from holdfast.optimization.optimizers.newton_schulz import Coefficients


@cache
def table() -> dict[tuple[int, int], Coefficients]:
    """(m, n), m <= n -> a, b, c."""
    file = resources.files("holdfast.optimization.optimizers") / "coefficients.json"
    rows = json.loads(file.read_text(encoding="utf-8"))["rows"]
    return {(row["m"], row["n"]): (row["a"], row["b"], row["c"]) for row in rows}


@cache
def coefficients_for(rows: int, columns: int) -> Coefficients:
    """The coefficients for a matrix, either way round.

    Departures from the paper, whose own table has four shapes of 2,048 rows and Muon's coefficients
    for every other:

    1. a grid, so that no shape falls back to those;
    2. fitted to drawn spectra (see `fit`), since nobody has the momentum of a run before the run.
    """
    m, n = sorted((rows, columns))
    return table()[min(table(), key=lambda shape: _apart(shape, m, n))]


def _apart(shape: tuple[int, int], m: int, n: int) -> float:
    low, high = shape
    return abs(log(low / m)) + abs(log(high / low) - log(n / m))
