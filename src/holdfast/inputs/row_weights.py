"""How much each row of a batch weighs, and how long a row is on average under these weights."""

from __future__ import annotations

import torch
from torch import Tensor

from holdfast.errors import DataError
from holdfast.inputs.columns import weight
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


def mean_length(batch: Batch) -> Tensor:
    """Response tokens of a row, averaged over the rows of a whole batch by their weights; at least
    one token in all. A scalar.

    Raises:
        DataError: the weights of the batch are negative, not finite or all zero.
    """
    logp_NT = next(iter(batch.parts.values())).logp_NT
    length_N = batch.mask_NT.sum(-1).to(logp_NT.dtype)
    return (base_N(length_N, batch) * length_N).sum().clamp(min=1 / len(length_N))
