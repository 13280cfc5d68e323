"""The chi-square ball against hand-worked numbers, slow optimizers and its limits."""

from __future__ import annotations

from math import sqrt

import pytest
import torch
from scipy.optimize import minimize, minimize_scalar
from torch import Tensor

from holdfast.inputs import weight
from holdfast.reductions import chi_square
from holdfast.types import Pairs, Scored


def worst(cost_N: Tensor, radius: float, weight_N: Tensor | None = None) -> tuple[float, Tensor]:
    blank = Scored(torch.zeros(len(cost_N), 1), torch.ones(len(cost_N), 1))
    leaf_N = cost_N.clone().requires_grad_()
    scalar = chi_square(radius=radius).apply(leaf_N, Pairs(blank, blank, {weight: weight_N}), {})[0]
    return scalar.item(), torch.autograd.grad(scalar, leaf_N)[0]


def draw(seed: int) -> tuple[Tensor, Tensor, float]:
    generator = torch.Generator().manual_seed(seed)
    cost_N = torch.randn(6, generator=generator, dtype=torch.float64)
    p_N = torch.rand(6, generator=generator, dtype=torch.float64) + 0.05
    return cost_N, p_N / p_N.sum(), 10 ** (torch.rand(1, generator=generator).item() * 3 - 2)


def test_mean_plus_spread_while_no_weight_is_zero_by_hand():
    """Costs 1, 2, 3: mean 2, variance 2/3. Radius 0.06: 2 + sqrt(0.06 * 2/3) = 2.2.
    Weights (1/3)(1 + 0.3 (c - 2)) = 0.2333, 0.3333, 0.4333."""
    scalar, q_N = worst(torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64), 0.06)
    assert scalar == pytest.approx(2.2, abs=1e-12)
    assert q_N.tolist() == pytest.approx([0.7 / 3, 1 / 3, 1.3 / 3], abs=1e-12)


def test_a_row_is_dropped_by_hand():
    """Costs 0, 0, 1 with radius 1: q = (a, a, 1 - 2a) and 3 (2 a^2 + (1 - 2a)^2) = 2 give 18 a^2 -
    12 a + 1 = 0, a = (2 - sqrt 2) / 6, so the value is 1 - 2a = (1 + sqrt 2) / 3, which is also
    mean + sqrt(1 * 2/9). Costs 0, 1, 2 with radius 1: mean + sqrt(2/3) would be 1.8165 with a
    weight of (1/3)(1 - 1.2247) < 0; with row 0 dropped, q = (0, b, 1 - b): 3 (b^2 + (1 - b)^2) = 2
    gives b = (1 - sqrt(1/3)) / 2."""
    assert worst(torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64), 1.0)[0] == pytest.approx(
        (1 + sqrt(2)) / 3, abs=1e-12
    )
    b = (1 - sqrt(1 / 3)) / 2
    scalar, q_N = worst(torch.tensor([0.0, 1.0, 2.0], dtype=torch.float64), 1.0)
    assert q_N.tolist() == pytest.approx([0, b, 1 - b], abs=1e-12) and scalar == pytest.approx(
        2 - b, abs=1e-12
    )


@pytest.mark.parametrize("seed", range(30))
def test_meets_its_dual_found_slowly(seed: int):
    """min over t of t + sqrt(1 + radius) sqrt(E max(0, c - t)^2): a convex function of one
    number.
    """
    cost_N, p_N, radius = draw(seed)
    c, p = cost_N.numpy(), p_N.numpy()
    dual = minimize_scalar(
        lambda t: t + sqrt(1 + radius) * sqrt((p * (c - t).clip(0) ** 2).sum()),
        bounds=(c.min() - 50, c.max() + 1e-9),
        method="bounded",
        options={"xatol": 1e-11, "maxiter": 2000},
    )
    assert worst(cost_N, radius, p_N)[0] == pytest.approx(dual.fun, abs=1e-7)


@pytest.mark.parametrize("seed", range(6))
def test_is_the_supremum_it_claims_to_be(seed: int):
    """max over the simplex and the ball of q.c, by SLSQP; and our weights lie in the ball."""
    cost_N, p_N, radius = draw(seed)
    c, p = cost_N.numpy(), p_N.numpy()
    inside = [
        {"type": "eq", "fun": lambda q: q.sum() - 1},
        {"type": "ineq", "fun": lambda q: radius - (p * (q / p - 1) ** 2).sum()},
    ]
    options = {"ftol": 1e-13, "maxiter": 500}
    found = minimize(
        lambda q: -(q @ c),
        p,
        jac=lambda q: -c,
        bounds=[(0, 1)] * 6,
        constraints=inside,
        options=options,
    )
    scalar, q_N = worst(cost_N, radius, p_N)
    assert found.success and scalar == pytest.approx(-found.fun, abs=1e-5)
    assert (p_N * (q_N / p_N - 1) ** 2).sum().item() <= radius + 1e-9


def test_limits_mean_and_worst_row():
    cost_N = torch.tensor([0.2, 1.7, -0.4, 0.9], dtype=torch.float64)
    assert worst(cost_N, 0.0)[0] == pytest.approx(0.6, abs=1e-12)
    assert worst(cost_N, 1e-10)[0] == pytest.approx(0.6, abs=1e-4)
    assert worst(cost_N, 3.0)[0] == pytest.approx(1.7, abs=1e-12)
    assert worst(cost_N, 2.999)[0] < 1.7
    assert worst(cost_N, 1e9)[0] == pytest.approx(1.7, abs=1e-12)


def test_ties_at_the_top_share_and_equal_costs_stay_put():
    scalar, q_N = worst(torch.tensor([2.0, 2.0, 1.0, 0.0], dtype=torch.float64), 5.0)
    assert scalar == pytest.approx(2, abs=1e-12) and q_N.tolist() == pytest.approx(
        [0.5, 0.5, 0, 0], abs=1e-12
    )
    scalar, q_N = worst(torch.full((4,), 1.5, dtype=torch.float64), 5.0)
    assert scalar == pytest.approx(1.5, abs=1e-12) and q_N.tolist() == pytest.approx(
        [0.25] * 4, abs=1e-12
    )
