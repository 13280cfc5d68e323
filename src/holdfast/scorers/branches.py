"""What scorers share: the packed path with its check against the plain one, and the fall back where a model cannot branch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from holdfast.errors import ModelError
from holdfast.scorers.attention import install
from holdfast.scorers.layout import Layout, pack
from holdfast.types import Scored, Tokenized

Path = Literal["packed", "plain"]

# Largest difference of a token's log-probability that float rounding explains, nats, by the precision of the forward pass.
TOLERANCE = {torch.float32: 2e-3, torch.float64: 1e-6, torch.bfloat16: 0.75, torch.float16: 0.1}


@dataclass(frozen=True)
class Verification:
    """What the first batch said about the packed path."""

    path: Path  # the path in use from now on
    worst_nats: float  # largest difference between packed and plain, nats a token (or what a head puts out); nan where packed raised
    tolerance_nats: float
    reason: str = ""  # why the plain path is used, if it is

    @property
    def fell_back(self) -> bool:
        return bool(self.reason)


class BranchScorer(nn.Module):
    """A model as the training loop sees it: items in, a `Scored` a branch out. Wrap this in DDP or FSDP, not the model inside.

    Final classes say what is scored: `packed`, all items in one row, and `plain`, a padded forward a branch, which is the definition.
    """

    scores = "scores"  # what to call them

    def __init__(self, model: Any, *, path: Path = "packed"):
        super().__init__()
        self.model = model
        self.path: Path = path
        self.fallbacks = 0
        self._reason = ""
        inner = causal_model(model)
        self._no_split_modules = getattr(inner, "_no_split_modules", None)  # where accelerate looks for FSDP's units
        if path == "packed":
            self._try_install(inner)

    def _try_install(self, inner: Any) -> None:
        if getattr(inner, "_is_stateful", False):
            self._fall_back("the model keeps a recurrent state, which cannot branch")
            return
        try:
            install(inner)
        except (ValueError, KeyError, AttributeError) as error:
            self._fall_back(f"the model does not take an attention function: {error}")

    def _fall_back(self, reason: str) -> None:
        self.path, self._reason = "plain", reason
        self.fallbacks += 1

    def forward(self, items: Sequence[Tokenized]) -> dict[str, Scored]:
        if not items:
            raise ValueError("nothing to score: items is empty")
        return self.packed(items) if self.path == "packed" else self.plain(items)

    def packed(self, items: Sequence[Tokenized]) -> dict[str, Scored]:
        raise NotImplementedError

    def plain(self, items: Sequence[Tokenized]) -> dict[str, Scored]:
        raise NotImplementedError

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    def hidden_states(self, decoder: Any, items: Sequence[Tokenized]) -> tuple[Tensor, Layout]:
        """The decoder's hidden states of one packed row (L, width), and where everything stands in it."""
        out, layout = self.decoded(decoder, items)
        return out.last_hidden_state[0], layout

    def decoded(self, decoder: Any, items: Sequence[Tokenized], **more: Any) -> tuple[Any, Layout]:
        """All that the decoder puts out for one packed row."""
        layout = pack(items).to(self.device)
        # A ready-made 4-D mask is passed on by every model as it is, which saves making one; the attention reads the layout instead.
        unread = layout.ids_L.new_zeros(1, 1, 1, 1, dtype=torch.bool)
        given = {"input_ids": layout.ids_L[None], "position_ids": layout.position_L[None], "attention_mask": unread}
        return decoder(**given, use_cache=False, branches=layout, **more), layout

    @torch.no_grad()
    def verify(self, items: Sequence[Tokenized]) -> Verification:
        """Compare packed with plain on real rows, without dropout and without touching the random state; keep plain where they differ."""
        tolerance = TOLERANCE.get(_forward_dtype(self.model), 1e-3)
        if self.path == "plain":
            return Verification("plain", float("nan"), tolerance, self._reason)
        was_training = self.model.training
        self.model.eval()
        try:
            plain = self.plain(items)
            try:
                packed = self.packed(items)
            except (ModelError, TypeError, ValueError, RuntimeError, AttributeError) as error:
                if isinstance(error, torch.OutOfMemoryError):
                    raise
                self._fall_back(f"the packed forward failed: {type(error).__name__}: {error}")
                return Verification(self.path, float("nan"), tolerance, self._reason)
        finally:
            self.model.train(was_training)
        worst = max(float((packed[name].learned[field] - x).abs().max()) for name in plain for field, x in plain[name].learned.items())
        if not worst <= tolerance:  # NaN falls back too
            self._fall_back(f"packed and plain {self.scores} differ by {worst:.3g} (tolerance {tolerance:g})")
        return Verification(self.path, worst, tolerance, self._reason)


def causal_model(model: Any) -> Any:
    """The Hugging Face model itself, out of a peft wrapper if it is in one."""
    get = getattr(model, "get_base_model", None)
    return get() if callable(get) else model


def _forward_dtype(model: nn.Module) -> torch.dtype:
    device = next(model.parameters()).device.type
    if torch.is_autocast_enabled(device):
        return torch.get_autocast_dtype(device)
    return next(p.dtype for p in model.parameters() if p.is_floating_point())
