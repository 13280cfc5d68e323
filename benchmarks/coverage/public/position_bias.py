"""Position: who stood first against whom is real; results are drawn from a model fitted to the real
ones, with a bonus of a known size.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from scipy.special import expit

from coverage.case import Case, Trial, judged
from coverage.public import here
from coverage.public._contests import CREATURES, FOOTBALL, JUDGES, fitted, matches, table
from holdfast.checkup.findings.position_bias import position_bias
from holdfast.checkup.request import CheckRequest

Meetings = list[tuple[str, str, bool]]  # (first, second, whether the first won)


def football(rng: np.random.Generator) -> Meetings:
    """A stretch of 800 decided matches of a competition that has at least 400."""
    decided = [match for match in table(FOOTBALL) if match["home_goals"] != match["away_goals"]]
    names, sizes = np.unique([match["competition"] for match in decided], return_counts=True)
    of = str(rng.choice(names[sizes >= 400]))
    games = [
        (m["home"], m["away"], int(m["home_goals"]) > int(m["away_goals"]))
        for m in decided
        if m["competition"] == of
    ]
    start = int(rng.integers(max(1, len(games) - 800)))
    return games[start : start + 800]


def creatures(rng: np.random.Generator) -> Meetings:
    met = [
        (b["first"], b["second"], b["winner"] == b["first"])
        for b in table(CREATURES)
        if b["first"] != b["second"]
    ]
    kept = set(
        rng.choice(
            sorted({name for first, second, _ in met for name in (first, second)}),
            250,
            replace=False,
        ).tolist()
    )
    return [meeting for meeting in met if meeting[0] in kept and meeting[1] in kept]


def judges(rng: np.random.Generator) -> Meetings:
    """Verdicts of model judges; every answer met a baseline, which the file names first."""
    met = [
        v
        for v in table(JUDGES)
        if v["generator_1"] != v["generator_2"] and v["preference"] in ("1.0", "2.0")
    ]
    return [
        (met[i]["generator_1"], met[i]["generator_2"], met[i]["preference"] == "1.0")
        for i in rng.choice(len(met), 1500, replace=False)
    ]


def placed(seed: int, *, of: Any, bonus: float) -> Trial:
    rng = np.random.default_rng(seed)
    met = of(rng)
    names, pair_N2, s_A = fitted([(one, two) if won else (two, one) for one, two, won in met])
    place = {name: k for k, name in enumerate(names)}
    pair_N2 = np.array([[place[one], place[two]] for one, two, _ in met])
    p_N = expit(bonus + s_A[pair_N2[:, 0]] - s_A[pair_N2[:, 1]])
    return judged(
        position_bias(matches(rng, names, pair_N2, p_N, placed=True), CheckRequest(seed=seed)),
        float(expit(bonus)),
    )


SCHEDULES = (
    (FOOTBALL, "football, 800 matches of a competition", football, (0.0, 0.4, 1.0)),
    (CREATURES, "creature battles of 250", creatures, (0.0, 0.4, 1.0)),
    (JUDGES, "AlpacaEval, two baselines, which met as one pair only", judges, (0.4,)),
)
CASES = [
    Case("position_bias", what, f"{expit(bonus):.0%}", partial(placed, of=of, bonus=bonus))
    for name, what, of, bonuses in SCHEDULES
    for bonus in bonuses
    if here(name)
]
