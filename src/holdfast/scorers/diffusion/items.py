"""What a diffusion scorer reads: the latents of a row's images, and what a step draws for them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

POSITIONS = 16  # of a latent image that cost as much as one token of text


@dataclass(frozen=True)
class Draw:
    """What a step draws for one row, shared by its images, by policy and reference.

    Attributes:
        uniform: two numbers in [0, 1), which say which timesteps.
        noise: two latents of standard normal noise, (2, C, H, W).
    """

    uniform: tuple[float, float]
    noise: Tensor

    @classmethod
    def of(cls, seed: int, step: int, row: int, shape: tuple[int, ...]) -> Draw:
        """That of (seed, step, row) alone: a run that is resumed draws the same bits."""
        state = np.random.SeedSequence([seed, step, row]).generate_state(1, np.uint64)[0]
        rng = torch.Generator().manual_seed(int(state) & (2**63 - 1))
        first, second = torch.rand(2, generator=rng, dtype=torch.float64).tolist()
        return cls((first, second), torch.randn(2, *shape, generator=rng))


@dataclass(frozen=True)
class LatentItem:
    """A row as latents.

    Attributes:
        latents: by branch ("chosen", "rejected", or "answer"), each (C, H, W).
        condition: keywords of the network for the row's prompt, each without its first axis.
        row: its number in the data; noise is drawn by it.
        draw: of the step; None before one is taken.
        per_dimension: whether the scorer gives a value for each dimension of an image, or one.
    """

    latents: Mapping[str, Tensor]
    condition: Mapping[str, Tensor]
    row: int
    draw: Draw | None = None
    per_dimension: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(next(iter(self.latents.values())).shape)

    @property
    def answers(self) -> dict[str, Tensor]:
        """A sized value by branch, as long as what is scored of it."""
        return {
            name: x.flatten() if self.per_dimension else x[:1, :1, 0].flatten()
            for name, x in self.latents.items()
        }

    @property
    def branches(self) -> Mapping[str, Tensor]:
        return self.answers

    @property
    def tokens(self) -> int:
        """What it costs to score, as tokens of text: a sixteenth of its positions an image."""
        _, height, width = self.shape
        return len(self.latents) * max(1, height * width // POSITIONS)

    def select(self, names: Collection[str]) -> LatentItem:
        kept = {name: x for name, x in self.latents.items() if name in names}
        return replace(self, latents=kept)
