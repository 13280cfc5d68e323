"""Proofs of how good a policy is, whoever found it: one multiplication by the matrix, no solver involved.

    exploitability(game, p) = max_y A(y, p),   A = 2 P - 1,   which is also the duality gap max_y P(y, p) - min_y P(p, y)
    gap(game, p)            = max_q J(q, p) - min_q J(p, q) in the game with its KL term, in closed form:
                              2 [beta log E_(y ~ p_ref) exp(P(y, p) / beta) + beta KL(p || p_ref)] - 1

Both are 0 at an equilibrium and above 0 elsewhere; at beta = 0 they are the same number. In float64 they are good to about 1e-15.
"""

from __future__ import annotations

import numpy as np

from holdfast.games.game import Floats, Game


def exploitability(game: Game, pi_A: Floats) -> float:
    """How much a best response wins against the policy, with +1 for a win and -1 for a loss; the KL term is left out."""
    return max(0.0, 2 * float((game.skew_AA @ pi_A).max()))


def gap(game: Game, pi_A: Floats) -> float:
    """The duality gap of (p, p) in the game with its KL term."""
    if not game.beta:
        return exploitability(game, pi_A)
    lean_A = (game.skew_AA @ pi_A) / game.beta + game.log_ref_A
    top = lean_A.max()
    best = game.beta * (top + np.log(np.exp(lean_A - top).sum()))
    return max(0.0, 2 * float(best + game.beta * kl(pi_A, game.log_ref_A)))


def kl(pi_A: Floats, log_ref_A: Floats) -> float:
    """KL(p || p_ref) in nats; answers without probability count 0."""
    on_A = pi_A > 0
    return float((pi_A[on_A] * (np.log(pi_A[on_A]) - log_ref_A[on_A])).sum())
