"""Bradley-Terry with a margin: answers that raters found far apart must be far apart in reward."""

from __future__ import annotations

from torch import Tensor

from holdfast.card import Card, Paper
from holdfast.inputs import confidence, margin
from holdfast.rewards.kind import log_loss
from holdfast.rewards.scalar import margin_of, scalar_kind
from holdfast.types import Pairs


def margin_bradley_terry(pairs: Pairs, *, margin_scale: float = 1.0) -> Tensor:
    """Ask more of pairs that raters called clearly different: the reward must lead by the row's
    margin before the cost is below log 2.

        cost = -log sigma(r_w - r_l - s m)
                (Touvron et al. 2023, Llama 2, equation 2; m by the rater's category, s = 1)

    with m the row's `margin` and s the `margin_scale`. Shape (N,), nats. With a `confidence` p it
    costs -[p log sigma(.) + (1 - p) log sigma(-.)]. m = 0 is Bradley-Terry. Where margins are not
    0 the rewards' differences are no log-odds: they are larger.

    Args:
        margin_scale: what one unit of the column `margin` is worth in log-odds; Llama 2 writes its
            four categories as 3, 2, 1, 0 or as 1, 2/3, 1/3, 0

    Raises:
        NeedError: rows have no `margin`.
    """
    return log_loss(margin_of(pairs) - margin_scale * margin(pairs), confidence.of(pairs))


METHOD = scalar_kind(
    margin_bradley_terry,
    Card(
        says="one score an answer, with margins of raters",
        paper=Paper(
            "Llama 2: Open Foundation and Fine-Tuned Chat Models",
            "Touvron et al.",
            2023,
            "2307.09288",
        ),
        equation="softplus(s m - (r_w - r_l))",
        tokens="none",
        needs=(margin,),
        status="meets hand-worked numbers; m = 0 is bradley_terry",
    ),
)
