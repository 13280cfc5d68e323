"""SPO: a policy that can also tell how much of an answer's key content is missing."""

from __future__ import annotations

from math import inf, log

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from holdfast.card import Card, Head, Limit, PairMethod, Paper, check, departures_of
from holdfast.inputs import copies, head, reference
from holdfast.inputs.prompts import CORRUPTION_LEVELS, copies_of
from holdfast.reductions.mean import mean
from holdfast.types import Pairs, Scored


def spo(pairs: Pairs, *, beta: float = 0.1, gamma: float = 0.1) -> Tensor:
    """A preference says which of two answers is better, not by how much. Teach degrees without
    labels: take key phrases out of each answer, and have a linear head on the policy's last hidden
    state say how many are gone.

        cost = softplus(-beta h)
               + gamma (mean over both answers and K degrees k of -log p(k | copy k))
                (Li et al. 2024)

    with h the log-ratio margin of `dpo` on the answers as they are, and p the softmax of the head
    at the last token of a copy. Degree 0 is the answer itself, then half of its key phrases are
    gone, then all. Shape (N,), nats. Gradients of the second term flow into head and policy, not
    into the LM head. A new head says log K of everything. A copy that would equal a fuller one (too
    few key phrases) counts log K and teaches nothing.

    Args:
        beta: strength of the KL penalty, in reward per nat; 0.01 to 1, usually 0.1
        gamma: weight of the degrees; 0 is plain DPO; 0.01 to 1, to be tuned

    Raises:
        OptionError: beta is not above 0, or gamma is negative or not finite.
        NeedError: the pairs were scored without a reference, without copies, or without a head.

    Departures:
        1. Of the paper only its abstract and a description of it by others could be read: K, the
           rates, the feature, the head and the default of gamma are ours. Key phrases are found by
           RAKE, and removed best first, so that copies are nested.
        2. The degrees of a row are averaged over all 2 K of its copies, so that a row's cost
           depends on that row alone.
    """
    check("beta", beta, 0 < beta < inf, "be above 0 and finite", hint="0.1 is usual")
    check(
        "gamma",
        gamma,
        0 <= gamma < inf,
        "be at least 0 and finite",
        hint="0.1 is a start, 0 is plain DPO",
    )
    degrees_N = (degree_cost_N(pairs, "chosen") + degree_cost_N(pairs, "rejected")) / 2
    return F.softplus(-beta * pairs.margin_N) + gamma * degrees_N


def degree_cost_N(pairs: Pairs, answer: str) -> Tensor:
    """Mean over the degrees of an answer of the cross-entropy of its copy, nats."""
    corrupted = copies_of(pairs, answer)
    if not corrupted:
        raise copies.missing()
    parts = [pairs.parts[answer], *corrupted]
    there = [part.length_N > 0 for part in parts]
    there[0] = there[0] & torch.stack(there[1:]).any(0)
    return torch.stack(
        [_cross_entropy_N(part, k, len(parts), there[k]) for k, part in enumerate(parts)]
    ).mean(0)


def _cross_entropy_N(part: Scored, degree: int, degrees: int, there_N: Tensor) -> Tensor:
    """-log p(degree) at the last token, log K where there is no such copy."""
    said_NTK = head(part)
    last_N = (part.length_N.long() - 1).clamp(min=0)
    logits_NK = said_NTK[torch.arange(len(said_NTK), device=said_NTK.device), last_N, :degrees]
    logits_NK = torch.where(there_N.unsqueeze(-1), logits_NK, 0.0)
    return logits_NK.logsumexp(-1) - logits_NK[:, degree]


class DegreeHead(nn.Module):
    """One linear layer, 0 at first, on the last layer's states."""

    def __init__(self, width: int, layers: int):
        super().__init__()
        self.weight_KH = nn.Parameter(torch.zeros(len(CORRUPTION_LEVELS), width))
        self.bias_K = nn.Parameter(torch.zeros(len(CORRUPTION_LEVELS)))

    def forward(self, states_RLH: Tensor) -> Tensor:
        return F.linear(states_RLH[:, -1], self.weight_KH, self.bias_K)


METHOD = PairMethod(
    objective=spo,
    reduction=mean(),
    head=Head(DegreeHead, of="policy"),
    card=Card(
        says="DPO that also ranks corrupted copies",
        paper=Paper(
            "Self-supervised Preference Optimization: Enhance Your Language Model with "
            "Preference Degree Awareness",
            "Li, Huang, Zhang, Xu, Chen, Song, Shi, Wang, Xu",
            2024,
            "2409.17791",
            "Findings of EMNLP 2024",
        ),
        equation="softplus(-beta h) + gamma (mean over copies of -log p(degree | copy))",
        tokens="sum",
        needs=(reference, copies, head),
        departures=departures_of(spo),
        limits=(Limit(at={"gamma": 0.0}, gives="dpo"),),
        at_reference=lambda *, gamma, **_: log(2) + gamma * log(len(CORRUPTION_LEVELS)),
        not_to_confuse_with=(
            "`spo_win_rate`, the self-play of Swamy et al., nor simple, soft or self-paced "
            "methods of the same letters"
        ),
        status="meets hand-worked numbers; the authors published no code to compare with",
    ),
)
