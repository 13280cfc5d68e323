"""Guidance by a negative model: the half of a pipeline's batch that is to be avoided is another
network's.

    eps = eps_neg(x, t, c') + g (eps(x, t, c) - eps_neg(x, t, c')),  c' the empty or negative prompt

Classifier-free guidance with two networks in the place of one, g its guidance scale.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from holdfast.scorers.diffusion.pipeline import network


class TwoNetworks(nn.Module):
    """In the place of a pipeline's network. While the pipeline guides, one half of each batch is of
    the negative prompt, which goes to the negative network; else all is the positive one's.

    Args:
        positive: the pipeline's own.
        negative: of the same shapes.
        guides: `guides(batch size)`, whether the pipeline guides now.
        negative_first: which half is of the negative prompt: the first, as in Stable Diffusion, or
            the second, as in DiT.
    """

    def __init__(
        self, positive: nn.Module, negative: nn.Module, guides: Any, *, negative_first: bool
    ):
        super().__init__()
        self.positive, self.negative = positive, negative
        self.guides, self.negative_first = guides, negative_first

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("positive"), name)

    def forward(self, sample: Any, timestep: Any, **keywords: Any) -> Any:
        if not self.guides(keywords):
            return self.positive(sample, timestep, **keywords)
        half = len(sample) // 2
        places = (slice(0, half), slice(half, None))

        def part(x: Any, place: slice) -> Any:
            split = torch.is_tensor(x) and x.ndim > 0 and len(x) == 2 * half
            return x[place] if split else x

        outs = []
        for number, place in enumerate(places):
            model = self.negative if (number == 0) == self.negative_first else self.positive
            own = {name: part(x, place) for name, x in keywords.items()} | {"return_dict": False}
            outs.append(model(sample[place], part(timestep, place), **own)[0])
        out = torch.cat(outs)
        if keywords.get("return_dict") is False:
            return (out,)
        from diffusers.models.modeling_outputs import Transformer2DModelOutput

        return Transformer2DModelOutput(sample=out)


def guided_by(pipeline: Any, negative: nn.Module) -> Any:
    """The pipeline with its negative prompt given to another network. It is called as before:
    `guided_by(pipeline, negative)("a cat", guidance_scale=7.5)`. The pipeline is changed in place.
    """
    name, positive = network(pipeline)
    if hasattr(pipeline, "get_label_ids"):  # DiT: twice the batch of labels where it guides

        def guides(keywords: Any) -> bool:
            labels = keywords.get("class_labels")
            config: Any = positive.config
            null = config.num_embeds_ada_norm
            return labels is not None and bool((labels[len(labels) // 2 :] == null).all())

        two = TwoNetworks(positive, negative, guides, negative_first=False)
    else:
        two = TwoNetworks(
            positive,
            negative,
            lambda keywords: pipeline.do_classifier_free_guidance,
            negative_first=True,
        )
    object.__setattr__(pipeline, name, two)
    return pipeline
