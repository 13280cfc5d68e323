"""Mirror descent: multiplicative weights against oneself, pulled towards the reference."""

from __future__ import annotations

from torch import Tensor

from holdfast.card import Card, PairMethod, Paper, departures_of
from holdfast.games._regression import check_step, miss, win_gap
from holdfast.games.game import Oracle
from holdfast.games.state import State, mirror
from holdfast.inputs import earlier_gap, reference, win_rate
from holdfast.reductions.mean import mean
from holdfast.types import Pairs


def step(oracle: Oracle, state: State, *, eta: float = 0.5) -> State:
    """log pi <- (1 - eta beta) log pi + eta beta log pi_ref + eta P pi, normalized. One call.

    With beta = 0 the last iterate cycles and the average converges; with eta small against beta
    the last one converges.
    """
    return state.then(mirror(oracle, state.log_pi_A, oracle.win_A(state.pi_A), eta=eta))


def mirror_descent(pairs: Pairs, *, eta: float = 10.0, beta: float = 0.01) -> Tensor:
    """One round of mirror descent in a game with a KL term: go up where answers beat the current
    policy, and a little back to the start.

        cost = {log pi(w)/pi(l) - (1 - eta beta) log pi_t(w)/pi_t(l) - eta beta log
        pi_ref(w)/pi_ref(l) - eta [g(w) - g(l)]}^2

    with g(y) = P(y beats an answer of pi_t), pi_t the policy the round began with, and pi_ref the
    start of all rounds (Nemirovski and Yudin 1983; Munos et al. 2023). Shape (N,), squared nats, on
    sums over response tokens. Which answer is called chosen does not matter. The minimum is the
    exact step pi_t^(1 - eta beta) pi_ref^(eta beta) exp(eta g) / Z, whatever pairs are compared; at
    eta beta = 1 it is the best response exp(g / beta), and the cost that of online IPO with a fixed
    distribution of pairs.

    Args:
        eta: step, nats per unit of win rate; 1 to 200 on text
        beta: strength of the KL term of the game, win rate per nat; at most 1 / eta, 0 plays
            without a reference

    Raises:
        OptionError: eta is not above 0, or beta is negative or above 1 / eta.
        NeedError: no reference, or no `win_rate` or `earlier_gap`, which self-play fills.
    """
    check_step(eta, beta)
    gap_N = win_gap(win_rate(pairs), pairs.chosen.logp_N)
    return miss(pairs, eta * gap_N, anchor=eta * beta) ** 2


METHOD = PairMethod(
    objective=mirror_descent,
    reduction=mean(),
    card=Card(
        says="mirror descent with a KL term",
        paper=Paper(
            "Nash Learning from Human Feedback",
            "Munos, Valko, Calandriello, and others",
            2023,
            "2312.00886",
            "ICML 2024",
        ),
        equation=(
            "{log pi(w)/pi(l) - (1 - eta beta) log pi_t(w)/pi_t(l) - eta beta log "
            "pi_ref(w)/pi_ref(l) - eta [g(w) - g(l)]}^2"
        ),
        tokens="sum",
        needs=(reference, win_rate, earlier_gap),
        departures=departures_of(mirror_descent),
        not_to_confuse_with="`nash_md`, whose opponent is a mixture with the reference",
        status=(
            "its minimum on a table is one step of the solver; the solver meets hand-worked numbers"
        ),
    ),
)
