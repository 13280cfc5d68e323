"""Preferences over a few answers to one prompt that no reward need explain: random tournaments with
cycles, and Bradley-Terry ones beside them.

Policies are free softmax tables; a reviser, where a method has one, is a table for each answer
shown. Comparisons are drawn from a behavior distribution, so that one can ask whether what is
learned depends on who happened to be compared.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from holdfast.inputs.prompts import revised
from holdfast.types import Pairs, Scored

ANSWERS = 8


def tournaments(seeds: Sequence[int], *, cyclic: bool) -> Tensor:
    """pref_WAA[w, a, b] = P(a beats b): logits N(0, 1.5^2) free for each pair if cyclic, else
    differences of rewards N(0, 1).
    """
    out = []
    for seed in seeds:
        rng = np.random.default_rng([seed, 31])
        logit_AA = np.triu(1.5 * rng.standard_normal((ANSWERS, ANSWERS)), 1)
        reward_A = rng.standard_normal(ANSWERS)
        logit_AA = logit_AA - logit_AA.T if cyclic else reward_A[:, None] - reward_A[None]
        out.append(1 / (1 + np.exp(-logit_AA)))
    return torch.from_numpy(np.stack(out))


def two_behaviors() -> tuple[Tensor, Tensor]:
    """Two very different distributions of the answers compared, both with full support."""
    steps_A = torch.linspace(0, 3, ANSWERS, dtype=torch.float64)
    return steps_A.softmax(-1), (-steps_A).softmax(-1)


def counted(
    pref_WAA: Tensor, behavior_A: Tensor, n: int, seeds: Sequence[int], what: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Every ordered pair (chosen_N, rejected_N), and the share weight_WN of n drawn comparisons
    that recorded it.
    """
    chosen_N, rejected_N = torch.nonzero(~torch.eye(ANSWERS, dtype=torch.bool), as_tuple=True)
    chance_WN = behavior_A[chosen_N] * behavior_A[rejected_N] * pref_WAA[:, chosen_N, rejected_N]
    chance_WN = chance_WN / chance_WN.sum(-1, keepdim=True)
    drawn = [
        np.random.default_rng([seed, 37, what]).multinomial(n, chance.numpy()) / n
        for seed, chance in zip(seeds, chance_WN, strict=True)
    ]
    return chosen_N, rejected_N, torch.from_numpy(np.stack(drawn))


def pairs(theta_WD: Tensor, chosen_N: Tensor, rejected_N: Tensor) -> Pairs:
    """W N comparisons under free tables: the first A parameters are the policy's logits, the next A
    A the reviser's, a row for each shown answer."""
    worlds = len(theta_WD)
    logp_WA = theta_WD[:, :ANSWERS].log_softmax(-1)
    revise_WAA = theta_WD[:, ANSWERS:].view(worlds, ANSWERS, ANSWERS).log_softmax(-1)

    def scored(logp_WN: Tensor) -> Scored:
        logp = logp_WN.reshape(-1, 1)
        return Scored(
            logp,
            torch.ones_like(logp).detach(),
            torch.full_like(logp, -float(np.log(ANSWERS))).detach(),
        )

    shown = {"chosen": chosen_N, "rejected": rejected_N}
    extra = {revised(a, s): scored(revise_WAA[:, shown[s], shown[a]]) for s in shown for a in shown}
    return Pairs(scored(logp_WA[:, chosen_N]), scored(logp_WA[:, rejected_N]), extra=extra)
