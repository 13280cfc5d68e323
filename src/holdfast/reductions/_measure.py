"""Expectations under row weights."""

from __future__ import annotations

import torch
from torch import Tensor


def expectation(weight_N: Tensor, cost_N: Tensor) -> Tensor:
    """sum_i weight_i cost_i, where a row of weight 0 counts for nothing even if its cost is not
    finite.
    """
    return torch.where(weight_N != 0, weight_N * cost_N, 0.0).sum()
