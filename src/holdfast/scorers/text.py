"""Score answers under a Hugging Face causal model: exact, packed, prefix-shared, with the LM head only where a response token is.

scorer = TextScorer(model)
parts = scorer(items)            # {"chosen": Scored, "rejected": Scored}, gradients through the model
scorer.verify(items)             # packed against plain on these very items; falls back, and says so, where they differ
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from holdfast.errors import ModelError
from holdfast.scorers.attention import install
from holdfast.scorers.head import token_logp
from holdfast.scorers.layout import pack
from holdfast.scorers.plain import score_plain
from holdfast.types import Scored, Tokenized

Path = Literal["packed", "plain"]

# Largest difference of a token's log-probability that float rounding explains, nats, by the precision of the forward pass.
TOLERANCE = {torch.float32: 2e-3, torch.float64: 1e-6, torch.bfloat16: 0.75, torch.float16: 0.1}


@dataclass(frozen=True)
class Verification:
    """What the first batch said about the packed path."""

    path: Path  # the path in use from now on
    worst_nats: float  # largest difference of a token's log-probability between packed and plain; nan where packed raised
    tolerance_nats: float
    reason: str = ""  # why the plain path is used, if it is

    @property
    def fell_back(self) -> bool:
        return bool(self.reason)


class TextScorer(nn.Module):
    """The policy as every method sees it: items in, log-probabilities out. Wrap this in DDP or FSDP, not the model inside."""

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
        return self._packed(items) if self.path == "packed" else score_plain(self.model, items, device=self.device)

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    def _packed(self, items: Sequence[Tokenized]) -> dict[str, Scored]:
        layout = pack(items).to(self.device)
        inner = causal_model(self.model)
        decoder, head, vocabulary = _split(inner)
        # A ready-made 4-D mask is passed on by every model as it is, which saves making one; the attention reads the layout instead.
        unread = layout.ids_L.new_zeros(1, 1, 1, 1, dtype=torch.bool)
        hidden_LH = decoder(
            input_ids=layout.ids_L[None], position_ids=layout.position_L[None], attention_mask=unread, use_cache=False, branches=layout
        ).last_hidden_state[0]
        logp_R = token_logp(hidden_LH[layout.predictor_R], layout.target_R, head, vocabulary=vocabulary)
        padded = torch.cat([logp_R, logp_R.new_zeros(1)])
        return {name: Scored(padded[index], (index < len(logp_R)).to(padded.dtype)) for name, index in layout.index_NT.items()}

    @torch.no_grad()
    def verify(self, items: Sequence[Tokenized]) -> Verification:
        """Compare packed with plain on real rows, without dropout and without touching the random state; keep plain where they differ."""
        tolerance = TOLERANCE.get(_forward_dtype(self.model), 1e-3)
        if self.path == "plain":
            return Verification("plain", float("nan"), tolerance, self._reason)
        was_training = self.model.training
        self.model.eval()
        try:
            plain = score_plain(self.model, items, device=self.device)
            try:
                packed = self._packed(items)
            except (ModelError, TypeError, ValueError, RuntimeError, AttributeError) as error:
                if isinstance(error, torch.OutOfMemoryError):
                    raise
                self._fall_back(f"the packed forward failed: {type(error).__name__}: {error}")
                return Verification(self.path, float("nan"), tolerance, self._reason)
        finally:
            self.model.train(was_training)
        worst = max(float((packed[name].logp_NT - plain[name].logp_NT).abs().max()) for name in plain)
        if not worst <= tolerance:  # NaN falls back too
            self._fall_back(f"packed and plain log-probabilities differ by {worst:.3g} nats on a token (tolerance {tolerance:g})")
        return Verification(self.path, worst, tolerance, self._reason)


def causal_model(model: Any) -> Any:
    """The Hugging Face model itself, out of a peft wrapper if it is in one."""
    get = getattr(model, "get_base_model", None)
    return get() if callable(get) else model


def _split(inner: Any) -> tuple[Any, Callable[[Tensor], Tensor], int]:
    """A causal model as its decoder and the function from hidden states to logits."""
    decoder = getattr(inner, inner.base_model_prefix, None)
    output = inner.get_output_embeddings()
    if decoder is None or decoder is inner or output is None:
        raise ModelError(f"{type(inner).__name__} does not show its decoder and its LM head")
    config = inner.config.get_text_config()
    scale, divide, cap = (getattr(config, name, None) for name in ("logit_scale", "logits_scaling", "final_logit_softcapping"))
    if not scale and not divide and not cap:
        return decoder, output, config.vocab_size

    def head(hidden: Tensor) -> Tensor:
        logits = output(hidden)
        if scale:
            logits = logits * scale
        if divide:
            logits = logits / divide
        return torch.tanh(logits / cap) * cap if cap else logits

    return decoder, head, config.vocab_size


def _forward_dtype(model: nn.Module) -> torch.dtype:
    device = next(model.parameters()).device.type
    if torch.is_autocast_enabled(device):
        return torch.get_autocast_dtype(device)
    return next(p.dtype for p in model.parameters() if p.is_floating_point())


def score_in_chunks(scorer: Any, items: Sequence[Tokenized], *, tokens: int = 8192) -> list[dict[str, Tensor]]:
    """Log-probabilities of many items without gradient: for each item and branch a float32 CPU vector of its response tokens.

    Items are scored in order of length so that batches are even, and handed back in the order they came.
    """
    out: list[dict[str, Tensor]] = [{} for _ in items]
    for batch in chunks_by_tokens(items, tokens=tokens):
        with torch.no_grad():
            parts = scorer([items[i] for i in batch])
        for name, scored in parts.items():
            logp = scored.logp_NT.float().cpu()
            for n, i in enumerate(batch):
                out[i][name] = logp[n, : len(items[i].answers[name])].clone()
    return out


def chunks_by_tokens(items: Sequence[Tokenized], *, tokens: int) -> list[list[int]]:
    """Indices of the items in order of length, cut into batches of at most `tokens` packed tokens (one item may exceed it alone)."""
    batches: list[list[int]] = []
    held = 0
    for i in sorted(range(len(items)), key=lambda i: (items[i].tokens, i)):
        if not batches or held + items[i].tokens > tokens:
            batches.append([])
            held = 0
        batches[-1].append(i)
        held += items[i].tokens
    return batches
