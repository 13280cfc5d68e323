"""Mean absolute error of the probability: symmetric in the label."""

from __future__ import annotations

import torch
from torch import Tensor

from holdfast.card import Card, Paper
from holdfast.rewards.scalar import labeled, scalar_kind
from holdfast.types import Pairs


def mae(pairs: Pairs) -> Tensor:
    """Cost in proportion to the probability that the label is denied.

        cost = 2 (1 - sigma(r_w - r_l))          (Ghosh, Kumar and Sastry 2017)

    Shape (N,), from 0 to 2; with a row's `confidence` p, p l(m) + (1 - p) l(-m). l(m) + l(-m) = 2
    whatever m is, so labels flipped with one probability below 1/2 move the minimum of the expected
    cost nowhere. The price: a pair that the model has very wrong has next to no gradient, and
    training is slow.
    """
    return labeled(lambda margin_N: 2 * torch.sigmoid(-margin_N), pairs)


METHOD = scalar_kind(
    mae,
    Card(
        says="one score an answer, by absolute error",
        paper=Paper(
            "Robust Loss Functions under Label Noise for Deep Neural Networks",
            "Ghosh, Kumar, Sastry",
            2017,
            "1712.09482",
            "AAAI 2017",
        ),
        equation="2 sigma(r_l - r_w)",
        tokens="none",
        at_reference=lambda **_: 1.0,
        status="meets hand-worked numbers; twice gce at q = 1",
    ),
)
