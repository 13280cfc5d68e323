"""Public sets in an order at random: nothing inverted, a stretch of a fifth, one of six sources,
the first half.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from coverage.case import Case, Trial, judged
from coverage.public import here, rows
from holdfast.checkup.comparisons import Comparisons
from holdfast.checkup.findings.inverted import inverted
from holdfast.checkup.request import CheckRequest
from holdfast.inputs.swap import swapped_row
from holdfast.types import Row

HH, UKP, GSM, JUDGED = (
    f"{name}/pairs.jsonl.gz"
    for name in ("hh_helpful_base", "ukp_arguments", "gsm8k_solutions", "autoj_pairwise")
)
Turned = Callable[[int, int], bool]


def as_it_is(name: str) -> Sequence[Row]:
    return rows(name)


def unanimous(name: str) -> Sequence[Row]:
    """Arguments on which all five votes went one way, each pair once; both arguments of a pair
    stand in place of the few debates.
    """
    alike = {(row.chosen, row.rejected): row for row in rows(name) if float(row.strength or 0) >= 1}
    return list(alike.values())


def planted(
    seed: int, *, name: str, kept: Callable[[str], Sequence[Row]], n: int, turned: Turned
) -> Trial:
    """n rows in an order at random, of six sources in turn, labels as they are but for those that
    are inverted.
    """
    rng = np.random.default_rng(seed)
    there = kept(name)
    drawn = [there[i] for i in rng.choice(len(there), min(n, len(there)), replace=False)]
    made = [
        replace(row, rater=None, group=None, strength=None, source=f"site {i % 6}")
        for i, row in enumerate(drawn)
    ]
    made = [swapped_row(row) if turned(i, len(made)) else row for i, row in enumerate(made)]
    return judged(inverted(Comparisons.of(made), CheckRequest(seed=seed)), None)


def never(i: int, n: int) -> bool:
    return False


def fifth(i: int, n: int) -> bool:
    return 3 * n // 10 <= i < n // 2


def site(i: int, n: int) -> bool:
    return i % 6 == 2


def half(i: int, n: int) -> bool:
    return i < n // 2


PLANTED: dict[str, tuple[str, Turned]] = {
    "in an order at random": ("none", never),
    "a stretch of a fifth turned": ("one stretch", fifth),
    "one of six sources turned": ("one source", site),
    "the first half turned": ("one half", half),
}
CASES = [
    Case(
        "inverted",
        f"{what}, {said}",
        truth,
        partial(planted, name=name, kept=kept, n=n, turned=turned),
    )
    for name, what, kept, n in [
        (HH, "HH helpful, 1,500 rows", as_it_is, 1500),
        (UKP, "UKPConvArg, unanimous pairs, 1,500", unanimous, 1500),
        (GSM, "GSM8K solutions, 1,500 pairs", as_it_is, 1500),
        (JUDGED, "Auto-J, 700 pairs", as_it_is, 700),
    ]
    if here(name)
    for said, (truth, turned) in PLANTED.items()
]
