"""Items in, denoising errors out, in the place of log-probabilities.

    DiffusionScorer     log p = -m / 2 for each image, m the squared error of the network's output,
                        averaged over dimensions: the log-likelihood of the noise under a unit
                        Gaussian. Noise at random, or by inversion with the model as it is.
    TruncatedScorer     -d^2 / 2 for each dimension, d what the copy misses of the frozen model's
                        estimate (`truncated`)

The images of a row share timestep and noise, and so do model and reference. The same items give the
same numbers: whatever is random stands in them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from holdfast.errors import ModelError
from holdfast.scorers.diffusion.inversion import inverted
from holdfast.scorers.diffusion.items import Draw, LatentItem
from holdfast.scorers.diffusion.schedule import (
    Condition,
    Schedule,
    grid,
    noise_model,
    output_of,
    solver_grid,
)
from holdfast.scorers.diffusion.truncated import noised_further, truncated
from holdfast.scorers.live import InMemoryReference
from holdfast.scorers.scorer import Scorer, Verification
from holdfast.types import Scored

TOLERANCE = 1e-4  # of a score, between a batch and its images alone


@dataclass(frozen=True)
class Batch:
    """Items as tensors: N images, those of one branch after another."""

    names: tuple[str, ...]
    x0: Tensor
    condition: Condition
    uniform_N2: Tensor
    noise_2: Tensor  # (2, N, C, H, W)

    @classmethod
    def of(cls, items: Sequence[LatentItem], device: torch.device) -> Batch:
        names = tuple(items[0].latents)
        draws = [_drawn(item) for item in items]
        copies = len(names)
        return cls(
            names,
            torch.stack([item.latents[name] for name in names for item in items]).to(device),
            {
                key: torch.stack([item.condition[key] for item in items] * copies).to(device)
                for key in items[0].condition
            },
            torch.tensor([draw.uniform for draw in draws] * copies, dtype=torch.float64),
            torch.stack([draw.noise for draw in draws] * copies, 1).to(device),
        )

    def parts(self, logp_NT: Tensor, ref_NT: Tensor | None) -> dict[str, Scored]:
        out = {}
        refs = [None] * len(self.names) if ref_NT is None else ref_NT.chunk(len(self.names))
        for name, own, ref in zip(self.names, logp_NT.chunk(len(self.names)), refs, strict=True):
            out[name] = Scored(own, torch.ones_like(own), ref)
        return out


class DiffusionScorer(Scorer):
    """Minus half the denoising error of each image, (N, 1), the reference's beside it.

    Args:
        model: a network of diffusers: a UNet, or a DiT.
        schedule: noise levels.
        reference: the frozen model; None scores without.
        inversion_steps: 0 draws the noise; else latents are inverted through so many timesteps,
            and timesteps are drawn from those.
        renoise: how often a step of the inversion is refined.
    """

    def __init__(
        self,
        model: nn.Module,
        schedule: Schedule,
        reference: InMemoryReference | None,
        *,
        inversion_steps: int = 0,
        renoise: int = 1,
    ):
        super().__init__()
        self.model = model
        self.schedule, self.renoise = schedule, renoise
        self._reference = reference
        self.grid_G = grid(inversion_steps, len(schedule.abar_T)) if inversion_steps else None

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    def forward(self, items: Sequence[LatentItem]) -> dict[str, Scored]:
        batch = Batch.of(items, self.device)
        x_t, t_N, target = self._noisy(batch)
        own_N = self._score(self.model, batch, x_t, t_N, target)
        if self._reference is None:
            return batch.parts(own_N[:, None], None)
        with self._reference.running() as reference:
            ref_N = self._score(reference, batch, x_t, t_N, target)
        return batch.parts(own_N[:, None], ref_N[:, None])

    def _noisy(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Noisy latents, their timesteps, and what a perfect network says of them."""
        first_N = batch.uniform_N2[:, 0]
        if self.grid_G is None:
            t_N = (first_N * len(self.schedule.abar_T)).long().to(self.device)
            x_t, noise = self.schedule.noisy(batch.x0, batch.noise_2[0], t_N), batch.noise_2[0]
        else:
            t_N = self.grid_G[(first_N * len(self.grid_G)).long()].to(self.device)
            predict = noise_model(self.model, self.schedule, batch.condition)
            x_t, noise = inverted(batch.x0, t_N, predict, self.schedule, self.grid_G, self.renoise)
        return x_t, t_N, self.schedule.target(batch.x0, noise, t_N)

    def _score(
        self, model: nn.Module, batch: Batch, x_t: Tensor, t_N: Tensor, target: Tensor
    ) -> Tensor:
        output = output_of(model, x_t, t_N, batch.condition)
        return -0.5 * (output.float() - target.float()).square().flatten(1).mean(1)

    def verify(self, items: Sequence[LatentItem]) -> Verification:
        """The first images together against each alone.

        Raises:
            ModelError: they differ, as with a batch norm in training mode.
        """
        some = [replace(item, draw=Draw.of(0, 0, item.row, item.shape)) for item in list(items)[:3]]
        with torch.no_grad():
            together = self(some)
            alone = [self([item]) for item in some]
        worst = max(
            float((part.logp_NT[n] - alone[n][name].logp_NT[0]).abs().max())
            for name, part in together.items()
            for n in range(len(some))
        )
        if not worst <= TOLERANCE * max(
            1.0, max(float(part.logp_NT.abs().max()) for part in together.values())
        ):
            raise ModelError(
                f"an image scores differently in a batch and alone, by {worst:.2g}",
                hint="the network mixes images, or its output is not finite",
            )
        return Verification("padded", worst, TOLERANCE, rows=len(some))

    def adopt(self, known: Verification) -> None:
        """One way to score: nothing to take over."""


