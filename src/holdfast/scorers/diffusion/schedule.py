"""Noise levels of a diffusion model, and what its network predicts.

    x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) e,    abar_t from near 1 (t = 0) to near 0 (t = T - 1)

Time steps are integers, (N,); images have their own axes behind.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from holdfast.errors import ModelError

EPSILON, VELOCITY = "epsilon", "v_prediction"  # as diffusers calls them


@dataclass(frozen=True)
class Schedule:
    """The forward process.

    Attributes:
        abar_T: share of the image's variance at each timestep, float64.
        prediction: what the network predicts: "epsilon" (the noise e) or "v_prediction"
            (v = sqrt(abar) e - sqrt(1 - abar) x_0).
    """

    abar_T: Tensor
    prediction: str = EPSILON

    @classmethod
    def of(cls, scheduler: Any) -> Schedule:
        """That of a diffusers scheduler.

        Raises:
            ModelError: a scheduler without noise levels of this kind, or a prediction that is
                neither noise nor velocity.
        """
        abar = getattr(scheduler, "alphas_cumprod", None)
        kind = getattr(scheduler.config, "prediction_type", EPSILON)
        if abar is None or kind not in (EPSILON, VELOCITY):
            raise ModelError(
                f"{type(scheduler).__name__} "
                + ("has no alphas_cumprod" if abar is None else f"predicts {kind!r}"),
                hint="pipelines that predict noise or velocity are trained, not flow matching",
            )
        return cls(abar.double().cpu(), kind)

    def levels(self, t_N: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        """sqrt(abar_t) and sqrt(1 - abar_t), shaped to multiply `like`."""
        abar_N = self.abar_T.to(like.device)[t_N]
        shape = (-1,) + (1,) * (like.ndim - 1)
        return (
            abar_N.sqrt().to(like.dtype).view(shape),
            (1 - abar_N).sqrt().to(like.dtype).view(shape),
        )

    def noisy(self, x0: Tensor, noise: Tensor, t_N: Tensor) -> Tensor:
        """x_t."""
        alpha, sigma = self.levels(t_N, x0)
        return alpha * x0 + sigma * noise

    def target(self, x0: Tensor, noise: Tensor, t_N: Tensor) -> Tensor:
        """What a perfect network would predict."""
        if self.prediction == EPSILON:
            return noise
        alpha, sigma = self.levels(t_N, x0)
        return alpha * noise - sigma * x0

    def noise_of(self, output: Tensor, x_t: Tensor, t_N: Tensor) -> Tensor:
        """The noise that a network's output says is in x_t."""
        if self.prediction == EPSILON:
            return output
        alpha, sigma = self.levels(t_N, x_t)
        return alpha * output + sigma * x_t

    def image_of(self, noise: Tensor, x_t: Tensor, t_N: Tensor) -> Tensor:
        """The estimate of x_0 at x_t, from the predicted noise (Tweedie)."""
        alpha, sigma = self.levels(t_N, x_t)
        return (x_t - sigma * noise) / alpha


Condition = Mapping[str, Tensor]  # keywords of the network, one row an image
Predict = Callable[[Tensor, Tensor], Tensor]  # (x_t, t_N) -> noise


def output_of(model: nn.Module, x_t: Tensor, t_N: Tensor, condition: Condition) -> Tensor:
    """What a diffusers network says of x_t: a UNet, conditional or not, or a DiT. Variances that it
    also predicts are left out.
    """
    found = model(x_t, t_N, **condition)
    output: Tensor = found.sample if hasattr(found, "sample") else found
    return output[:, : x_t.shape[1]]


def noise_model(model: nn.Module, schedule: Schedule, condition: Condition) -> Predict:
    """eps(x_t, t) of a network at a condition."""

    def predict(x_t: Tensor, t_N: Tensor) -> Tensor:
        return schedule.noise_of(output_of(model, x_t, t_N, condition), x_t, t_N)

    return predict


def grid(steps: int, of: int = 1000) -> Tensor:
    """`steps` timesteps, evenly spaced from below: 1, 201, 401, 601, 801 for 5 of 1000."""
    return torch.arange(steps) * of // steps + 1


def solver_grid(steps: int, of: int = 1000) -> Tensor:
    """`steps` timesteps, evenly spaced up to the last: 39, 79, ..., 999 for 25 of 1000."""
    return (torch.arange(steps) + 1) * of // steps - 1
