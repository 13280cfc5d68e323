"""Score answers under a reward model: what its head puts out where an answer ends, packed and
prefix-shared like a policy's.

The model is a Hugging Face sequence classifier over a causal decoder. It reads its head at the last
token that is not padding; so does this, also where the end-of-sequence token doubles as padding, so
that whoever loads the saved model gets the very same numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import sdpa_kernel

from holdfast.errors import ModelError
from holdfast.scorers.branches import BranchScorer
from holdfast.scorers.padded import SAFE_KERNELS, causal_model
from holdfast.scorers.scorer import Scoring
from holdfast.types import Scored, Tokenized


class JudgeScorer(BranchScorer):
    """A reward model as the training loop sees it: each branch's outputs (N, H) in the place of
    token log-probabilities.

    `prompt` is what to call the outputs at the end of the row's own prompt, where a method reads
    those too.
    """

    scores = "outputs of the head"

    def __init__(self, model: Any, *, scoring: Scoring = "packed", prompt: str | None = None):
        super().__init__(model, scoring=scoring)
        self.prompt = prompt  # what to call the outputs at the prompt's end; None where nobody asks

    def packed(self, items: Sequence[Tokenized]) -> dict[str, Scored]:
        decoder, head = decoder_and_head(causal_model(self.model))
        hidden_LH, _ = self.hidden_states(decoder, items)
        return {
            name: _scored(head(hidden_LH[at_N.to(hidden_LH.device)]))
            for name, at_N in self._ends(items).items()
        }

    def padded(self, items: Sequence[Tokenized]) -> dict[str, Scored]:
        sequences = {
            name: [[*_prompt_of(item, name), *item.answers[name]] for item in items]
            for name in items[0].answers
        }
        if self.prompt is not None:
            sequences[self.prompt] = [list(item.prompt) for item in items]
        return {name: _scored(self._forward(rows)) for name, rows in sequences.items()}

    def sequences(self, item: Tokenized) -> dict[str, Tokenized]:
        alone = super().sequences(item)
        return (
            alone
            if self.prompt is None
            else {**alone, self.prompt: Tokenized(item.prompt, {}, item.row)}
        )

    def belongs(self, part: str, names: Sequence[str]) -> bool:
        return part in names  # the prompt's end is read beside whatever answer is scored

    def unit(self, name: str, field: str, x: Tensor) -> float:
        return max(1.0, float(x.abs().max()))

    def _forward(self, rows: Sequence[Sequence[int]]) -> Tensor:
        """The model's own reading, one padded forward. Padding that looks like text cannot be: it
        is the padding token.
        """
        longest = max(map(len, rows))
        ids_NL = torch.full((len(rows), longest), self._pad)
        attend_NL = torch.zeros_like(ids_NL)
        for n, ids in enumerate(rows):
            ids_NL[n, : len(ids)] = torch.as_tensor(list(ids))
            attend_NL[n, : len(ids)] = 1
        mask = {} if bool(attend_NL.all()) else {"attention_mask": attend_NL.to(self.device)}
        with sdpa_kernel(SAFE_KERNELS):
            logits: Tensor = self.model(
                input_ids=ids_NL.to(self.device), use_cache=False, **mask
            ).logits
        return logits

    def _ends(self, items: Sequence[Tokenized]) -> dict[str, Tensor]:
        """Where in the packed row each branch is read, in the order in which `pack` lays trees and
        branches out.
        """
        ends: dict[str, list[int]] = {name: [] for name in items[0].answers}
        if self.prompt is not None:
            ends[self.prompt] = []
        start = 0
        for item in items:
            for number, tree in enumerate(item.trees):
                prompt_end = start + self._last(tree.prompt)
                if self.prompt is not None and number == 0:
                    ends[self.prompt].append(max(prompt_end, start))
                at = start + len(tree.prompt)
                for name, ids in tree.branches.items():
                    last = self._last(ids)
                    ends[name].append(at + last if last >= 0 else max(prompt_end, start))
                    at += len(ids)
                start = at
        return {name: torch.tensor(places) for name, places in ends.items()}

    def _last(self, ids: Sequence[int]) -> int:
        """Index of the last token that is not padding, -1 where there is none."""
        return next((i for i in range(len(ids) - 1, -1, -1) if ids[i] != self._pad), -1)

    @property
    def _pad(self) -> int:
        pad = causal_model(self.model).config.get_text_config().pad_token_id
        if pad is None:
            raise ModelError(
                "the reward model has no padding token", hint="set pad_token_id in its config.json"
            )
        return int(pad)


def decoder_and_head(inner: Any) -> tuple[Any, Any]:
    """A sequence classifier as its decoder and its head, a linear map of hidden states.

    Raises:
        ModelError: it is built otherwise.
    """
    decoder = getattr(inner, inner.base_model_prefix, None)
    head = getattr(inner, "score", None)
    if decoder is None or decoder is inner or head is None:
        raise ModelError(f"{type(inner).__name__} does not show a decoder and a head `score`")
    return decoder, head


def _scored(outputs_NH: Tensor) -> Scored:
    outputs_NH = (
        outputs_NH.float() if outputs_NH.dtype in (torch.bfloat16, torch.float16) else outputs_NH
    )
    return Scored(outputs_NH, torch.ones_like(outputs_NH))


def _prompt_of(item: Tokenized, name: str) -> Sequence[int]:
    return next(tree.prompt for tree in item.trees if name in tree.branches)
