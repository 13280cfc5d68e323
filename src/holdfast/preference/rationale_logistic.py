"""DPO with rationales as its authors' code has it: the rationale's likelihood through a logistic
function.
"""

from __future__ import annotations

from math import inf, log

import torch.nn.functional as F
from torch import Tensor

from holdfast.card import Card, Limit, PairMethod, Paper, check, departures_of
from holdfast.inputs import rationale, reference
from holdfast.reductions.mean import mean
from holdfast.types import Pairs


def rationale_logistic(pairs: Pairs, *, beta: float = 0.1, gamma: float = 0.1) -> Tensor:
    """Add to `dpo` the logistic cost of a rationale's scaled log-probability, as the authors' code
    does.

        cost = softplus(-beta h) + softplus(-gamma log pi(rationale | x, both answers))
                (code of Just et al. 2024)

    with h the log-ratio margin of `dpo`. Shape (N,), nats. Sums over response tokens, in both
    terms. A log-probability is never above 0, so the slope in it lies between -gamma (a very
    unlikely rationale, where this is `rationale_dpo`) and -gamma / 2 (a certain one): at small
    gamma half of what the same gamma means there, and the cost is log 2 higher.

    Args:
        beta: strength of the KL penalty, in reward per nat; 0.01 to 2, usually 0.1
        gamma: how much a nat of the rationale counts, twice over for likely rationales; 0.001 to 1,
            usually 0.1

    Raises:
        OptionError: beta is not above 0, or gamma is negative or not finite.
        NeedError: the pairs were scored without a reference, or have no rationale.

    Departures:
        1. Which answer the rationale's prompt shows first is drawn for each row, where the code
           always shows the chosen one first.
    """
    check("beta", beta, 0 < beta < inf, "be above 0 and finite", hint="0.1 is usual")
    check(
        "gamma",
        gamma,
        0 <= gamma < inf,
        "be at least 0 and finite",
        hint="0.1 is usual, 0 is plain DPO",
    )
    why = rationale(pairs)
    return F.softplus(-beta * pairs.margin_N) + F.softplus(-gamma * why.logp_N)


METHOD = PairMethod(
    objective=rationale_logistic,
    reduction=mean(),
    card=Card(
        says="DPO plus the logistic cost of a reason",
        paper=Paper(
            "Data-Centric Human Preference Optimization with Rationales",
            "Just, Jin, Sahu, Phan, Jia",
            2024,
            "2407.14477",
        ),
        equation="softplus(-beta h) + softplus(-gamma log pi(rationale | x, both answers))",
        tokens="sum",
        needs=(reference, rationale),
        departures=departures_of(rationale_logistic),
        limits=(Limit(at={"gamma": 0.0}, gives="dpo", shift=log(2)),),
        not_to_confuse_with=(
            "`rationale_dpo`, the derivation's linear form, and `rdpo`, robust DPO: the "
            "code's name for this one is RDPO"
        ),
        status="meets hand-worked values and slopes",
    ),
)