class TruncatedScorer(DiffusionScorer):
    """-d^2 / 2 of each dimension, (N, C H W): see `truncated`.

    Args:
        model: the copy that is trained.
        schedule: noise levels.
        reference: the frozen model.
        steps: solver steps before the estimate.
        grid_steps: timesteps of the solver's grid.
        from_data: start from the row's image, noised to a random place of the grid; else from
            noise at its top.
    """

    def __init__(
        self,
        model: nn.Module,
        schedule: Schedule,
        reference: InMemoryReference | None,
        *,
        steps: int = 5,
        grid_steps: int = 25,
        from_data: bool = False,
    ):
        super().__init__(model, schedule, reference)
        self.steps, self.from_data = steps, from_data
        self.solver_G = solver_grid(grid_steps, len(schedule.abar_T))

    def forward(self, items: Sequence[LatentItem]) -> dict[str, Scored]:
        if self._reference is None:
            raise ModelError("truncated diffusion needs the frozen model as its reference")
        batch = Batch.of(items, self.device)
        last = len(self.solver_G) - 1
        uniform_N2 = batch.uniform_N2.to(self.device)
        if self.from_data:
            first_N = (uniform_N2[:, 0] * (last + 1)).long()
            start_N = self.solver_G.to(self.device)[first_N]
            start = self.schedule.noisy(batch.x0, batch.noise_2[0], start_N)
        else:
            first_N = torch.full((len(uniform_N2),), last, device=self.device)
            start = batch.noise_2[0]
        with self._reference.running() as reference:
            x_t, t_N, estimate = truncated(
                start,
                first_N,
                noise_model(reference, self.schedule, batch.condition),
                self.schedule,
                self.solver_G,
                self.steps,
            )
        top = len(self.schedule.abar_T) - 1
        s_N = t_N + 1 + (uniform_N2[:, 1] * (top - t_N)).long()
        s_N = s_N.clamp(max=top)
        x_s = noised_further(x_t, t_N, s_N, batch.noise_2[1], self.schedule)
        noise = noise_model(self.model, self.schedule, batch.condition)(x_s, s_N)
        error = self.schedule.image_of(noise.float(), x_s, s_N) - estimate.float()
        return batch.parts(-0.5 * error.flatten(1).square(), None)


def _drawn(item: LatentItem) -> Draw:
    if item.draw is None:
        raise ModelError("an image has no noise yet", hint="Draw.of(seed, step, row, shape)")
    return item.draw
