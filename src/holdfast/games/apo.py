"""APO: rounds of self-play with momentum, each begun from a point beyond where the last one
ended.
"""

from __future__ import annotations

from math import inf

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from holdfast.card import Card, Limit, PairMethod, Paper, check, departures_of
from holdfast.games.game import Oracle, log_softmax
from holdfast.games.state import State
from holdfast.inputs import earlier_gap, reference
from holdfast.reductions.mean import mean
from holdfast.stats.arrays import Floats
from holdfast.types import Pairs


def step(oracle: Oracle, state: State, *, beta: float = 2.0, alpha: float = 0.3) -> State:
    """hat <- pi exp(P pi / beta) / Z, where pi is the last hat pushed on by alpha times its last
    move. Delivered is hat. One call.

    The game's KL term is not played.
    """
    _check(beta, alpha)
    begin_A = extrapolated(
        state.log_pi_A, state.carried.get("before_A", state.log_pi_A), alpha=alpha
    )
    return state.then(
        proximal(begin_A, oracle.win_A(np.exp(begin_A)), beta=beta), before_A=state.log_pi_A
    )


def proximal(log_pi_A: Floats, gain_A: Floats, *, beta: float) -> Floats:
    """argmax E[gain] - beta KL(. || pi): what a round of training does, of rewards (then it is
    DPO's) or of win rates (SPPO's).
    """
    return log_softmax(log_pi_A + gain_A / beta)


def extrapolated(log_hat_A: Floats, before_A: Floats, *, alpha: float) -> Floats:
    """(1 + alpha) log hat_t - alpha log hat_(t-1), normalized."""
    return log_softmax(log_hat_A + alpha * (log_hat_A - before_A))


def apo(pairs: Pairs, *, beta: float = 0.1, alpha: float = 0.3) -> Tensor:
    """`dpo` with momentum between rounds: its reference is the current policy, pushed on by alpha
    times the last round's move.

        cost = softplus(-beta [h - alpha m]),   h = log pi(w)/pi_t(w) - log pi(l)/pi_t(l),
        m = log pi_t(w)/pi_(t-1)(w) - log pi_t(l)/pi_(t-1)(l)          (He et al. 2024)

    with pi_t the policy the round began with (the reference) and pi_(t-1) that of the round before.
    Shape (N,), nats, on sums over response tokens. The pushed-on reference is pi_t^(1 + alpha)
    pi_(t-1)^(-alpha) / Z; Z is not known on text, and not needed in a gap. With exact Bradley-Terry
    labels of reward r the minimum is that reference times exp(r / beta). **Compare it with iterated
    dpo at (1 - alpha) beta**: in exact arithmetic the momentum comes to that, one round late.

    Args:
        beta: strength of a round's own KL penalty, in reward per nat; 0.01 to 2, usually 0.1
        alpha: momentum, at least 0 and below 1; 0 is iterated dpo, usually 0.1 to 0.5

    Raises:
        OptionError: beta is not above 0, or alpha is outside [0, 1).
        NeedError: no reference, or no `earlier_gap`, which self-play fills.

    Departures:
        1. The paper also draws a round's answers from the pushed-on policy; here they come from
           pi_t, and the momentum is in the reference.
        2. The paper's alpha and beta could not be confirmed: 0.3 and 0.1 are ours.
    """
    _check(beta, alpha)
    earlier_N = earlier_gap(pairs)
    margin_N = pairs.margin_N
    moved_N = pairs.chosen.ref_logp_N - pairs.rejected.ref_logp_N - earlier_N.detach().to(margin_N)
    return F.softplus(-beta * (margin_N - alpha * moved_N))


def _check(beta: float, alpha: float) -> None:
    check("beta", beta, lambda: 0 < beta < inf, "be above 0 and finite", hint="0.1 is usual")
    check(
        "alpha",
        alpha,
        lambda: 0 <= alpha < 1,
        "be at least 0 and below 1",
        hint="0.3 is a start, 0 is iterated dpo",
    )


METHOD = PairMethod(
    objective=apo,
    reduction=mean(),
    card=Card(
        says="DPO with momentum between rounds",
        paper=Paper(
            "Accelerated Preference Optimization for Large Language Model Alignment",
            "He, Yuan, Gu",
            2024,
            "2410.06293",
        ),
        equation="softplus(-beta [h - alpha m]), m = the last round's move of the gap",
        tokens="sum",
        needs=(reference, earlier_gap),
        departures=departures_of(apo),
        limits=(Limit(at={"alpha": 0.0}, gives="dpo"),),
        not_to_confuse_with="anchored preference optimization, also called APO",
        status=(
            "its minimum on a table of Bradley-Terry labels is one step of the solver; the "
            "recursion meets its closed form"
        ),
    ),
)
