"""beta-DPO: one temperature a batch, higher where the policy already tells the answers apart."""

from __future__ import annotations

from math import inf, log

import torch
import torch.nn.functional as F
from torch import Tensor

from holdfast.card import Card, Limit, PairMethod, Paper, State, check, departures_of
from holdfast.inputs import reference
from holdfast.reductions.mean import mean
from holdfast.types import Pairs


def beta_dpo(
    pairs: Pairs, state: State, *, beta: float = 0.1, alpha: float = 0.6, momentum: float = 0.9
) -> tuple[Tensor, State]:
    """Hold the policy closer to the reference on batches whose pairs it separates well, and let it
    go on those it does not yet.

        beta_b = beta (1 + alpha (mean of h over the batch - H))
        cost = softplus(-beta_b h)                                    (Wu et al. 2024)
        H <- momentum H + (1 - momentum) (mean of h over the batch)

    with h the log-ratio margin of `dpo`. Shape (N,), nats. beta_b carries no gradient. H, a moving
    average that starts at 0 (the margin at the reference), is remembered from batch to batch; a
    batch is measured against H as it was before. beta_b belongs to the batch, so a row's cost
    depends on the other rows: take batches as large as memory allows.

    Args:
        beta: strength of the KL penalty where a batch is like those before it, in reward per nat;
            0.01 to 1, usually 0.1
        alpha: how much beta moves with the mean margin, per nat; 0 is plain DPO; 0 to 1, usually
            0.6
        momentum: how slowly the average of margins moves, of 0 to below 1, usually 0.9

    Raises:
        OptionError: beta is not above 0, alpha is negative or not finite, or momentum is outside
            [0, 1).
        NeedError: the pairs were scored without a reference.

    Departures:
        1. Margins are log-ratios in nats, as in the authors' code; the paper's equation multiplies
           them by beta.
        2. The paper's second half, which draws a subset of the batch at random and favors rows of
           usual margin, is left out: an objective here has no dice of its own.
        3. beta_b is never below beta / 100, so that a batch far below the average still trains in
           the right direction.
    """
    check("beta", beta, 0 < beta < inf, "be above 0 and finite", hint="0.1 is usual")
    check(
        "alpha",
        alpha,
        0 <= alpha < inf,
        "be at least 0 and finite",
        hint="0.6 is usual, 0 is plain DPO",
    )
    check("momentum", momentum, 0 <= momentum < 1, "be at least 0 and below 1", hint="0.9 is usual")
    h_N = pairs.margin_N
    average, seen = state["margin"].to(h_N), h_N.detach().mean()
    beta_b = (beta * (1 + alpha * (seen - average))).clamp(min=beta / 100)
    return F.softplus(-beta_b * h_N), {"margin": momentum * average + (1 - momentum) * seen}


METHOD = PairMethod(
    objective=beta_dpo,
    reduction=mean(),
    state=lambda raters: {"margin": torch.zeros(())},
    card=Card(
        says="beta follows each batch's margins",
        paper=Paper(
            "beta-DPO: Direct Preference Optimization with Dynamic beta",
            "Wu, Xie, Yang, Wu, Gao, Ding, Wang, He",
            2024,
            "2407.08639",
            "NeurIPS 2024",
        ),
        equation="softplus(-beta_b h), beta_b = beta (1 + alpha (mean h - H))",
        tokens="sum",
        needs=(reference,),
        departures=departures_of(beta_dpo),
        limits=(Limit(at={"alpha": 0.0}, gives="dpo"),),
        at_reference=lambda **_: log(2),
        batch_dependent=True,
        stop_gradient="the batch's beta_b, which the policy's own margins set",
        not_to_confuse_with=(
            "`madpo`, which weighs each pair by a reward model's margin and leaves beta alone"
        ),
        status="meets hand-worked temperatures; no peer library has it to compare with",
    ),
)
