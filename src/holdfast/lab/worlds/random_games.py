"""Random preference games, as in the simulations of EGPO: P(a beats b) uniform on [0, 1] for each
pair of answers, the reference a softmax of standard normal logits."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from holdfast.games.game import Game

ANSWERS = 10


def random_game(seed: int, *, answers: int = ANSWERS, beta: float = 0.0) -> Game:
    """One game; the same seed gives the same preferences at every beta."""
    rng = np.random.default_rng([seed, 0x6A3E])
    below_AA = np.tril(rng.uniform(size=(answers, answers)), -1)
    pref_AA = below_AA + np.triu(1 - below_AA.T, 1) + 0.5 * np.eye(answers)
    return Game(pref_AA, beta=beta, log_ref_A=rng.normal(size=answers))


def slope(x: ArrayLike, y: ArrayLike) -> float:
    """Of the least-squares line."""
    return float(np.polyfit(np.asarray(x, float), np.asarray(y, float), 1)[0])
