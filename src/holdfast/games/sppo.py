"""SPPO: multiplicative weights against oneself, each answer's log-ratio regressed on how it
fares.
"""

from __future__ import annotations

from math import inf

from torch import Tensor

from holdfast.card import Card, PairMethod, Paper, check, departures_of
from holdfast.games._regression import check_step
from holdfast.games.game import Oracle, log_softmax
from holdfast.games.state import State
from holdfast.inputs import reference, win_rate
from holdfast.reductions.mean import mean
from holdfast.types import Pairs


def step(oracle: Oracle, state: State, *, eta: float = 0.5) -> State:
    """log pi <- log pi + eta (P pi - 1/2), normalized: multiplicative weights. One call. The game's
    KL term is not played.
    """
    check_step(eta, 0.0)
    return state.then(log_softmax(state.log_pi_A + eta * (oracle.win_A(state.pi_A) - 0.5)))


def sppo(pairs: Pairs, *, eta: float = 1000.0) -> Tensor:
    """Move each answer's log-probability by how much oftener than half of the time it beats the
    current policy.

        cost = ({log pi(w)/pi_t(w) - eta [g(w) - 1/2]}^2
                + {log pi(l)/pi_t(l) - eta [g(l) - 1/2]}^2) / 2
                (Wu et al. 2024)

    with g(y) = P(y beats an answer of pi_t), the mean over answers drawn from pi_t; the reference
    is pi_t, the policy the round began with. Shape (N,), squared nats, on sums over response
    tokens. The exact step is pi_t exp(eta g) / Z; the cost puts eta / 2 in the place of log Z, so
    its minimum on a table is that step but for terms of the order of eta^2, which cancel in
    `mirror_descent`'s gaps.

    Args:
        eta: step, nats per unit of win rate; the paper's 1 / b, with b = 0.001; tables 0.1 to 2

    Raises:
        OptionError: eta is not above 0.
        NeedError: no reference, or no `win_rate`, which self-play fills.
    """
    check(
        "eta", eta, lambda: 0 < eta < inf, "be above 0 and finite", hint="the paper's value is 1000"
    )
    win_N2 = win_rate(pairs).detach().to(pairs.chosen.logp_N)
    misses = [
        part.log_ratio_N - eta * (win_N2[:, side] - 0.5)
        for side, part in enumerate((pairs.chosen, pairs.rejected))
    ]
    return (misses[0] ** 2 + misses[1] ** 2) / 2


METHOD = PairMethod(
    objective=sppo,
    reduction=mean(),
    card=Card(
        says="log-ratios follow win rates",
        paper=Paper(
            "Self-Play Preference Optimization for Language Model Alignment",
            "Wu, Sun, Yuan, Ji, Yang, Gu",
            2024,
            "2405.00675",
            "ICLR 2025",
        ),
        equation=(
            "({log pi(w)/pi_t(w) - eta [g(w) - 1/2]}^2 + {log pi(l)/pi_t(l) - eta [g(l) - "
            "1/2]}^2) / 2"
        ),
        tokens="sum",
        needs=(reference, win_rate),
        departures=departures_of(sppo),
        not_to_confuse_with=(
            "`spo_win_rate`, self-play with the win rate as a reward, by other authors"
        ),
        status=(
            "meets hand-worked values; its minimum on a table is the solver's step up to eta "
            "squared"
        ),
    ),
)
