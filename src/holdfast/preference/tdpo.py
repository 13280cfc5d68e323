"""TDPO: DPO with the divergence at every token counted too."""

from __future__ import annotations

from dataclasses import replace
from math import inf, log

import torch
import torch.nn.functional as F
from torch import Tensor

from holdfast.card import Card, Limit, PairMethod, Paper, check, departures_of
from holdfast.inputs import reference, token_kl
from holdfast.preference._tokens import weighed_N
from holdfast.reductions.mean import mean
from holdfast.types import Pairs


def tdpo(pairs: Pairs, *, beta: float = 0.1) -> Tensor:
    """DPO derived token by token: what the policy has moved at each prefix of the two answers joins
    what it has moved on the tokens.

        K(y) = sum over t of KL(pi_ref(.|s_t) || pi(.|s_t))
        cost = softplus(-beta (h + K(y_w) - K(y_l)))                  (Zeng et al. 2024, version 1)

    with h the log-ratio margin of `dpo`, s_t the prompt and the tokens before t, and K over the
    whole vocabulary, with gradient. Shape (N,), nats. The sign is the paper's: the cost falls as
    the policy moves away from the reference along the chosen answer and stays close along the
    rejected one.

    Args:
        beta: strength of the KL penalty, in reward per nat; 0.01 to 1, usually 0.1

    Raises:
        OptionError: beta is not above 0.
        NeedError: the pairs were scored without a reference, or without the divergence at each
            token.

    Departures:
        1. This is the paper's first version. The second, which weighs K by a setting and holds the
           chosen answer's K fixed in the gradient, is left out.
    """
    check("beta", beta, 0 < beta < inf, "be above 0 and finite", hint="0.1 is usual")
    return F.softplus(
        -beta * (weighed_N(pairs.chosen, 1.0, 1.0) - weighed_N(pairs.rejected, 1.0, 1.0))
    )


METHOD = PairMethod(
    objective=tdpo,
    reduction=mean(),
    card=Card(
        says="DPO with the KL at each token",
        paper=Paper(
            "Token-level Direct Preference Optimization",
            "Zeng, Liu, Ma, Yang, Zhang, Wang",
            2024,
            "2404.11999",
            "ICML 2024",
        ),
        equation="softplus(-beta (h + K(y_w) - K(y_l))), K(y) = sum over t of KL(pi_ref || pi)",
        tokens="sum",
        needs=(reference, token_kl),
        departures=departures_of(tdpo),
        limits=(
            Limit(
                at={},
                gives="dpo",
                where="the divergence is 0 at every token",
                given=lambda part: (
                    part
                    if part.kl_NT is None
                    else replace(part, kl_NT=torch.zeros_like(part.kl_NT))
                ),
            ),
        ),
        at_reference=lambda **_: log(2),
        status=(
            "meets hand-worked numbers; the divergence is exact and its slope in the logits "
            "is pi - pi_ref"
        ),
    ),
)
