"""Symmetric cross-entropy: the log loss beside its reverse."""

from __future__ import annotations

from math import inf, log

import torch
import torch.nn.functional as F
from torch import Tensor

from holdfast.card import Card, Paper, check
from holdfast.rewards.scalar import labeled, scalar_kind
from holdfast.types import Pairs

LOG_ZERO = -4.0  # what the paper writes for the log of a label's zero


def sce(pairs: Pairs, *, a: float = 0.1, b: float = 1.0) -> Tensor:
    """A little of the log loss, which learns, and much of its reverse, which noise does not bend.

        cost = -a log sigma(r_w - r_l) + 4 b sigma(r_l - r_w)
                (Wang et al. 2019, equation 5, with log 0 written as -4)

    Shape (N,); with a row's `confidence` p, p l(m) + (1 - p) l(-m). a = 0 is twice b times `mae`.

    Args:
        a: weight of the log loss; the paper's 0.1
        b: weight of the reverse; the paper's 1

    Raises:
        OptionError: a weight is negative or not finite.
    """
    check("a", a, lambda: 0 <= a < inf, "be at least 0 and finite")
    check("b", b, lambda: 0 <= b < inf, "be at least 0 and finite")
    return labeled(
        lambda margin_N: a * F.softplus(-margin_N) - LOG_ZERO * b * torch.sigmoid(-margin_N), pairs
    )


METHOD = scalar_kind(
    sce,
    Card(
        says="one score an answer, by symmetric cross-entropy",
        paper=Paper(
            "Symmetric Cross Entropy for Robust Learning with Noisy Labels",
            "Wang, Ma, Chen, Luo, Yi, Bailey",
            2019,
            "1908.06112",
            "ICCV 2019",
        ),
        equation="a softplus(-(r_w - r_l)) + 4 b sigma(r_l - r_w)",
        tokens="none",
        at_reference=lambda a, b: a * log(2) + 2 * b,
        status="meets hand-worked numbers",
    ),
)
