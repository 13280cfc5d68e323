"""Cycles: who met whom, and how often, is real; results are drawn from a ranking fitted to the
real ones, with and without a wheel.

Where contestants differ between two strata the pooled results may are cyclic; then what is
asked of the light is that it does not call for a method for cycles (BAD), and of the interval that
it holds 0 within strata. Colonel Blotto's cycles are the real ones.
"""

from __future__ import annotations

from functools import lru_cache, partial
from typing import Any

import numpy as np
from scipy.special import expit

from coverage.case import Case, Trial, judged
from coverage.cycles import left_over
from coverage.public import here, rows
from coverage.public._contests import CREATURES, FOOTBALL, fitted, matches, table
from holdfast.checkup.findings.cycles import cycles
from holdfast.checkup.request import CheckRequest
from holdfast.checkup.result import Severity
from holdfast.stats.intervals import Estimate
from holdfast.text.codes import coded

HUMOUR, WMT, BLOTTO = (
    "humour_votes/votes.csv.gz",
    "wmt23_mqm/pairs.jsonl.gz",
    "blotto/matrix.csv.gz",
)


@lru_cache(maxsize=2)
def competitions() -> dict[str, list[tuple[str, str]]]:
    """(winner, loser) of every decided match, by competition; those with at least three seasons and
    400 matches.
    """
    found: dict[str, list[tuple[str, str]]] = {}
    seasons: dict[str, set[str]] = {}
    for match in table(FOOTBALL):
        goals = int(match["home_goals"]) - int(match["away_goals"])
        if goals:
            sides = (match["home"], match["away"])[:: 1 if goals > 0 else -1]
            found.setdefault(match["competition"], []).append(sides)
            seasons.setdefault(match["competition"], set()).add(match["season"])
    return {
        name: games
        for name, games in found.items()
        if len(seasons[name]) >= 3 and len(games) >= 400
    }


def football(rng: np.random.Generator) -> list[tuple[str, str]]:
    """A competition, some of its seasons' matches."""
    games = competitions()[str(rng.choice(sorted(competitions())))]
    return [games[i] for i in rng.choice(len(games), min(len(games), 1500), replace=False)]


def near(rng: np.random.Generator, met: list[tuple[str, str]], size: int) -> list[tuple[str, str]]:
    """The meetings among `size` contestants that are near each other: those first reached from one
    of them.
    """
    friends: dict[str, list[str]] = {}
    for one, two in met:
        friends.setdefault(one, []).append(two)
        friends.setdefault(two, []).append(one)
    seen = [str(rng.choice(sorted(friends)))]
    known = set(seen)
    for name in seen:
        for friend in friends[name]:
            if friend not in known and len(known) < size:
                known.add(friend)
                seen.append(friend)
    return [(one, two) for one, two in met if one in known and two in known]


def humour(rng: np.random.Generator) -> list[tuple[str, str]]:
    return near(rng, [(vote["winner"], vote["loser"]) for vote in table(HUMOUR)], 150)


def creatures(rng: np.random.Generator) -> list[tuple[str, str]]:
    met = [
        (b["winner"], b["second"] if b["winner"] == b["first"] else b["first"])
        for b in table(CREATURES)
        if b["first"] != b["second"]
    ]
    names = sorted({name for pair in met for name in pair})
    kept = set(rng.choice(names, 250, replace=False).tolist())
    return [(one, two) for one, two in met if one in kept and two in kept]


def scheduled(seed: int, *, of: Any, wheel: float = 0.0) -> Trial:
    """Real meetings; log-odds: real strengths, and a wheel on which every contestant has a place
    drawn at random.
    """
    rng = np.random.default_rng(seed)
    names, pair_N2, s_A = fitted(of(rng))
    angle_A = rng.random(len(names)) * 2 * np.pi
    first, second = pair_N2.T
    p_N = expit(s_A[first] - s_A[second] + wheel * np.sin(angle_A[second] - angle_A[first]))
    found = cycles(matches(rng, names, pair_N2, p_N), CheckRequest(seed=seed))
    split = (
        found.numbers["levels"].get("name", {}).get("share_of_variance", {}).get("value")
        is not None
    )
    return judged(found, (left_over(pair_N2, p_N) if wheel else 0.0) if split else None)


