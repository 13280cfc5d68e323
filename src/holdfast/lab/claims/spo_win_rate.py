"""SPO: self-play with the win rate as the reward, and no reward model.

Worlds: random 10 x 10 games, for the rate; and all 81 words of four letters judged by three
subgroups whose tastes are cyclic, for the comparison with a reward model. Self-play is exact Hedge
with eta = sqrt(2 ln A / T), payoffs in [-1, 1], from the uniform policy; delivered is the average,
as in the paper, and the last policy beside it. The other route fits Bradley-Terry rewards to the
whole population and optimizes them, to the end (a pure answer) or with the KL term that suits it
best (chosen from ten by the true exploitability, which favors it). The uniform policy is the
honest bar.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from math import log, sqrt
from typing import Any

import numpy as np

from holdfast.games import Game, exploitability, solve, spo_win_rate
from holdfast.games.game import log_softmax
from holdfast.lab.claim import Claim, Measured
from holdfast.lab.verdict import Found, Test, all_of, bounded, multiple, separated
from holdfast.lab.worlds import letter_subgroups as letter_subgroups
from holdfast.lab.worlds import random_games
from holdfast.lab.worlds.letter_subgroups import rewards, subgroups
from holdfast.lab.worlds.random_games import random_game, slope

LOSS, SHARE = "exploitability", "exploitability over the bound"
ROUNDS = (100, 300, 1000, 3000, 10_000)


def averages(seeds: Sequence[int], *, rounds: int) -> Measured:
    average, last = [], []
    for seed in seeds:
        game = Game(random_game(seed).pref_AA)
        bound = sqrt(2 * log(len(game)) / rounds)
        end = solve(game, partial(spo_win_rate.step, eta=bound), max_calls=rounds, spacing=1e9).end
        average.append(end.average_gap)
        last.append(end.gap)
    bounds = [sqrt(2 * log(10) / rounds)] * len(average)
    return {
        "average": {LOSS: average, SHARE: [a / b for a, b in zip(average, bounds, strict=True)]},
        "last": {LOSS: last, SHARE: [a / b for a, b in zip(last, bounds, strict=True)]},
    }


def falls(found: Found) -> list[Test]:
    """The slope of log exploitability in log T, one a seed."""
    points = found.points
    logs_TS = np.log([np.maximum(found.of("average", LOSS, p), 1e-16) for p in points])
    x = np.log([p["rounds"] for p in points])
    return [
        Test(
            "slope of log exploitability of the average in log rounds",
            [slope(x, y) for y in logs_TS.T],
            low=-0.8,
            high=-0.4,
        )
    ]


def routes(seeds: Sequence[int]) -> Measured:
    arms = (
        "self-play, average",
        "self-play, last",
        "reward, to the end",
        "reward, best KL",
        "uniform",
    )
    found: dict[str, list[float]] = {arm: [] for arm in arms}
    for seed in seeds:
        game = subgroups(seed)
        uniform = exploitability(game, np.full(len(game), 1 / len(game)))
        end = solve(
            game,
            partial(spo_win_rate.step, eta=sqrt(2 * log(81) / 4000)),
            max_calls=4000,
            spacing=1e9,
        ).end
        reward_A = rewards(game)
        pure_A = np.eye(len(game))[int(reward_A.argmax())]
        tilted = [
            exploitability(game, np.exp(log_softmax(reward_A / beta)))
            for beta in np.geomspace(0.01, 30, 10)
        ]
        row = (end.average_gap, end.gap, exploitability(game, pure_A), min(tilted), uniform)
        for arm, value in zip(found, row, strict=True):
            found[arm].append(value)
    return {arm: {LOSS: values} for arm, values in found.items()}


RATE: dict[str, Any] = {
    "methods": ("spo_win_rate",),
    "world": random_games,
    "seeds": range(50),
    "chunk": 25,
}

CLAIMS = (
    Claim(
        says=(
            "The average of T rounds of self-play keeps the regret bound: in every run its "
            "exploitability is below sqrt(2 ln A / T), "
            "at every T."
        ),
        measure=averages,
        of=SHARE,
        sweep={"rounds": ROUNDS},
        verdict=bounded("average", SHARE, high=1.0, every=True),
        paper_number="exploitability at most regret / T",
        **RATE,
    ),
    Claim(
        says="It falls about as 1 / sqrt(T): the slope in log T lies between -0.8 and -0.4.",
        measure=averages,
        of=LOSS,
        sweep={"rounds": ROUNDS},
        verdict=falls,
        paper_number="O(1 / sqrt(T))",
        scale="log",
        **RATE,
    ),
    Claim(
        says=(
            "The last policy does not: after 10,000 rounds it is more than ten times as "
            "exploitable as the average."
        ),
        measure=averages,
        of=LOSS,
        sweep={"rounds": ROUNDS},
        verdict=multiple("last", "average", LOSS, times=10, at={"rounds": 10_000}),
        scale="log",
        **RATE,
    ),
    Claim(
        says=(
            "Where subgroups disagree in a cycle, self-play's average is half as exploitable or "
            "less than a reward model's optimum, tuned."
        ),
        methods=("spo_win_rate",),
        world=letter_subgroups,
        measure=routes,
        of=LOSS,
        seeds=range(20),
        chunk=10,
        verdict=all_of(
            *(
                multiple(arm, "self-play, average", LOSS, times=2)
                for arm in ("reward, to the end", "reward, best KL")
            )
        ),
        paper_number=(
            "robust to intransitive preferences where reward models are not (control tasks, "
            "no number read)"
        ),
    ),
    Claim(
        says=(
            "It beats the uniform policy too, which already beats optimizing the reward to the end."
        ),
        methods=("spo_win_rate",),
        world=letter_subgroups,
        measure=routes,
        of=LOSS,
        seeds=range(20),
        chunk=10,
        verdict=all_of(
            separated("self-play, average", "uniform", LOSS, lower=True),
            separated("uniform", "reward, to the end", LOSS, lower=True),
        ),
    ),
)
