"""LDR-KL: the worst distribution over the two labels, kept near the uniform one."""

from __future__ import annotations

from math import inf, log

import torch
import torch.nn.functional as F
from torch import Tensor

from holdfast.card import Card, Paper, check, departures_of
from holdfast.rewards.scalar import difference, labeled, scalar_kind
from holdfast.types import Pairs


def ldr(pairs: Pairs, *, temperature: float = 1.0, c: float = 0.1) -> Tensor:
    """Take the labels of a pair as uncertain: what counts is the worst distribution over them, at
    the price of its divergence from the uniform one.

        cost = max over p of sum_k p_k d_k - lambda KL(p || uniform)
             = lambda log( (1 + exp((c - m) / lambda)) / 2 ),      m = r_w - r_l
                (Zhu et al. 2023, LDR-KL, at K = 2 classes: d = 0 for the label, r_l - r_w + c
                for the other answer; lambda is `temperature`)

    Shape (N,), nats; with a row's `confidence` p, p l(m) + (1 - p) l(-m). At lambda = 1 and c = 0
    it is Bradley-Terry minus log 2, and so negative where the pair is right: a curve of it is not
    to be compared with another kind's. lambda -> 0 is the hinge max(0, c - m), lambda -> infinity
    the symmetric (c - m) / 2, which noise that is the same for all pairs cannot bend, and which is
    unbounded below. The log-odds are m / lambda.

    Args:
        temperature: lambda; 0.5 to 2 on rewards as they are
        c: margin by which the labeled answer must lead; 0 to 2

    Raises:
        OptionError: temperature is not above 0, or c is negative.

    Departures:
        1. The released code makes the logits positive (softplus) and divides them by their mean.
           That reads the offset of a reward, which comparisons do not determine; rewards enter as
           they are, and lambda is in their unit.
        2. A soft label, which the paper does not have, mixes the costs of both labels.
    """
    check_ldr(temperature, c)
    return labeled(lambda margin_N: ldr_cost(margin_N, temperature, c), pairs)


def ldr_cost(margin_N: Tensor, temperature: float | Tensor, c: float) -> Tensor:
    """lambda log mean exp(d / lambda) over the two labels."""
    return temperature * (F.softplus((c - margin_N) / temperature) - log(2))


def check_ldr(temperature: float, c: float) -> None:
    check("temperature", temperature, lambda: 0 < temperature < inf, "be above 0 and finite")
    check("c", c, lambda: 0 <= c < inf, "be at least 0 and finite")


def tempered(
    first_NH: Tensor,
    second_NH: Tensor,
    prompt_NH: Tensor | None = None,
    *,
    temperature: float,
    **_: float,
) -> Tensor:
    """logit_N = (r(first) - r(second)) / temperature."""
    return difference(first_NH, second_NH) / temperature


METHOD = scalar_kind(
    ldr,
    Card(
        says="distributionally robust over the label (LDR-KL)",
        paper=Paper(
            "Label Distributionally Robust Losses for Multi-class Classification: Consistency, "
            "Robustness and Adaptivity",
            "Zhu, Ying, Yang",
            2023,
            "2112.14869",
            "ICML 2023",
        ),
        equation="lambda log((1 + exp((c - (r_w - r_l)) / lambda)) / 2)",
        tokens="none",
        departures=departures_of(ldr),
        at_reference=lambda temperature, c: float(
            ldr_cost(torch.zeros(1, dtype=torch.float64), temperature, c)
        ),
        status="meets hand-worked numbers; its limits are the hinge and the symmetric loss",
    ),
    score=tempered,
)
