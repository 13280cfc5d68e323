"""Bradley-Terry: one number an answer, and the better number wins more often."""

from __future__ import annotations

from math import log

from torch import Tensor

from holdfast.card import Card, Paper
from holdfast.inputs import confidence
from holdfast.reductions.mean import mean
from holdfast.rewards.kind import OfItems, RewardMethod, log_loss
from holdfast.rewards.scalar import difference, margin_of
from holdfast.types import Pairs


def bradley_terry(pairs: Pairs) -> Tensor:
    """Learn a reward r(x, y) whose differences are log-odds: P(y beats y') = sigma(r(x, y) - r(x,
    y')).

        cost = -[p log sigma(r_w - r_l) + (1 - p) log sigma(r_l - r_w)]
                (Bradley and Terry 1952; as a loss, Ouyang et al. 2022)

    with p the row's `confidence`, 1 where rows have none. Shape (N,), nats. A constant added to
    r(x, .) changes nothing, so rewards of different prompts cannot be compared. Preferences in a
    circle have no reward: of an n-cycle at most (n - 1) / n of the pairs can be ranked right, and
    the maximum likelihood of a balanced one is r = 0, which ranks none.
    """
    return log_loss(margin_of(pairs), confidence.of(pairs))


METHOD = RewardMethod(
    objective=bradley_terry,
    reduction=mean(),
    card=Card(
        says="one score an answer, from comparisons",
        paper=Paper(
            "Rank Analysis of Incomplete Block Designs: I. The Method of Paired Comparisons",
            "Bradley, Terry",
            1952,
        ),
        equation="softplus(-(r_w - r_l))",
        tokens="none",
        at_reference=lambda **_: log(2),
        status="meets hand-worked numbers; on tables its fit is the maximum of a convex likelihood",
    ),
    width=lambda: 1,
    score=difference,
    items=OfItems(score=difference, width=lambda dim: 1, outputs=lambda free: free),
    scalar=True,
)
