"""What came out of a stress test: scores, how far each fell, and what that means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import inf
from typing import Any

import numpy as np

from holdfast.lab.verdict import number
from holdfast.stats.intervals import Estimate, mean_interval
from holdfast.stats.seeds import over_seeds

TOLERANCE = (
    0.05  # a fall of less than this from its own score at the lowest rate counts as surviving
)
RULINGS = ("survives", "falls", "undecided", "inconclusive")


@dataclass(frozen=True)
class Score:
    """One method under one flaw at one rate. Higher is better; `values` holds one number a seed."""

    flaw: str
    rate: float
    arm: str
    values: tuple[float, ...]
    seeds: Estimate | None  # over seeds, with two or more
    rows: Estimate | None  # bootstrap over held-out prompts, each row's mean over seeds
    per_row: tuple[float, ...] = ()
    realized: float | None = None  # share of training rows that were changed
    chance: float = -inf  # the score of a policy that learned nothing

    @property
    def mean(self) -> float:
        return float(np.mean(self.values))

    @property
    def interval(self) -> tuple[float, float]:
        """The wider of the two at each end: rows are a sample, and so are trainings."""
        ends = [found.ends for found in (self.seeds, self.rows) if found is not None]
        return (
            (min(low for low, _ in ends), max(high for _, high in ends))
            if ends
            else (self.mean, self.mean)
        )


@dataclass(frozen=True)
class Stress:
    """Everything that came out."""

    measure: str
    scores: tuple[Score, ...]
    facts: Mapping[str, Any]

    def of(self, flaw: str, arm: str) -> list[Score]:
        return sorted(
            (s for s in self.scores if s.flaw == flaw and s.arm == arm), key=lambda s: s.rate
        )

    def survival(self) -> list[dict[str, Any]]:
        """For each flaw, method and rate: its fall from its own lowest rate, on the same seeds and
        rows, and what that means.

        What did not learn cannot fall: where the score at the lowest rate is not shown to be above
        chance, or is above it by so little that a fall to chance would count as surviving, the
        ruling is "inconclusive", and `why` says so.
        """
        out = []
        for flaw in dict.fromkeys(s.flaw for s in self.scores):
            for arm in dict.fromkeys(s.arm for s in self.scores):
                first, *rest = self.of(flaw, arm)
                for score in rest:
                    fall = difference(first, score)
                    ruling, why = ruled(first, fall)
                    row = {
                        "flaw": flaw,
                        "arm": arm,
                        "rate": score.rate,
                        "score": score.mean,
                        "fall": fall and asdict(fall),
                    }
                    out.append({**row, "ruling": ruling, "why": why})
        return out

    @property
    def inconclusive(self) -> list[str]:
        """A sentence for each method that learned too little to fall."""
        return list(
            dict.fromkeys(
                f"{row['arm']}: {row['why']}"
                for row in self.survival()
                if row["ruling"] == "inconclusive"
            )
        )

    def to_dict(self) -> dict[str, Any]:
        scores = [{**asdict(s), "mean": s.mean, "interval": s.interval} for s in self.scores]
        for s in scores:
            del s["per_row"]
        return {
            "measure": self.measure,
            "tolerance": TOLERANCE,
            "facts": dict(self.facts),
            "scores": scores,
            "survival": self.survival(),
        }


def ruled(first: Score, fall: Estimate | None) -> tuple[str, str]:
    """(ruling, why) of a fall from the score at the lowest rate."""
    low, high = first.interval
    base = (
        f"its score at rate {first.rate:g} is {number(first.mean)} [{number(low)}, {number(high)}]"
    )
    if not low > first.chance:
        return (
            "inconclusive",
            f"{base}, not shown to be above chance ({number(first.chance)}): nothing was "
            "learned that could be lost",
        )
    if fall is None:
        return "undecided", "one seed gives no interval"
    if fall.above(TOLERANCE):
        return "falls", f"it falls by more than {TOLERANCE:g}"
    if not fall.below(TOLERANCE):
        return "undecided", f"its fall may be above or below {TOLERANCE:g}"
    if not low > first.chance + TOLERANCE:
        return (
            "inconclusive",
            f"{base}, so near chance ({number(first.chance)}) that a fall to chance would "
            "count as surviving",
        )
    return "survives", f"it falls by less than {TOLERANCE:g}"


def difference(first: Score, second: Score) -> Estimate | None:
    """first minus second: over seeds, and over rows where both have them; the wider at each end."""
    gap = [a - b for a, b in zip(first.values, second.values, strict=True)]
    found = [over_seeds(gap)] if len(gap) > 1 else []
    if first.per_row and len(first.per_row) == len(second.per_row):
        by_rows = mean_interval(np.array(first.per_row) - np.array(second.per_row))
        found += [by_rows] if by_rows.low is not None else []
    if not found:
        return None
    lows, highs = zip(*(one.ends for one in found), strict=True)
    widest = "the wider of seeds and rows at each end"
    return Estimate(float(np.mean(gap)), min(lows), max(highs), len(gap), method=widest)
