"""Representation: two groups whose labels follow one taste, each turned around at a rate of its own; four rows of a to one of b."""

from __future__ import annotations

from functools import partial

import numpy as np

from coverage.case import Case, Trial, judged
from holdfast.checkup.comparisons import Comparisons
from holdfast.checkup.finding import Asked
from holdfast.checkup.representation import representation
from holdfast.types import Row, Where

TARGET = {"a": 0.5, "b": 0.5}


def grouped(seed: int, *, flips: tuple[float, float], n: int = 400, raters: int = 40, share: float = 0.8) -> Comparisons:
    """Every pair has an answer that the common taste prefers; a rater of group k chooses the other at the rate flips[k]."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(n):
        rater = int(rng.integers(raters))
        k = int(rater >= share * raters)
        sides = [f"{word} " + " ".join(f"w{w}" for w in rng.integers(0, 50, 8)) for word in ("lovely", "awful")]
        if rng.random() < flips[k]:
            sides.reverse()
        rows.append(Row(Where("made", i + 1), f"question {i}", *sides, rater=f"r{rater}", group="ab"[k]))
    return Comparisons.of(rows)


def trial(seed: int, *, flips: tuple[float, float]) -> Trial:
    data = grouped(seed, flips=flips)
    share = float(np.mean([row.group == "a" for row in data.rows]))
    truth = abs((TARGET["a"] - share) * (flips[1] - flips[0]))  # V_k = 1 - flips_k
    return judged(representation(data, Asked(seed=seed, population=TARGET, quiet=True)), truth)


CASES = [
    Case("representation", "400 pairs, 40 raters; groups agree with one taste in 90% and 60%", "9%", partial(trial, flips=(0.1, 0.4))),
    Case("representation", "400 pairs, 40 raters; groups agree in 80% and 70%", "3%", partial(trial, flips=(0.2, 0.3))),
    Case("representation", "400 pairs, 40 raters; groups alike", "0%", partial(trial, flips=(0.2, 0.2))),
]
