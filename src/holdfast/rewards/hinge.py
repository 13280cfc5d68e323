"""The hinge: a pair costs nothing once the labeled answer leads by the margin."""

from __future__ import annotations

from math import inf

import torch.nn.functional as F
from torch import Tensor

from holdfast.card import Card, Paper, check
from holdfast.rewards.scalar import labeled, scalar_kind
from holdfast.types import Pairs


def hinge(pairs: Pairs, *, c: float = 1.0) -> Tensor:
    """A ranking support vector machine on the model's last hidden state and below.

        cost = max(0, c - (r_w - r_l))
                (Crammer and Singer 2001, at two classes; Joachims 2002 for rankings)

    Shape (N,), in the unit of the reward; with a row's `confidence` p, p l(m) + (1 - p) l(-m). It
    is the limit of `ldr` as its temperature goes to 0. The margin is not a log-odds, so calibration
    of this kind says little.

    Args:
        c: margin by which the labeled answer must lead

    Raises:
        OptionError: c is not above 0.
    """
    check("c", c, lambda: 0 < c < inf, "be above 0 and finite", hint="1 is usual")
    return labeled(lambda margin_N: F.relu(c - margin_N), pairs)


METHOD = scalar_kind(
    hinge,
    Card(
        says="one score an answer, by the hinge loss",
        paper=Paper(
            "On the Algorithmic Implementation of Multiclass Kernel-based Vector Machines",
            "Crammer, Singer",
            2001,
        ),
        equation="max(0, c - (r_w - r_l))",
        tokens="none",
        at_reference=lambda c: c,
        status="meets hand-worked numbers; the limit of ldr at temperature 0",
    ),
)
