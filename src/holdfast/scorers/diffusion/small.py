"""Small pipelines of diffusers in pixel space, with a name in the place of a prompt: to learn and
to test with. `ClassPipeline.from_pretrained(folder)` reads what `save_pretrained` wrote.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from diffusers import DDIMScheduler, DiffusionPipeline, UNet2DModel
from torch import Tensor, nn

from holdfast.errors import DataError
from holdfast.scorers.diffusion.schedule import output_of

Base: Any = DiffusionPipeline  # whose attributes are set by name


class ClassPipeline(Base):
    """A network conditioned on one of a few labels; the label after the last is "no label".

    Args:
        unet: a `UNet2DModel` with `num_class_embeds` one more than there are labels.
        scheduler: a DDIM scheduler.
        labels: what a prompt may say.
    """

    def __init__(self, unet: Any, scheduler: Any, labels: Sequence[str] = ()):
        super().__init__()
        self.register_modules(unet=unet, scheduler=scheduler)
        self.register_to_config(labels=list(labels))

    def label(self, prompt: str) -> int:
        """The number of a label; of "no label" for an empty prompt.

        Raises:
            DataError: there is no such label.
        """
        labels = list(self.config.labels)
        if prompt and prompt not in labels:
            raise DataError(
                f"the prompt {prompt!r} is none of the model's labels",
                hint=f"its labels are {', '.join(labels)}; an empty prompt is no label",
            )
        return labels.index(prompt) if prompt else len(labels)

    @torch.no_grad()
    def __call__(
        self,
        prompt: Sequence[str],
        *,
        guidance_scale: float = 1.0,
        negative_model: nn.Module | None = None,
        num_inference_steps: int = 25,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Images in [-1, 1], (N, C, H, W). Where the guidance scale g is not 1, each step takes
        eps_neg + g (eps - eps_neg), eps_neg at the empty prompt, of the negative model if one is
        given.
        """
        size = self.unet.config.sample_size
        device = next(self.unet.parameters()).device
        shape = (len(prompt), self.unet.config.in_channels, size, size)
        x = torch.randn(shape, generator=generator).to(device)
        label_N = torch.tensor([self.label(one) for one in prompt], device=device)
        empty_N = torch.full_like(label_N, len(self.config.labels))
        self.scheduler.set_timesteps(num_inference_steps)
        for t in self.scheduler.timesteps:
            t_N = t.to(device).expand(len(x))
            out = output_of(self.unet, x, t_N, {"class_labels": label_N})
            if guidance_scale != 1:
                other = negative_model or self.unet
                negative = output_of(other, x, t_N, {"class_labels": empty_N})
                out = negative + guidance_scale * (out - negative)
            x = self.scheduler.step(out, t, x).prev_sample
        return x


def small_pipeline(
    *,
    size: int = 16,
    channels: int = 1,
    labels: Sequence[str] = (),
    width: int = 32,
    prediction: str = "epsilon",
    seed: int = 0,
) -> ClassPipeline:
    """An untrained pipeline: images of `size` by `size`; size 1 is points of `channels` numbers."""
    torch.manual_seed(seed)
    deep = size >= 8
    unet = UNet2DModel(
        sample_size=size,
        in_channels=channels,
        out_channels=channels,
        layers_per_block=1,
        block_out_channels=(width, 2 * width) if deep else (width,),
        down_block_types=("DownBlock2D", "DownBlock2D") if deep else ("DownBlock2D",),
        up_block_types=("UpBlock2D", "UpBlock2D") if deep else ("UpBlock2D",),
        num_class_embeds=len(labels) + 1,
        norm_num_groups=8,
        add_attention=False,
    )
    # clipping at 1 is of images; points have no such bound
    scheduler = DDIMScheduler(prediction_type=prediction, clip_sample=deep)
    return ClassPipeline(unet, scheduler, labels)


def pretrain(
    pipeline: ClassPipeline,
    x0: Tensor,
    prompts: Sequence[str],
    *,
    steps: int = 500,
    batch_size: int = 64,
    learning_rate: float = 1e-3,
    no_label: float = 0.1,
    seed: int = 0,
) -> None:
    """Train it to denoise these images (N, C, H, W), a label left out in a tenth of all cases."""
    from holdfast.scorers.diffusion.schedule import Schedule

    schedule = Schedule.of(pipeline.scheduler)
    rng = torch.Generator().manual_seed(seed)
    label_N = torch.tensor([pipeline.label(one) for one in prompts])
    optimizer = torch.optim.AdamW(pipeline.unet.parameters(), lr=learning_rate)
    for _ in range(steps):
        at = torch.randint(len(x0), (batch_size,), generator=rng)
        t_N = torch.randint(len(schedule.abar_T), (batch_size,), generator=rng)
        noise = torch.randn(x0[at].shape, generator=rng)
        without = torch.rand(batch_size, generator=rng) < no_label
        label = torch.where(without, len(pipeline.config.labels), label_N[at])
        x_t = schedule.noisy(x0[at], noise, t_N)
        output = output_of(pipeline.unet, x_t, t_N, {"class_labels": label})
        loss = (output - schedule.target(x0[at], noise, t_N)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def digits() -> tuple[np.ndarray, list[str]]:
    """scikit-learn's handwritten digits at 16 by 16 pixels, uint8, and what they show."""
    from sklearn.datasets import load_digits

    found = load_digits()
    images = (found.images * 15.9375).clip(0, 255).astype(np.uint8)
    return images.repeat(2, 1).repeat(2, 2), [str(n) for n in found.target]
