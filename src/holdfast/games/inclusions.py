"""Halpern's iteration with variance reduction, for 0 in F(u) + G(u) with a monotone F that is a
mean of many parts.

Cai, Alacaoglu and Diakonikolas, "Variance Reduced Halpern Iteration for Finite-Sum Monotone
Inclusions" (2023). F = (1/N) sum_i F_i; the price is counted in evaluations of single parts F_i.
Two cases:

    cocoercive    F cocoercive on average, G = 0: one loop, a recursive estimate of F (PAGE), anchor
                  2 / (k + 4)
    monotone      F monotone and Lipschitz on average, G with a cheap prox (a projection): Halpern
                  on the resolvent, anchor 1 / (k + 2),
                  each resolvent computed to a growing accuracy by a variance-reduced
                  forward-reflected-backward method

Both promise the last iterate's residual in about N + sqrt(N) L / epsilon evaluations; without
variance reduction it is N L / epsilon.

Departures:
    1. The paper's constants could not be confirmed. Step 1 / (4 L), anchors, batch sqrt(N) and
       chances are as reported second-hand; the inner step of `monotone` is sqrt(p (1 - p)) / (2 L),
       found to be stable here.
    2. The inner loop has a fixed length that grows with log k, and no stopping rule of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import ceil, inf, log, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from holdfast.card import check
from holdfast.games.game import Game
from holdfast.stats.arrays import Floats, whole

Index = NDArray[np.intp]


def _itself(u_D: Floats) -> Floats:
    return u_D


@dataclass(frozen=True)
class FiniteSum:
    """F = (1/N) sum_i F_i, and the prox of G.

    Attributes:
        parts: N
        whole: F(u)
        some: `some(index_B, u)`, an estimate of F(u) from these parts: their mean where parts are
            drawn alike
        lipschitz: L, of F on average over how parts are drawn
        whole_lipschitz: that of F itself, at most L; L unless given
        prox: of G, the same for every step size where G is an indicator: a projection; nothing if G
            = 0
        chances_N: how parts are drawn; alike unless given (then `some` must divide by them)
    """

    parts: int
    whole: Callable[[Floats], Floats]
    some: Callable[[Index, Floats], Floats]
    lipschitz: float
    prox: Callable[[Floats], Floats] = _itself
    chances_N: Floats | None = None
    whole_lipschitz: float | None = None

    def __post_init__(self) -> None:
        check("parts", self.parts, lambda: whole(self.parts, 1), "be a whole number of at least 1")
        check(
            "lipschitz", self.lipschitz, lambda: 0 < self.lipschitz < inf, "be above 0 and finite"
        )
        check(
            "whole_lipschitz",
            self.whole_lipschitz,
            lambda: 0 < self.whole_L < inf,
            "be above 0 and finite",
        )

    @property
    def whole_L(self) -> float:
        return self.lipschitz if self.whole_lipschitz is None else self.whole_lipschitz

    def draw(self, rng: np.random.Generator, size: int) -> Index:
        if self.chances_N is None:
            return rng.integers(self.parts, size=size)
        return rng.choice(self.parts, size, p=self.chances_N)

    def residual(self, u_D: Floats) -> float:
        """||u - prox(u - F(u))||, which is ||F(u)|| where G = 0. The observer's: never counted."""
        return float(np.linalg.norm(u_D - self.prox(u_D - self.whole(u_D))))


@dataclass(frozen=True)
class At:
    """An iterate and what it cost so far, in evaluations of single parts."""

    u_D: Floats
    number: int
    calls: int


