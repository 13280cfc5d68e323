"""DPO with rationales: learn which answer is better, and to say why."""

from __future__ import annotations

from math import inf

import torch.nn.functional as F
from torch import Tensor

from holdfast.card import Card, Limit, PairMethod, Paper, check, departures_of
from holdfast.inputs import rationale, reference
from holdfast.reductions.mean import mean
from holdfast.types import Pairs


def rationale_dpo(pairs: Pairs, *, beta: float = 0.1, gamma: float = 0.1) -> Tensor:
    """Add to `dpo` the likelihood of a written reason: a pair that says why carries more than one
    bit.

        cost = softplus(-beta h)
               - gamma log pi(rationale | x, both answers, "which is better, and why?")
                (Just et al. 2024)

    with h the log-ratio margin of `dpo`. Shape (N,), nats. Sums over response tokens, in both
    terms. At gamma 1 it is the negative log likelihood of label and rationale together. In the
    answers' log-probabilities the slope is that of `dpo` exactly: a rationale teaches only through
    weights that both share. **Train with the rationales permuted over the rows as a control**: that
    helps too, since it says which attributes matter at all; only what true ones gain beyond it is
    due to the pairs.

    Args:
        beta: strength of the KL penalty, in reward per nat; 0.01 to 2, usually 0.1
        gamma: how much a nat of the rationale counts; so that gamma times its tokens is 0.1 to 1; 0
            is plain DPO, usually 0.1

    Raises:
        OptionError: beta is not above 0, or gamma is negative or not finite.
        NeedError: the pairs were scored without a reference, or have no rationale.

    Departures:
        1. This is the derivation's form. The authors' code takes another function of the rationale:
           `rationale_logistic`.
        2. Which answer the rationale's prompt shows first is drawn for each row. The authors' code
           always shows the chosen one first, where a rationale can be written without judging.
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
    return F.softplus(-beta * pairs.margin_N) - gamma * why.logp_N


METHOD = PairMethod(
    objective=rationale_dpo,
    reduction=mean(),
    card=Card(
        says="DPO plus the likelihood of a reason",
        paper=Paper(
            "Data-Centric Human Preference Optimization with Rationales",
            "Just, Jin, Sahu, Phan, Jia",
            2024,
            "2407.14477",
        ),
        equation="softplus(-beta h) - gamma log pi(rationale | x, both answers)",
        tokens="sum",
        needs=(reference, rationale),
        departures=departures_of(rationale_dpo),
        limits=(Limit(at={"gamma": 0.0}, gives="dpo"),),
        not_to_confuse_with="`rdpo`, robust DPO: the paper's own name for this one is RDPO",
        status="meets hand-worked values; the slope in the answers is dpo's",
    ),
)
