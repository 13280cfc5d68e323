"""Score answers under a Hugging Face causal model: exact, packed, prefix-shared, with the LM head
only where a response token is.

scorer = TextScorer(model)
scorer.verify(items)             # packed against padded on the first and the longest of these;
                                 falls back where they differ
# {"chosen": Scored, "rejected": Scored}, gradients through the model; verified first if it was not
parts = scorer(items)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from holdfast.errors import ModelError
from holdfast.scorers.branches import BranchScorer, ranks_past_tokens
from holdfast.scorers.head import token_logp
from holdfast.scorers.layout import Layout
from holdfast.scorers.padded import causal_model, score_padded
from holdfast.scorers.scorer import Scoring, Verification
from holdfast.types import Scored, Tokenized

__all__ = [
    "Scoring",
    "TextScorer",
    "Verification",
    "causal_model",
    "chunks_by_tokens",
    "score_in_chunks",
]


NOT_CAUSAL = 1e-2  # nats; rounding explains less


class TextScorer(BranchScorer):
    """The policy as every method sees it: log-probabilities of response tokens, nats."""

    scores = "log-probabilities"

    def packed(self, items: Sequence[Tokenized]) -> dict[str, Scored]:
        inner = causal_model(self.model)
        decoder, head, vocabulary = split(inner)
        hidden_LH, layout = self.hidden_states(decoder, items)
        return self.scored(hidden_LH, layout, head, vocabulary)

    def scored(
        self, hidden_LH: Tensor, layout: Layout, head: Callable[[Tensor], Tensor], vocabulary: int
    ) -> dict[str, Scored]:
        """What the head says of the tokens of a packed row, branch by branch."""
        logp_R = token_logp(
            hidden_LH[layout.predictor_R], layout.target_R, head, vocabulary=vocabulary
        )
        return by_branch(layout, {"logp_NT": logp_R})

    def padded(self, items: Sequence[Tokenized]) -> dict[str, Scored]:
        return score_padded(self.model, items, device=self.device)

    def _check_causal(self, rows: Sequence[Tokenized], parts: Mapping[str, Scored]) -> None:
        """The first half of an answer must have the same log-probabilities with and without the
        second.
        """
        if ranks_past_tokens(
            causal_model(self.model)
        ):  # by an order of ties that hangs on the length of the row, but causal
            return
        for n, item in enumerate(rows):
            name, ids = max(item.answers.items(), key=lambda pair: len(pair[1]))
            alone = self.sequences(item)[name]
            half = len(ids) // 2
            if not half or self.sides.of(len(alone.prompt) + half) != self.sides.of(
                len(alone.prompt) + len(ids)
            ):
                continue
            with torch.no_grad():
                scored = self._once([replace(alone, branches={name: ids[:half]})])[name]
            off = float((scored.logp_NT[0, :half] - parts[name].logp_NT[n, :half]).abs().max())
            if off > NOT_CAUSAL:
                raise ModelError(
                    f"{type(causal_model(self.model)).__name__} is not causal as it is "
                    "configured: the log-probability of a token changes "
                    f"by {off:.2g} nats with the tokens that come after it",
                    hint=(
                        "Holdfast trains causal language models; some become one by "
                        "is_decoder=true in config.json"
                    ),
                )

    def log_probs_alone(self) -> AbstractContextManager[None]:
        """While it lasts, nothing but log-probabilities is made."""
        return nullcontext()


def by_branch(layout: Layout, made: Mapping[str, Tensor]) -> dict[str, Scored]:
    """What was made for each of R response tokens, by field of `Scored`, laid out by branch: (N, T,
    ...), zeros where padded.
    """
    padded = {field: torch.cat([x, x.new_zeros(1, *x.shape[1:])]) for field, x in made.items()}
    tokens = len(layout.target_R)
    return {
        name: Scored(
            mask_NT=(index < tokens).to(padded["logp_NT"].dtype),
            **{field: x[index] for field, x in padded.items()},
        )
        for name, index in layout.index_NT.items()
    }


def split(inner: Any) -> tuple[Any, Callable[[Tensor], Tensor], int]:
    """A causal model as its decoder and the function from hidden states to logits."""
    decoder = getattr(inner, inner.base_model_prefix, None)
    output = inner.get_output_embeddings()
    if decoder is None or decoder is inner or output is None:
        raise ModelError(f"{type(inner).__name__} does not show its decoder and its LM head")
    config = inner.config.get_text_config()
    scale, divide, cap = (
        getattr(config, name, None)
        for name in ("logit_scale", "logits_scaling", "final_logit_softcapping")
    )
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


def score_in_chunks(
    scorer: Any, items: Sequence[Tokenized], *, tokens: int = 8192
) -> list[dict[str, Tensor]]:
    """Log-probabilities of many items without gradient: for each item and branch a float32 CPU
    vector of its response tokens.

    Items are scored in order of length so that batches are even, and handed back in the order they
    came.
    """
    out: list[dict[str, Tensor]] = [{} for _ in items]
    if items and isinstance(scorer, BranchScorer):
        scorer.check(items)  # once, on the longest of all
    for batch in chunks_by_tokens(items, tokens=tokens):
        with torch.no_grad():
            parts = scorer([items[i] for i in batch])
        for name, scored in parts.items():
            logp = scored.logp_NT.float().cpu()
            for n, i in enumerate(batch):
                out[i][name] = logp[n, : len(items[i].answers[name])].clone()
    return out


def chunks_by_tokens(items: Sequence[Tokenized], *, tokens: int) -> list[list[int]]:
    """Indices of the items in order of length, cut into batches of at most `tokens` packed tokens
    (one item may exceed it alone).
    """
    batches: list[list[int]] = []
    held = 0
    for i in sorted(range(len(items)), key=lambda i: (items[i].tokens, i)):
        if not batches or held + items[i].tokens > tokens:
            batches.append([])
            held = 0
        batches[-1].append(i)
        held += items[i].tokens
    return batches
