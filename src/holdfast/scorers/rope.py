"""Rotary embeddings whose frequencies depend on the longest sequence of a forward: longrope (Phi-3
128k, Phi-4-mini) and dynamic NTK.

Hugging Face chooses the frequencies of a whole forward by the longest sequence in it. A row's
numbers must not depend on its neighbors, so sequences on different sides of the boundary never
share a forward: `Sides.of(length)` names the side that a sequence of prompt and answer is on. With
dynamic NTK every length beyond the boundary has frequencies of its own, and is a side of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

LONG = ("longrope", "su")  # two sets of factors; "su" is what the first code for Phi-3 called it


@dataclass(frozen=True)
class Sides:
    """The boundaries of one or several models: (length in tokens, whether each length beyond it is
    a side of its own).
    """

    boundaries: frozenset[tuple[int, bool]] = frozenset()

    @classmethod
    def of_model(cls, model: nn.Module) -> Sides:
        found = set()
        for rope, kind, layer in _ropes(model):
            if "dynamic" in kind:
                found.add((int(rope.original_max_seq_len), True))
            elif kind in LONG:
                settings = rope.config.rope_parameters
                settings = settings if layer is None else settings[layer]
                found.add((int(settings["original_max_position_embeddings"]), False))
        config = getattr(model, "config", None)
        if config is not None:
            found |= set(
                _from_config(config.to_dict())
            )  # a model that brings its own code may name its modules otherwise
        return cls(frozenset(found))

    def __or__(self, other: Sides) -> Sides:
        return Sides(self.boundaries | other.boundaries)

    def of(self, length: int) -> tuple[int, ...]:
        """Equal for two lengths if and only if sequences of these lengths may share a forward."""
        return tuple(
            (length if each else 1) if length > boundary else 0
            for boundary, each in sorted(self.boundaries)
        )


def forget_lengths(model: nn.Module) -> None:
    """Dynamic NTK keeps the frequencies of the longest forward so far; put back those that a new
    model begins with.
    """
    for rope, kind, layer in _ropes(model):
        if "dynamic" not in kind:
            continue
        prefix = "" if layer is None else f"{layer}_"
        current = getattr(rope, f"{prefix}inv_freq")
        rope.register_buffer(
            f"{prefix}inv_freq",
            getattr(rope, f"{prefix}original_inv_freq").to(current.device),
            persistent=False,
        )
        setattr(rope, f"{prefix}max_seq_len_cached", rope.original_max_seq_len)


def _ropes(model: nn.Module) -> Iterator[tuple[Any, str, str | None]]:
    """Rotary modules with their kind, once for each type of layer where those differ."""
    for module in model.modules():
        kind = getattr(module, "rope_type", None)
        if not hasattr(module, "original_max_seq_len"):
            continue
        if isinstance(kind, str):
            yield module, kind, None
        elif isinstance(kind, Mapping):
            yield from (
                (module, each, layer) for layer, each in kind.items() if isinstance(each, str)
            )


def _from_config(
    settings: Mapping[str, Any], above: int | None = None
) -> Iterator[tuple[int, bool]]:
    own = settings.get("original_max_position_embeddings", above)
    kind = settings.get("rope_type", settings.get("type"))
    if kind in LONG and isinstance(own, int):
        yield own, False
    for value in settings.values():
        if isinstance(value, Mapping):
            yield from _from_config(value, own)