def cocoercive(
    problem: FiniteSum, u_D: Floats, *, seed: int = 0, eta: float | None = None
) -> Iterator[At]:
    """u_(k+1) = a_k u_0 + (1 - a_k) u_k - eta g_k, a_k = 2 / (k + 4), for a cocoercive F without G.
    An endless iterator.

    g_k is F(u_k) with chance p_k = min(1, 4 / (k + 5)) for k up to sqrt(N), later 4 / (sqrt(N) +
    5); otherwise g_(k-1) corrected by the same sqrt(N) random parts at u_k and u_(k-1). sqrt(E
    ||F(u_k)||^2) <= 16 L ||u_0 - u*|| / (k + 4) at the default step.

    Args:
        problem: F
        u_D: where to start; the anchor for ever
        seed: of the draws
        eta: step, 1 / (4 L) unless given
    """
    eta = 1 / (4 * problem.lipschitz) if eta is None else eta
    check("eta", eta, lambda: 0 < eta < inf, "be above 0 and finite")
    rng = np.random.default_rng([seed, 0x4A1F])
    batch = ceil(sqrt(problem.parts))
    anchor_D, g_D, calls, k = u_D, problem.whole(u_D), problem.parts, 0
    yield At(u_D, 0, calls)
    while True:
        a = 2 / (k + 4)
        next_D = a * anchor_D + (1 - a) * u_D - eta * g_D
        chance = min(1.0, 4 / (k + 5)) if k <= batch else 4 / (sqrt(problem.parts) + 5)
        if rng.random() < chance:
            g_D = problem.whole(next_D)
            calls += problem.parts
        else:
            some_B = problem.draw(
                rng, batch
            )  # the same parts at both points, or the variance explodes
            g_D = g_D + problem.some(some_B, next_D) - problem.some(some_B, u_D)
            calls += 2 * batch
        u_D, k = next_D, k + 1
        yield At(u_D, k, calls)


def deterministic(problem: FiniteSum, u_D: Floats, *, relax: float = 2.0) -> Iterator[At]:
    """Halpern's iteration without variance reduction, for a cocoercive F without G: the control. N
    evaluations a step. Endless.

    u_(k+1) = a_k u_0 + (1 - a_k) (u_k - relax F(u_k) / L_F), a_k = 1 / (k + 2); relax at most 2.
    """
    check("relax", relax, lambda: 0 < relax <= 2, "be above 0 and at most 2")
    anchor_D, k, calls = u_D, 0, 0
    while True:
        slope_D = problem.whole(u_D)
        calls += problem.parts
        yield At(u_D, k, calls)
        a = 1 / (k + 2)
        u_D, k = a * anchor_D + (1 - a) * (u_D - relax / problem.whole_L * slope_D), k + 1


def monotone(
    problem: FiniteSum,
    u_D: Floats,
    *,
    seed: int = 0,
    eta: float | None = None,
    inner: float = 2.0,
    variance_reduced: bool = True,
) -> Iterator[At]:
    """u_(k+1) = a_k u_0 + (1 - a_k) J(u_k), a_k = 1 / (k + 2), J the resolvent of eta (F + G). An
    endless iterator.

    Delivered are the points J(u_k), which lie in the domain of G.

    Args:
        problem: F and G
        u_D: where to start; the anchor for ever
        seed: of the draws
        eta: of the resolvent, sqrt(N) / L unless given
        inner: passes over the parts in each resolvent are inner x log(k + 3)
        variance_reduced: without it the resolvent is computed from whole F, at N evaluations a step
    """
    eta = sqrt(problem.parts) / problem.lipschitz if eta is None else eta
    check("eta", eta, lambda: 0 < eta < inf, "be above 0 and finite")
    check("inner", inner, lambda: 0 < inner < inf, "be above 0 and finite")
    rng = np.random.default_rng([seed, 0x4A1E])
    anchor_D, calls, k = u_D, 0, 0
    z_D = u_D
    while True:
        z_D, spent = resolvent(
            problem,
            u_D,
            z_D,
            rng,
            eta=eta,
            budget=ceil(inner * log(k + 3) * problem.parts),
            reduced=variance_reduced,
        )
        calls += spent
        yield At(z_D, k + 1, calls)
        a = 1 / (k + 2)
        u_D, k = a * anchor_D + (1 - a) * z_D, k + 1


