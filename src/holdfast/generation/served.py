"""What models are: which of them the fast path serves, and how they are set for it."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator
from typing import Any

import torch
from transformers import GenerationConfig

from holdfast.errors import OptionError
from holdfast.generation.prefix_cache import PrefixCache, UnservedError

FAILURES = (
    RuntimeError,
    ValueError,
    TypeError,
    AttributeError,
    IndexError,
    KeyError,
    NotImplementedError,
    AssertionError,
)


def unserved_by_config(inner: Any) -> str:
    """What the config alone says against the fast path; empty if nothing."""
    config = inner.config.get_text_config()
    if inner.config.is_encoder_decoder:
        return "it has an encoder"
    if getattr(inner, "_is_stateful", False):
        return "it keeps a recurrent state"
    kinds = set(getattr(config, "layer_types", None) or ()) - {
        "full_attention",
        "sliding_attention",
    }
    if kinds:
        return f"it has layers of kind {', '.join(sorted(kinds))}"
    if "position_ids" not in inspect.signature(inner.forward).parameters:
        return "it does not take position_ids"
    moves = "longrope" in rope_types(getattr(config, "rope_parameters", None))
    return "its longrope turns keys by the length of a sequence" if moves else ""


def stretches(inner: Any) -> bool:
    """Its dynamic rope has other frequencies at each length of a sequence."""
    return "dynamic" in rope_types(getattr(inner.config.get_text_config(), "rope_parameters", None))


def end_tokens(model: Any, tokenizer: Any) -> tuple[int, ...]:
    """Every token that ends an answer: the tokenizer's and those that the model's generation
    settings name.

    Raises:
        OptionError: there is none.
    """
    named = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    found = [
        *(named if isinstance(named, list) else [named]),
        getattr(tokenizer, "eos_token_id", None),
    ]
    ends = tuple(sorted({int(token) for token in found if token is not None}))
    if not ends:
        raise OptionError(
            "neither tokenizer nor model says which token ends an answer",
            hint="set eos_token in the tokenizer, or stop_ids=() to go on to max_new_tokens",
        )
    return ends


def rope_types(rope: Any) -> set[str]:
    if not isinstance(rope, dict):
        return set()
    return {str(rope.get("rope_type"))}.union(*(rope_types(value) for value in rope.values()))


def check_windows(inner: Any, cache: PrefixCache) -> None:
    kinds = getattr(inner.config.get_text_config(), "layer_types", None) or ()
    if "sliding_attention" in kinds and not cache.windows:
        raise UnservedError("its sliding windows do not reach the attention function")


@contextlib.contextmanager
def or_unserved() -> Iterator[None]:
    """What a model's own code raises on a way that it does not support becomes `UnservedError`."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except FAILURES as error:
        text = str(error).partition("\n")[0]
        raise UnservedError(f"{type(error).__name__}: {text}") from error


@contextlib.contextmanager
def evaluating(model: Any) -> Iterator[None]:
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


@contextlib.contextmanager
def own_settings(model: Any, config: GenerationConfig) -> Iterator[None]:
    """`generate` fills every unset option from the model's own settings, so those are put out of
    reach meanwhile.
    """
    own, use_cache = model.generation_config, getattr(model.config, "use_cache", None)
    model.generation_config = config
    if use_cache is not None:
        model.config.use_cache = config.use_cache
    try:
        yield
    finally:
        model.generation_config = own
        if use_cache is not None:
            model.config.use_cache = use_cache
