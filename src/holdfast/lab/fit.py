"""Fits of many small problems at once: W worlds, each with D parameters and a cost of its own.

A cost is a function `theta_WD -> cost_W` in which world w's cost depends on its own row alone, so
one backward pass gives every world's slope. Everything is float64.
"""

from __future__ import annotations

from collections.abc import Callable
from math import cos, pi
from typing import NamedTuple

import torch
from torch import Tensor

Cost = Callable[[Tensor], Tensor]  # theta_WD -> cost_W


class Fitted(NamedTuple):
    """Where the fit ended. `slope_W` far from 0 means no minimum was reached: a kink, or a cost
    without one.
    """

    theta_WD: Tensor
    cost_W: Tensor
    slope_W: Tensor  # largest absolute entry of each world's gradient


def slope(cost: Cost, theta_WD: Tensor) -> tuple[Tensor, Tensor]:
    leaf = theta_WD.detach().requires_grad_()
    cost_W = cost(leaf)
    return cost_W.detach(), torch.autograd.grad(cost_W.sum(), leaf)[0]


def newton(
    cost: Cost, start_WD: Tensor, *, steps: int = 60, tolerance: float = 1e-8, longest: float = 2.0
) -> Fitted:
    """Damped Newton steps, each world's damping its own; curvature by its absolute value, so that a
    saddle repels.

    A cost that is unbounded below is followed for `steps` steps of at most `longest`, and the slope
    left says so.
    """
    theta_WD = start_WD.detach().double().clone()
    damping_W = torch.full((len(theta_WD),), 1e-4, dtype=torch.float64)
    for _ in range(steps):
        cost_W, slope_WD, curvature_WDD = _second_order(cost, theta_WD)
        live_W = slope_WD.abs().amax(-1) > tolerance
        if not live_W.any():
            break
        scale_WD, axes_WDD = torch.linalg.eigh(curvature_WDD)
        rotated_WD = torch.einsum("wij,wi->wj", axes_WDD, slope_WD) / (
            scale_WD.abs() + damping_W[:, None]
        )
        step_WD = torch.einsum("wij,wj->wi", axes_WDD, rotated_WD)
        step_WD = step_WD * (longest / step_WD.norm(dim=-1, keepdim=True).clamp(min=longest))
        tried_WD = theta_WD - step_WD
        with torch.no_grad():
            tried_W = cost(tried_WD)
        kept_W = live_W & tried_W.isfinite() & (tried_W <= cost_W)
        theta_WD = torch.where(kept_W[:, None], tried_WD, theta_WD)
        damping_W = torch.where(kept_W, damping_W / 5, damping_W * 10).clamp(1e-12, 1e12)
    cost_W, slope_WD = slope(cost, theta_WD)
    return Fitted(theta_WD, cost_W, slope_WD.abs().amax(-1))


def _second_order(cost: Cost, theta_WD: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    leaf = theta_WD.detach().requires_grad_()
    cost_W = cost(leaf)
    slope_WD = torch.autograd.grad(cost_W.sum(), leaf, create_graph=True)[0]
    if not slope_WD.requires_grad:  # a cost that is linear has no curvature at all
        return cost_W.detach(), slope_WD, theta_WD.new_zeros(*theta_WD.shape, theta_WD.shape[1])
    rows = [
        torch.autograd.grad(slope_WD[:, d].sum(), leaf, retain_graph=True)[0]
        for d in range(theta_WD.shape[1])
    ]
    curvature_WDD = torch.stack(rows, 1)
    return cost_W.detach(), slope_WD.detach(), (curvature_WDD + curvature_WDD.mT) / 2


def adam(
    cost: Cost,
    start_WD: Tensor,
    *,
    steps: int,
    rate: float,
    fade: bool = True,
    watch: Callable[[int, Tensor], None] | None = None,
) -> Fitted:
    """Adam on the whole data, for costs with kinks and for training that is meant to stop early.

    Args:
        cost: the cost of each world
        start_WD: where to start
        steps: how many
        rate: the first step size, in units of the parameters
        fade: lower the rate to 0 along a cosine
        watch: called with the number of steps taken and the parameters, before each step and after
            the last
    """
    theta_WD = start_WD.detach().double().clone()
    first_WD, second_WD = torch.zeros_like(theta_WD), torch.zeros_like(theta_WD)
    for step in range(steps):
        if watch is not None:
            watch(step, theta_WD)
        _, slope_WD = slope(cost, theta_WD)
        first_WD = 0.9 * first_WD + 0.1 * slope_WD
        second_WD = 0.999 * second_WD + 0.001 * slope_WD**2
        now = rate * (0.5 * (1 + cos(pi * step / steps)) if fade else 1)
        theta_WD = theta_WD - now * (first_WD / (1 - 0.9 ** (step + 1))) / (
            (second_WD / (1 - 0.999 ** (step + 1))).sqrt() + 1e-12
        )
    if watch is not None:
        watch(steps, theta_WD)
    cost_W, slope_WD = slope(cost, theta_WD)
    return Fitted(theta_WD, cost_W, slope_WD.abs().amax(-1))
