"""Pipelines of diffusers: the network that is trained, and what turns rows into what it reads."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from holdfast.errors import ModelError, shown

INDEX = "model_index.json"
NETWORKS = ("unet", "transformer")


def pipeline_folder(source: Any) -> Path | None:
    """The folder of a pipeline, also inside a run's; None where `source` names none."""
    if not isinstance(source, str | os.PathLike):
        return None
    path = Path(source).expanduser()
    return next((one for one in (path, path / "model") if (one / INDEX).is_file()), None)


def is_pipeline(source: Any) -> bool:
    """Whether a model is a pipeline of diffusers, in memory or in a folder."""
    return hasattr(source, "components") or pipeline_folder(source) is not None


def load_pipeline(source: Any) -> Any:
    """A pipeline, from memory, a folder, or a run's folder.

    Raises:
        ModelError: it cannot be loaded, or has no network that is trained.
    """
    if hasattr(source, "components"):
        return source
    from diffusers import DiffusionPipeline

    from holdfast.scorers.diffusion.small import ClassPipeline

    folder = pipeline_folder(source)
    if folder is None:
        raise ModelError(
            f"{shown(str(source))} is no folder of a diffusers pipeline",
            hint=f"a folder with {INDEX}, as pipeline.save_pretrained writes it",
        )
    try:
        kind = json.loads((folder / INDEX).read_text(encoding="utf-8")).get("_class_name")
        of = ClassPipeline if kind == ClassPipeline.__name__ else DiffusionPipeline
        return of.from_pretrained(folder)
    except Exception as error:
        raise ModelError(
            f"{folder}: the pipeline cannot be loaded ({error})", hint="check its folder"
        ) from error


def network(pipeline: Any) -> tuple[str, nn.Module]:
    """Its part that is trained, by name.

    Raises:
        ModelError: it has neither a UNet nor a transformer.
    """
    for name in NETWORKS:
        found = getattr(pipeline, name, None)
        if isinstance(found, nn.Module):
            return name, found
    raise ModelError(
        f"{type(pipeline).__name__} has neither a unet nor a transformer",
        hint="pipelines like Stable Diffusion, DiT and DDPM are trained",
    )


@torch.no_grad()
def encode_prompt(pipeline: Any, prompt: str) -> Mapping[str, Tensor]:
    """The network's keywords for a prompt, each without its first axis.

    Raises:
        DataError: a prompt that is none of a class-conditional model's labels.
        ModelError: a pipeline whose prompts are encoded in another way.
    """
    if hasattr(pipeline, "label"):  # of `small`
        return {"class_labels": torch.tensor(pipeline.label(prompt))}
    if hasattr(pipeline, "get_label_ids"):  # DiT
        number = int(prompt) if prompt.isdigit() else pipeline.get_label_ids([prompt])[0]
        return {"class_labels": torch.tensor(number)}
    if getattr(pipeline, "text_encoder_2", None) is not None:
        raise ModelError(
            f"{type(pipeline).__name__} has two text encoders, which is not done yet",
            hint="a pipeline like Stable Diffusion 1.5 or 2",
        )
    if getattr(pipeline, "text_encoder", None) is not None:
        device = next(pipeline.text_encoder.parameters()).device
        return {"encoder_hidden_states": pipeline.encode_prompt(prompt, device, 1, False)[0][0]}
    return {}


@torch.no_grad()
def encode_images(pipeline: Any, pixels: np.ndarray) -> Tensor:
    """Latents of images (N, H, W, 3), uint8: (N, C, H, W); the mean of the autoencoder's posterior,
    scaled. Without an autoencoder, pixels in [-1, 1], gray where the network has one channel.
    """
    model: Any = network(pipeline)[1]
    x = torch.from_numpy(np.ascontiguousarray(pixels)).permute(0, 3, 1, 2).float() / 127.5 - 1
    vae = getattr(pipeline, "vae", None)
    if vae is None:
        return x.mean(1, keepdim=True) if model.config.in_channels == 1 else x
    of = vae.encode(x.to(next(vae.parameters())))
    return (of.latent_dist.mode() * vae.config.scaling_factor).float()
