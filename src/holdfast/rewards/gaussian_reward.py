"""A reward with a variance: PEARL's robust reward."""

from __future__ import annotations

from math import e, inf, pi

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from holdfast.card import Card, Paper, check, departures_of
from holdfast.inputs import confidence
from holdfast.reductions.mean import mean
from holdfast.rewards.kind import RewardMethod, heads
from holdfast.types import Pairs

NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(20)
SMALLEST = 1e-4  # standard deviation


def gaussian_reward(
    pairs: Pairs, *, uncertainty_weight: float = 0.05, entropy_floor: float = 0.5
) -> Tensor:
    """Let a reward say how sure it is: r(x, y) ~ N(mu, s^2), and a pair costs what its draws cost
    on average.

        cost = E[-log sigma(R_w - R_l)]
               + u / 2 sum over both answers of max(0, h - log(2 pi e s^2) / 2)
                (Liu et al. 2023, PEARL, robust reward learning)

    with u the `uncertainty_weight` and h the `entropy_floor`. Shape (N,), nats; with a row's
    `confidence` p, p l + (1 - p) l with the sides swapped. Variance always raises the expected
    cost, so without the second term s goes to 0 and the kind is Bradley-Terry: what it does for
    noisy labels it does by that term. The reward is mu, the first output.

    Args:
        uncertainty_weight: u, 0.01 to 0.1; 0 is Bradley-Terry after some training
        entropy_floor: h, nats; a reward's spread is kept above exp(h) / 4.13; 0.3 to 1

    Raises:
        OptionError: a weight that is negative, or a floor that is not finite.

    Departures:
        1. One Gaussian an answer; the paper has one a step of a trajectory and sums them.
        2. The expectation is an integral over one normal variable (20 Gauss-Hermite nodes), where
           the paper averages draws: the same cost without their noise.
        3. The paper's exact penalty could not be read; the hinge on the entropy is ours.
    """
    check("uncertainty_weight", uncertainty_weight, lambda: 0 <= uncertainty_weight < inf, AT_LEAST)
    check("entropy_floor", entropy_floor, lambda: -inf < entropy_floor < inf, "be finite")
    chosen_NH, rejected_NH, _ = heads(pairs)
    (mu_w, s_w), (mu_l, s_l) = moments(chosen_NH), moments(rejected_NH)
    margin_N, spread_N = mu_w - mu_l, (s_w**2 + s_l**2).sqrt()
    cost_N, p_N = expected_loss(margin_N, spread_N), confidence.of(pairs)
    if p_N is not None:
        cost_N = p_N * cost_N + (1 - p_N) * expected_loss(-margin_N, spread_N)
    short_N = F.relu(entropy_floor - entropy(s_w)) + F.relu(entropy_floor - entropy(s_l))
    return cost_N + uncertainty_weight / 2 * short_N


AT_LEAST = "be at least 0 and finite"


def moments(output_NH: Tensor) -> tuple[Tensor, Tensor]:
    """(mu_N, s_N) of a head's two outputs."""
    return output_NH[:, 0], F.softplus(output_NH[:, -1]) + SMALLEST


def entropy(s_N: Tensor) -> Tensor:
    """Of a Gaussian, in nats."""
    return 0.5 * (2 * pi * e * s_N**2).log()


def expected_loss(margin_N: Tensor, spread_N: Tensor) -> Tensor:
    """E softplus(-(m + spread z)), z standard normal."""
    node_K = torch.as_tensor(NODES).to(margin_N)
    weight_K = torch.as_tensor(WEIGHTS / WEIGHTS.sum()).to(margin_N)
    drawn_NK = margin_N[:, None] + spread_N[:, None] * node_K
    return F.softplus(-drawn_NK) @ weight_K


def log_odds(
    first_NH: Tensor, second_NH: Tensor, prompt_NH: Tensor | None = None, **_: float
) -> Tensor:
    """m / sqrt(1 + pi v / 8): the log-odds of the mean probability, nearly."""
    (mu_a, s_a), (mu_b, s_b) = moments(first_NH), moments(second_NH)
    return (mu_a - mu_b) / (1 + pi * (s_a**2 + s_b**2) / 8).sqrt()


METHOD = RewardMethod(
    objective=gaussian_reward,
    reduction=mean(),
    card=Card(
        says="a reward with its own uncertainty (PEARL)",
        paper=Paper(
            "Zero-shot Cross-task Preference Alignment and Robust Reward Learning for Robotic "
            "Manipulation",
            "Liu, Du, Bai, Lyu, Li",
            2023,
            "2306.03615",
            "ICML 2024",
        ),
        equation="E softplus(-(R_w - R_l)) + u / 2 sum max(0, h - entropy(s)), R ~ N(mu, s^2)",
        tokens="none",
        departures=departures_of(gaussian_reward),
        status="meets hand-worked numbers; s -> 0 is bradley_terry",
    ),
    width=lambda **_: 2,
    score=log_odds,
    scalar=True,
)
