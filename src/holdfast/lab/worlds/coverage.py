"""A bandit whose comparisons leave a hole: half the answers were never compared, and the reward
falls where nobody looked.

24 answers with features in R^6. The comparisons are among 12 covered answers, which hardly differ
in the last feature; the other 12 carry 1.5 to 4.5 units of it, and the reward weighs it by -1. A
fit that guesses its sign wrongly sends its mass into the hole.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from holdfast.lab.worlds.loglinear import World, generators

COVERED = 12


def coverage_hole(seeds: Sequence[int], *, answers: int = 24, features: int = 6) -> World:
    """One prompt a world; answers 0 to 11 are covered."""
    phi, reward = [], []
    for rng in generators(seeds, "coverage"):
        phi_AD = rng.standard_normal((answers, features))
        phi_AD[:COVERED, -1] *= 0.15
        phi_AD[COVERED:, -1] = rng.uniform(1.5, 4.5, answers - COVERED)
        theta_D = rng.standard_normal(features)
        theta_D *= 1.5 / np.linalg.norm(theta_D[:-1])
        theta_D[-1] = -1.0
        phi.append(phi_AD[None])
        reward.append((phi_AD @ theta_D)[None])
    features_WSAD, reward_WSA = torch.from_numpy(np.stack(phi)), torch.from_numpy(np.stack(reward))
    return World(
        tuple(seeds),
        features_WSAD,
        torch.zeros_like(reward_WSA).log_softmax(-1),
        reward_WSA,
        beta=0.1,
    )


def covered_only(world: World) -> Tensor:
    """The distribution that comparisons draw from: uniform over covered answers."""
    mu_WSA = torch.zeros_like(world.reward_WSA)
    mu_WSA[..., :COVERED] = 1 / COVERED
    return mu_WSA


def uncovered_W(logp_WSA: Tensor) -> Tensor:
    """Probability of answers that were never compared."""
    return logp_WSA.exp()[..., COVERED:].sum(-1).mean(-1)


def thin_coverage(seeds: Sequence[int], *, answers: int = 40, features: int = 12) -> World:
    """Half the answers are covered; the reference gives each of the others a fiftieth of the
    probability, and each is worth 2 less than the linear reward that its features promise. The
    reward is then not linear, and no policy of the class is the optimum."""
    phi, reward = [], []
    for rng in generators(seeds, "thin coverage"):
        phi_AD = rng.standard_normal((answers, features))
        theta_D = rng.standard_normal(features)
        phi.append(phi_AD[None])
        reward.append(
            (
                phi_AD @ theta_D / np.linalg.norm(theta_D)
                - 2.0 * (np.arange(answers) >= answers // 2)
            )[None]
        )
    weight_A = torch.where(torch.arange(answers) < answers // 2, 1.0, 0.02).double()
    reward_WSA = torch.from_numpy(np.stack(reward))
    return World(
        tuple(seeds),
        torch.from_numpy(np.stack(phi)),
        weight_A.log().log_softmax(-1).expand_as(reward_WSA).clone(),
        reward_WSA,
        beta=0.1,
    )
