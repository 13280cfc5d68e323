"""What cannot be done inside TRL's DPOTrainer, refused by name before anything is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any

from trl import DPOConfig

from holdfast.card import Method, PairMethod, Reduction
from holdfast.errors import NeedError, OptionError
from holdfast.inputs import confidence, group, reference, reward_gap
from holdfast.methods import get
from holdfast.training.options import split_options
from holdfast.training.settings import try_settings

SERVED = (reference, group, confidence, reward_gap)

IN_SETTINGS = "the method's own settings go in settings={...}"
UNREAD: Mapping[
    str, str
] = {  # options of DPOConfig that would go unread or change the method, and the hint for each
    "loss_type": "the loss is method=...",
    "loss_weights": "the loss is one method",
    "beta": IN_SETTINGS,
    "label_smoothing": "rdpo and cdpo take settings={'flip_rate': ...}",
    "ld_alpha": IN_SETTINGS,
    "f_divergence_type": IN_SETTINGS,
    "f_alpha_divergence_coef": IN_SETTINGS,
    "use_weighting": "give rows a `weight` column",
    "discopop_tau": IN_SETTINGS,
    "sync_ref_model": "the reference stays where it is",
    "ref_model_mixup_alpha": "the reference stays where it is",
    "ref_model_sync_steps": "the reference stays where it is",
    "precompute_ref_log_probs": (
        "TRL keeps sums, methods may read tokens; holdfast.train scores a reference once and "
        "keeps tokens"
    ),
    "precompute_ref_batch_size": "leave it out",
    "padding_free": "TRL has switched it off",
}


def pairwise(method: str | Method) -> PairMethod:
    method = get(method) if isinstance(method, str) else method
    if not isinstance(method, PairMethod):
        raise OptionError(
            f"{method.name} takes single answers; DPOTrainer has comparisons",
            hint=f"holdfast.train({method.name!r}, ...) trains it",
        )
    return method


def checked_settings(method: PairMethod, given: Mapping[str, Any]) -> dict[str, Any]:
    """The settings with the method's defaults filled in, all tried on."""
    _, settings = split_options(method, given)
    for name in given:
        if name not in settings:
            raise OptionError(
                f"{method.name} does not read {name}",
                hint="options of training go in args=DPOConfig(...)",
            )
    try_settings(method, settings)
    return settings


def refuse_unread(args: DPOConfig) -> None:
    for field in fields(DPOConfig):
        if field.name in UNREAD:
            usual = field.default if field.default_factory is MISSING else field.default_factory()
            if getattr(args, field.name) != usual:
                value = getattr(args, field.name)
                raise OptionError(
                    f"{field.name}={value!r} of DPOConfig is not read here", hint=UNREAD[field.name]
                )


def refuse_needs(method: PairMethod, reduction: Reduction) -> None:
    for need in (*method.card.needs, *reduction.needs):
        if need not in SERVED:
            raise NeedError(
                need.name,
                f"{method.name} needs {need.name}: {need.says}; DPOTrainer has no place for it",
                hint=f"holdfast.train({method.name!r}, ...) has one",
            )


def refuse_cuts(method: PairMethod, reduction: Reduction, args: DPOConfig) -> None:
    """A batch that is more than its rows must not be cut into microbatches."""
    pieces = args.gradient_accumulation_steps * args.world_size
    why = (
        f"the cost of a row of {method.name} depends on the rest of its batch"
        if method.card.batch_dependent
        else f"{method.name} remembers from batch to batch"
        if method.state is not None
        else f"the reduction {reduction.name} looks at whole batches"
        if not reduction.linear
        else None
    )
    if why and pieces > 1:
        raise OptionError(
            f"{why}, and here a batch comes in {pieces} pieces (gradient accumulation, processes)",
            hint=(
                "one process with a larger per_device_train_batch_size; or holdfast.train, "
                "which takes any batch whole"
            ),
        )


def refuse_images(dataset: Any) -> None:
    if dataset is not None and {"image", "images"} & set(
        dataset.column_names or next(iter(dataset), {})
    ):
        raise OptionError(
            "the dataset has images; only text is read here", hint="remove the column"
        )
