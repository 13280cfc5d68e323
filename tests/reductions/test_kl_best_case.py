"""The best case is the worst case of the negated costs, and has numbers of its own."""

from __future__ import annotations

from math import log

import pytest
import torch
from torch import Tensor

from holdfast.card import Reduction
from holdfast.inputs import weight
from holdfast.reductions import kl, kl_best_case
from holdfast.types import Pairs, Scored


def value(reduction: Reduction, cost_N: Tensor, weight_N: Tensor | None = None) -> Tensor:
    blank = Scored(torch.zeros(len(cost_N), 1), torch.ones(len(cost_N), 1))
    return reduction.apply(cost_N, Pairs(blank, blank, {weight: weight_N}), {})[0]


def test_two_rows_by_hand():
    """Costs 0 and log 3 at temperature 1: -log((1 + 1/3) / 2) = log(3/2). Weights of the friend:
    3/4 and 1/4.
    """
    cost_N = torch.tensor([0.0, log(3)], dtype=torch.float64, requires_grad=True)
    scalar = value(kl_best_case(temperature=1.0), cost_N)
    assert scalar.item() == pytest.approx(log(1.5), abs=1e-12)
    (q_N,) = torch.autograd.grad(scalar, cost_N)
    assert q_N.tolist() == pytest.approx([0.75, 0.25], abs=1e-12)


@pytest.mark.parametrize("temperature", [0.05, 0.7, 30.0])
def test_it_mirrors_the_worst_case(temperature: float):
    generator = torch.Generator().manual_seed(0)
    cost_N, weight_N = (
        torch.randn(9, generator=generator).double(),
        torch.rand(9, generator=generator).double(),
    )
    best, worst = (
        value(kl_best_case(temperature=temperature), cost_N, weight_N),
        value(kl(temperature=temperature), -cost_N, weight_N),
    )
    assert best.item() == pytest.approx(-worst.item(), abs=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_limits_mean_and_best_row(dtype: torch.dtype):
    cost_N = torch.tensor([0.2, 1.7, -0.4, 0.9], dtype=dtype)
    assert value(kl_best_case(temperature=1e7), cost_N).item() == pytest.approx(0.6, abs=1e-6)
    assert value(kl_best_case(temperature=1e-8), cost_N).item() == pytest.approx(-0.4, abs=1e-6)


def test_nothing_overflows():
    leaf_N = torch.tensor([0.0, 1e6, -1e6], requires_grad=True)
    scalar = value(kl_best_case(temperature=0.01), leaf_N)
    (q_N,) = torch.autograd.grad(scalar, leaf_N)
    assert scalar.item() == pytest.approx(-1e6) and q_N.tolist() == pytest.approx([0, 0, 1])
