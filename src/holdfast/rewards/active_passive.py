"""Active passive loss: normalized cross-entropy beside the absolute error."""

from __future__ import annotations

from math import inf

import torch
import torch.nn.functional as F
from torch import Tensor

from holdfast.card import Card, Paper, check
from holdfast.rewards.scalar import labeled, scalar_kind
from holdfast.types import Pairs


def active_passive(pairs: Pairs, *, active: float = 1.0, passive: float = 1.0) -> Tensor:
    """Two symmetric costs, one that raises the label's probability and one that lowers the other's.

        cost = a log s(m) / (log s(m) + log s(-m)) + b s(-m),     m = r_w - r_l, s the sigmoid
                (Ma et al. 2020, NCE + MAE, at two classes, with MAE reduced as in its code)

    Shape (N,), from 0 to a + b; with a row's `confidence` p, p l(m) + (1 - p) l(-m). l(m) + l(-m) =
    a + b: symmetric. NCE + RCE is the same with 4 b.

    Args:
        active: a, weight of the normalized cross-entropy
        passive: b, weight of the absolute error

    Raises:
        OptionError: a weight is negative or not finite.
    """
    check("active", active, lambda: 0 <= active < inf, "be at least 0 and finite")
    check("passive", passive, lambda: 0 <= passive < inf, "be at least 0 and finite")

    def cost_of(margin_N: Tensor) -> Tensor:
        right_N, wrong_N = F.softplus(-margin_N), F.softplus(margin_N)
        return active * right_N / (right_N + wrong_N) + passive * torch.sigmoid(-margin_N)

    return labeled(cost_of, pairs)


METHOD = scalar_kind(
    active_passive,
    Card(
        says="one score an answer, by active passive loss",
        paper=Paper(
            "Normalized Loss Functions for Deep Learning with Noisy Labels",
            "Ma, Huang, Wang, Romano, Erfani, Bailey",
            2020,
            "2006.13554",
            "ICML 2020",
        ),
        equation="a log s(m) / (log s(m) + log s(-m)) + b s(-m), m = r_w - r_l",
        tokens="none",
        at_reference=lambda active, passive: (active + passive) / 2,
        status="meets hand-worked numbers; symmetric in the label",
    ),
)
