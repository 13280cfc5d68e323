"""A preference game on A answers, and the oracle that counts what a solver asks of it.

Two players each pick an answer; `pref_AA[a, b]` is the probability that a is preferred to b. The game is symmetric, so one policy plays
itself: at a solution p* (the minimax winner, von Neumann winner, or maximal lottery) no answer wins against p* more than half of the time.
With a `beta` above 0 each player pays beta KL(p || p_ref), and

    J(p, q) = p^T P q - beta KL(p || p_ref) + beta KL(q || p_ref).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from holdfast.card import check
from holdfast.errors import DataError

Floats = NDArray[np.floating[Any]]
TOLERANCE = 1e-6  # of P + P^T = 1; what is within is made exact


@dataclass(frozen=True, eq=False)
class Game:
    """A validated preference matrix, and the KL term if there is one.

    Attributes:
        pref_AA: P(row beats column), float64, P + P^T = 1 exactly
        beta: strength of the KL term, per nat; 0 is the game itself
        log_ref_A: log p_ref, uniform unless given
        names: of the answers, if they have names
    """

    pref_AA: Floats
    beta: float = 0.0
    log_ref_A: Floats = None  # type: ignore[assignment]
    names: tuple[str, ...] = ()
    skew_AA: Floats = field(init=False)  # P - 1/2: what the hot path multiplies with

    def __post_init__(self) -> None:
        pref_AA = validated(self.pref_AA)
        answers = len(pref_AA)
        check("beta", self.beta, 0 <= self.beta < inf, "be at least 0 and finite")
        log_ref_A = np.full(answers, -np.log(answers)) if self.log_ref_A is None else log_softmax(np.asarray(self.log_ref_A, float))
        if log_ref_A.shape != (answers,) or not np.isfinite(log_ref_A).all():
            raise DataError(f"the reference must give each of {answers} answers a positive probability")
        if self.names and len(self.names) != answers:
            raise DataError(f"there are {len(self.names)} names and {answers} answers")
        object.__setattr__(self, "pref_AA", pref_AA)
        object.__setattr__(self, "log_ref_A", log_ref_A)
        object.__setattr__(self, "skew_AA", pref_AA - 0.5)

    def __len__(self) -> int:
        return len(self.pref_AA)

    def win_A(self, pi_A: Floats) -> Floats:
        """g(p) = P p: how often each answer beats an answer of the policy."""
        return self.skew_AA @ pi_A + 0.5 * pi_A.sum()


def validated(given: ArrayLike) -> Floats:
    """A preference matrix as float64, made exactly antisymmetric about 1/2.

    Raises:
        DataError: not square, empty, not finite, outside [0, 1], or P + P^T is not 1; the message names the first entry.
    """
    pref_AA = np.array(given, dtype=float)
    if pref_AA.ndim != 2 or pref_AA.shape[0] != pref_AA.shape[1] or not pref_AA.size:
        raise DataError(f"a preference matrix is square and not empty; this one has shape {pref_AA.shape}")

    def refuse(wrong_AA: NDArray[np.bool_], what: str, hint: str) -> None:
        if wrong_AA.any():
            a, b = (int(i) for i in np.argwhere(wrong_AA)[0])
            raise DataError(f"P[{a}, {b}] is {pref_AA[a, b]:g} and P[{b}, {a}] is {pref_AA[b, a]:g}: {what}", hint=hint)

    refuse(~np.isfinite(pref_AA), "not finite", "answers that never met: leave them out, or `from_votes` with a prior")
    refuse((pref_AA < -TOLERANCE) | (pref_AA > 1 + TOLERANCE), "not probabilities", "a payoff table A in [-1, 1] is P = (1 + A) / 2")
    off_AA = np.abs(pref_AA + pref_AA.T - 1)
    refuse(off_AA > TOLERANCE, "they must add up to 1, and the diagonal is 1/2", "a tie is 1/2 on both sides; counts go to `from_votes`")
    skew_AA = np.clip((pref_AA - pref_AA.T) / 2, -0.5, 0.5)
    return 0.5 + skew_AA


def from_votes(
    winners: Sequence[Any], losers: Sequence[Any], *, weight: ArrayLike | None = None, prior: float = 1.0, beta: float = 0.0
) -> Game:
    """A game from who beat whom: P(a beats b) = (wins of a over b + prior / 2) / (meetings + prior). Pairs that never met are at 1/2.

    Args:
        winners: the winner of each meeting, by any hashable name
        losers: the loser of each
        weight: of each meeting; 1 unless given (a tie is half a win each way)
        prior: imagined meetings of each pair, half of them won; 0 leaves pairs that never met at 1/2 all the same
        beta: of the KL term

    Raises:
        DataError: lists of different length, no meeting, or an answer that meets itself.
    """
    check("prior", prior, 0 <= prior < inf, "be at least 0 and finite")
    if len(winners) != len(losers) or not len(winners):
        raise DataError(f"there are {len(winners)} winners and {len(losers)} losers", hint="one of each a meeting, one meeting at least")
    for row, (first, second) in enumerate(zip(winners, losers, strict=True), 1):
        if first == second:
            raise DataError(f"meeting {row}: {first!r} meets itself", hint="drop such rows")
    names = tuple(dict.fromkeys([*winners, *losers]))
    number = {name: i for i, name in enumerate(names)}
    wins_AA = np.zeros((len(names), len(names)))
    weight_N = np.ones(len(winners)) if weight is None else np.asarray(weight, float)
    np.add.at(wins_AA, ([number[n] for n in winners], [number[n] for n in losers]), weight_N)
    met_AA = wins_AA + wins_AA.T + prior
    pref_AA = np.where(met_AA > 0, (wins_AA + prior / 2) / np.where(met_AA > 0, met_AA, 1), 0.5)
    return Game(pref_AA, beta=beta, names=tuple(map(str, names)))


def from_judge(judge: Callable[[str, str, str], float], prompt: str, answers: Sequence[str], *, beta: float = 0.0) -> Game:
    """A game over sampled answers of one prompt, each unordered pair judged once in each order and averaged.

    Args:
        judge: P(first is better), as a function of (prompt, first, second): a learned preference model, or anything else
        prompt: the prompt
        answers: two or more
        beta: of the KL term
    """
    pref_AA = np.full((len(answers), len(answers)), 0.5)
    for a in range(len(answers)):
        for b in range(a):
            forth, back = float(judge(prompt, answers[a], answers[b])), float(judge(prompt, answers[b], answers[a]))
            pref_AA[a, b] = (forth + 1 - back) / 2
            pref_AA[b, a] = 1 - pref_AA[a, b]
    return Game(pref_AA, beta=beta, names=tuple(answers))


@dataclass(eq=False)
class Oracle:
    """What a solver may ask of a game. `calls` counts evaluations of all answers against one policy; a single column is 1 / A of one.

    With `opponents` = K the answer is a noisy one: K answers are drawn from the policy, and every answer meets each of them once, with a
    random winner. That is what a judge asked on samples gives.
    """

    game: Game
    opponents: int | None = None
    seed: int = 0
    calls: float = 0.0

    def __post_init__(self) -> None:
        if self.opponents is not None:
            check("opponents", self.opponents, self.opponents >= 1, "be at least 1")
        self._rng = np.random.default_rng([self.seed, 0x0AC1])

    def win_A(self, pi_A: Floats) -> Floats:
        """How often each answer beats the policy: exact, or estimated from K meetings each."""
        self.calls += 1
        if self.opponents is None:
            return self.game.win_A(pi_A)
        drawn_K = self._rng.choice(len(pi_A), self.opponents, p=pi_A / pi_A.sum())
        met_AK = self.game.pref_AA[:, drawn_K]
        return (self._rng.random(met_AK.shape) < met_AK).mean(-1)

    def columns(self, index_B: NDArray[np.intp]) -> Floats:
        """P[:, b] - 1/2 for some answers b: A x B, at the price of B / A calls."""
        self.calls += len(index_B) / len(self.game)
        return self.game.skew_AA[:, index_B]


def log_softmax(logits_A: Floats) -> Floats:
    shifted_A = logits_A - logits_A.max()
    out: Floats = shifted_A - np.log(np.exp(shifted_A).sum())
    return out
