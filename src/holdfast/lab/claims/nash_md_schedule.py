"""Nash-MD and its step size, and who cycles in a game without a KL term.

World: random 10 x 10 games. With a KL term (beta 0.1) Nash-MD mixes its opponent with the
reference; a constant step of 0.3 ends beside the equilibrium, the theorem's steps 2 / (beta (t +
2)), cut at 1 / beta, do not. Without one, multiplicative weights (SPPO's ideal step), its
optimistic form and extragradient play 10,000 calls at step 0.5 from the reference; certificates of
the last and the average policy.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from holdfast.games import Oracle, State, egpo, nash_md, optimistic, regularized, solve, sppo
from holdfast.lab.claim import Claim, Measured
from holdfast.lab.verdict import all_of, bounded, separated
from holdfast.lab.worlds import random_games
from holdfast.lab.worlds.random_games import random_game, slope

FAR, FALL, LAST, AVERAGE = (
    "log10 KL to the equilibrium",
    "slope of log KL in log t",
    "exploitability, last",
    "exploitability, average",
)
STEPS, BETA = 10_000, 0.1


def schedules(seeds: Sequence[int]) -> Measured:
    arms = {
        "constant": partial(nash_md.step, eta=0.3),
        "fading": partial(nash_md.step, eta=1 / BETA, fade=True),
    }
    found: dict[str, dict[str, list[float]]] = {arm: {FAR: [], FALL: []} for arm in arms}
    for seed in seeds:
        game = random_game(seed, beta=BETA)
        exact_A = regularized(game)
        for arm, step in arms.items():
            oracle, state, at, far = Oracle(game), State(game.log_ref_A), [], []
            for t in range(1, STEPS + 1):
                state = step(oracle, state)
                if t in (100, 300, 1000, 3000, STEPS):
                    at.append(t)
                    far.append(max(float(np.exp(exact_A) @ (exact_A - state.log_pi_A)), 1e-16))
            found[arm][FAR].append(float(np.log10(far[-1])))
            found[arm][FALL].append(slope(np.log(at), np.log(far)))
    return found


def without_kl(seeds: Sequence[int]) -> Measured:
    arms = {
        name: partial(module.step, eta=0.5)
        for name, module in (("sppo", sppo), ("optimistic", optimistic), ("egpo", egpo))
    }
    found: dict[str, dict[str, list[float]]] = {arm: {LAST: [], AVERAGE: []} for arm in arms}
    for seed in seeds:
        for arm, step in arms.items():
            end = solve(random_game(seed), step, max_calls=STEPS, spacing=10).end
            found[arm][LAST].append(end.gap)
            found[arm][AVERAGE].append(end.average_gap)
    return found


SHARED: dict[str, Any] = {
    "methods": ("nash_md", "sppo", "optimistic", "egpo"),
    "world": random_games,
    "seeds": range(20),
    "chunk": 5,
}
PLAIN: dict[str, Any] = {**SHARED, "measure": without_kl, "of": LAST}

CLAIMS = (
    Claim(
        says=(
            "With fading steps Nash-MD ends closer to the equilibrium by a factor above 100 "
            "than with a constant step."
        ),
        measure=schedules,
        of=FAR,
        verdict=separated("fading", "constant", FAR, by=2.0, lower=True),
        paper_number="the theorem has fading steps; libraries use a constant mixture",
        **SHARED,
    ),
    Claim(
        says=(
            "With fading steps its KL to the equilibrium falls at least as 1 / t: slope below "
            "-0.9 from 100 to 10,000 steps."
        ),
        measure=schedules,
        of=FALL,
        verdict=bounded("fading", FALL, high=-0.9),
        paper_number="KL <= 8 / (beta^2 (T + 1)) (as recalled)",
        **SHARED,
    ),
    Claim(
        says=(
            "Without a KL term the last iterate of multiplicative weights does not converge "
            "(exploitability above 0.2), its average does."
        ),
        verdict=all_of(bounded("sppo", LAST, low=0.2), bounded("sppo", AVERAGE, high=0.02)),
        paper_number="SPPO's theorem is about the average policy; what is used is the last",
        **PLAIN,
    ),
    Claim(
        says=(
            "At equal calls the optimistic step's last iterate is less exploitable than "
            "extragradient's at the same eta."
        ),
        verdict=separated("optimistic", "egpo", LAST, lower=True),
        **PLAIN,
    ),
)
