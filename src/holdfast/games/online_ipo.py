"""Online IPO: IPO's regression on pairs that the policy itself keeps drawing, one gradient step at
a time.
"""

from __future__ import annotations

from math import inf

from torch import Tensor

from holdfast.card import Card, PairMethod, Paper, check, departures_of
from holdfast.games.game import Oracle, log_softmax
from holdfast.games.state import State
from holdfast.inputs import confidence, reference
from holdfast.reductions.mean import mean
from holdfast.types import Pairs


def step(oracle: Oracle, state: State, *, rate: float = 0.05) -> State:
    """One gradient step on the logits: theta <- theta - rate 4 pi (u - E_pi u), u = log pi/pi_ref -
    P pi / beta. One call.

    That is 4 / beta times the ordinary policy gradient of the game, so it is slow where
    probabilities are small. A game needs beta above 0.
    """
    game = oracle.game
    check(
        "beta",
        game.beta,
        lambda: game.beta > 0,
        "be above 0 for online IPO",
        hint="Game(pref_AA, beta=0.1)",
    )
    check(
        "rate",
        rate,
        lambda: 0 < rate < inf,
        "be above 0 and finite",
        hint="at most 1/4 never overshoots",
    )
    pi_A = state.pi_A
    miss_A = state.log_pi_A - game.log_ref_A - oracle.win_A(pi_A) / game.beta
    return state.then(log_softmax(state.log_pi_A - 4 * rate * pi_A * (miss_A - pi_A @ miss_A)))


def online_ipo(pairs: Pairs, *, beta: float = 0.1) -> Tensor:
    """IPO with probabilities in the place of labels, on two answers that the policy has just drawn.

        cost = {log pi(w)/pi_ref(w) - log pi(l)/pi_ref(l) - [P(w beats l) - 1/2] / beta}^2
                (Calandriello et al. 2024)

    Shape (N,), squared nats, on sums over response tokens. P is the row's `confidence`; which
    answer is called chosen does not matter. With answers drawn from the policy at every step the
    gradient is 4 / beta times the policy gradient of the game with its KL term, whose equilibrium
    is where it vanishes. **On fixed pairs it is something else**: there its minimum is the best
    response exp(g / beta) to whoever drew them, so take few steps on each batch.

    Args:
        beta: strength of the KL term of the game, win rate per nat; 0.001 to 1, usually 0.1

    Raises:
        OptionError: beta is not above 0.
        NeedError: no reference, or no `confidence`.

    Departures:
        1. Rows are drawn once a round, not at every step: the smaller the rounds, the nearer to the
           paper.
    """
    check("beta", beta, lambda: 0 < beta < inf, "be above 0 and finite", hint="0.1 is usual")
    sure_N = confidence(pairs)
    margin_N = pairs.margin_N
    return (margin_N - (sure_N.detach().to(margin_N) - 0.5) / beta) ** 2


METHOD = PairMethod(
    objective=online_ipo,
    reduction=mean(),
    card=Card(
        says="IPO on fresh pairs with probabilities",
        paper=Paper(
            "Human Alignment of Large Language Models through Online Preference Optimisation",
            "Calandriello, Guo, Munos, and others",
            2024,
            "2403.08635",
            "ICML 2024",
        ),
        equation="{log pi(w)/pi_ref(w) - log pi(l)/pi_ref(l) - [P(w beats l) - 1/2] / beta}^2",
        tokens="sum",
        needs=(reference, confidence),
        departures=departures_of(online_ipo),
        not_to_confuse_with="`ipo`, which reads labels, and pairs that others drew",
        status=(
            "its gradient on a table is the solver's step, and a multiple of the policy "
            "gradient of the game"
        ),
    ),
)
