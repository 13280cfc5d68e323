"""Which parameters of a model are matrices of hidden layers, which Muon and ROOT orthogonalize, and
why each of the others is left to AdamW.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from torch import nn

VECTOR = "vectors and scalars"
EMBEDDING = "embeddings"
OUTPUT = "output heads"
CONVOLUTION = "convolutions"
STACK = "stacks of matrices"  # experts: (E, m, n)
COMPLEX = "complex numbers"
CONVOLUTIONS = (nn.modules.conv._ConvNd,)
Orthogonal = Literal["muon", "root"]


def left_to_adamw(model: nn.Module, optimizer: Orthogonal = "root") -> dict[str, str | None]:
    """Name -> why AdamW takes the parameter, None where `optimizer` does; frozen ones are left out.

    An output head is what a Hugging Face model has beside its `base_model`, and what
    `get_output_embeddings` gives. LoRA's two factors are matrices like others; those that belong to
    an embedding are not. torch's Muon takes no stack of matrices (a mixture's experts), ROOT each
    matrix of it on its own.
    """
    kinds = dict(_kinds(model))
    found: dict[str, str | None] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        why = kinds.get(id(parameter))
        if parameter.ndim < 2:
            why = VECTOR
        elif parameter.is_complex():
            why = COMPLEX
        elif why is None and "lora_embedding_" in name:
            why = EMBEDDING
        elif why is None and parameter.ndim > 2 and optimizer == "muon":
            why = STACK
        found[name] = why
    return found


def _kinds(model: nn.Module) -> Iterator[tuple[int, str]]:
    """The parameters that are no hidden ones, by id; embeddings last: a tied head is one."""
    inner = _pretrained(model)
    prefix = getattr(inner, "base_model_prefix", "")
    base = getattr(inner, prefix, None) if prefix else None
    if isinstance(base, nn.Module):
        hidden = {id(parameter) for parameter in base.parameters()}
        yield from ((id(p), OUTPUT) for p in inner.parameters() if id(p) not in hidden)
    head = _output(inner)
    if isinstance(head, nn.Module):
        yield from ((id(p), OUTPUT) for p in head.parameters())
    for module in model.modules():
        if isinstance(module, (nn.Embedding, nn.EmbeddingBag)):
            yield from ((id(p), EMBEDDING) for p in module.parameters())
        elif isinstance(module, CONVOLUTIONS):
            yield from ((id(p), CONVOLUTION) for p in module.parameters())


def _pretrained(model: Any) -> Any:
    """The model inside peft's wrapper."""
    return model.get_base_model() if hasattr(model, "peft_config") else model


def _output(model: Any) -> Any:
    ask = getattr(model, "get_output_embeddings", None)
    return ask() if callable(ask) else None
