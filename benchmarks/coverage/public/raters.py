"""Raters: who judged which pair as it truly was, in three public sets; what they said is planted.

The right side of a pair is what most of its raters chose, at random where they are even. Each trial
draws other pairs, and each rater takes the right side with a probability of his own.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np

from coverage.case import Case, Trial, judged
from coverage.public import here, rows
from holdfast.checkup.comparisons import Comparisons
from holdfast.checkup.findings.raters import raters
from holdfast.checkup.request import CheckRequest
from holdfast.checkup.result import Finding
from holdfast.inputs.swap import swapped_row
from holdfast.stats.arrays import Ints
from holdfast.stats.intervals import Estimate
from holdfast.types import Row

PANDALM, UKP, WMT = (f"{name}/pairs.jsonl.gz" for name in ("pandalm", "ukp_arguments", "wmt23_mqm"))
# raters that are kept: of thousands with a verdict or two each, no rater's reliability is known
BUSIEST = 100
ABOUT = {
    PANDALM: "PandaLM, 300 pairs by 3 raters",
    UKP: "UKPConvArg1, 400 pairs by the 100 busiest raters",
    WMT: "WMT23 MQM, 300 pairs",
}
PAIRS = {PANDALM: 300, UKP: 400, WMT: 300}


@dataclass(frozen=True)
class Judged:
    """Rows of pairs that several raters judged: for the right side or not, by whom, and where each
    pair's rows begin.
    """

    rows: tuple[Row, ...]
    ayes_N: Ints  # net verdicts of the pair's raters for the side that this row chose
    forward_N: Ints
    rater_N: Ints
    pairs: tuple[Ints, ...]  # the rows of each
    raters: tuple[str, ...]


@lru_cache(maxsize=2)
def schedule(name: str) -> Judged:
    data = Comparisons.of(rows(name))
    busy = np.argsort(-np.bincount(data.rater.code_N), kind="stable")[:BUSIEST]
    data = data.take(np.flatnonzero(np.isin(data.rater.code_N, busy)))
    once = np.unique(np.stack([data.pair.code_N, data.rater.code_N]), axis=1, return_index=True)[1]
    data = data.take(np.sort(once))
    forward_N = np.where(data.forward_N, 1, -1)
    ayes_N = forward_N * np.bincount(data.pair.code_N, weights=forward_N)[data.pair.code_N].astype(
        int
    )
    order = np.argsort(data.pair.code_N, kind="stable")
    parts = np.split(order, np.cumsum(np.bincount(data.pair.code_N))[:-1])
    names = tuple(map(str, data.rater.names))
    return Judged(
        data.rows,
        ayes_N,
        forward_N,
        data.rater.code_N,
        tuple(p for p in parts if len(p) > 1),
        names,
    )


def planted(name: str, rng: np.random.Generator, right_R: np.ndarray) -> Comparisons:
    """A draw of pairs with the raters who judged them; rater r takes the right side with
    probability right_R[r].
    """
    found, made = schedule(name), []
    for k in np.sort(rng.choice(len(found.pairs), PAIRS[name], replace=False)):
        even = found.forward_N[found.pairs[k]] * (1 if rng.random() < 0.5 else -1)
        for at, lot in zip(found.pairs[k].tolist(), even.tolist(), strict=True):
            row, chosen_is_right = found.rows[at], (found.ayes_N[at] or lot) > 0
            stays = chosen_is_right == (rng.random() < right_R[found.rater_N[at]])
            made.append(row if stays else swapped_row(row))
    return Comparisons.of(made)


def of_rater(found: Finding, name: str) -> Estimate | None:
    """His reliability, if it is shown."""
    for row in found.numbers.get("by_rater", []):
        if row["rater"] == name:
            return Estimate(row["value"], row["low"], row["high"])
    return None


def alike(seed: int, *, name: str, rate: float) -> Trial:
    data = planted(name, np.random.default_rng(seed), np.full(BUSIEST, 1 - rate))
    return judged(raters(data, CheckRequest(seed=seed)), 1 - 2 * rate * (1 - rate))


def unlike(seed: int, *, name: str) -> Trial:
    """The reliability of the rater of a row that is drawn."""
    rng = np.random.default_rng(seed)
    right_R = rng.beta(8, 2, BUSIEST)
    data = planted(name, rng, right_R)
    return of_one(data, right_R, name, str(data.rater.names[rng.choice(data.rater.code_N)]), seed)


def contrary(seed: int, *, name: str) -> Trial:
    """The busiest rater takes the wrong side, the others the right one."""
    right_R = np.full(BUSIEST, 0.85)
    busiest = int(np.bincount(schedule(name).rater_N).argmax())
    right_R[busiest] = 0.25
    return of_one(
        planted(name, np.random.default_rng(seed), right_R),
        right_R,
        name,
        schedule(name).raters[busiest],
        seed,
    )


def of_one(data: Comparisons, right_R: np.ndarray, name: str, rater: str, seed: int) -> Trial:
    found = raters(data, CheckRequest(seed=seed))
    one = of_rater(found, rater)
    return judged(
        found, None if one is None else float(right_R[schedule(name).raters.index(rater)]), one
    )


ONE = "covered: one rater's reliability"
CASES = [
    case
    for name, rates in ((PANDALM, (0.0, 0.05, 0.2, 0.4)), (UKP, (0.05, 0.2)), (WMT, (0.05, 0.2)))
    if here(name)
    for case in (
        *(
            Case(
                "raters",
                f"{ABOUT[name]}, alike (covered: agreement)",
                f"{1 - 2 * f * (1 - f):.1%}",
                partial(alike, name=name, rate=f),
            )
            for f in rates
        ),
        Case("raters", f"{ABOUT[name]}, unlike ({ONE})", "Beta(8, 2)", partial(unlike, name=name)),
        Case(
            "raters",
            f"{ABOUT[name]}, the busiest contradicts ({ONE})",
            "25%",
            partial(contrary, name=name),
        ),
    )
]
