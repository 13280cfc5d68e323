"""Conservative DPO: smoothed labels."""

from __future__ import annotations

from math import inf, log

import torch.nn.functional as F
from torch import Tensor

from holdfast.card import Card, Limit, PairMethod, Paper, check, departures_of
from holdfast.inputs import reference
from holdfast.reductions.mean import mean
from holdfast.types import Pairs


def cdpo(pairs: Pairs, *, beta: float = 0.1, flip_rate: float = 0.1) -> Tensor:
    """DPO on softened labels: each pair counts as a win with probability 1 - e and as a loss
    with probability e.

        cost = (1 - e) softplus(-beta h) + e softplus(beta h)
             = softplus(-beta h) + e beta h          (Mitchell 2023)

    with h the log-ratio margin of `dpo` and e the `flip_rate`. Shape (N,), nats, at least the
    entropy of e. A pair seen with one label only now has a finite optimum, sigma(beta h) = 1 - e,
    and is pulled back beyond it. Slope in h: -beta (sigma(-beta h) - e).

    It bounds overconfidence and does not undo noise: under true odds P its optimum is
    logit((1 - 2 e) P + e), shrunk towards 0.

    Args:
        beta: strength of the KL penalty, in reward per nat; 0.01 to 2, usually 0.1
        flip_rate: probability that a label is wrong; 0 (plain DPO) to below 0.5, usually
            0.1

    Raises:
        OptionError: beta is not above 0, or flip_rate is outside [0, 0.5).
        NeedError: the pairs were scored without a reference.
    """
    check("beta", beta, 0 < beta < inf, "be above 0 and finite", hint="0.1 is usual")
    check(
        "flip_rate",
        flip_rate,
        0 <= flip_rate < 0.5,
        "be at least 0 and below 0.5",
        hint="if most labels are wrong, swap chosen and rejected",
    )
    z_N = beta * pairs.margin_N
    return F.softplus(-z_N) + flip_rate * z_N


METHOD = PairMethod(
    objective=cdpo,
    reduction=mean(),
    card=Card(
        says="DPO with smoothed labels",
        paper=Paper(
            "A note on DPO with noisy preferences and relationship to IPO",
            "Mitchell",
            2023,
            venue="technical note",
        ),
        equation="(1 - e) softplus(-beta h) + e softplus(beta h)",
        tokens="sum",
        needs=(reference,),
        departures=departures_of(cdpo),
        limits=(Limit(at={"flip_rate": 0.0}, gives="dpo"),),
        at_reference=lambda **_: log(2),
        not_to_confuse_with=(
            "`rdpo`, which subtracts the flipped term instead of adding it: an unbiased "
            "estimate, not a smoothing"
        ),
        status="meets its closed-form optimum and hand-worked values",
    ),
)
