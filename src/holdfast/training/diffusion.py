"""Train a diffusion model: a pipeline of diffusers, on rows whose answers are images.

    train("rdpo", model="pipeline folder", data="pairs.jsonl", out="runs/images", beta=5000)

Every method over pairs that reads log-ratios applies; `diffusion_dpo`, `smpo` and `self_npo` are of
diffusion models alone. The network is trained; autoencoder and text encoder stay as they are, and
each image and prompt is encoded once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from holdfast.card import Method, PairMethod
from holdfast.data.examples import to_examples
from holdfast.data.images import NO_PROMPT, Images, ImageSource, resized, stack
from holdfast.data.read import Dataset as Rows
from holdfast.errors import DataError, OptionError
from holdfast.methods import METHODS
from holdfast.models.trained import DIFFUSION as NAME
from holdfast.scorers.diffusion.items import Draw, LatentItem
from holdfast.scorers.diffusion.pipeline import (
    encode_images,
    encode_prompt,
    load_pipeline,
    network,
)
from holdfast.scorers.diffusion.schedule import Schedule
from holdfast.scorers.diffusion.scorer import DiffusionScorer, TruncatedScorer
from holdfast.training.examples import Examples
from holdfast.training.metrics import batch_metrics
from holdfast.training.model import is_adapter
from holdfast.training.objective import BatchResult
from holdfast.training.options import Options
from holdfast.training.sources.source import Source
from holdfast.training.task import Encoded, Task
from holdfast.types import Pairs, Row

HELD_OUT = 2**31 - 1  # in the place of a step: held-out rows meet the same noise at every look
ENCODED_AT_ONCE = 8
INVERTS = METHODS["smpo"]
TRUNCATES = METHODS["self_npo"]


@dataclass(frozen=True)
class Noised:
    """Examples of another source, with the noise and the timesteps of their step."""

    source: Source
    seed: int

    @property
    def steps_in_epoch(self) -> int:
        return self.source.steps_in_epoch

    def step(self, n: int) -> Examples:
        return self._drawn(self.source.step(n), n)

    def held_out(self, n: int) -> Examples | None:
        examples = self.source.held_out(n)
        return None if examples is None else self._drawn(examples, HELD_OUT)

    def _drawn(self, examples: Examples, step: int) -> Examples:
        items: Any = examples.items
        drawn: Any = [
            replace(item, draw=Draw.of(self.seed, step, item.row, item.shape)) for item in items
        ]
        return replace(examples, items=drawn)


class Diffusion(Task[Any]):
    """A network of a pipeline of diffusers, trained on minus its denoising errors."""

    name, adapter = NAME, ""

    def __init__(self, images: Sequence[Images]):
        self.images = images
        self.pipeline: Any = None

    def load(self, source: Any, options: Options) -> nn.Module:
        pipeline = load_pipeline(source)
        if self.pipeline is None:  # the first is what is trained, a second one its reference
            self.pipeline = pipeline
        return network(pipeline)[1]

    def processor(
        self, given: Any, source: Any, model: nn.Module, options: Options, notes: list[str]
    ) -> Any:
        if given is not None:
            raise OptionError(
                "tokenizer is not read where a diffusion model is trained",
                hint="it is a part of the pipeline",
            )
        return self.pipeline

    def encode(
        self, rows: Rows, method: Method, processor: Any, options: Options, quarantine: Path | None
    ) -> Encoded:
        made = to_examples(rows, method)
        sides = ("chosen", "rejected") if isinstance(method, PairMethod) else ("answer",)
        pixels = [self._pixels(row, side, options) for row in made.rows for side in sides]
        places = [f"{row.where}: `{side}`" for row in made.rows for side in sides]
        whole = stack(pixels, places)
        latents = torch.cat(
            [
                encode_images(processor, whole[at : at + ENCODED_AT_ONCE])
                for at in range(0, len(whole), ENCODED_AT_ONCE)
            ]
        )
        _refuse_shape(network(processor)[1], latents, whole)
        conditions: dict[str, Any] = {}
        items: Any = []
        for number, row in enumerate(made.rows):
            prompt = "" if row.prompt == NO_PROMPT else str(row.prompt)
            if prompt not in conditions:
                conditions[prompt] = encode_prompt(processor, prompt)
            first = number * len(sides)
            items.append(
                LatentItem(
                    {side: latents[first + k] for k, side in enumerate(sides)},
                    conditions[prompt],
                    number,
                    per_dimension=method is TRUNCATES,
                )
            )
        height, width = whole.shape[1:3]
        return Encoded(
            Examples(items, made.rows),
            {"examples": made.counts, "tokenized": {"skipped": {}}},
            [
                *made.lines(),
                f"{len(whole):,} images of {width} x {height} pixels as latents of "
                f"{' x '.join(map(str, latents.shape[1:]))}, encoded once",
            ],
        )

    def _pixels(self, row: Row, side: str, options: Options) -> Any:
        images = next((one for one in self.images if row.where.file in one.folder), self.images[0])
        name = getattr(row, side)
        images = next((one for one in self.images if name in one.held), images)
        found = images.pixels(row, side)
        return resized(found, options.resolution) if options.resolution else found

    def identity(self, processor: Any, options: Options, items: Sequence[Any]) -> dict[str, str]:
        digest = hashlib.sha256()
        for item in items:
            for name, x in (*item.latents.items(), *item.condition.items()):
                digest.update(f"{name}:{tuple(x.shape)}:".encode())
                digest.update(x.contiguous().numpy().tobytes())
        return {"latents": digest.hexdigest()}

    def source(self, dataset: Source, options: Options) -> Source:
        return Noised(dataset, options.seed)

    def keeps_reference(self, method: Method) -> str:
        return "noise and timesteps are new at every step"

    def caches_reference(self, method: Method) -> bool:
        return False

    def scorer(self, model: nn.Module, method: Method, reference: Any, options: Options) -> Any:
        schedule = Schedule.of(self.pipeline.scheduler)
        if method is TRUNCATES:
            return TruncatedScorer(
                model,
                schedule,
                reference,
                steps=options.solver_steps,
                from_data=options.solver_start == "data",
            )
        inverts = options.latents == "inversion" or (
            options.latents == "auto" and method is INVERTS
        )
        return DiffusionScorer(
            model,
            schedule,
            reference,
            inversion_steps=options.inversion_steps if inverts else 0,
        )

    def metrics(
        self, result: BatchResult, *, groups: Sequence[str], robust: bool
    ) -> dict[str, float]:
        """Those of every method, and each branch's denoising error: a margin may grow because the
        rejected image got worse.
        """
        out = batch_metrics(result, groups=groups, robust=robust)
        parts = result.batch.parts
        out |= {
            f"denoising_error/{name}": float(-2 * part.mean_logp_N.mean())
            for name, part in parts.items()
        }
        if isinstance(result.batch, Pairs):
            out |= {
                f"denoising_error/reference_{name}": float(-2 * part.ref_logp_N.mean())
                for name, part in parts.items()
            }
        return out

    def card(self, record: dict[str, Any], method: Method) -> str:
        return (
            "---\nlibrary_name: diffusers\ntags:\n- holdfast\n---\n\n"
            f"# A diffusion model trained by {method.name}\n\n"
            f"{record['steps']:,} steps on {record['rows']:,} rows. Settings: "
            f"{record['settings']}. Load it with `DiffusionPipeline.from_pretrained`"
            " (`holdfast.scorers.diffusion.pipeline.load_pipeline` reads every kind).\n"
        )

    def save(
        self, model: nn.Module, processor: Any, weights: dict[str, Tensor], folder: Path
    ) -> None:
        """The whole pipeline, an adapter merged into its network; the adapter also in `adapter/`,
        as peft reads it.
        """
        name, _ = network(processor)
        if is_adapter(model):
            adapted: Any = model
            adapted.save_pretrained(folder / "adapter", state_dict=weights)
            model = adapted.merge_and_unload()
        processor.register_modules(**{name: model})
        processor.save_pretrained(folder)


def task_of(data: Any, eval_data: Any) -> tuple[Diffusion, Any, Any]:
    """The task, and the data as rows with images."""
    train = _source(data)
    held_out = None if eval_data is None else _source(eval_data)
    sources = [train, held_out] if held_out else [train]
    return Diffusion([one.images for one in sources]), train, held_out


def _source(data: Any) -> ImageSource:
    return data if isinstance(data, ImageSource) else ImageSource(data)


def _refuse_shape(model: Any, latents: Tensor, pixels: Any) -> None:
    size, channels = model.config.sample_size, model.config.in_channels
    height, width = latents.shape[2:]
    if channels != latents.shape[1] or (isinstance(size, int) and (height, width) != (size, size)):
        raise DataError(
            f"images of {pixels.shape[2]} x {pixels.shape[1]} pixels are latents of "
            f"{latents.shape[1]} x {height} x {width}; the model takes {channels} x {size} x "
            f"{size}",
            hint="resolution=N scales and crops images to N x N pixels",
        )
