"""EGPO: an extragradient step, which moves as if the opponent had already moved."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from holdfast.card import Card, Limit, PairMethod, Paper, departures_of
from holdfast.games._regression import check_step, miss, win_gap
from holdfast.games.game import Oracle
from holdfast.games.state import State, mirror
from holdfast.inputs import earlier_gap, reference, win_rate
from holdfast.reductions.mean import mean
from holdfast.types import Pairs


def step(oracle: Oracle, state: State, *, eta: float = 0.3) -> State:
    """A mirror step to a midpoint, then one from where it began against the midpoint. Two calls.

    With eta up to 1 / (beta + 3) the last iterate converges linearly: KL(pi* || pi_t) <= (1 - eta
    beta)^t KL(pi* || pi_0).
    """
    half_A = mirror(oracle, state.log_pi_A, oracle.win_A(state.pi_A), eta=eta)
    return state.then(mirror(oracle, state.log_pi_A, oracle.win_A(np.exp(half_A)), eta=eta))


def egpo(pairs: Pairs, *, eta: float = 10.0, beta: float = 0.01) -> Tensor:
    """`mirror_descent` twice from the same start: a half-step against pi_t, then the step itself
    against where the half-step led.

        cost = {log pi(w)/pi(l) - (1 - eta beta) log pi_t(w)/pi_t(l) - eta beta log
        pi_ref(w)/pi_ref(l) - eta [g(w) - g(l)]}^2

    with g(y) = P(y beats an answer of the midpoint) (Zhou et al. 2025). Shape (N,), squared nats,
    on sums over response tokens. The cost is that of `mirror_descent`, row by row; what differs is
    against whom the columns were measured. The second training begins from pi_t again, with a new
    optimizer: going on from the midpoint would be two ordinary steps. A round costs two trainings
    and two rounds of calls.

    Args:
        eta: step, nats per unit of win rate; 1 to 200 on text, on tables at most 1 / (beta + 3)
        beta: strength of the KL term of the game, win rate per nat; at most 1 / eta, 0 is plain
            extragradient

    Raises:
        OptionError: eta is not above 0, or beta is negative or above 1 / eta.
        NeedError: no reference, or no `win_rate` or `earlier_gap`, which self-play fills.

    Departures:
        1. The paper takes one gradient step of an online IPO cost with pairs drawn uniformly, whose
           natural step this is (their learning rate is beta n eta / 4 on n answers); this is the
           regression whose minimum is the exact step.
    """
    check_step(eta, beta)
    gap_N = win_gap(win_rate(pairs), pairs.chosen.logp_N)
    return miss(pairs, eta * gap_N, anchor=eta * beta) ** 2


METHOD = PairMethod(
    objective=egpo,
    reduction=mean(),
    card=Card(
        says="extragradient: a half-step, then the step",
        paper=Paper(
            "Extragradient Preference Optimization (EGPO): Beyond Last-Iterate "
            "Convergence for Nash Learning from Human Feedback",
            "Zhou, Fazel, Du",
            2025,
            "2503.08942",
            "COLM 2025",
        ),
        equation=(
            "{log pi(w)/pi(l) - (1 - eta beta) log pi_t(w)/pi_t(l) - eta beta log "
            "pi_ref(w)/pi_ref(l) - eta [g(w) - g(l)]}^2"
        ),
        tokens="sum",
        needs=(reference, win_rate, earlier_gap),
        departures=departures_of(egpo),
        limits=(Limit(at={}, gives="mirror_descent"),),
        not_to_confuse_with=(
            "`optimistic`, which uses the last round's win rates in the place of a half-step"
        ),
        status=(
            "its minimum on a table is one step of the solver; the solver meets hand-worked "
            "numbers and its linear rate"
        ),
    ),
)
