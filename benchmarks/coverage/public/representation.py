"""Representation on the Star Wars survey: its people are the population; raters are drawn from
them, group by group, with all they said.

Draws are with replacement and keep each group's share. The interval is of the reward fitted to the
draw, so the truth of a trial is how everybody agrees with that reward: it decides each pair of
films, and everybody has ranked them all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache, partial

import numpy as np

from coverage.case import Case, Trial, judged
from coverage.public import here, rows
from holdfast.checkup.comparisons import Comparisons
from holdfast.checkup.estimators.features import preference_model
from holdfast.checkup.findings.representation import representation
from holdfast.checkup.request import CheckRequest
from holdfast.checkup.result import Finding
from holdfast.inputs.swap import swapped_row
from holdfast.stats.intervals import Estimate
from holdfast.types import Row

STAR_WARS = "starwars_rankings/pairs.jsonl.gz"
RATERS = 200  # of a draw
OLD = "> 60"
TARGET = {
    "18-29": 0.1,
    "30-44": 0.15,
    "45-60": 0.15,
    OLD: 0.6,
}  # a population that is older than those who answered
People = dict[str, list[tuple[Row, ...]]]  # group -> what each of its raters said


@lru_cache(maxsize=1)
def people() -> People:
    """Raters by age, who ranked six films: a stratum each."""
    said: dict[str, list[Row]] = {}
    for row in rows(STAR_WARS):
        if row.group is not None and "unknown" not in str(row.group):
            said.setdefault(str(row.rater), []).append(
                replace(row, group=str(row.group).split("|")[1])
            )
    groups: People = {}
    for theirs in said.values():
        groups.setdefault(str(theirs[0].group), []).append(tuple(theirs))
    return groups


def oldest_turned(found: People) -> People:
    """The oldest prefer what they said they did not."""
    return found | {OLD: [tuple(swapped_row(row) for row in theirs) for theirs in found[OLD]]}


def as_it_is(found: People) -> People:
    return found


def rows_of(groups: People) -> Comparisons:
    """Whoever was drawn twice is two people."""
    drawn = (
        (f"{name} {i}", theirs)
        for name, everybody in groups.items()
        for i, theirs in enumerate(everybody)
    )
    return Comparisons.of(replace(row, rater=who) for who, theirs in drawn for row in theirs)


def request(seed: int) -> CheckRequest:
    return CheckRequest(seed=seed, population=TARGET, quiet=True)


def gap(found: Finding, of: str) -> Estimate:
    return Estimate(**found.numbers[of])


def truth(data: Comparisons, seed: int, everybody: People) -> dict[str, float]:
    """The gaps of the models fitted to these rows, were all people of each group asked."""
    logits = zip(
        data.chosen, data.rejected, preference_model(data, seed=seed).logit_N.tolist(), strict=True
    )
    gap_of = {
        sides: sign * logit
        for one, two, logit in logits
        for sides, sign in (((one, two), 1), ((two, one), -1))
    }
    value = {
        name: float(
            (
                1 + np.sign([gap_of[row.chosen, row.rejected] for them in all_ for row in them])
            ).mean()
        )
        / 2
        for name, all_ in everybody.items()
    }
    share = dict(zip(data.group.names, np.bincount(data.group.code_N) / len(data), strict=True))
    seen = sum(share[name] * value[name] for name in value)
    return {
        "average": abs(sum(TARGET[name] * v for name, v in value.items()) - seen),
        "worst": max(abs(v - seen) for v in value.values()),
    }


def draw(groups: People, rng: np.random.Generator) -> People:
    total = sum(map(len, groups.values()))
    sizes = {name: round(RATERS * len(all_) / total) for name, all_ in groups.items()}
    return {
        name: [all_[i] for i in rng.integers(len(all_), size=sizes[name])]
        for name, all_ in groups.items()
    }


def trial(seed: int, *, of: str, plant: Callable[[People], People]) -> Trial:
    everybody = plant(people())
    data = rows_of(draw(everybody, np.random.default_rng(seed)))
    found = representation(data, request(seed))
    return judged(found, truth(data, seed, everybody)[of], gap(found, of))


def alike(seed: int) -> Trial:
    """Every group is a draw of everybody: no gap."""
    rng = np.random.default_rng(seed)
    everybody = [theirs for all_ in people().values() for theirs in all_]
    groups = {
        name: [
            tuple(replace(row, group=name) for row in everybody[i])
            for i in rng.integers(len(everybody), size=len(all_))
        ]
        for name, all_ in draw(people(), rng).items()
    }
    return judged(representation(rows_of(groups), request(seed)), 0.0)


SAID = f"Star Wars survey, {RATERS} raters of four ages"
CASES = [
    case
    for case in (
        *(
            Case(
                "representation",
                f"{SAID}, {what} ({of} gap)",
                "everybody's",
                partial(trial, of=of, plant=plant),
            )
            for what, plant in (("as it is", as_it_is), ("the oldest inverted", oldest_turned))
            for of in ("average", "worst")
        ),
        Case("representation", f"{SAID}, ages dealt at random (average gap)", "0%", alike),
    )
    if here(STAR_WARS)
]
