"""The base measure: how much each row of a batch weighs before any adversary moves."""

from __future__ import annotations

import torch
from torch import Tensor

from holdfast.errors import DataError
from holdfast.inputs import weight
from holdfast.types import Batch


def base_N(cost_N: Tensor, batch: Batch) -> Tensor:
    """Row weights as probabilities: uniform, or the batch's `weight` divided by its sum. Never
    carries a gradient.

    Raises:
        DataError: a weight is negative or not finite, or all are zero.
    """
    known_N = weight.of(batch)
    if known_N is None:
        return torch.full_like(cost_N, 1.0 / len(cost_N)).detach()
    weight_N = known_N.detach().to(cost_N)
    total = weight_N.sum()
    if bool((weight_N < 0).any()) or not bool(torch.isfinite(total)) or not bool(total > 0):
        raise DataError(
            "row weights must be finite, at least 0 and not all 0; this batch has "
            f"{weight_N.tolist()}",
            hint="check the `weight` column",
        )
    return weight_N / total


def expectation(weight_N: Tensor, cost_N: Tensor) -> Tensor:
    """sum_i weight_i cost_i, where a row of weight 0 counts for nothing even if its cost is not
    finite.
    """
    return torch.where(weight_N != 0, weight_N * cost_N, 0.0).sum()
