"""SPO from samples: REINFORCE on a sequence policy, with the win rate among its own answers as the
reward

World: all 81 words of four letters judged by three subgroups whose tastes are cyclic. The policy
writes letter by letter: a softmax over 3 letters at each of 40 prefixes. An update draws 16 words,
asks once about each pair of them (the answer is drawn, 0 or 1), rewards a word by its wins over the
other 15, and steps by 0.5 along REINFORCE's estimate with the batch's mean as the baseline; 4,000
updates from the uniform policy. The other route takes as many steps of the same kind on the
Bradley-Terry rewards that fit the whole population best, and needs no answers at all.
Exploitability is exact, by all 81 words; delivered is the uniform mixture of all policies, the last
one beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import product
from typing import Any

import numpy as np
from scipy.special import log_softmax

from holdfast.games import exploitability
from holdfast.lab.claim import Claim, Measured
from holdfast.lab.verdict import all_of, separated
from holdfast.lab.worlds import letter_subgroups as letter_subgroups
from holdfast.lab.worlds.letter_subgroups import LENGTH, LETTERS, rewards, subgroups
from holdfast.stats.arrays import Floats

LOSS = "exploitability"
UPDATES, BATCH, STEP = 4000, 16, 0.5
WORD_AT = np.array(list(product(range(LETTERS), repeat=LENGTH)))
PREFIXES = [prefix for length in range(LENGTH) for prefix in product(range(LETTERS), repeat=length)]
PREFIX_AT = np.array(
    [[PREFIXES.index(tuple(word[:t])) for t in range(LENGTH)] for word in WORD_AT.tolist()]
)
Reward = Callable[[np.ndarray], Floats]  # the answers of a batch -> a reward each


def reinforce(reward: Reward, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """(the mixture of all policies, the last policy), each over the 81 words."""
    theta_HL, mixture_A = np.zeros((len(PREFIXES), LETTERS)), np.zeros(len(WORD_AT))
    for _ in range(UPDATES):
        log_HL = log_softmax(theta_HL, axis=1)
        pi_A = np.exp(log_HL[PREFIX_AT, WORD_AT].sum(1))
        mixture_A += pi_A / UPDATES
        batch_B = np.minimum(np.searchsorted(np.cumsum(pi_A), rng.random(BATCH)), len(pi_A) - 1)
        reward_B = reward(batch_B)
        # The mean holds a word's own reward, which shrinks its deviation by (B - 1) / B.
        weight_B = (reward_B - reward_B.mean()) / (BATCH - 1)
        for at_B, letter_B in zip(PREFIX_AT[batch_B].T, WORD_AT[batch_B].T, strict=True):
            np.add.at(theta_HL, (at_B, letter_B), STEP * weight_B)
            np.add.at(theta_HL, at_B, -STEP * weight_B[:, None] * np.exp(log_HL[at_B]))
    return mixture_A, np.exp(log_softmax(theta_HL, axis=1)[PREFIX_AT, WORD_AT].sum(1))


def wins(pref_AA: Floats, rng: np.random.Generator) -> Reward:
    """Wins over the rest of the batch, from -1 to 1; one drawn answer a pair, so that they are
    antisymmetric.
    """

    def reward(batch_B: np.ndarray) -> Floats:
        above_BB = np.triu(
            np.where(
                rng.random((len(batch_B),) * 2) < pref_AA[np.ix_(batch_B, batch_B)], 1.0, -1.0
            ),
            1,
        )
        return (above_BB - above_BB.T).sum(1) / (len(batch_B) - 1)

    return reward


def routes(seeds: Sequence[int]) -> Measured:
    found: dict[str, list[float]] = {}
    for seed in seeds:
        game, rng = subgroups(seed), np.random.default_rng([seed, 0x5A])
        fitted_A = rewards(game)
        ends = {
            "self-play": reinforce(wins(game.pref_AA, rng), rng),
            "reward": reinforce(partial(np.take, fitted_A), rng),
        }
        for route, (mixture_A, last_A) in ends.items():
            found.setdefault(f"{route}, average", []).append(exploitability(game, mixture_A))
            found.setdefault(f"{route}, last", []).append(exploitability(game, last_A))
        found.setdefault("uniform", []).append(
            exploitability(game, np.full(len(game), 1 / len(game)))
        )
    return {arm: {LOSS: values} for arm, values in found.items()}


SHARED: dict[str, Any] = {
    "methods": ("spo_win_rate",),
    "world": letter_subgroups,
    "measure": routes,
    "of": LOSS,
    "seeds": range(10),
    "chunk": 5,
}

CLAIMS = (
    Claim(
        says=(
            "From samples too, self-play's average is less exploitable than REINFORCE on a "
            "fitted reward, average and last."
        ),
        verdict=all_of(
            *(
                separated("self-play, average", f"reward, {end}", LOSS, lower=True)
                for end in ("average", "last")
            )
        ),
        paper_number=(
            "more sample-efficient than reward models on control tasks, robust to "
            "intransitive preferences; no number read"
        ),
        **SHARED,
    ),
    Claim(
        says="It is less exploitable than the uniform policy, which knows nothing.",
        verdict=separated("self-play, average", "uniform", LOSS, lower=True),
        **SHARED,
    ),
    Claim(
        says="Its last policy is more exploitable than the average.",
        verdict=separated("self-play, average", "self-play, last", LOSS, lower=True),
        **SHARED,
    ),
)
