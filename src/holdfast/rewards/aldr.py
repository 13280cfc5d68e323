"""ALDR-KL: LDR with a temperature of each pair's own."""

from __future__ import annotations

from math import inf, log

import torch
from torch import Tensor

from holdfast.card import Card, Paper, check, departures_of
from holdfast.rewards.ldr import check_ldr, ldr_cost, tempered
from holdfast.rewards.scalar import labeled, scalar_kind
from holdfast.types import Pairs

STEPS = 20  # of the fixed point; it moves by less than 1e-6 after 12 at the defaults


def aldr(pairs: Pairs, *, temperature: float = 1.0, c: float = 0.1, alpha: float = 2.0) -> Tensor:
    """LDR with less doubt about pairs that the model is sure of.

        cost = lambda log( (1 + exp((c - m) / lambda)) / 2 )
               - alpha log 2 / (2 lambda_0) (lambda - lambda_0)^2,      m = r_w - r_l
        lambda = lambda_0 (1 - KL(p || uniform) / (alpha log 2)),   p = softmax((r_w, r_l) / lambda)
                (Zhu et al. 2023, ALDR-KL, at K = 2; lambda_0 is `temperature`)

    Shape (N,), nats; with a row's `confidence` p, p l(m) + (1 - p) l(-m). lambda is that of the
    stationary point, in [lambda_0 (1 - 1 / alpha), lambda_0]: small where the model is sure, which
    is close to Bradley-Terry or the hinge, lambda_0 where it is not. It is held fixed by the
    gradient, so the quadratic term has none.

    Args:
        temperature: lambda_0, the largest temperature; 0.5 to 2 on rewards as they are
        c: margin by which the labeled answer must lead; 0 to 2
        alpha: how firmly the temperature stays at lambda_0; above 1; infinity is LDR-KL

    Raises:
        OptionError: temperature is not above 0, c is negative, or alpha is not above 1.

    Departures:
        1. The released code keeps a lambda for each row of the data and moves it one step of the
           fixed point at each visit. Here the fixed point is iterated from lambda_0 at every visit:
           no state, and the same cost for the same pair whenever it is asked.
        2. Logits enter as they are, as for `ldr`.
        3. A soft label, which the paper does not have, mixes the costs of both labels.
    """
    check_ldr(temperature, c)
    check("alpha", alpha, lambda: 1 < alpha < inf, "be above 1 and finite", hint="2 is usual")

    def cost_of(margin_N: Tensor) -> Tensor:
        lambda_N = pair_temperature(margin_N, temperature, alpha)
        penalty_N = alpha * log(2) / (2 * temperature) * (lambda_N - temperature) ** 2
        return ldr_cost(margin_N, lambda_N, c) - penalty_N

    return labeled(cost_of, pairs)


@torch.no_grad()
def pair_temperature(margin_N: Tensor, temperature: float, alpha: float) -> Tensor:
    """lambda_N, the fixed point of the pair's temperature, iterated from lambda_0."""
    lambda_N = torch.full_like(margin_N, temperature)
    for _ in range(STEPS):
        p_N2 = torch.stack([margin_N, torch.zeros_like(margin_N)], -1).div(lambda_N[:, None])
        log_p_N2 = p_N2.log_softmax(-1)
        kl_N = log(2) + (log_p_N2.exp() * log_p_N2).sum(-1)
        lambda_N = temperature * (1 - kl_N / (alpha * log(2)))
    return lambda_N


METHOD = scalar_kind(
    aldr,
    Card(
        says="LDR-KL with a temperature for each pair",
        paper=Paper(
            "Label Distributionally Robust Losses for Multi-class Classification: Consistency, "
            "Robustness and Adaptivity",
            "Zhu, Ying, Yang",
            2023,
            "2112.14869",
            "ICML 2023",
        ),
        equation=(
            "max over lambda of LDR-KL(lambda) - alpha log 2 / (2 lambda_0) (lambda - lambda_0)^2"
        ),
        tokens="none",
        departures=departures_of(aldr),
        at_reference=lambda temperature, c, alpha: float(
            ldr_cost(torch.zeros(1, dtype=torch.float64), temperature, c)
        ),
        stop_gradient="the temperature of each pair",
        status="meets hand-worked numbers; a large alpha is ldr",
    ),
    score=tempered,
)
