"""A stream of rows that belong to a shape and a color at once, whose labels depend on both.

Features are uniform on (0, 1)^10; each shape and each color has a linear score of its own, with
positive weights that add to 1. A label is the smaller (or the mean) of a row's two scores, or the
shape's alone, or one score common to all; plus noise of deviation 0.02.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from holdfast.stats.arrays import Floats

SHAPES, COLORS = (0.5, 0.3, 0.2), (0.6, 0.4)
GROUPS = ("circle", "square", "triangle", "red", "green")
LABELS = ("mean", "min", "shape", "common")
FEATURES = 10


class Rows(NamedTuple):
    x_TD: Floats
    y_T: Floats
    active_TG: NDArray[np.bool_]  # columns as in GROUPS


def rows(rng: np.random.Generator, rounds: int, label: str, *, ordered: bool = False) -> Rows:
    """`rounds` rows. `ordered`: all of one color, then all of the other, shapes in blocks
    within.
    """
    shape_T, color_T = rng.choice(3, rounds, p=SHAPES), rng.choice(2, rounds, p=COLORS)
    if ordered:
        order = np.lexsort((shape_T, color_T))
        shape_T, color_T = shape_T[order], color_T[order]
    x_TD = rng.random((rounds, FEATURES))
    weights = rng.dirichlet(np.ones(FEATURES), 6)
    by_shape_T, by_color_T = (x_TD * weights[shape_T]).sum(1), (x_TD * weights[3 + color_T]).sum(1)
    clean_T = {
        "mean": (by_shape_T + by_color_T) / 2,
        "min": np.minimum(by_shape_T, by_color_T),
        "shape": by_shape_T,
        "common": x_TD @ weights[5],
    }[label]
    active_TG = np.column_stack(
        [shape_T[:, None] == np.arange(3), color_T[:, None] == np.arange(2)]
    )
    return Rows(x_TD, np.clip(clean_T + 0.02 * rng.standard_normal(rounds), 0, 1), active_TG)
