"""General preference model: answers as vectors, and a score that turns around when the answers
change places.
"""

from __future__ import annotations

from math import inf

import torch
import torch.nn.functional as F
from torch import Tensor

from holdfast.card import Card, Paper, check, departures_of
from holdfast.errors import NeedError
from holdfast.inputs import confidence
from holdfast.reductions.mean import mean
from holdfast.rewards.kind import OfItems, RewardMethod, heads, log_loss
from holdfast.types import Pairs


def general_preference(pairs: Pairs, *, dim: int = 6, tau: float = 0.1) -> Tensor:
    """Learn preferences that may be cyclic: an answer is a vector v of length 1, and a pair's
    score is a sum of signed areas.

        s(i beats j) = sum_l g_l(x) [v_i(2l) v_j(2l+1) - v_i(2l+1) v_j(2l)],   l < dim/2
                (Zhang et al. 2024, definition 4.3)
        cost = -[p log sigma(s(w beats l) / tau) + (1 - p) log sigma(-s(w beats l) / tau)]

    with p the row's `confidence`, 1 where rows have none. Shape (N,), nats. s(i beats j) = -s(j
    beats i) whatever the weights are. In one plane s is the sine of the angle from i to j, so three
    answers a third of a turn apart beat each other in a circle; enough planes express every
    skew-symmetric table of scores. The gate g(x) is read at the prompt's end alone and says which
    planes matter for a prompt. One pass an answer, as for a reward; but the model judges pairs and
    ranks nothing by itself.

    Signs: definition 4.3 and the released code score <R v_i, v_j> with R = [[0, -1], [1, 0]], as
    here. Formulas with v_i^T R v_j in the paper's later sections are its negative. The check: v =
    (r, 1), unnormalized, must give r_i - r_j.

    Args:
        dim: numbers in an answer's vector, two a plane; even, 4 to 8. With 2, unit vectors sit on
            one circle, cannot pass each other, and training mostly stays at chance
        tau: temperature of the score; no log-odds exceed (planes / tau) in size; 0.1 to 1, usually
            0.1

    Raises:
        OptionError: dim is not an even number of at least 2, or tau is not above 0.

    Departures:
        1. The gate is g = planes x softmax(outputs at the prompt's end), mean 1, as in the released
           training code. The paper's text has squares of nonnegative numbers in its place.
    """
    chosen_NH, rejected_NH, prompt_NH = heads(pairs)
    return log_loss(
        gated(chosen_NH, rejected_NH, prompt_NH, dim=dim, tau=tau), confidence.of(pairs)
    )


def gated(
    first_NH: Tensor, second_NH: Tensor, prompt_NH: Tensor | None, *, dim: int, tau: float
) -> Tensor:
    """logit_N = s / tau of two heads' outputs: the first `dim` numbers are the vector, the rest,
    read at the prompt's end, the gate.
    """
    _check(dim, tau)
    if prompt_NH is None:
        raise NeedError(
            "prompt",
            "general_preference gates by the prompt, and these outputs come without the prompt's",
        )
    gate_NP = (dim // 2) * prompt_NH[:, dim : dim + dim // 2].softmax(-1)
    return (
        skew_score(
            F.normalize(first_NH[:, :dim], dim=-1), F.normalize(second_NH[:, :dim], dim=-1), gate_NP
        )
        / tau
    )


def skew_score(first_ND: Tensor, second_ND: Tensor, gate_NP: Tensor | None = None) -> Tensor:
    """s(first beats second) = sum_l g_l [a(2l) b(2l+1) - a(2l+1) b(2l)], over the last axis; P =
    D/2 planes, gate 1 unless given.

    Any axes before the last are broadcast, so `skew_score(v_AD[:, None], v_AD[None])` is the table
    of all pairs.
    """
    area = first_ND[..., 0::2] * second_ND[..., 1::2] - first_ND[..., 1::2] * second_ND[..., 0::2]
    return (area if gate_NP is None else gate_NP * area).sum(-1)


def with_strength(free_AF: Tensor) -> Tensor:
    """An item's strength r as a plane of its own, (r, 1), then its free planes: so that what a
    reward can say costs no circle.
    """
    return torch.cat([free_AF[:, :1], torch.ones_like(free_AF[:, :1]), free_AF[:, 1:]], dim=1)


def embedding_of(logit_AA: Tensor) -> Tensor:
    """Vectors whose `skew_score` is a given skew-symmetric table: A x 2 floor(A/2), from its real
    Schur form. No table is beyond reach.
    """
    import numpy as np
    from scipy.linalg import schur

    blocks, basis = schur(logit_AA.detach().double().numpy(), output="real")
    at, columns = 0, []
    while at < len(blocks) - 1:
        size = blocks[at, at + 1]
        if abs(size) <= 1e-12 * max(1.0, np.abs(blocks).max()):
            at += 1  # a zero eigenvalue of its own
            continue
        pair = basis[:, at : at + 2] * np.sqrt(abs(size))
        columns.append(pair if size > 0 else pair[:, ::-1])
        at += 2
    planes = len(blocks) // 2
    columns += [np.zeros((len(blocks), 2))] * (planes - len(columns))
    return (
        torch.from_numpy(np.concatenate(columns, axis=1))
        if planes
        else torch.zeros(len(blocks), 0, dtype=torch.float64)
    )


def _check(dim: int, tau: float) -> None:
    check(
        "dim",
        dim,
        lambda: dim >= 2 and dim % 2 == 0,
        "be even and at least 2",
        hint="6 is usual; 2 gets stuck",
    )
    check("tau", tau, lambda: 0 < tau < inf, "be above 0 and finite", hint="0.1 is usual")


def _width(*, dim: int, tau: float) -> int:
    _check(dim, tau)
    return dim + dim // 2


METHOD = RewardMethod(
    objective=general_preference,
    reduction=mean(),
    card=Card(
        says="P(one answer beats another), intransitive included",
        paper=Paper(
            "Beyond Bradley-Terry Models: A General Preference Model for Language Model Alignment",
            "Zhang, Zhang, Wu, Xu, Gu",
            2024,
            "2410.02197",
            "ICML 2025",
        ),
        equation="softplus(-s(w beats l) / tau), s skew-symmetric in the answers' vectors",
        tokens="none",
        departures=departures_of(general_preference),
        not_to_confuse_with=(
            "a pairwise judge that reads both answers at once, which takes a forward pass for "
            "every pair"
        ),
        status=(
            "meets hand-worked numbers, contains Bradley-Terry, and expresses any "
            "skew-symmetric table"
        ),
    ),
    width=_width,
    score=gated,
    items=OfItems(score=skew_score, width=lambda dim: 1 + dim, outputs=with_strength),
    reads_prompt=True,
)
