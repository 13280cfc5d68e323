"""SLiC-HF: a hinge on sequence likelihoods, held in place by a likelihood term."""

from __future__ import annotations

from math import inf

from torch import Tensor

from holdfast.card import Card, PairMethod, Paper, check, departures_of
from holdfast.reductions.mean import mean
from holdfast.types import Pairs


def slic(pairs: Pairs, *, delta: float = 1.0, weight: float = 0.1) -> Tensor:
    """Push the chosen answer's log-likelihood delta nats above the rejected one's, then stop; keep
    the chosen answer likely.

        cost = max(0, delta - log pi(y_w|x) + log pi(y_l|x)) - weight log pi(y_w|x)
                (Zhao et al. 2023)

    Shape (N,), nats. Log-probabilities are sums over response tokens and no reference enters: the
    likelihood term is the only anchor.

    Args:
        delta: margin in nats between the two answers' log-probabilities; 1 to 10, usually 1
        weight: how much the negative log-likelihood of the chosen answer (a sum over tokens)
            counts; 0 to 1, usually 0.1

    Raises:
        OptionError: delta or weight is negative or not finite.

    Departures:
        1. The likelihood term is on the chosen answer. The paper also takes the supervised target
           of the prompt, which pairs do not carry.
        2. The paper does not print a value for the weight that we could confirm: 0.1 follows
           third-party code.
    """
    check("delta", delta, 0 <= delta < inf, "be at least 0 and finite", hint="1 is usual")
    check("weight", weight, 0 <= weight < inf, "be at least 0 and finite", hint="0.1 is usual")
    chosen_N, rejected_N = pairs.chosen.logp_N, pairs.rejected.logp_N
    return (delta - chosen_N + rejected_N).relu() - weight * chosen_N


METHOD = PairMethod(
    objective=slic,
    reduction=mean(),
    card=Card(
        says="hinge on log-probabilities, chosen kept likely",
        paper=Paper(
            "SLiC-HF: Sequence Likelihood Calibration with Human Feedback",
            "Zhao, Joshi, Liu, Khalman, Saleh, Liu",
            2023,
            "2305.10425",
        ),
        equation="max(0, delta - log pi(y_w) + log pi(y_l)) - weight log pi(y_w)",
        tokens="sum",
        departures=departures_of(slic),
        not_to_confuse_with=(
            "the hinge on log-ratios max(0, 1 - beta h) of RSO, which TRL calls `hinge` and "
            "others also call SLiC"
        ),
        status="meets hand-worked values; the likelihood weight is not the paper's own",
    ),
)
