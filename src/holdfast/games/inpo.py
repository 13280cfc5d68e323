"""INPO: mirror descent from labels alone, without any answer's win rate."""

from __future__ import annotations

from math import inf

from torch import Tensor

from holdfast.card import Card, Limit, PairMethod, Paper, check, departures_of
from holdfast.games._regression import miss
from holdfast.games.game import Oracle
from holdfast.games.state import State, mirror
from holdfast.inputs import earlier_gap, reference
from holdfast.reductions.mean import mean
from holdfast.types import Pairs


def step(oracle: Oracle, state: State, *, eta: float = 3.0, fade: bool = False) -> State:
    """pi <- exp(P pi / eta) pi_ref^(tau / eta) pi^(1 - tau / eta) / Z, with tau the game's beta:
    eta is an INVERSE step. One call.

    With `fade` eta_t = tau (t + 2) / 2, t counted from 1, as in the paper's last-iterate theorem.
    """
    game = oracle.game
    if fade and game.beta:
        eta = game.beta * (state.number + 3) / 2
    least = f"be above 0, finite, and at least the game's beta, {game.beta:g}"
    check(
        "eta",
        eta,
        lambda: 0 < eta < inf and eta >= game.beta,
        least,
        hint="eta is an inverse step: 3 is a start",
    )
    return state.then(mirror(oracle, state.log_pi_A, oracle.win_A(state.pi_A), eta=1 / eta))


def inpo(pairs: Pairs, *, eta: float = 0.005, tau: float = 0.0017) -> Tensor:
    """A step of mirror descent in which a label stands for a difference of win rates, which on
    average it is.

        h = log pi(w)/pi(l) - (tau / eta) log pi_ref(w)/pi_ref(l) - (1 - tau / eta) log
        pi_t(w)/pi_t(l)
        cost = (h - 1 / (2 eta))^2          (Zhang et al. 2024)

    with pi_t the policy the round began with and pi_ref the start of all rounds. Shape (N,),
    squared nats, on sums over response tokens. If both answers are drawn from pi_t alike, and the
    label from P, the mean cost is that of `mirror_descent` at step 1 / eta plus a constant, so its
    minimum is the exact step. **Best and worst of many answers break that**: the minimum may then
    lie on the other side of pi_t.

    Args:
        eta: inverse step, win rate per nat; 0.002 to 0.1 on text, tables 0.5 to 5; the paper's
            value is 0.005
        tau: strength of the KL term of the game, win rate per nat; at most eta, the paper's value
            is eta / 3

    Raises:
        OptionError: eta is not above 0, or tau is negative or above eta.
        NeedError: no reference, or no `earlier_gap`, which self-play fills.
    """
    check(
        "eta",
        eta,
        lambda: 0 < eta < inf,
        "be above 0 and finite",
        hint="0.005 is the paper's value",
    )
    check(
        "tau",
        tau,
        lambda: 0 <= tau <= eta,
        "be at least 0 and at most eta",
        hint="eta / 3 is the paper's value",
    )
    like = pairs.chosen.logp_N
    return miss(pairs, like.new_full((len(pairs),), 1 / (2 * eta)), anchor=tau / eta) ** 2


METHOD = PairMethod(
    objective=inpo,
    reduction=mean(),
    card=Card(
        says="mirror descent from labels alone",
        paper=Paper(
            "Iterative Nash Policy Optimization: Aligning LLMs with General Preferences "
            "via No-Regret Learning",
            "Zhang, Yu, Peng, Song, Tian, Huo, Jiang, Mi, Yu",
            2024,
            "2407.00617",
            "ICLR 2025",
        ),
        equation=(
            "{log pi(w)/pi(l) - (tau / eta) log pi_ref(w)/pi_ref(l) - (1 - tau / eta) log "
            "pi_t(w)/pi_t(l) - 1 / (2 eta)}^2"
        ),
        tokens="sum",
        needs=(reference, earlier_gap),
        departures=departures_of(inpo),
        limits=(Limit(at={"eta": 0.5, "tau": 0.5}, gives="ipo", other_at={"tau": 0.5}),),
        not_to_confuse_with=(
            "`ipo`, whose reference stays where it was; here the round's first policy is in "
            "the target too"
        ),
        status=(
            "its minimum on a table is one step of the solver, and is not with best-and-worst "
            "pairs; meets hand-worked numbers"
        ),
    ),
)
