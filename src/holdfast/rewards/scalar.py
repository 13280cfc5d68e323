"""Kinds whose head is one number an answer and whose cost reads the margin r_w - r_l alone: what
they share, so that each is its own equation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from holdfast.card import Card
from holdfast.inputs import confidence
from holdfast.reductions.mean import mean
from holdfast.rewards.kind import RewardMethod, heads
from holdfast.types import Pairs


def margin_of(pairs: Pairs) -> Tensor:
    """margin_N = r_w - r_l, the model's margin in favor of the labeled answer."""
    chosen_NH, rejected_NH, _ = heads(pairs)
    return difference(chosen_NH, rejected_NH)


def difference(
    first_NH: Tensor, second_NH: Tensor, prompt_NH: Tensor | None = None, **_: Any
) -> Tensor:
    """logit_N = r(first) - r(second)."""
    return (first_NH - second_NH).squeeze(-1)


def labeled(cost_of: Callable[[Tensor], Tensor], pairs: Pairs) -> Tensor:
    """p l(m) + (1 - p) l(-m) with p the row's `confidence`, l(m) where rows have none. Shape
    (N,).
    """
    margin_N, p_N = margin_of(pairs), confidence.of(pairs)
    if p_N is None:
        return cost_of(margin_N)
    return p_N * cost_of(margin_N) + (1 - p_N) * cost_of(-margin_N)


def scalar_kind(
    objective: Callable[..., Tensor], card: Card, *, score: Callable[..., Tensor] = difference
) -> RewardMethod:
    """A kind of one output. `score` is the log-odds, where they are not the margin itself."""
    return RewardMethod(
        objective=objective,
        reduction=mean(),
        card=card,
        width=lambda **_: 1,
        score=score,
        scalar=True,
    )
