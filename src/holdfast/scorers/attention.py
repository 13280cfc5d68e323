"""Attention over a packed row, in the place where a Hugging Face model looks up its attention function.

A model that is told to use `holdfast:<its own>` runs as before, except when its forward is given `branches=Layout`: then each token sees
what `Layout.visible` lets it see. On CPU every comparison is one small SDPA call under its own mask, so no work is spent between
comparisons; on CUDA the whole row is one FlexAttention call with a block mask.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, AttentionMaskInterface
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from holdfast.errors import ModelError
from holdfast.scorers.layout import Layout
from holdfast.scorers.plain import SAFE_KERNELS

PREFIX = "holdfast:"


def install(model: Any) -> None:
    """Teach the model to take `branches=Layout`. What it does without one does not change, and nothing of this is saved with it."""
    own = model.config._attn_implementation or "eager"
    if own.startswith(PREFIX):
        return
    base = "sdpa" if "flash" in own or "flex" in own else own  # a plain forward through those needs their own padding rules
    name = PREFIX + base
    AttentionInterface.register(name, functools.partial(_attend, base))
    AttentionMaskInterface.register(name, ALL_MASK_ATTENTION_FUNCTIONS[base])
    model.set_attn_implementation(name)


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
    """query (1, heads, L, width), key and value (1, key heads, L, width) -> (1, L, heads, width), None."""
    if branches is None:
        eager = getattr(sys.modules[type(module).__module__], "eager_attention_forward", None)
        own: Callable[..., tuple[Tensor, Tensor | None]] = ALL_ATTENTION_FUNCTIONS.get_interface(base, eager)
        return own(module, query, key, value, attention_mask, **kwargs)
    if kwargs.get("s_aux") is not None or kwargs.get("position_bias") is not None:
        raise ModelError(f"{type(module).__name__} adds a term to its attention that packed rows do not carry")
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
        for (start, end), mask in zip(branches.bounds, branches.additive_masks(window, query.dtype), strict=True):
            q, k, v = query[:, :, start:end], key[:, :, start:end], value[:, :, start:end]
            if softcap is None:
                out = scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout, scale=scaling)
            else:
                out = _softcapped(q, k, v, mask, softcap, dropout, scaling)
            outs.append(out.transpose(1, 2))
    return torch.cat(outs, dim=1), None


def _softcapped(q: Tensor, k: Tensor, v: Tensor, mask: Tensor, softcap: float, dropout: float, scaling: float | None) -> Tensor:
    scores = q @ k.transpose(-1, -2) * (scaling if scaling is not None else q.shape[-1] ** -0.5)
    weights = (torch.tanh(scores / softcap) * softcap + mask).float().softmax(-1).to(v.dtype)
    return nn.functional.dropout(weights, dropout) @ v


# ------------------------------------------------------------ CUDA


@functools.cache
def _compiled_flex() -> Callable[..., Tensor]:
    from torch.nn.attention.flex_attention import flex_attention

    return torch.compile(flex_attention, dynamic=True)


def block_mask(branches: Layout, window: int | None, device: torch.device) -> Any:
    """FlexAttention's block mask of the row, made once a layout and shared by all layers of one window."""
    from torch.nn.attention.flex_attention import create_block_mask

    cache = branches.__dict__.setdefault("_block_masks", {})
    if window not in cache:
        length = len(branches.ids_L)
        cache[window] = create_block_mask(lambda b, h, q, k: branches.visible(q, k, window), None, None, length, length, device=device)
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
    out = _compiled_flex()(
        query,
        key,
        value,
        score_mod=None if softcap is None else _capped(softcap),
        block_mask=block_mask(branches, window, query.device),
        scale=scaling,
        enable_gqa=grouped,
    )
    return out.transpose(1, 2).contiguous()


def _capped(softcap: float) -> Callable[..., Tensor]:
    return lambda score, b, h, q, k: torch.tanh(score / softcap) * softcap
