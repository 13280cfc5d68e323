"""Proofs of how good a policy is, whoever found it: one multiplication by the matrix, no solver
involved.

    exploitability(game, p) = max_y A(y, p),   A = 2 P - 1,

which is also the duality gap max_y P(y, p) - min_y P(p, y)
    gap(game, p)            = max_q J(q, p) - min_q J(p, q) in the game with its KL term, in closed
                            form:
                              2 beta KL(p || best response),   best response = p_ref exp(P p / beta)
                                                               / Z

Both are 0 at an equilibrium and above 0 elsewhere; at beta = 0 they are the same number. In float64
they are good to about 1e-15. What is certified must be a policy: probabilities of all answers, at
least 0, that sum to 1; anything else, NaN included, is refused.
"""

from __future__ import annotations

import numpy as np

from holdfast.games.game import Game, log_softmax
from holdfast.stats.arrays import Floats, distribution


def exploitability(game: Game, pi_A: Floats) -> float:
    """How much a best response wins against the policy, with +1 for a win and -1 for a loss; the KL
    term is left out.

    Raises:
        DataError: `pi_A` is no distribution over the game's answers.
    """
    won = 2 * float((game.skew_AA @ distribution(pi_A, len(game), "pi_A")).max())
    return 0.0 if won < 0 else won  # a comparison that NaN fails, so that it can never read as 0


def gap(game: Game, pi_A: Floats) -> float:
    """The duality gap of (p, p) in the game with its KL term.

    Raises:
        DataError: `pi_A` is no distribution over the game's answers.
    """
    if not game.beta:
        return exploitability(game, pi_A)
    p_A = distribution(pi_A, len(game), "pi_A")
    best_A = log_softmax(game.log_ref_A + (game.skew_AA @ p_A) / game.beta)
    return 2 * game.beta * kl(p_A, best_A)


def kl(pi_A: Floats, log_ref_A: Floats) -> float:
    """KL(p || p_ref) in nats, of two distributions; answers without probability in p count 0.

    As a sum of terms that are never negative, p log(p / p_ref) - p + p_ref, so that nothing cancels
    where the two are close.
    """
    on_A = pi_A > 0
    p_A, ref_A = pi_A[on_A], np.exp(log_ref_A)
    ratio_A = np.log(p_A) - log_ref_A[on_A]
    near_A = p_A * (ratio_A + np.expm1(-ratio_A.clip(-1, 1)))
    far_A = p_A * ratio_A - p_A + ref_A[on_A]
    return float(np.where(np.abs(ratio_A) < 1, near_A, far_A).sum() + ref_A[~on_A].sum())
