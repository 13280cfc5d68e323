"""CVaR against hand-worked numbers, a linear program and its limits."""

from __future__ import annotations

import pytest
import torch
from scipy.optimize import linprog
from torch import Tensor

from holdfast.inputs import weight
from holdfast.reductions import cvar
from holdfast.types import Pairs, Scored


def worst(
    cost_N: Tensor, alpha: float, weight_N: Tensor | None = None
) -> tuple[float, list[float]]:
    blank = Scored(torch.zeros(len(cost_N), 1), torch.ones(len(cost_N), 1))
    leaf_N = cost_N.clone().requires_grad_()
    scalar = cvar(alpha=alpha).apply(leaf_N, Pairs(blank, blank, {weight: weight_N}), {})[0]
    return scalar.item(), torch.autograd.grad(scalar, leaf_N)[0].tolist()


def test_a_share_that_falls_inside_a_row_by_hand():
    """Four rows weigh 0.25 each; a share of 0.375 holds the worst row and half of the next: (4 *
    0.25 + 3 * 0.125) / 0.375 = 11/3.
    """
    scalar, q_N = worst(torch.tensor([1.0, 4.0, 2.0, 3.0], dtype=torch.float64), 0.375)
    assert scalar == pytest.approx(11 / 3, abs=1e-12)
    assert q_N == pytest.approx([0, 2 / 3, 0, 1 / 3], abs=1e-12)


def test_weighted_rows_by_hand():
    """Weights 0.5, 0.3, 0.2 on costs 1, 2, 3, share 0.4: (3 * 0.2 + 2 * 0.2) / 0.4 = 2.5."""
    scalar, q_N = worst(
        torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64), 0.4, torch.tensor([5.0, 3.0, 2.0])
    )
    assert scalar == pytest.approx(2.5, abs=1e-7) and q_N == pytest.approx([0, 0.5, 0.5], abs=1e-7)


def test_ties_share():
    """Costs 2, 2, 1: the worst half of three rows is 1.5 rows, both twos equally."""
    scalar, q_N = worst(torch.tensor([2.0, 2.0, 1.0], dtype=torch.float64), 0.5)
    assert scalar == pytest.approx(2, abs=1e-12) and q_N == pytest.approx([0.5, 0.5, 0], abs=1e-12)


@pytest.mark.parametrize("seed", range(12))
def test_is_the_supremum_it_claims_to_be(seed: int):
    """A linear program: max q.c with 0 <= q <= p / alpha, sum 1."""
    generator = torch.Generator().manual_seed(seed)
    cost_N = torch.randn(7, generator=generator, dtype=torch.float64)
    p_N = torch.rand(7, generator=generator, dtype=torch.float64)
    p_N /= p_N.sum()
    alpha = torch.rand(1, generator=generator).item() * 0.98 + 0.01
    found = linprog(
        -cost_N.numpy(), A_eq=[[1.0] * 7], b_eq=[1.0], bounds=[(0, p / alpha) for p in p_N.tolist()]
    )
    assert worst(cost_N, alpha, p_N)[0] == pytest.approx(-found.fun, abs=1e-9)


def test_limits_mean_and_worst_row():
    cost_N = torch.tensor([0.2, 1.7, -0.4, 0.9], dtype=torch.float64)
    assert worst(cost_N, 1.0)[0] == pytest.approx(0.6, abs=1e-12)
    assert worst(cost_N, 0.25)[0] == pytest.approx(1.7, abs=1e-12)
    assert worst(cost_N, 1e-9)[0] == pytest.approx(1.7, abs=1e-12)


@pytest.mark.parametrize(
    ("n", "alpha"), [(10, 0.1), (10, 0.3), (10, 0.7), (7, 3 / 7), (49, 1 / 49)]
)
def test_a_share_that_ends_exactly_between_rows_keeps_whole_rows(n: int, alpha: float):
    """Rounding must not let a sliver of the next row in, nor lose one."""
    kept = round(n * alpha)
    _, q_N = worst(torch.arange(n, dtype=torch.float64), alpha)
    assert q_N[n - kept :] == pytest.approx([1 / kept] * kept, abs=1e-12) and q_N[
        : n - kept
    ] == pytest.approx([0] * (n - kept), abs=1e-12)
