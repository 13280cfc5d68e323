"""Predictive regret matching plus: play in proportion to what one regrets not having played, and
expect the last regret to come again.

A solver without a policy objective, kept as the yardstick among first-order methods: it has no step
size. Farina, Kroer and Sandholm, "Faster Game Solving via Predictive Blackwell Approachability"
(2021); regret matching plus is Tammelin's (2014).
"""

from __future__ import annotations

import numpy as np

from holdfast.games.game import Oracle
from holdfast.games.state import State
from holdfast.stats.arrays import Floats


def step(oracle: Oracle, state: State) -> State:
    """r <- max(0, r + g - g^T pi), g = P pi; then pi in proportion to max(0, r + g_t - g_t^T pi_t).
    One call.

    Average it with weight t squared (`solve(..., average="quadratic")`): the average is what
    converges.
    """
    pi_A = state.pi_A
    win_A = oracle.win_A(pi_A)
    regret_A = win_A - pi_A @ win_A
    sum_A = np.maximum(state.carried.get("sum_A", 0.0) + regret_A, 0.0)
    return state.then(_log(np.maximum(sum_A + regret_A, 0.0), state.log_pi_A), sum_A=sum_A)


def _log(weight_A: Floats, else_A: Floats) -> Floats:
    total = weight_A.sum()
    if total <= 0:
        return else_A
    with np.errstate(divide="ignore"):
        out: Floats = np.log(weight_A / total)
    return out
