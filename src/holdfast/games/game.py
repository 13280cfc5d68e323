"""A preference game on A answers, and the oracle that counts what a solver asks of it.

Two players each pick an answer; `pref_AA[a, b]` is the probability that a is preferred to b. The
game is symmetric, so one policy plays itself: at a solution p* (the minimax winner, von Neumann
winner, or maximal lottery) no answer wins against p* more than half of the time. With a `beta`
above 0 each player pays beta KL(p || p_ref), and

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
from holdfast.stats import arrays
from holdfast.stats.arrays import Floats

TOLERANCE = 1e-6  # of P + P^T = 1; what is within is made exact
LEAST_BETA = 1e-12  # below, a win rate over beta is lost in rounding


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
        check(
            "beta",
            self.beta,
            lambda: self.beta == 0 or LEAST_BETA <= self.beta < inf,
            "be 0, or at least 1e-12 and finite",
        )
        hint = f"the reference must give each of {answers} answers a positive probability"
        given = np.zeros(answers) if self.log_ref_A is None else self.log_ref_A
        log_ref_A = log_softmax(arrays.floats(given, "log_ref_A", shape=(answers,), hint=hint))
        if self.names and len(self.names) != answers:
            raise DataError(f"there are {len(self.names)} names and {answers} answers")
        object.__setattr__(self, "pref_AA", pref_AA)
        object.__setattr__(self, "log_ref_A", log_ref_A)
        object.__setattr__(self, "skew_AA", pref_AA - 0.5)

    def __len__(self) -> int:
        return len(self.pref_AA)

    def win_A(self, pi_A: Floats) -> Floats:
        """g(p) = P p: how often each answer beats an answer of the policy."""
        win_A: Floats = self.skew_AA @ pi_A + 0.5 * pi_A.sum()
        return win_A


def validated(given: ArrayLike) -> Floats:
    """A preference matrix as float64, made exactly antisymmetric about 1/2.

    Raises:
        DataError: no table of real numbers, not square, empty, not finite, outside [0, 1], or P +
            P^T is not 1; the message names the first entry.
    """
    pref_AA = arrays.floats(
        given, "a preference matrix", finite=False, hint="A rows of A probabilities"
    )
    if pref_AA.ndim != 2 or pref_AA.shape[0] != pref_AA.shape[1] or not pref_AA.size:
        raise DataError(
            f"a preference matrix is square and not empty; this one has shape {pref_AA.shape}"
        )

    def refuse(wrong_AA: NDArray[np.bool_], what: str, hint: str) -> None:
        if wrong_AA.any():
            a, b = (int(i) for i in np.argwhere(wrong_AA)[0])
            raise DataError(
                f"P[{a}, {b}] is {pref_AA[a, b]:g} and P[{b}, {a}] is {pref_AA[b, a]:g}: {what}",
                hint=hint,
            )

    refuse(
        ~np.isfinite(pref_AA),
        "not finite",
        "answers that never met: leave them out, or `from_votes` with a prior",
    )
    refuse(
        (pref_AA < -TOLERANCE) | (pref_AA > 1 + TOLERANCE),
        "not probabilities",
        "a payoff table A in [-1, 1] is P = (1 + A) / 2",
    )
    off_AA = np.abs(pref_AA + pref_AA.T - 1)
    refuse(
        off_AA > TOLERANCE,
        "they must add up to 1, and the diagonal is 1/2",
        "a tie is 1/2 on both sides; counts go to `from_votes`",
    )
    skew_AA = np.clip((pref_AA - pref_AA.T) / 2, -0.5, 0.5)
    return 0.5 + skew_AA


def from_votes(
    winners: Sequence[Any],
    losers: Sequence[Any],
    *,
    weight: ArrayLike | None = None,
    prior: float = 1.0,
    beta: float = 0.0,
) -> Game:
    """A game from who beat whom: P(a beats b) = (wins of a over b + prior / 2) / (meetings +
    prior). Pairs that never met are at 1/2.

    Args:
        winners: the winner of each meeting, by any hashable name
        losers: the loser of each
        weight: of each meeting, finite and at least 0; 1 unless given (a tie is half a win each
            way)
        prior: imagined meetings of each pair, half of them won; 0 leaves pairs that never met at
            1/2 all the same
        beta: of the KL term

    Raises:
        DataError: lists of different length, no meeting, an answer without a name or that meets
            itself, or weights that are not one finite number of at least 0 for each meeting.
    """
    check("prior", prior, lambda: 0 <= prior < inf, "be at least 0 and finite")
    met = meetings(winners, losers, weight)
    wins_AA = np.zeros((len(met.names), len(met.names)))
    np.add.at(wins_AA, (met.winner_N, met.loser_N), met.weight_N)
    return Game(shares(wins_AA, prior), beta=beta, names=tuple(map(str, met.names)))


def shares(wins_AA: Floats, prior: float) -> Floats:
    """P from counts of wins: (wins + prior / 2) / (meetings + prior), 1/2 where nobody met."""
    scale = (
        max(float(wins_AA.max()), prior) or 1.0
    )  # of weights near the largest float a sum would be infinite
    won_AA, prior = wins_AA / scale, prior / scale
    met_AA = won_AA + won_AA.T + prior
    return np.where(met_AA > 0, (won_AA + prior / 2) / np.where(met_AA > 0, met_AA, 1), 0.5)


@dataclass(frozen=True)
class Meetings:
    """Who beat whom, N times, as places in `names`."""

    names: tuple[Any, ...]
    winner_N: NDArray[np.intp]
    loser_N: NDArray[np.intp]
    weight_N: NDArray[np.float64]

    def turned(self, which_N: NDArray[np.bool_]) -> Meetings:
        """The same with these labels inverted."""
        winner_N = np.where(which_N, self.loser_N, self.winner_N)
        return Meetings(
            self.names, winner_N, np.where(which_N, self.winner_N, self.loser_N), self.weight_N
        )


def meetings(winners: Sequence[Any], losers: Sequence[Any], weight: ArrayLike | None) -> Meetings:
    """The same as numbers.

    Raises:
        DataError: see `from_votes`.
    """
    winners, losers = arrays.names(winners, "winners"), arrays.names(losers, "losers")
    if len(winners) != len(losers) or not winners:
        raise DataError(
            f"there are {len(winners)} winners and {len(losers)} losers",
            hint="one of each a meeting, one meeting at least",
        )
    for row, (first, second) in enumerate(zip(winners, losers, strict=True), 1):
        if first == second:
            raise DataError(f"meeting {row}: {first!r} meets itself", hint="drop such rows")
    names = tuple(dict.fromkeys([*winners, *losers]))
    number = {name: i for i, name in enumerate(names)}
    hint = "one number of at least 0 for each meeting"
    given = np.ones(len(winners)) if weight is None else weight
    weight_N = arrays.floats(given, "weight", shape=(len(winners),), low=0.0, hint=hint)
    if not weight_N.any():
        raise DataError("all weights are 0", hint=hint)
    return Meetings(
        names,
        np.array([number[n] for n in winners]),
        np.array([number[n] for n in losers]),
        weight_N,
    )


def from_judge(
    judge: Callable[[str, str, str], float],
    prompt: str,
    answers: Sequence[str],
    *,
    beta: float = 0.0,
) -> Game:
    """A game over sampled answers of one prompt, each unordered pair judged once in each order and
    averaged.

    Args:
        judge: P(first is better), as a function of (prompt, first, second): a learned preference
            model, or anything else
        prompt: the prompt
        answers: two or more
        beta: of the KL term

    Raises:
        DataError: fewer than two answers, or a judge that says something else than a number from 0
            to 1.
    """
    answers = arrays.listed(answers, "answers")
    if len(answers) < 2:
        raise DataError(
            f"a game needs two answers or more; these are {answers!r}", hint="a list of texts"
        )

    def asked(a: int, b: int) -> float:
        said = judge(prompt, answers[a], answers[b])
        hint = "P(first is better), a number from 0 to 1"
        return float(
            arrays.floats(
                said,
                f"what the judge says of answers {a} and {b}",
                low=0.0,
                high=1.0,
                one=True,
                hint=hint,
            )
        )

    pref_AA = np.full((len(answers), len(answers)), 0.5)
    for a in range(len(answers)):
        for b in range(a):
            forth, back = asked(a, b), asked(b, a)
            pref_AA[a, b] = (forth + 1 - back) / 2
            pref_AA[b, a] = 1 - pref_AA[a, b]
    return Game(pref_AA, beta=beta, names=tuple(answers))


@dataclass(eq=False)
class Oracle:
    """What a solver may ask of a game. `calls` counts evaluations of all answers against one
    policy; a single column is 1 / A of one.

    With `opponents` = K the answer is a noisy one: K answers are drawn from the policy, and every
    answer meets each of them once, with a random winner. That is what a judge asked on samples
    gives.
    """

    game: Game
    opponents: int | None = None
    seed: int = 0
    calls: float = 0.0

    def __post_init__(self) -> None:
        check(
            "seed", self.seed, lambda: arrays.whole(self.seed, 0), "be a whole number of at least 0"
        )
        if self.opponents is not None:
            check(
                "opponents",
                self.opponents,
                lambda: arrays.whole(self.opponents, 1),
                "be a whole number of at least 1",
            )
        self._rng = np.random.default_rng([self.seed, 0x0AC1])

    def win_A(self, pi_A: Floats) -> Floats:
        """How often each answer beats the policy: exact, or estimated from K meetings each."""
        self.calls += 1
        if self.opponents is None:
            return self.game.win_A(pi_A)
        drawn_K = self._rng.choice(len(pi_A), self.opponents, p=pi_A / pi_A.sum())
        met_AK = self.game.pref_AA[:, drawn_K]
        share_A: Floats = (self._rng.random(met_AK.shape) < met_AK).mean(-1)
        return share_A

    def columns(self, index_B: NDArray[np.intp]) -> Floats:
        """P[:, b] - 1/2 for some answers b: A x B, at the price of B / A calls."""
        self.calls += len(index_B) / len(self.game)
        return self.game.skew_AA[:, index_B]


def log_softmax(logits_A: Floats) -> Floats:
    shifted_A = logits_A - logits_A.max()
    out: Floats = shifted_A - np.log(np.exp(shifted_A).sum())
    return out
