"""Attention over a packed row, in the place where a Hugging Face model looks up its attention
function.

A model that is told to use `holdfast:<its own>` runs as before, except when its forward is given
`branches=Layout`: then each token sees what `Layout.visible` lets it see. On CPU every comparison
is one small SDPA call under its own mask, so no work is spent between comparisons; on CUDA the
whole row is one FlexAttention call with a block mask.

Some layers drop the keyword on its way, or mix tokens without attention, and no error would show
it. So `packing` watches a packed forward: an attention call without the layout, or fewer calls than
the model has layers, is a ModelError.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.nn.attention import sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, AttentionMaskInterface
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from holdfast.errors import ModelError
from holdfast.scorers.layout import Layout
from holdfast.scorers.padded import SAFE_KERNELS

PREFIX = "holdfast:"
_own: WeakKeyDictionary[Any, str] = WeakKeyDictionary()  # what each model used before `install`


def install(model: Any) -> None:
    """Teach the model to take `branches=Layout`. What it does without one does not change, and
    nothing of this is saved with it.

    Raises:
        ModelError: the model does not look its attention up by name, or mixes tokens by a
            convolution.
    """
    if installed(model):
        return
    own = model.config._attn_implementation or "eager"
    if not model._can_set_attn_implementation():
        raise ModelError(f"{type(model).__name__} does not look its attention function up by name")
    mixing = next((module for module in model.modules() if _convolves(module)), None)
    if mixing is not None:
        raise ModelError(
            f"{type(model).__name__} has a convolution across tokens "
            f"({type(mixing).__name__}), which cannot branch"
        )
    base = (
        "sdpa" if "flash" in own or "flex" in own else own
    )  # a forward without a layout through those needs their own padding rules
    name = PREFIX + base
    AttentionInterface.register(name, functools.partial(_attend, base))
    AttentionMaskInterface.register(name, ALL_MASK_ATTENTION_FUNCTIONS[base])
    _own[model] = own
    model.set_attn_implementation(name)


def uninstall(model: Any) -> None:
    """Give the model its own attention back."""
    if installed(model):
        model.set_attn_implementation(
            _own.get(model, model.config._attn_implementation.removeprefix(PREFIX))
        )


def installed(model: Any) -> bool:
    return str(getattr(getattr(model, "config", None), "_attn_implementation", "")).startswith(
        PREFIX
    )


@contextmanager
def own_attention(model: Any) -> Iterator[None]:
    """The model as it came, for a while."""
    before = installed(model)
    uninstall(model)
    try:
        yield
    finally:
        if before:
            install(model)


def _convolves(module: nn.Module) -> bool:
    return isinstance(module, nn.Conv1d) and module.kernel_size[0] > 1


# ------------------------------------------------------------ watching a packed forward


@dataclass
class _Packing:
    calls: int = 0  # attention calls that were given the layout


_packing: ContextVar[_Packing | None] = ContextVar("packing", default=None)


@contextmanager
def packing(model: Any) -> Iterator[None]:
    """Around one packed forward of a decoder.

    Raises:
        ModelError: an attention call was not given the layout, or a layer made no attention call.
    """
    seen = _Packing()
    token = _packing.set(seen)
    try:
        yield
    finally:
        _packing.reset(token)
    layers = getattr(model.config.get_text_config(), "num_hidden_layers", 1)
    if seen.calls < layers:
        raise ModelError(
            f"{type(model).__name__} has {layers} layers, and {seen.calls} of them called "
            "the attention of packed rows"
        )


def _attend(
    base: str,
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Any,
    branches: Layout | None = None,
    **kwargs: Any,
) -> tuple[Tensor, Tensor | None]:
    """query (1, heads, L, width), key and value (1, key heads, L, width) -> (1, L, heads, width),
    None.
    """
    seen = _packing.get()
    if branches is None:
        if seen is not None:
            raise ModelError(
                f"{type(module).__name__} does not hand the layout of packed rows on to "
                "its attention"
            )
        eager = getattr(sys.modules[type(module).__module__], "eager_attention_forward", None)
        own: Callable[..., tuple[Tensor, Tensor | None]] = ALL_ATTENTION_FUNCTIONS.get_interface(
            base, eager
        )
        return own(module, query, key, value, attention_mask, **kwargs)
    if seen is not None:
        seen.calls += 1
    if kwargs.get("s_aux") is not None or kwargs.get("position_bias") is not None:
        raise ModelError(
            f"{type(module).__name__} adds a term to its attention that packed rows do not carry"
        )
    window = kwargs.get("sliding_window")
    scaling = kwargs.get("scaling")
    dropout = kwargs.get("dropout", 0.0)
    softcap = kwargs.get("softcap")
    groups = query.shape[1] // key.shape[1]
    if query.device.type == "cuda" and not dropout:
        return _flex(query, key, value, branches, window, scaling, softcap, groups > 1), None
    if groups > 1:
        key, value = key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)
    outs = []
    with sdpa_kernel(SAFE_KERNELS):
        for (start, end), mask in zip(
            branches.bounds, branches.additive_masks(window, query.dtype), strict=True
        ):
            q, k, v = query[:, :, start:end], key[:, :, start:end], value[:, :, start:end]
            if softcap is None:
                out = scaled_dot_product_attention(
                    q, k, v, attn_mask=mask, dropout_p=dropout, scale=scaling
                )
            else:
                out = _softcapped(q, k, v, mask, softcap, dropout, scaling)
            outs.append(out.transpose(1, 2))
    return torch.cat(outs, dim=1), None


def _softcapped(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor,
    softcap: float,
    dropout: float,
    scaling: float | None,
) -> Tensor:
    scores = q @ k.transpose(-1, -2) * (scaling if scaling is not None else q.shape[-1] ** -0.5)
    weights = (torch.tanh(scores / softcap) * softcap + mask).float().softmax(-1).to(v.dtype)
    return nn.functional.dropout(weights, dropout) @ v


# ------------------------------------------------------------ CUDA


@functools.cache
def _compiled_flex() -> Callable[..., Tensor]:
    from torch.nn.attention.flex_attention import flex_attention

    return torch.compile(flex_attention, dynamic=True)


def block_mask(branches: Layout, window: int | None, device: torch.device) -> Any:
    """FlexAttention's block mask of the row, made once a layout and shared by all layers of one
    window.
    """
    from torch.nn.attention.flex_attention import create_block_mask

    cache = branches.__dict__.setdefault("_block_masks", {})
    if window not in cache:
        length = len(branches.ids_L)
        cache[window] = create_block_mask(
            lambda b, h, q, k: branches.visible(q, k, window),
            None,
            None,
            length,
            length,
            device=device,
        )
    return cache[window]


def _flex(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    branches: Layout,
    window: int | None,
    scaling: float | None,
    softcap: float | None,
    grouped: bool,
) -> Tensor:
    mask = block_mask(branches, window, query.device)
    with (
        torch._C.DisableTorchFunction()
    ):  # verification runs under a torch function mode, which compiled code need not know
        out = _compiled_flex()(
            query,
            key,
            value,
            score_mod=None if softcap is None else _capped(softcap),
            block_mask=mask,
            scale=scaling,
            enable_gqa=grouped,
        )
    return out.transpose(1, 2).contiguous()


def _capped(softcap: float) -> Callable[..., Tensor]:
    return lambda score, b, h, q, k: torch.tanh(score / softcap) * softcap
