"""Jensen-Shannon divergence between label and prediction."""

from __future__ import annotations

from math import log

import torch
from torch import Tensor

from holdfast.card import Card, Paper, check
from holdfast.rewards.scalar import labeled, scalar_kind
from holdfast.types import Pairs


def jensen_shannon(pairs: Pairs, *, label_weight: float = 0.5) -> Tensor:
    """Between the log loss and the absolute error, bounded and smooth.

        cost = [H(w e + (1 - w) p) - (1 - w) H(p)] / Z,   Z = -(1 - w) log(1 - w)
                (Englesson and Azizpour 2021, equation 4)

    with p = (sigma(m), sigma(-m)), e the label as (1, 0), H the entropy in nats and m = r_w - r_l.
    Shape (N,); with a row's `confidence` p, p l(m) + (1 - p) l(-m). w -> 0 is the log loss, w -> 1
    half of `mae`.

    Args:
        label_weight: w, weight of the label; above 0 and below 1

    Raises:
        OptionError: it is not in (0, 1).
    """
    w = label_weight
    check("label_weight", w, lambda: 0 < w < 1, "be above 0 and below 1", hint="0.5 is usual")

    def cost_of(margin_N: Tensor) -> Tensor:
        p_N2 = torch.stack([margin_N.sigmoid(), (-margin_N).sigmoid()], -1)
        label_2 = p_N2.new_tensor([1.0, 0.0])
        mixed_N2 = w * label_2 + (1 - w) * p_N2
        # the entropy as `special.entr`, whose value at 0 is 0
        entropy = torch.special.entr
        spread_N: Tensor = entropy(mixed_N2).sum(-1) - (1 - w) * entropy(p_N2).sum(-1)
        return spread_N / (-(1 - w) * log(1 - w))

    return labeled(cost_of, pairs)


def _at_zero(label_weight: float) -> float:
    w = label_weight
    mixed = ((1 + w) / 2, (1 - w) / 2)
    entropy = -sum(p * log(p) for p in mixed)
    return (entropy - (1 - w) * log(2)) / (-(1 - w) * log(1 - w))


METHOD = scalar_kind(
    jensen_shannon,
    Card(
        says="one score an answer, by Jensen-Shannon divergence",
        paper=Paper(
            "Generalized Jensen-Shannon Divergence Loss for Learning with Noisy Labels",
            "Englesson, Azizpour",
            2021,
            "2105.04522",
            "NeurIPS 2021",
        ),
        equation="[H(w e + (1 - w) p) - (1 - w) H(p)] / Z, p = sigma(r_w - r_l)",
        tokens="none",
        at_reference=_at_zero,
        status="meets hand-worked numbers; w -> 0 is bradley_terry",
    ),
)