def two_languages(seed: int) -> Trial:
    """WMT's systems, met as they were in two language pairs, with a ranking in each drawn from its
    real results.
    """
    rng = np.random.default_rng(seed)
    real = [row for row in rows(WMT) if row.extra["chosen_model"] != row.extra["rejected_model"]]
    groups = sorted({str(row.group) for row in real})
    names, pairs, chances, group = (
        coded(
            [row.extra[side] for row in real for side in ("chosen_model", "rejected_model")]
        ).names,
        [],
        [],
        [],
    )
    place = {name: k for k, name in enumerate(names)}
    for name in groups:
        of_it, pair_N2, s_A = fitted(
            [
                (row.extra["chosen_model"], row.extra["rejected_model"])
                for row in real
                if row.group == name
            ]
        )
        pairs.append(np.array([[place[of_it[k]] for k in pair] for pair in pair_N2]))
        chances.append(expit(s_A[pair_N2[:, 0]] - s_A[pair_N2[:, 1]]))
        group += [name] * len(pair_N2)
    kept = rng.choice(len(group), 4000, replace=False)
    data = matches(
        rng,
        names,
        np.concatenate(pairs)[kept],
        np.concatenate(chances)[kept],
        group=[group[i] for i in kept],
    )
    found = cycles(data, CheckRequest(seed=seed))
    pooled = found.numbers["levels"]["name"]["pooled"]
    trial = judged(
        found, 0.0, Estimate(**pooled["within"]["share_of_variance"]) if pooled else None
    )
    return Trial(trial.covered, found.severity is Severity.PROBLEM, trial.inconclusive, trial.width)


def blotto(seed: int, *, flip: float, plans: int = 12, n: int = 1500) -> Trial:
    """Plans drawn at random; a meeting's exact result is inverted at the rate `flip`, and draws
    are coins.
    """
    rng = np.random.default_rng(seed)
    real = table(BLOTTO)
    kept = rng.choice(len(real), plans, replace=False)
    won_AA = np.array([[float(real[i][real[j]["id"]]) for j in kept] for i in kept])
    off = np.column_stack(np.triu_indices(plans, 1))
    pair_N2 = off[rng.integers(0, len(off), n)]
    p_N = 0.5 + (0.5 - flip) * won_AA[tuple(pair_N2.T)]
    return judged(
        cycles(matches(rng, [f"plan {i}" for i in kept], pair_N2, p_N), CheckRequest(seed=seed)),
        left_over(pair_N2, p_N),
    )


SCHEDULES = (
    (FOOTBALL, "football, one competition", football),
    (HUMOUR, "humour votes on 150 texts", humour),
)
WHEELS = (("a ranking", 0.0), ("a small wheel", 0.7), ("a large wheel", 2.0))
PAIRS = "WMT, a ranking in each language pair (flagged: problem; covered: within)"
ALL = [
    *(
        (
            name,
            Case(
                "cycles",
                f"{what}, {told}",
                "known" if wheel else "0%",
                partial(scheduled, of=of, wheel=wheel),
            ),
        )
        for name, what, of in SCHEDULES
        for told, wheel in WHEELS
    ),
    (
        CREATURES,
        Case(
            "cycles",
            "creature battles of 250, a ranking",
            "none",
            partial(scheduled, of=creatures),
        ),
    ),
    (WMT, Case("cycles", PAIRS, "0%", two_languages)),
    *(
        (
            BLOTTO,
            Case(
                "cycles",
                f"Blotto, 12 plans, {f:.0%} inverted",
                "known",
                partial(blotto, flip=f),
            ),
        )
        for f in (0.1, 0.3)
    ),
]
CASES = [case for name, case in ALL if here(name)]
