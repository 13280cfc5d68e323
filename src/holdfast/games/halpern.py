"""Halpern's iteration: every step is pulled back to where it all began, ever more weakly."""

from __future__ import annotations

from math import inf

import numpy as np
from torch import Tensor

from holdfast.card import Card, Limit, PairMethod, Paper, check, departures_of
from holdfast.games._regression import check_step, miss, win_gap
from holdfast.games.game import Oracle, log_softmax
from holdfast.games.inclusions import monotone, of_game
from holdfast.games.state import State
from holdfast.inputs import earlier_gap, reference, win_rate
from holdfast.reductions.mean import mean
from holdfast.stats.arrays import Floats
from holdfast.types import Pairs


def step(oracle: Oracle, state: State, *, eta: float = 0.5) -> State:
    """An anchored extragradient step on logits, anchor 1 / (t + 2): to a midpoint, then from where
    it began against the midpoint. Two calls.

    The anchor is the policy of the first step, and the game's KL term is not played.
    """
    check_step(eta, 0.0)
    first_A = state.carried.get("first_A", state.log_pi_A)
    anchor = 1 / (state.number + 2)
    half_A = anchored(state.log_pi_A, first_A, oracle.win_A(state.pi_A), eta=eta, anchor=anchor)
    full_A = anchored(state.log_pi_A, first_A, oracle.win_A(np.exp(half_A)), eta=eta, anchor=anchor)
    return state.then(full_A, first_A=first_A)


def anchored(
    log_pi_A: Floats, first_A: Floats, gain_A: Floats, *, eta: float, anchor: float
) -> Floats:
    """(1 - anchor) log pi + anchor log pi_0 + eta gain, normalized."""
    return log_softmax((1 - anchor) * log_pi_A + anchor * first_A + eta * gain_A)


def reduced_step(oracle: Oracle, state: State, *, inner: float = 2.0, seed: int = 0) -> State:
    """Halpern's iteration on the resolvent, in Euclid's geometry, each resolvent from random
    columns of the matrix (variance reduction).

    One iterate of `inclusions.monotone`; a column costs 1 / A of a call. The game's KL term is not
    played, and noise is that of the columns.
    """
    check("inner", inner, lambda: 0 < inner < inf, "be above 0 and finite", hint="2 is a start")
    iterates, before = state.carried.get("iterates"), state.carried.get("calls", 0)
    if iterates is None:
        iterates = monotone(of_game(oracle.game), state.pi_A, seed=seed, inner=inner)
    at = next(iterates)
    oracle.calls += (at.calls - before) / len(oracle.game)
    with np.errstate(divide="ignore"):
        return state.then(np.log(at.u_D), iterates=iterates, calls=at.calls)


def halpern(pairs: Pairs, *, eta: float = 10.0, anchor: float = 0.5) -> Tensor:
    """An extragradient step with a pull to the start that fades from round to round, in the place
    of a KL term that stays.

        cost = {log pi(w)/pi(l) - (1 - anchor) log pi_t(w)/pi_t(l) - anchor log pi_ref(w)/pi_ref(l)
        - eta [g(w) - g(l)]}^2

    with g(y) = P(y beats an answer of the midpoint) and pi_ref the start of all rounds (the
    anchoring of Cai et al. 2023). Shape (N,), squared nats, on sums over response tokens. With
    anchor = eta beta it is the cost of `mirror_descent`, row by row; self-play sets anchor to 1 /
    (round + 1), so the game in the end has no KL term.

    Args:
        eta: step, nats per unit of win rate; 1 to 200 on text
        anchor: weight of the start, 0 to 1; self-play gives 1 / (round + 1)

    Raises:
        OptionError: eta is not above 0, or anchor is outside [0, 1].
        NeedError: no reference, or no `win_rate` or `earlier_gap`, which self-play fills.

    Departures:
        1. The paper iterates on Euclidean points with projections and variance reduction
           (`holdfast.games.inclusions`); on logits the same anchoring multiplies policies, and the
           resolvent is one extragradient step.
    """
    check_step(eta, 0.0)
    check("anchor", anchor, lambda: 0 <= anchor <= 1, "be between 0 and 1", hint="1 / (round + 1)")
    gap_N = win_gap(win_rate(pairs), pairs.chosen.logp_N)
    return miss(pairs, eta * gap_N, anchor=anchor) ** 2


METHOD = PairMethod(
    objective=halpern,
    reduction=mean(),
    card=Card(
        says="extragradient with a fading anchor",
        paper=Paper(
            "Variance Reduced Halpern Iteration for Finite-Sum Monotone Inclusions",
            "Cai, Alacaoglu, Diakonikolas",
            2023,
            "2310.02987",
            "ICLR 2024",
        ),
        equation=(
            "{log pi(w)/pi(l) - (1 - anchor) log pi_t(w)/pi_t(l) - anchor log "
            "pi_ref(w)/pi_ref(l) - eta [g(w) - g(l)]}^2"
        ),
        tokens="sum",
        needs=(reference, win_rate, earlier_gap),
        departures=departures_of(halpern),
        limits=(
            Limit(
                at={"anchor": 0.05, "eta": 1.0},
                gives="mirror_descent",
                other_at={"beta": 0.05, "eta": 1.0},
            ),
        ),
        not_to_confuse_with=(
            "`egpo`, whose pull to the start stays, and whose equilibrium is that of another game"
        ),
        status="its minimum on a table is one step of the solver",
    ),
)
