"""Labels that were turned around: a stretch, a source, half of the file; and worlds where nothing was, however noisy."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from coverage._made import coins, rows_of, tastes, turn
from coverage.case import Case, Trial, judged
from holdfast.checkup.finding import Asked
from holdfast.checkup.inverted import inverted

Turned = Callable[[int, int, np.random.Generator], bool]


def world(seed: int, *, turned: Turned, strength: float = 1.0, n: int = 800) -> Trial:
    rng = np.random.default_rng(seed)
    rows = tastes(rng, n, strength) if strength else coins(rng, n)
    for i, row in enumerate(rows):
        row["source"] = f"site {i % 6}"
        if turned(i, n, rng):
            turn(row)
    return judged(inverted(rows_of(rows), Asked(seed=seed)), None)


def never(i: int, n: int, rng: np.random.Generator) -> bool:
    return False


def noisy_fifth(i: int, n: int, rng: np.random.Generator) -> bool:
    """A stretch whose labels are coins is noise, and not turned around."""
    return n // 2 <= i < n * 7 // 10 and bool(rng.random() < 0.5)


def fifth(i: int, n: int, rng: np.random.Generator) -> bool:
    return n // 2 <= i < n * 7 // 10


def site(i: int, n: int, rng: np.random.Generator) -> bool:
    return i % 6 == 2


def half(i: int, n: int, rng: np.random.Generator) -> bool:
    return i < n // 2


CASES = [
    Case("inverted", "800 rows, a taste, nothing turned", "none", partial(world, turned=never)),
    Case("inverted", "800 rows, labels by lot", "none", partial(world, turned=never, strength=0.0)),
    Case("inverted", "800 rows, a fifth of them by lot", "none", partial(world, turned=noisy_fifth)),
    Case("inverted", "800 rows, a stretch of a fifth turned", "one stretch", partial(world, turned=fifth)),
    Case("inverted", "800 rows, one of six sources turned", "one source", partial(world, turned=site)),
    Case("inverted", "800 rows, the first half turned", "one half", partial(world, turned=half)),
]
