"""CPO: DPO with the reference taken away, and a likelihood term in its place."""

from __future__ import annotations

from math import inf

import torch.nn.functional as F
from torch import Tensor

from holdfast.card import Card, PairMethod, Paper, check, departures_of
from holdfast.reductions.mean import mean
from holdfast.types import Pairs


def cpo(pairs: Pairs, *, beta: float = 0.1, alpha: float = 1.0) -> Tensor:
    """Compare the two answers' log-probabilities directly, as if the reference were uniform, and
    keep the chosen answer likely.

        cost = softplus(-beta [log pi(y_w|x) - log pi(y_l|x)]) - alpha log pi(y_w|x) / |y_w|
                (Xu et al. 2024)

    Shape (N,), nats. The comparison sums over response tokens; the likelihood term averages over
    them (departure 1).

    Args:
        beta: scale of the log-probability difference, in reward per nat; 0.01 to 1, usually 0.1
        alpha: how much the likelihood term counts (nats per token of the chosen answer); 0 leaves
            it out; 0 to 1, usually 1

    Raises:
        OptionError: beta is not above 0, or alpha is negative or not finite.

    Departures:
        1. The likelihood term is the mean over the tokens of each chosen answer. The paper's
           equation sums over them, which for answers of fifty tokens weighs it fifty times more;
           the authors' code and TRL average over all chosen tokens of the batch together, which is
           this one with each row weighted by its length.
    """
    check("beta", beta, 0 < beta < inf, "be above 0 and finite", hint="0.1 is usual")
    check(
        "alpha",
        alpha,
        0 <= alpha < inf,
        "be at least 0 and finite",
        hint="1 is usual, 0 leaves the likelihood term out",
    )
    return (
        F.softplus(-beta * (pairs.chosen.logp_N - pairs.rejected.logp_N))
        - alpha * pairs.chosen.mean_logp_N
    )


METHOD = PairMethod(
    objective=cpo,
    reduction=mean(),
    card=Card(
        says="no reference, chosen answers kept likely",
        paper=Paper(
            "Contrastive Preference Optimization: Pushing the Boundaries of LLM "
            "Performance in Machine Translation",
            "Xu, Sharaf, Chen, Tan, Shen, Van Durme, Murray, Kim",
            2024,
            "2401.08417",
            "ICML 2024",
        ),
        equation="softplus(-beta [log pi(y_w) - log pi(y_l)]) - alpha log pi(y_w) / |y_w|",
        tokens="sum and mean",
        departures=departures_of(cpo),
        not_to_confuse_with="`simpo`, which averages over tokens in the comparison itself",
        status=(
            "meets hand-worked values; at alpha 0 it is `dpo` with a uniform reference; meets "
            "TRL's `sigmoid` of its CPO trainer"
        ),
    ),
)
