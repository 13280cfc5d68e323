"""MaPO: TDPO with tokens weighed by how active the reference is."""

from __future__ import annotations

from dataclasses import replace
from math import inf, log

import torch
import torch.nn.functional as F
from torch import Tensor

from holdfast.card import Card, Limit, PairMethod, check, departures_of
from holdfast.inputs import activation, reference, token_kl
from holdfast.preference._tokens import weighed_N
from holdfast.preference.sparsepo import PAPER
from holdfast.reductions.mean import mean
from holdfast.types import Pairs, Scored


def mapo(pairs: Pairs, *, beta: float = 0.1) -> Tensor:
    """Not every token carries the preference: count those more before which the frozen reference is
    more active. Nothing is learned.

        m(t) = mean over layers of (A(t) - min A) / (max A - min A)
        A(t): mean activation of a layer before token t is read
        cost = softplus(-beta (V(y_w) - V(y_l))),
        V(y) = sum over t of m(t) [a(t) + KL(pi_ref || pi at s_t)]

    (Christopoulou et al. 2024), with a(t) the log-ratio of token t, s_t what stands before it, and
    min and max over the answer's tokens. Shape (N,), nats. In each layer the least active token
    counts 0 and the most active one 1; an answer whose tokens are all alike, such as one of a
    single token, counts them all.

    Args:
        beta: strength of the KL penalty, in reward per nat; 0.05 to 1, usually 0.1, more for short
            answers

    Raises:
        OptionError: beta is not above 0.
        NeedError: the pairs were scored without a reference, without the divergence at each token,
            or without activations.

    Departures:
        1. The paper first standardizes activations over the answer; the rescaling to [0, 1] that
           follows undoes that, so it is left out.
        2. Activations are those of the residual stream after each layer; the paper may also take
           them inside attention and MLP blocks.
    """
    check("beta", beta, 0 < beta < inf, "be above 0 and finite", hint="0.1 is usual")
    w_N, l_N = (
        weighed_N(part, mask_NT, mask_NT)
        for part in (pairs.chosen, pairs.rejected)
        for mask_NT in [active_NT(part)]
    )
    return F.softplus(-beta * (w_N - l_N))


def active_NT(part: Scored) -> Tensor:
    """m(t) above, 0 outside the answer. No gradient."""
    activation_NTL = activation(part).detach()
    inside_NT1 = part.mask_NT.bool().unsqueeze(-1)
    low_N1L = torch.where(inside_NT1, activation_NTL, inf).amin(1, keepdim=True)
    high_N1L = torch.where(inside_NT1, activation_NTL, -inf).amax(1, keepdim=True)
    span_N1L = high_N1L - low_N1L
    alike_N1L = ~(span_N1L > 0)
    scaled_NTL = torch.where(
        alike_N1L, 1.0, (activation_NTL - low_N1L) / torch.where(alike_N1L, 1.0, span_N1L)
    )
    return torch.where(inside_NT1, scaled_NTL, 0.0).mean(-1).to(part.logp_NT.dtype)


METHOD = PairMethod(
    objective=mapo,
    reduction=mean(),
    card=Card(
        says="tokens weighed by the reference's activity",
        paper=PAPER,
        equation=(
            "softplus(-beta sum over t of m(t) [log-ratio + KL(pi_ref || pi)], chosen minus "
            "rejected), m the reference's activation"
        ),
        tokens="sum",
        needs=(reference, token_kl, activation),
        departures=departures_of(mapo),
        limits=(
            Limit(
                at={},
                gives="tdpo",
                where="the reference is equally active before every token",
                given=lambda part: replace(
                    part, ref_activation_NTL=torch.ones(*part.logp_NT.shape, 2)
                ),
            ),
        ),
        at_reference=lambda **_: log(2),
        not_to_confuse_with=(
            "margin-aware preference optimization of image models, also called MaPO, nor "
            "MAPO, of multilingual reasoning"
        ),
        status="meets hand-worked numbers; no peer library has it to compare with",
    ),
)