def resolvent(
    problem: FiniteSum,
    u_D: Floats,
    z_D: Floats,
    rng: np.random.Generator,
    *,
    eta: float,
    budget: int,
    reduced: bool = True,
) -> tuple[Floats, int]:
    """About J(u) = (I + eta (F + G))^(-1) u from z, and the evaluations it took: variance-reduced
    forward-reflected-backward steps.

    z+ = prox[zbar - tau (F(w) + F_i(z) - F_i(w_before))] with the quadratic ||. - u||^2 / (2 eta)
    inside the prox, zbar = (1 - p) z + p w, and the snapshot w replaced by z+ with chance p = 2 /
    N.
    """
    p = min(0.5, 2 / problem.parts)
    tau = sqrt(p * (1 - p)) / (2 * problem.lipschitz) if reduced else 1 / (2 * problem.whole_L)
    w_D = before_D = z_D
    at_w_D = problem.whole(w_D)
    at_z_before_D = at_w_D
    calls = problem.parts
    while calls < budget:
        if reduced:
            i_B = problem.draw(rng, 1)
            slope_D = at_w_D + problem.some(i_B, z_D) - problem.some(i_B, before_D)
            center_D = (1 - p) * z_D + p * w_D
            calls += 2
        else:
            now_D = problem.whole(z_D)
            slope_D, center_D = 2 * now_D - at_z_before_D, z_D
            at_z_before_D = now_D
            calls += problem.parts
        z_D = problem.prox((center_D - tau * slope_D + tau / eta * u_D) / (1 + tau / eta))
        before_D = w_D
        if reduced and rng.random() < p:
            w_D, at_w_D = z_D, problem.whole(z_D)
            calls += problem.parts
    return z_D, calls


def of_game(game: Game) -> FiniteSum:
    """A preference game as an inclusion on the simplex: F(p) = -(P - 1/2) p, one part an opponent's
    answer, G the simplex's indicator.

    One policy is enough, for the game is symmetric and F skew. Parts are drawn in proportion to
    their columns' norms, which brings L from sqrt(A) times the largest column's norm down to the
    Frobenius norm of P - 1/2.
    """
    skew_AA = game.skew_AA
    norm_A = np.linalg.norm(skew_AA, axis=0)
    frobenius = float(np.linalg.norm(norm_A)) or 1.0
    chance_A = (norm_A**2 + 1e-12 * frobenius**2) / (norm_A**2 + 1e-12 * frobenius**2).sum()

    def some(index_B: Index, p_A: Floats) -> Floats:
        out: Floats = -(skew_AA[:, index_B] @ (p_A[index_B] / chance_A[index_B])) / len(index_B)
        return out

    spectral = float(np.linalg.norm(skew_AA, 2)) or 1.0
    return FiniteSum(
        len(game), lambda p_A: -(skew_AA @ p_A), some, frobenius, onto_simplex, chance_A, spectral
    )


def onto_simplex(x_A: Floats) -> Floats:
    """The nearest point of the simplex, in Euclid's distance."""
    down_A = np.sort(x_A)[::-1]
    over_A = (np.cumsum(down_A) - 1) / np.arange(1, len(x_A) + 1)
    last = int(np.count_nonzero(down_A > over_A)) - 1
    out: Floats = np.maximum(x_A - over_A[last], 0.0)
    return out


def run(
    iterates: Iterator[At],
    problem: FiniteSum,
    *,
    until: float,
    max_calls: float,
    spacing: float = 1.1,
) -> dict[str, Any]:
    """Residuals along the way, at evaluations `spacing` apart, until one is small enough or the
    evaluations are used up.
    """
    check("until", until, lambda: -inf < until < inf, "be finite")
    check("max_calls", max_calls, lambda: 0 < max_calls < inf, "be above 0 and finite")
    check("spacing", spacing, lambda: 1 <= spacing < inf, "be at least 1 and finite")
    calls: list[int] = []
    residuals: list[float] = []
    due = 0.0
    for at in iterates:
        if at.calls >= due or at.calls >= max_calls:
            calls.append(at.calls)
            residuals.append(problem.residual(at.u_D))
            due = spacing * at.calls
            if residuals[-1] <= until or at.calls >= max_calls:
                return {
                    "u_D": at.u_D,
                    "calls": calls,
                    "residuals": residuals,
                    "reached": residuals[-1] <= until,
                }
    raise AssertionError("iterates never end")
