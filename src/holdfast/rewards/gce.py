"""Generalized cross-entropy: between the log loss and the absolute error."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from holdfast.card import Card, Paper, check
from holdfast.rewards.scalar import labeled, scalar_kind
from holdfast.types import Pairs


def gce(pairs: Pairs, *, q: float = 0.7) -> Tensor:
    """Give pairs that look wrong less weight than the log loss does, and more than the absolute
    error.

        cost = (1 - sigma(r_w - r_l)^q) / q        (Zhang and Sabuncu 2018, equation 6)

    Shape (N,), from 0 to 1 / q; with a row's `confidence` p, p l(m) + (1 - p) l(-m). The gradient
    is the log loss's times sigma(m)^q. q -> 0 is Bradley-Terry, q = 1 half of `mae`.

    Args:
        q: how robust; above 0 and at most 1

    Raises:
        OptionError: q is not in (0, 1].
    """
    check("q", q, lambda: 0 < q <= 1, "be above 0 and at most 1", hint="0.7 is usual")
    return labeled(lambda margin_N: -torch.expm1(q * F.logsigmoid(margin_N)) / q, pairs)


METHOD = scalar_kind(
    gce,
    Card(
        says="one score an answer, by generalized cross-entropy",
        paper=Paper(
            "Generalized Cross Entropy Loss for Training Deep Neural Networks with Noisy Labels",
            "Zhang, Sabuncu",
            2018,
            "1805.07836",
            "NeurIPS 2018",
        ),
        equation="(1 - sigma(r_w - r_l)^q) / q",
        tokens="none",
        at_reference=lambda q: (1 - 0.5**q) / q,
        status="meets hand-worked numbers; q -> 0 is bradley_terry, q = 1 half of mae",
    ),
)
