"""Optimistic mirror descent: expect the next round to differ from this one as this one did from the
last.
"""

from __future__ import annotations

from torch import Tensor

from holdfast.card import Card, PairMethod, Paper, departures_of
from holdfast.games._regression import check_step, miss, win_gap
from holdfast.games.game import Oracle
from holdfast.games.state import State, mirror
from holdfast.inputs import earlier_gap, earlier_win_rate, reference, win_rate
from holdfast.reductions.mean import mean
from holdfast.types import Pairs


def step(oracle: Oracle, state: State, *, eta: float = 0.5) -> State:
    """log pi <- (1 - eta beta) log pi + eta beta log pi_ref + eta (2 g_t - g_(t-1)), g_t = P pi_t.
    One call.

    The last iterate converges, with beta = 0 too, at half the calls of an extragradient step.
    """
    win_A = oracle.win_A(state.pi_A)
    gain_A = 2 * win_A - state.carried.get("win_A", win_A)
    return state.then(mirror(oracle, state.log_pi_A, gain_A, eta=eta), win_A=win_A)


def optimistic(pairs: Pairs, *, eta: float = 10.0, beta: float = 0.01) -> Tensor:
    """`mirror_descent` that counts this round's win rates twice and takes the last round's away:
    what cycles is damped.

        cost = {log pi(w)/pi(l) - (1 - eta beta) log pi_t(w)/pi_t(l) - eta beta log
        pi_ref(w)/pi_ref(l)
                - eta [2 g_t(w) - 2 g_t(l) - g_(t-1)(w) + g_(t-1)(l)]}^2

    with g_t(y) = P(y beats an answer of pi_t) and g_(t-1) against the round before, whose answers
    must be kept (Rakhlin and Sridharan 2013). Shape (N,), squared nats, on sums over response
    tokens. The minimum is the exact optimistic step. In the first round the two win rates are the
    same.

    Args:
        eta: step, nats per unit of win rate; 1 to 200 on text
        beta: strength of the KL term of the game, win rate per nat; at most 1 / eta, 0 plays
            without a reference

    Raises:
        OptionError: eta is not above 0, or beta is negative or above 1 / eta.
        NeedError: no reference, or no `win_rate`, `earlier_win_rate` or `earlier_gap`, which
            self-play fills.
    """
    check_step(eta, beta)
    like = pairs.chosen.logp_N
    now_N = win_gap(win_rate(pairs), like)
    then_N = win_gap(earlier_win_rate(pairs), like)
    return miss(pairs, eta * (2 * now_N - then_N), anchor=eta * beta) ** 2


METHOD = PairMethod(
    objective=optimistic,
    reduction=mean(),
    card=Card(
        says="mirror descent that damps cycles",
        paper=Paper(
            "Online Learning with Predictable Sequences",
            "Rakhlin, Sridharan",
            2013,
            "1208.3728",
            "COLT 2013",
        ),
        equation=(
            "{log pi(w)/pi(l) - (1 - eta beta) log pi_t(w)/pi_t(l) - eta beta log "
            "pi_ref(w)/pi_ref(l) "
            "- eta [2 g_t(w) - 2 g_t(l) - g_(t-1)(w) + g_(t-1)(l)]}^2"
        ),
        tokens="sum",
        needs=(reference, win_rate, earlier_win_rate, earlier_gap),
        departures=departures_of(optimistic),
        not_to_confuse_with="`egpo`, which looks ahead by a real half-step, at twice the calls",
        status=(
            "its minimum on a table is one step of the solver; the solver meets hand-worked numbers"
        ),
    ),
)
