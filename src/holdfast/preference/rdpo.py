"""Robust DPO: the clean loss, estimated without bias from flipped labels."""

from __future__ import annotations

from math import inf, log

import torch.nn.functional as F
from torch import Tensor

from holdfast.card import Card, Limit, PairMethod, Paper, check, departures_of
from holdfast.inputs import reference
from holdfast.reductions.mean import mean
from holdfast.types import Pairs


def rdpo(pairs: Pairs, *, beta: float = 0.1, flip_rate: float = 0.1) -> Tensor:
    """If labels are flipped independently at a known rate, weigh the seen and the swapped label so
    that the average is the clean DPO loss.

        cost = [(1 - e) softplus(-beta h) - e softplus(beta h)] / (1 - 2 e)
             = softplus(-beta h) - e / (1 - 2 e) beta h    (Ray Chowdhury, Kini, Natarajan 2024)

    with h the log-ratio margin of `dpo` and e the `flip_rate`. Shape (N,), nats. The second form is
    the one computed. Slope in h: -beta (sigma(-beta h) + e / (1 - 2 e)). Averaged over flips, the
    cost at h is softplus(-beta h), and its spread is e (1 - e) (beta h)^2 / (1 - 2 e)^2: the price,
    steep near 0.5.

    Where the same pair was labeled often and won a share q, the optimum is beta h = logit((q - e) /
    (1 - 2 e)); it exists only if e < q < 1 - e. A pair with one label has none: **the cost is
    unbounded below** and falls forever along -e / (1 - 2 e) beta h. Watch for a negative mean cost
    that keeps falling, and stop early.

    Args:
        beta: strength of the KL penalty, in reward per nat; 0.05 to 0.5, usually 0.1
        flip_rate: probability that a label is wrong; 0 (plain DPO) to below 0.5; above 0.4
            only with very many pairs

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
        hint="at 0.5 labels say nothing; above it swap chosen and rejected",
    )
    z_N = beta * pairs.margin_N
    return F.softplus(-z_N) - flip_rate / (1 - 2 * flip_rate) * z_N


METHOD = PairMethod(
    objective=rdpo,
    reduction=mean(),
    card=Card(
        says="DPO unbiased under a known flip rate",
        paper=Paper(
            "Provably Robust DPO: Aligning Language Models with Noisy Feedback",
            "Ray Chowdhury, Kini, Natarajan",
            2024,
            "2403.00409",
            "ICML 2024",
        ),
        equation="[(1 - e) softplus(-beta h) - e softplus(beta h)] / (1 - 2 e)",
        tokens="sum",
        needs=(reference,),
        departures=departures_of(rdpo),
        limits=(Limit(at={"flip_rate": 0.0}, gives="dpo"),),
        at_reference=lambda **_: log(2),
        not_to_confuse_with=(
            "`cdpo`, which adds the flipped term: a bounded smoothing that keeps the bias"
        ),
        status=(
            "returns the clean optimum under known flips; unbounded below on pairs with a "
            "single label; meets TRL's `robust`"
        ),
    ),
)
