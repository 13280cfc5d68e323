"""Truncated diffusion (Self-NPO): a few solver steps of the frozen model, an estimate of the image,
and the noise that hides it from the copy.
"""

from __future__ import annotations

import torch
from torch import Tensor

from holdfast.scorers.diffusion.inversion import ddim_step
from holdfast.scorers.diffusion.schedule import Predict, Schedule


@torch.no_grad()
def truncated(
    start: Tensor,
    first_N: Tensor,
    predict: Predict,
    schedule: Schedule,
    grid_G: Tensor,
    steps: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """(x_t, t_N, x_{t->0}) after `steps` deterministic steps (DDIM) down the grid.

    Args:
        start: noisy images at their first place, (N, ...).
        first_N: place on the grid that each starts at.
        predict: the frozen model's noise.
        schedule: noise levels.
        grid_G: timesteps, ascending.
        steps: how many; fewer where the grid ends.
    """
    grid_G = grid_G.to(start.device)
    shape = (-1,) + (1,) * (start.ndim - 1)
    abar_T = schedule.abar_T.to(start.device, start.dtype)
    x, place_N = start, first_N
    for _ in range(steps):
        t_N, below_N = grid_G[place_N], (place_N - 1).clamp(min=0)
        moved = ddim_step(
            x,
            predict(x, t_N),
            abar_T[t_N].view(shape),
            abar_T[grid_G[below_N]].view(shape),
        )
        x = torch.where((place_N > 0).view(shape), moved, x)
        place_N = below_N
    t_N = grid_G[place_N]
    return x, t_N, schedule.image_of(predict(x, t_N), x, t_N)


def noised_further(
    x_t: Tensor, t_N: Tensor, s_N: Tensor, noise: Tensor, schedule: Schedule
) -> Tensor:
    """x_s = (alpha_s / alpha_t) x_t + sqrt(sigma_s^2 - sigma_t^2 alpha_s^2 / alpha_t^2) e, s >= t:
    noise added from x_t on, (N, ...).
    """
    alpha_t, sigma_t = schedule.levels(t_N, x_t)
    alpha_s, sigma_s = schedule.levels(s_N, x_t)
    ratio = alpha_s / alpha_t
    return ratio * x_t + (sigma_s**2 - (sigma_t * ratio) ** 2).clamp(min=0).sqrt() * noise
