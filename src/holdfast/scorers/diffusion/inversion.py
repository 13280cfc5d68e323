"""Noisy latents by inversion: the noise that the sampler would have needed to draw this image.

A step of DDIM inversion goes from abar_0 to the noisier abar_1 along the predicted noise,

    S(e) = sqrt(abar_1 / abar_0) (x - sqrt(1 - abar_0) e) + sqrt(1 - abar_1) e

which takes the prediction where the step starts for that of where it ends. ReNoise predicts again
there and averages (Garibi et al. 2024), so a step is

    e_0 = eps(x, t_1);  y = S(e_0);  e_1 = eps(y, t_1);  x <- S((e_0 + e_1) / 2)

The first step starts at abar = 1. It approaches the inverse of the discrete sampler, not of the
probability flow.
"""

from __future__ import annotations

import torch
from torch import Tensor

from holdfast.scorers.diffusion.schedule import Predict, Schedule


def ddim_step(x: Tensor, noise: Tensor, abar_0: Tensor, abar_1: Tensor) -> Tensor:
    """x at abar_0 moved to abar_1 along the predicted noise: S(e). Either way."""
    return (abar_1 / abar_0).sqrt() * (x - (1 - abar_0).sqrt() * noise) + (
        1 - abar_1
    ).sqrt() * noise


@torch.no_grad()
def inverted(
    x0: Tensor, t_N: Tensor, predict: Predict, schedule: Schedule, grid_G: Tensor, renoise: int = 1
) -> tuple[Tensor, Tensor]:
    """(x~_t, the noise in it) of each image at its own timestep. No gradient.

    Args:
        x0: images, (N, ...).
        t_N: timesteps, each one of the grid.
        predict: the model's noise at these images' conditions.
        schedule: noise levels.
        grid_G: timesteps that are stepped through, ascending.
        renoise: how often a step's prediction is refined; 0 is plain DDIM inversion.
    """
    shape = (-1,) + (1,) * (x0.ndim - 1)
    abar_T = schedule.abar_T.to(x0.device, x0.dtype)
    x, abar_0 = x0, torch.ones((), device=x0.device, dtype=x0.dtype)
    for t in grid_G.tolist():
        if t > int(t_N.max()):
            break
        at_N = torch.full_like(t_N, t)
        abar_1 = abar_T[t]
        first = predict(x, at_N)
        total, moved = first, ddim_step(x, first, abar_0, abar_1)
        for k in range(renoise):
            total = total + predict(moved, at_N)
            moved = ddim_step(x, total / (k + 2), abar_0, abar_1)
        x = torch.where((t_N >= t).view(shape), moved, x)
        abar_0 = abar_1
    alpha, sigma = schedule.levels(t_N, x0)
    return x, (x - alpha * x0) / sigma
