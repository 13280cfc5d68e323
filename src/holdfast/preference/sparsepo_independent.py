"""SparsePO with two learned masks: one for what the policy says, one for how far it moves."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from math import inf

import torch
import torch.nn.functional as F
from torch import Tensor

from holdfast.card import Card, Head, Limit, PairMethod, check, departures_of
from holdfast.inputs import head, reference, token_kl
from holdfast.preference._tokens import TokenMask, masks_NTK, weighed_N
from holdfast.preference.sparsepo import PAPER, all_ones
from holdfast.reductions.mean import mean
from holdfast.types import Pairs, Scored


def sparsepo_independent(
    pairs: Pairs, *, beta: float = 0.1, ratio_sparsity: float = 0.01, kl_sparsity: float = 0.01
) -> Tensor:
    """`sparsepo` with a mask m_u of the log-ratios and another, m_d, of the divergences.

        V(y) = sum over t of m_u(t) [log pi(y_t|s_t) - log pi_ref(y_t|s_t)] + m_d(t) KL(pi_ref || pi
        at s_t) cost = softplus(-beta (V(y_w) - V(y_l))) + ratio_sparsity sum m_u + kl_sparsity sum
        m_d

    (Christopoulou et al. 2024), the last two sums over the tokens of both answers. Shape (N,),
    nats.

    Args:
        beta: strength of the KL penalty, in reward per nat; 0.05 to 1, usually 0.1, more for short
            answers
        ratio_sparsity: price per token of the mask of log-ratios; 0.001 to 0.1, to be tuned on the
            share of zeros
        kl_sparsity: price per token of the mask of divergences; 0.001 to 0.1, to be tuned on the
            share of zeros

    Raises:
        OptionError: beta is not above 0, or a price is negative or not finite.
        NeedError: the pairs were scored without a reference, without the divergence at each token,
            or without masks.

    Departures:
        1. The prices are above 0 by default: at the paper's default of 0 nothing is sparse.
        2. Both masks start at 1 everywhere, without dropout, as in `sparsepo`.
        3. The masks' weight decay is that of the run.
    """
    check("beta", beta, 0 < beta < inf, "be above 0 and finite", hint="0.1 is usual")
    check(
        "ratio_sparsity",
        ratio_sparsity,
        0 <= ratio_sparsity < inf,
        "be at least 0 and finite",
        hint="0.01 is a start",
    )
    check(
        "kl_sparsity",
        kl_sparsity,
        0 <= kl_sparsity < inf,
        "be at least 0 and finite",
        hint="0.01 is a start",
    )

    def value_and_price_N(part: Scored) -> tuple[Tensor, Tensor]:
        u_NT, d_NT = masks_NTK(part, 2).unbind(-1)
        price_N = ratio_sparsity * u_NT.sum(-1) + kl_sparsity * d_NT.sum(-1)
        return weighed_N(part, u_NT, d_NT), price_N

    (w_N, w_price_N), (l_N, l_price_N) = (
        value_and_price_N(pairs.chosen),
        value_and_price_N(pairs.rejected),
    )
    return F.softplus(-beta * (w_N - l_N)) + w_price_N + l_price_N


def ratios_alone(part: Scored) -> Scored:
    return replace(
        part,
        head_NTK=torch.ones(*part.logp_NT.shape, 2, dtype=part.logp_NT.dtype)
        * torch.tensor([1.0, 0.0]),
    )


FREE = {"ratio_sparsity": 0.0, "kl_sparsity": 0.0}

METHOD = PairMethod(
    objective=sparsepo_independent,
    reduction=mean(),
    head=Head(partial(TokenMask, masks=2), of="reference"),
    card=Card(
        says="SparsePO with a second mask for KL",
        paper=PAPER,
        equation=(
            "softplus(-beta sum over t of [m_u(t) log-ratio + m_d(t) KL(pi_ref || pi)], "
            "chosen minus rejected) "
            "+ ratio_sparsity sum m_u + kl_sparsity sum m_d"
        ),
        tokens="sum",
        needs=(reference, token_kl, head),
        departures=departures_of(sparsepo_independent),
        limits=(
            Limit(
                at=FREE,
                gives="dpo",
                where="the mask of log-ratios is 1 and that of divergences 0",
                given=ratios_alone,
            ),
            Limit(at=FREE, gives="tdpo", where="both masks are 1", given=all_ones),
        ),
        status="meets hand-worked numbers; no peer library has it to compare with",
    ),
)
