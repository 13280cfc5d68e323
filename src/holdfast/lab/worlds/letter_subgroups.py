"""Sequences of four letters judged by three equal subgroups, whose tastes are one another's turned
around: every majority is cyclic.

A subgroup scores an answer by its counts of the three letters with weights (1, 0.3, -1) and some
noise of its own for each answer, turned by one letter from subgroup to subgroup; it prefers the
higher score, and `pref_AA` is the share of subgroups that do (1/2 for a draw).
"""

from __future__ import annotations

from itertools import product

import numpy as np

from holdfast.games.game import Game
from holdfast.stats.arrays import Floats

LETTERS, LENGTH, WEIGHTS = 3, 4, (1.0, 0.3, -1.0)


def subgroups(seed: int, *, noise: float = 0.2) -> Game:
    """The game over all 81 answers."""
    rng = np.random.default_rng([seed, 0x1E77])
    words = np.array(list(product(range(LETTERS), repeat=LENGTH)))
    count_AL = np.stack([(words == letter).sum(-1) for letter in range(LETTERS)], axis=1)
    scores_KA = np.stack(
        [count_AL @ np.roll(WEIGHTS, k) for k in range(LETTERS)]
    ) + noise * rng.normal(size=(LETTERS, len(words)))
    return Game(
        np.mean([0.5 + 0.5 * np.sign(score_A[:, None] - score_A) for score_A in scores_KA], axis=0)
    )


def rewards(game: Game) -> Floats:
    """The Bradley-Terry rewards that fit the population best: zero-sum logits by Newton's method, a
    little ridge.
    """
    reward_A = np.zeros(len(game))
    for _ in range(50):
        said_AA = 1 / (1 + np.exp(-(reward_A[:, None] - reward_A)))
        slope_A = (said_AA - game.pref_AA).sum(-1) + 1e-6 * reward_A
        weight_AA = said_AA * (1 - said_AA)
        hessian_AA = np.diag(weight_AA.sum(-1) + 1e-6) - weight_AA
        reward_A = reward_A - np.linalg.solve(hessian_AA, slope_A)
    return reward_A
