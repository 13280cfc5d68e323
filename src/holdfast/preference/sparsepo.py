"""SparsePO: one learned mask says which tokens the preference is about."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from math import inf

import torch
import torch.nn.functional as F
from torch import Tensor

from holdfast.card import Card, Head, Limit, PairMethod, Paper, check, departures_of
from holdfast.inputs import head, reference, token_kl
from holdfast.preference._tokens import TokenMask, masks_NTK, weighed_N
from holdfast.reductions.mean import mean
from holdfast.types import Pairs, Scored


def sparsepo(pairs: Pairs, *, beta: float = 0.1, sparsity: float = 0.01) -> Tensor:
    """Learn, beside the policy, which tokens to count: a mask m(t) >= 0 read off the frozen
    reference's states before token t.

        V(y) = sum over t of m(t) [log pi(y_t|s_t) - log pi_ref(y_t|s_t) + KL(pi_ref || pi at s_t)]
        cost = softplus(-beta (V(y_w) - V(y_l))) + sparsity (sum over t of m(t), of both answers)

    (Christopoulou et al. 2024, the common mask). Shape (N,), nats. The mask knows the prefix and
    not the token itself, and has no upper bound: without the second term it may grow instead of the
    policy, and no token's mask is ever exactly 0. Tokens of mask 0 are left free: what drift there
    is, is not undone. Watch `head/mean` and `head/zeros` in the metrics, and compare with `dpo` at
    other betas.

    Args:
        beta: strength of the KL penalty, in reward per nat; 0.05 to 1, usually 0.1, more for short
            answers
        sparsity: price of mask per token; 0 gives masks without zeros; 0.001 to 0.1, to be tuned on
            the share of zeros

    Raises:
        OptionError: beta is not above 0, or sparsity is negative or not finite.
        NeedError: the pairs were scored without a reference, without the divergence at each token,
            or without a mask.

    Departures:
        1. The paper's two prices, each halved where the mask is common, are one here, and above 0
           by default: at 0 nothing is sparse.
        2. The mask starts at 1 everywhere, so that training starts as `tdpo`. The scale and shift
           of its LayerNorm are left to the weights that follow, and dropout, which would put zeros
           of its own into the mask, is left out.
        3. The mask's weight decay is that of the run.
    """
    check("beta", beta, 0 < beta < inf, "be above 0 and finite", hint="0.1 is usual")
    check(
        "sparsity",
        sparsity,
        0 <= sparsity < inf,
        "be at least 0 and finite",
        hint="0.01 is a start",
    )
    w_NT, l_NT = (masks_NTK(part, 1)[..., 0] for part in (pairs.chosen, pairs.rejected))
    margin_N = weighed_N(pairs.chosen, w_NT, w_NT) - weighed_N(pairs.rejected, l_NT, l_NT)
    return F.softplus(-beta * margin_N) + sparsity * (w_NT.sum(-1) + l_NT.sum(-1))


def all_ones(part: Scored) -> Scored:
    return replace(part, head_NTK=torch.ones(*part.logp_NT.shape, 2, dtype=part.logp_NT.dtype))


PAPER = Paper(
    "SparsePO: Controlling Preference Alignment of LLMs via Sparse Token Masks",
    "Christopoulou, Cardenas, Lampouras, Bou-Ammar, Wang",
    2024,
    "2410.05102",
    "Findings of EMNLP 2025",
)

METHOD = PairMethod(
    objective=sparsepo,
    reduction=mean(),
    head=Head(partial(TokenMask, masks=1), of="reference"),
    card=Card(
        says="learn which tokens to count",
        paper=PAPER,
        equation=(
            "softplus(-beta sum over t of m(t) [log-ratio + KL(pi_ref || pi)], chosen minus "
            "rejected) + sparsity sum m, m learned"
        ),
        tokens="sum",
        needs=(reference, token_kl, head),
        departures=departures_of(sparsepo),
        limits=(
            Limit(
                at={"sparsity": 0.0},
                gives="tdpo",
                where="the mask is 1 on every token",
                given=all_ones,
            ),
        ),
        status="meets hand-worked numbers; no peer library has it to compare with",
    ),
)
