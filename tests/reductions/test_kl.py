"""The KL reduction against hand-worked numbers, its primal problem and its limits."""

from __future__ import annotations

from math import exp, log

import pytest
import torch
from scipy.optimize import minimize
from torch import Tensor

from holdfast.inputs import weight
from holdfast.reductions import kl
from holdfast.types import Pairs, Scored


def worst(cost_N: Tensor, temperature: float, weight_N: Tensor | None = None) -> Tensor:
    blank = Scored(torch.zeros(len(cost_N), 1), torch.ones(len(cost_N), 1))
    return kl(temperature=temperature).apply(cost_N, Pairs(blank, blank, {weight: weight_N}), {})[0]


def test_two_rows_by_hand():
    """Costs 0 and log 3 at temperature 1: log((1 + 3) / 2) = log 2. Weights of the adversary: 1/4
    and 3/4.
    """
    cost_N = torch.tensor([0.0, log(3)], dtype=torch.float64, requires_grad=True)
    scalar = worst(cost_N, 1.0)
    assert scalar.item() == pytest.approx(log(2), abs=1e-12)
    (q_N,) = torch.autograd.grad(scalar, cost_N)
    assert q_N.tolist() == pytest.approx([0.25, 0.75], abs=1e-12)


def test_weights_enter_the_average_by_hand():
    """Costs 0 and 1, weights 3 and 1, temperature 1/2: (1/2) log((3 + e^2) / 4)."""
    assert worst(
        torch.tensor([0.0, 1.0], dtype=torch.float64), 0.5, torch.tensor([3.0, 1.0])
    ).item() == pytest.approx(0.5 * log((3 + exp(2)) / 4), abs=1e-12)


def test_is_the_supremum_it_claims_to_be():
    """max over the simplex of q.c - temperature KL(q || p), found slowly by SLSQP."""
    p, cost, temperature = (
        torch.tensor([0.5, 0.2, 0.3], dtype=torch.float64),
        torch.tensor([0.1, 1.4, -0.6], dtype=torch.float64),
        0.8,
    )
    pn, cn = p.numpy(), cost.numpy()

    def lost(q):
        q = q.clip(1e-12)
        return -(q @ cn - temperature * (q * (torch.from_numpy(q / pn).log().numpy())).sum())

    found = minimize(
        lost,
        pn,
        bounds=[(0, 1)] * 3,
        constraints=[{"type": "eq", "fun": lambda q: q.sum() - 1}],
        options={"ftol": 1e-14},
    )
    assert worst(cost, temperature, p).item() == pytest.approx(-found.fun, abs=1e-7)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_limits_mean_and_worst_row(dtype: torch.dtype):
    cost_N = torch.tensor([0.2, 1.7, -0.4, 0.9], dtype=dtype)
    assert worst(cost_N, 1e7).item() == pytest.approx(0.6, abs=1e-6)
    assert worst(cost_N, 1e-4).item() == pytest.approx(1.7, abs=2e-4)  # temperature log(1/4) below
    assert worst(cost_N, 1e-8).item() == pytest.approx(1.7, abs=1e-6)


def test_nothing_overflows():
    leaf_N = torch.tensor([0.0, 1e6, -1e6], requires_grad=True)
    scalar = worst(leaf_N, 0.01)
    (q_N,) = torch.autograd.grad(scalar, leaf_N)
    assert scalar.item() == pytest.approx(1e6) and q_N.tolist() == pytest.approx([0, 1, 0])
