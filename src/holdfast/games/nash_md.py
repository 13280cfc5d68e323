"""Nash-MD: mirror descent against a policy that is mixed with the reference first."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from holdfast.card import Card, Limit, PairMethod, Paper, departures_of
from holdfast.games._regression import check_step, miss, win_gap
from holdfast.games.game import Oracle, log_softmax
from holdfast.games.state import State
from holdfast.inputs import earlier_gap, reference, win_rate
from holdfast.reductions.mean import mean
from holdfast.types import Pairs


def step(oracle: Oracle, state: State, *, eta: float = 0.5, fade: bool = False) -> State:
    """z = (1 - eta beta) log pi + eta beta log pi_ref; log pi <- z + eta P softmax(z), normalized.
    One call.

    With a constant eta it ends O(eta) away from the equilibrium; with `fade` the step is min(eta, 2
    / (beta (t + 2))), which converges.
    """
    game = oracle.game
    if fade and game.beta:
        eta = min(eta, 2 / (game.beta * (state.number + 2)))
    check_step(eta, game.beta)
    mixed_A = log_softmax((1 - eta * game.beta) * state.log_pi_A + eta * game.beta * game.log_ref_A)
    return state.then(log_softmax(mixed_A + eta * oracle.win_A(np.exp(mixed_A))))


def nash_md(pairs: Pairs, *, eta: float = 10.0, beta: float = 0.01) -> Tensor:
    """`mirror_descent` with another opponent: win rates are against pi_t mixed with the reference,
    pi_t^(1 - eta beta) pi_ref^(eta beta).

        cost = {log pi(w)/pi(l) - (1 - eta beta) log pi_t(w)/pi_t(l) - eta beta log
        pi_ref(w)/pi_ref(l) - eta [g(w) - g(l)]}^2

    with g(y) = P(y beats an answer of the mixture) (Munos et al. 2023). Shape (N,), squared nats,
    on sums over response tokens. The cost is that of `mirror_descent`, row by row; what differs is
    against whom the columns were measured. The mixture is one of whole answers: mixing the logits
    of each token, as libraries do to sample from it, is another policy.

    Args:
        eta: step, nats per unit of win rate; 1 to 200 on text
        beta: strength of the KL term of the game, win rate per nat; at most 1 / eta, 0 is `sppo`'s
            game

    Raises:
        OptionError: eta is not above 0, or beta is negative or above 1 / eta.
        NeedError: no reference, or no `win_rate` or `earlier_gap`, which self-play fills.

    Departures:
        1. The paper trains with a policy gradient; this is the regression whose minimum is the
           exact step of its tabular algorithm.
        2. Constant steps end beside the equilibrium by O(eta); the paper's theorem has them fade as
           2 / (beta (t + 2)).
    """
    check_step(eta, beta)
    gap_N = win_gap(win_rate(pairs), pairs.chosen.logp_N)
    return miss(pairs, eta * gap_N, anchor=eta * beta) ** 2


METHOD = PairMethod(
    objective=nash_md,
    reduction=mean(),
    card=Card(
        says="mirror descent against a mixture with the start",
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
        departures=departures_of(nash_md),
        limits=(Limit(at={}, gives="mirror_descent"),),
        not_to_confuse_with=(
            "the policy gradient of the same name in other libraries, which samples from "
            "token-wise mixed logits"
        ),
        status=(
            "its minimum on a table is one step of the solver; the solver meets hand-worked numbers"
        ),
    ),
)
