"""Exact answers to compare with: a linear program for the game, Newton's method for the game with
its KL term.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import LinAlgError, lu_factor, lu_solve
from scipy.optimize import linprog

from holdfast.card import check
from holdfast.errors import RunError
from holdfast.games.game import Game, log_softmax
from holdfast.stats.arrays import Floats

METHODS = ("highs", "highs-ds", "highs-ipm")


def linear_program(
    game: Game, *, method: str = "highs", max_seconds: float | None = None
) -> Floats:
    """A minimax winner by HiGHS: minimize t over p >= 0, sum p = 1, (P - 1/2) p <= t. The game's KL
    term is left out.

    Args:
        game: the game.
        method: `highs`, `highs-ds` (simplex) or `highs-ipm` (interior point), as in scipy.
        max_seconds: for HiGHS to give up after.

    Raises:
        OptionError: another method, or a time that is not above 0.
        RunError: HiGHS found no optimum, or not in time.
    """
    check("method", method, lambda: method in METHODS, f"be one of {', '.join(METHODS)}")
    check(
        "max_seconds",
        max_seconds,
        lambda: max_seconds is None or max_seconds > 0,
        "be above 0",
        hint="None never gives up",
    )
    answers = len(game)
    cost = np.zeros(answers + 1)
    cost[-1] = 1
    below_AB = np.hstack([game.skew_AA, -np.ones((answers, 1))])
    one_1B = np.ones((1, answers + 1))
    one_1B[0, -1] = 0
    bounds = [(0, None)] * answers + [(None, None)]
    options = {} if max_seconds is None else {"time_limit": float(max_seconds)}
    found = linprog(
        cost,
        A_ub=below_AB,
        b_ub=np.zeros(answers),
        A_eq=one_1B,
        b_eq=[1],
        bounds=bounds,
        method=method,
        options=options,
    )
    if found.status != 0:  # out of time there may be a point, which is no optimum
        raise RunError(
            f"HiGHS found no solution: {found.message}",
            hint="a longer max_seconds, or interior.interior_point",
        )
    weight_A = np.clip(found.x[:-1], 0, None)
    pi_A: Floats = weight_A / weight_A.sum()
    return pi_A


def regularized(game: Game, *, tolerance: float = 1e-14) -> Floats:
    """log p* of the only equilibrium of the game with its KL term: log p* = log p_ref + P p* / beta
    + const.

    Newton's method on that fixed point, for a beta that falls to the game's by steps, each begun at
    the last one's solution.

    Raises:
        OptionError: the game has no KL term.
        RunError: Newton's method stalled, as it does where beta is lost in rounding.
    """
    check(
        "beta",
        game.beta,
        lambda: game.beta > 0,
        "be above 0 for this",
        hint="linear_program solves the game itself",
    )
    check("tolerance", tolerance, lambda: 0 < tolerance < 1, "be above 0 and below 1")
    beta, log_pi_A = max(1.0, game.beta), game.log_ref_A
    while True:
        log_pi_A, left = _newton(game, log_pi_A, beta, tolerance)
        if not left <= max(1e3 * tolerance, 1e-16 / beta) * 1e3:
            raise RunError(
                f"no equilibrium found at beta {beta:g}: Newton's method stalled with a "
                f"residual of {left:.1e}"
            )
        if beta == game.beta:
            return log_pi_A
        beta = max(game.beta, beta / 4)


def _newton(game: Game, log_pi_A: Floats, beta: float, tolerance: float) -> tuple[Floats, float]:
    skew_AA, ref_A = game.skew_AA, game.log_ref_A
    theta_A = log_pi_A

    def residual(theta_A: Floats) -> Floats:
        out: Floats = theta_A - log_softmax(ref_A + skew_AA @ np.exp(theta_A) / beta)
        return out

    miss_A = residual(theta_A)
    for _ in range(100):
        left = float(np.abs(miss_A).max())
        if left <= tolerance:
            break
        pi_A = np.exp(theta_A)
        jacobian_AA = -(skew_AA * pi_A) / beta
        jacobian_AA += (skew_AA @ pi_A / beta)[:, None] * pi_A
        jacobian_AA += np.outer(
            np.ones(len(pi_A)), pi_A @ (skew_AA * pi_A) / beta
        )  # the normalizer moves too
        jacobian_AA[np.diag_indices(len(pi_A))] += 1
        try:
            move_A = lu_solve(lu_factor(jacobian_AA), miss_A)
        except (LinAlgError, ValueError):  # not finite
            break
        size = 1.0
        while size > 1e-6:
            tried_A = log_softmax(theta_A - size * move_A)
            tried_miss_A = residual(tried_A)
            if np.abs(tried_miss_A).max() < (1 - 0.1 * size) * left:
                break
            size /= 2
        else:
            break
        theta_A, miss_A = tried_A, tried_miss_A
    return theta_A, float(np.abs(miss_A).max())
