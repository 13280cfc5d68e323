"""An interior-point method for preference games, whose matrix is its own dual: one factorization of
A x A a step.

With S = P - 1/2 (skew) look for p, s > 0 with S p + s = t 1, sum p = 1. Since p^T S p = 0, p^T s =
t holds by itself: t is at once the bound on what any answer wins and the complementarity to be
driven to 0. Newton's step towards p_i s_i = mu is

    (diag(s / p) - S) dp + dt 1 = (mu - p s) / p,   sum dp = 0,

so p and t move, s is read off, and no point is ever infeasible: a crude direction costs progress
and never correctness. Scaled by (s / p)^(1/2) the system is (I - K) y = b with a skew K. Answers
with s / p above the norm of S, those that are on their way out, make K small, and GMRES does them
in a few multiplications; only the others, about half in the end and none at first, are factorized,
and precondition it. Mehrotra's predictor and corrector share the factors. Near the end the answers
with p > s are the support, and one linear system on the support alone ends at machine precision.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, lu_factor, lu_solve
from scipy.sparse.linalg import LinearOperator, gmres

from holdfast.card import check
from holdfast.games.certificate import exploitability
from holdfast.games.game import Game
from holdfast.stats.arrays import Floats, whole

CRUDE = 1e-4  # above this gap directions are computed in float32


@dataclass(frozen=True)
class Interior:
    """`pi_A` and its exploitability; `gaps` has that of each step. `polished`: the last step was
    the system on the support.
    """

    pi_A: Floats
    exploitability: float
    steps: int
    polished: bool
    gaps: tuple[float, ...]


def interior_point(game: Game, *, until: float = 1e-9, max_steps: int = 100) -> Interior:
    """A minimax winner of the game; the KL term is left out.

    Args:
        game: the game
        until: stop at this exploitability
        max_steps: at most so many factorizations

    Raises:
        OptionError: an option out of range.
    """
    check("until", until, lambda: until >= 0, "be at least 0")
    check("max_steps", max_steps, lambda: whole(max_steps, 1), "be a whole number of at least 1")
    skew_AA = game.skew_AA
    answers = len(game)
    p_A = np.full(answers, 1 / answers)
    beaten_A = skew_AA @ p_A
    t = float(beaten_A.max()) + 0.5
    gaps: list[float] = []
    best_A, best = p_A, exploitability(game, p_A)
    norm, single_AA = _norm(skew_AA), skew_AA.astype(np.float32)
    for number in range(1, max_steps + 1):
        s_A = t - beaten_A
        p_A, t = _step(single_AA if t > CRUDE else skew_AA, p_A, s_A, t, norm)
        if not np.isfinite(p_A).all():  # rounding ate the direction: what was best before stays
            break
        beaten_A = skew_AA @ p_A
        t = max(t, float(beaten_A.max()) * (1 + 1e-12) + 1e-300)
        found = max(0.0, 2 * float(beaten_A.max()))
        if found < best:
            best_A, best = p_A, found
        if best > until and t < 0.02:
            polished_A = _on_support(skew_AA, p_A, t - beaten_A)
            if polished_A is not None and exploitability(game, polished_A) <= min(until, best):
                gaps.append(exploitability(game, polished_A))
                return Interior(polished_A, gaps[-1], number, True, tuple(gaps))
        gaps.append(best)
        if best <= until or (number > 3 and len(gaps) > 3 and gaps[-4] <= best * (1 + 1e-9)):
            break
    return Interior(best_A, best, len(gaps), False, tuple(gaps))


class _System:
    """(diag(weight) - S) x = b, for several b."""

    def __init__(self, skew_AA: NDArray[np.floating[Any]], weight_A: Floats, norm: float):
        self.skew_AA, self.kind = skew_AA, skew_AA.dtype
        self.root_A = (1 / np.sqrt(weight_A)).astype(self.kind)
        self.hot = np.flatnonzero(weight_A < norm)
        size = len(self.hot)
        self.factors: Any = None
        if size:
            block = (
                -skew_AA[np.ix_(self.hot, self.hot)]
                * self.root_A[self.hot, None]
                * self.root_A[self.hot]
            )
            block[np.diag_indices(size)] += 1
            self.factors = lu_factor(block, overwrite_a=True, check_finite=False)
        shape = (len(weight_A), len(weight_A))
        self.whole = LinearOperator(shape, matvec=self._times, dtype=self.kind)
        self.part = LinearOperator(shape, matvec=self._undo_hot, dtype=self.kind)

    def _times(self, y_A: Floats) -> Floats:
        out: Floats = y_A - self.root_A * (self.skew_AA @ (self.root_A * y_A))
        return out

    def _undo_hot(self, y_A: Floats) -> Floats:
        out_A = y_A.astype(self.kind, copy=True)
        if self.factors is not None:
            out_A[self.hot] = lu_solve(self.factors, out_A[self.hot], check_finite=False)
        return out_A

    def solve(self, b_A: Floats) -> Floats:
        scale = float(np.linalg.norm(b_A * self.root_A)) or 1.0
        right_A = (b_A * self.root_A / scale).astype(self.kind)
        close = 1e-4 if self.kind == np.float32 else 1e-9
        y_A, _ = gmres(self.whole, right_A, M=self.part, rtol=close, restart=60, maxiter=2)
        out_A: Floats = scale * (self.root_A * y_A).astype(float)
        return out_A


def _step(
    skew_AA: NDArray[np.floating[Any]], p_A: Floats, s_A: Floats, t: float, norm: float
) -> tuple[Floats, float]:
    """Predictor, corrector, and as long a step as stays inside."""
    system = _System(skew_AA, s_A / p_A, norm)
    one_A = system.solve(np.ones(len(p_A)))

    def direction(product_A: Floats) -> tuple[Floats, float, Floats]:
        """Towards p s + (p ds + s dp) = product + p s."""
        x_A = system.solve(product_A / p_A)
        dt = x_A.sum() / one_A.sum()
        dp_A = x_A - dt * one_A
        dp_A -= dp_A.mean()
        return dp_A, float(dt), (product_A - s_A * dp_A) / p_A

    dp_A, _, ds_A = direction(-p_A * s_A)
    reach = min(_reach(p_A, dp_A), _reach(s_A, ds_A), 1.0)
    after = float((p_A + reach * dp_A) @ (s_A + reach * ds_A))
    center = (after / t) ** 3
    dp_A, dt, ds_A = direction(center * t / len(p_A) - p_A * s_A - dp_A * ds_A)
    near = max(0.99, 1 - t)
    reach = min(near * _reach(p_A, dp_A), near * _reach(s_A, ds_A), 1.0)
    moved_A = p_A + reach * dp_A
    return moved_A / moved_A.sum(), t + reach * dt


def _norm(skew_AA: Floats) -> float:
    """The spectral norm, by a few steps of the power method; about is enough."""
    x_A: Floats = np.random.default_rng(0).normal(size=len(skew_AA))
    size = 0.0
    for _ in range(12):
        x_A = skew_AA @ (x_A / (np.linalg.norm(x_A) or 1.0))
        size = float(np.linalg.norm(x_A))
    return size


def _reach(x_A: Floats, dx_A: Floats) -> float:
    """The largest step that keeps x + step dx at or above 0."""
    down_A = dx_A < 0
    return float((-x_A[down_A] / dx_A[down_A]).min()) if down_A.any() else 1e9


def _on_support(skew_AA: Floats, p_A: Floats, s_A: Floats) -> Floats | None:
    """The policy on the answers with p > s against which they all draw, if there is one."""
    on = np.flatnonzero(p_A > s_A)
    if not len(on):
        return None
    size = len(on)
    system = np.zeros((size + 1, size + 1), order="F")
    system[:size, :size] = skew_AA[np.ix_(on, on)]
    system[:size, size], system[size, :size] = -1, 1
    right = np.zeros(size + 1)
    right[size] = 1
    try:
        found = np.linalg.solve(system, right)[:size]
    except LinAlgError:
        return None
    if not np.isfinite(found).all() or (found < -1e-9).any():
        return None
    out_A = np.zeros(len(p_A))
    out_A[on] = np.clip(found, 0, None)
    pi_A: Floats = out_A / out_A.sum()
    return pi_A
