"""One loop for every solver: step, average, certify, stop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf
from time import perf_counter
from typing import Literal

import numpy as np

from holdfast.card import check
from holdfast.errors import OptionError
from holdfast.games.certificate import exploitability, gap
from holdfast.games.game import Game, Oracle, log_softmax
from holdfast.games.state import State
from holdfast.stats import arrays
from holdfast.stats.arrays import Floats

Step = Callable[[Oracle, State], State]
WEIGHTS: dict[str, Callable[[int], float]] = {
    "uniform": lambda t: 1.0,
    "linear": float,
    "quadratic": lambda t: float(t) ** 2,
}


@dataclass(frozen=True)
class Moment:
    """A line of the history. `gap` is that of the game with its KL term; `exploitability` leaves
    the term out.
    """

    steps: int
    calls: float
    seconds: float  # of steps alone: certificates are the observer's
    gap: float
    exploitability: float
    average_gap: float
    average_exploitability: float


@dataclass(frozen=True)
class Solution:
    """Where a solver ended: the last policy, the average of all, and the history of their
    certificates.
    """

    game: Game
    last_A: Floats
    average_A: Floats
    converged: bool
    history: tuple[Moment, ...] = field(repr=False)
    state: State = field(repr=False)

    @property
    def pi_A(self) -> Floats:
        """The better of the last and the average policy, by certificate."""
        return self.last_A if self.end.gap <= self.end.average_gap else self.average_A

    @property
    def end(self) -> Moment:
        return self.history[-1]

    @property
    def gap(self) -> float:
        return min(self.end.gap, self.end.average_gap)

    @property
    def exploitability(self) -> float:
        return exploitability(self.game, self.pi_A)


def solve(
    game: Game | Oracle,
    step: Step,
    *,
    start_A: Floats | None = None,
    until: float = 0.0,
    max_calls: float = 10_000,
    max_seconds: float = inf,
    average: Literal["uniform", "linear", "quadratic"] = "uniform",
    spacing: float = 1.1,
) -> Solution:
    """Take steps until a certificate is small enough, or the calls are used up.

        solve(Game(pref_AA), partial(optimistic.step, eta=0.5), until=1e-6)

    Args:
        game: what is played; an `Oracle` to answer with noise
        step: any `step(oracle, state) -> state`
        start_A: finite logits of the first policy; the game's reference unless given
        until: stop as soon as the gap of the last or of the average policy is at most this
        max_calls: evaluations of all answers against one policy, at most
        max_seconds: time of steps, at most
        average: weight of the policy delivered by step t in the average: 1, t, or t squared
        spacing: certificates are taken at steps this factor apart (each of the first ten at least),
            because they cost a multiplication

    Raises:
        OptionError: an option out of range, or a step longer than the game's KL term allows (eta
            beta above 1).
        DataError: `start_A` is not one finite number for each answer.
        RunError: a step led to no policy.
    """
    check("max_calls", max_calls, lambda: max_calls > 0, "be above 0")
    check("max_seconds", max_seconds, lambda: max_seconds > 0, "be above 0")
    check("until", until, lambda: -inf < until < inf, "be finite")
    check("spacing", spacing, lambda: 1 <= spacing < inf, "be at least 1 and finite")
    check("average", average, lambda: average in WEIGHTS, f"be one of {', '.join(WEIGHTS)}")
    if not isinstance(game, Game | Oracle):
        raise OptionError(
            f"{type(game).__name__} is no game", hint="Game(pref_AA), or an Oracle of one"
        )
    oracle = game if isinstance(game, Oracle) else Oracle(game)
    game = oracle.game
    if start_A is None:
        state = State(game.log_ref_A)
    else:  # an answer without probability never comes back, and has no log-ratio to the reference
        hint = "one finite logit an answer; give answers that are left out a small probability"
        state = State(log_softmax(arrays.floats(start_A, "start_A", shape=(len(game),), hint=hint)))
    weight, total, sum_A = WEIGHTS[average], 0.0, np.zeros(len(game))
    history: list[Moment] = []
    begun, seconds, due = oracle.calls, 0.0, 1
    while True:
        tick = perf_counter()
        state = step(oracle, state)
        share = weight(state.number)
        sum_A += share * state.pi_A
        total += share
        seconds += perf_counter() - tick
        calls = oracle.calls - begun
        over = calls >= max_calls or seconds >= max_seconds
        if state.number >= due or over:
            history.append(_moment(game, state, sum_A / total, calls, seconds))
            if min(history[-1].gap, history[-1].average_gap) <= until:
                return Solution(game, state.pi_A, sum_A / total, True, tuple(history), state)
            due = (
                state.number + 1
                if state.number < 10
                else max(state.number + 1, int(state.number * spacing))
            )
        if over:
            return Solution(game, state.pi_A, sum_A / total, False, tuple(history), state)


def _moment(game: Game, state: State, average_A: Floats, calls: float, seconds: float) -> Moment:
    last_A = state.pi_A
    gaps = gap(game, last_A), gap(game, average_A)
    raw = (exploitability(game, last_A), exploitability(game, average_A)) if game.beta else gaps
    return Moment(state.number, calls, seconds, gaps[0], raw[0], gaps[1], raw[1])
