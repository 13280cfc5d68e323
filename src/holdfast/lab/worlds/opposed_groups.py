"""Two groups of people with partly opposed tastes, and one policy for both.

Each group's reward is linear in the same features: what they share, plus what they dispute with
opposite signs. The majority gives most of the labels. A group's own best policy is known, so each
group's regret under any policy is exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from holdfast.lab.worlds.loglinear import Labels, World, compare, generators, log_linear


def two_tastes(
    seeds: Sequence[int], *, dispute: float = 1.0, shared: float = 1.0
) -> tuple[World, World]:
    """The same prompts, answers and reference as the majority and as the minority value them: theta
    = shared part +- disputed part.
    """
    world = log_linear(seeds, norm=1.0)
    tastes = []
    for rng in generators(seeds, "tastes"):
        basis_2D = np.linalg.qr(rng.standard_normal((world.features_WSAD.shape[-1], 2)))[0].T
        tastes.append(
            [
                shared * basis_2D[0] + dispute * basis_2D[1],
                shared * basis_2D[0] - dispute * basis_2D[1],
            ]
        )
    theta_W2D = torch.from_numpy(np.array(tastes))
    first, second = (
        replace(
            world, reward_WSA=torch.einsum("wsad,wd->wsa", world.features_WSAD, theta_W2D[:, k])
        )
        for k in (0, 1)
    )
    return first, second


def polled(worlds: tuple[World, World], n: int, share: float) -> Labels:
    """n comparisons, the first `share` of them from the majority (group 0), the rest from the
    minority (group 1).
    """
    cut = round(n * share)
    parts = [compare(worlds[0], cut, what="majority"), compare(worlds[1], n - cut, what="minority")]
    joined = {
        name: torch.cat([getattr(part, name) for part in parts], 1)
        for name in ("prompt_WN", "chosen_WN", "rejected_WN", "wrong_WN")
    }
    group_WN = (torch.arange(n) >= cut).long().expand(len(worlds[0].seeds), n)
    return Labels(**joined, group_WN=group_WN)


def regrets_W(worlds: tuple[World, World], logp_WSA: Tensor) -> list[Tensor]:
    """Each group's gap to its own optimum."""
    return [world.gap_W(logp_WSA) for world in worlds]
