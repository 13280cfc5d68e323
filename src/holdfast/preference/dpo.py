"""Direct preference optimization."""

from __future__ import annotations

from math import inf, log

import torch.nn.functional as F
from torch import Tensor

from holdfast.card import Card, PairMethod, Paper, check, departures_of
from holdfast.inputs import reference
from holdfast.reductions.mean import mean
from holdfast.types import Pairs


def dpo(pairs: Pairs, *, beta: float = 0.1) -> Tensor:
    """Raise the chosen answer above the rejected one, measured against a reference, until the
    policy's odds match the labels' odds.

    Under a KL penalty of strength beta the best policy for a reward r is pi* = pi_ref exp(r / beta)
    / Z. Solved for r and put into the Bradley-Terry likelihood, Z cancels and a classification loss
    of the policy alone is left:

        h = [log pi(y_w|x) - log pi_ref(y_w|x)] - [log pi(y_l|x) - log pi_ref(y_l|x)]
        cost = softplus(-beta h) = -log sigma(beta h)          (Rafailov et al. 2023, equation 7)

    Shape (N,), nats. Log-probabilities are sums over response tokens. Slope in h: -beta sigma(-beta
    h). With infinite data the minimum is at beta h = logit P(y_w beats y_l); where every label
    agrees there is none, and h grows without end.

    Args:
        beta: strength of the KL penalty, in reward per nat; 0.01 (far from the reference) to 2
            (close to it), usually 0.1

    Raises:
        OptionError: beta is not above 0.
        NeedError: the pairs were scored without a reference.
    """
    check("beta", beta, 0 < beta < inf, "be above 0 and finite", hint="0.1 is usual")
    return F.softplus(-beta * pairs.margin_N)


METHOD = PairMethod(
    objective=dpo,
    reduction=mean(),
    card=Card(
        says="the standard: log-odds against a reference",
        paper=Paper(
            "Direct Preference Optimization: Your Language Model is Secretly a Reward Model",
            "Rafailov, Sharma, Mitchell, Ermon, Manning, Finn",
            2023,
            "2305.18290",
            "NeurIPS 2023",
        ),
        equation="softplus(-beta h)",
        tokens="sum",
        needs=(reference,),
        departures=departures_of(dpo),
        at_reference=lambda **_: log(2),
        not_to_confuse_with=(
            "`ln_dpo`, which divides each log-ratio by its answer's length and needs a larger beta"
        ),
        status="meets its closed-form optimum, hand-worked values and TRL's `sigmoid`",
    ),
)
