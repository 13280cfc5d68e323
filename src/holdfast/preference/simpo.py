"""SimPO: average log-probability as the reward, and a margin to reach."""

from __future__ import annotations

from math import inf

import torch.nn.functional as F
from torch import Tensor

from holdfast.card import Card, PairMethod, Paper, check, departures_of
from holdfast.reductions.mean import mean
from holdfast.types import Pairs


def simpo(pairs: Pairs, *, beta: float = 2.0, gamma: float = 1.0) -> Tensor:
    """Compare answers by their average log-probability a token, which is what decoding sees, with
    no reference and a target margin.

        a = log pi(y|x) / |y|
        cost = softplus(gamma - beta (a_w - a_l))          (Meng, Xia, Chen 2024)

    Shape (N,), nats. Log-probabilities are means over response tokens. Slopes: -beta sigma(-z) in
    a_w and +beta sigma(-z) in a_l, with z = beta (a_w - a_l) - gamma. Nothing holds the policy near
    where it began: the likelihood of both answers may fall. Watch the KL.

    Args:
        beta: scale of the average log-probability, in reward per (nat per token); 2 to 10. Not
            comparable with dpo's beta
        gamma: target margin in reward units, absolute; 0 to beta. The authors' code and others set
            the ratio gamma / beta instead (usually 0.1 to 0.8): multiply theirs by beta

    Raises:
        OptionError: beta is not above 0, or gamma is negative or not finite.

    Departures:
        1. An empty answer has average log-probability 0 here; the paper leaves it undefined.
    """
    check("beta", beta, 0 < beta < inf, "be above 0 and finite", hint="2 to 10 are usual")
    check(
        "gamma",
        gamma,
        0 <= gamma < inf,
        "be at least 0 and finite",
        hint="gamma is absolute; half of beta is usual",
    )
    return F.softplus(gamma - beta * (pairs.chosen.mean_logp_N - pairs.rejected.mean_logp_N))


METHOD = PairMethod(
    objective=simpo,
    reduction=mean(),
    card=Card(
        says="mean log-probabilities, a margin, no reference",
        paper=Paper(
            "SimPO: Simple Preference Optimization with a Reference-Free Reward",
            "Meng, Xia, Chen",
            2024,
            "2405.14734",
            "NeurIPS 2024",
        ),
        equation="softplus(gamma - beta (a_w - a_l)), a = log pi(y) / |y|",
        tokens="mean",
        departures=departures_of(simpo),
        not_to_confuse_with=(
            "`cpo`, which sums over tokens, has no margin and adds a likelihood term"
        ),
        status="meets hand-worked values, its two-answer optimum and TRL's `simpo`",
    ),
)
