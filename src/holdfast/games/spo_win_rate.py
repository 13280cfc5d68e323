"""SPO of Swamy et al.: reinforcement learning with the win rate against oneself as the reward. (Not
self-supervised SPO, not SPPO.)
"""

from __future__ import annotations

from math import inf

from torch import Tensor

from holdfast.card import Card, PairMethod, Paper, check, departures_of
from holdfast.games._regression import check_step, win_gap
from holdfast.games.game import Oracle, log_softmax
from holdfast.games.state import State
from holdfast.inputs import reference, win_rate
from holdfast.reductions.mean import mean
from holdfast.types import Pairs


def step(oracle: Oracle, state: State, *, eta: float = 0.05) -> State:
    """Hedge on payoffs A = 2 P - 1: log pi <- log pi + eta A pi, normalized. One call. The game's
    KL term is not played.

    What the paper delivers is the average of all iterates, which after T steps at eta = sqrt(2 ln A
    / T) is within that of the best; the last one cycles.
    """
    check_step(eta, 0.0)
    return state.then(log_softmax(state.log_pi_A + eta * (2 * oracle.win_A(state.pi_A) - 1)))


def spo_win_rate(pairs: Pairs, *, eta: float = 1.0) -> Tensor:
    """Policy gradient with each answer's win rate against the current policy as its reward, held
    back by a trust region.

        cost = h^2 / (4 eta) - h [r(w) - r(l)] / 2          (Swamy et al. 2024)

    with r(y) = 2 P(y beats an answer of pi_t) - 1 and h = log pi(w)/pi_t(w) - log pi(l)/pi_t(l);
    the reference is pi_t, the policy the round began with. Shape (N,), in units of the reward, on
    sums over response tokens. The second term is REINFORCE with the other answer's reward as the
    baseline; the first makes several steps on the same rows safe. The minimum is pi_t exp(eta r) /
    Z, Hedge. Which answer is called chosen does not matter. The guarantee is for the average of the
    rounds' policies: keep them all and answer with one of them at random.

    Args:
        eta: step, nats per unit of a reward from -1 to 1; 0.05 to 0.5 on tables, 1 to 100 on text

    Raises:
        OptionError: eta is not above 0.
        NeedError: no reference, or no `win_rate`, which self-play fills.

    Departures:
        1. The paper takes any learner without regret (PPO, SAC on control tasks); the trust region
           here is quadratic in the pair's log-ratio, so that on a table the minimum is Hedge
           itself.
    """
    check("eta", eta, lambda: 0 < eta < inf, "be above 0 and finite", hint="1 is a start")
    margin_N = pairs.margin_N
    reward_gap_N = 2 * win_gap(win_rate(pairs), margin_N)
    return margin_N**2 / (4 * eta) - margin_N * reward_gap_N / 2


METHOD = PairMethod(
    objective=spo_win_rate,
    reduction=mean(),
    card=Card(
        says="policy gradient on win rates",
        paper=Paper(
            "A Minimaximalist Approach to Reinforcement Learning from Human Feedback",
            "Swamy, Dann, Kidambi, Wu, Agarwal",
            2024,
            "2401.04056",
            "ICML 2024",
        ),
        equation="h^2 / (4 eta) - h [r(w) - r(l)] / 2, r(y) = 2 P(y beats pi_t) - 1",
        tokens="sum",
        needs=(reference, win_rate),
        departures=departures_of(spo_win_rate),
        at_reference=lambda **_: 0.0,
        not_to_confuse_with=(
            "self-supervised preference optimization, also called SPO, and `sppo`, which "
            "regresses each answer by itself"
        ),
        status=(
            "its minimum on a table is Hedge and its first gradient REINFORCE's; averages "
            "stay within the regret bound"
        ),
    ),
)
