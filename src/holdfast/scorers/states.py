"""Log-probabilities and, from the same pass, what the model makes of an answer: its last hidden
states, averaged over response tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from holdfast.scorers.layout import Layout
from holdfast.scorers.padded import causal_model
from holdfast.scorers.text import TextScorer, split
from holdfast.types import Scored, Tokenized

STATE = " state"


class StateScorer(TextScorer):
    """As `TextScorer`, and beside each branch NAME a part "NAME state": (N, width), the mean of the
    decoder's last hidden states over the branch's own tokens, 0 where it has none."""

    scores = "log-probabilities and hidden states"

    def unit(self, name: str, field: str, x: Tensor) -> float:
        return (
            max(1.0, float(x.abs().max())) if name.endswith(STATE) else super().unit(name, field, x)
        )

    def packed(self, items: Sequence[Tokenized]) -> dict[str, Scored]:
        decoder, head, vocabulary = split(causal_model(self.model))
        hidden_LH, layout = self.hidden_states(decoder, items)
        return self.scored(hidden_LH, layout, head, vocabulary) | _parts(
            _means(hidden_LH, layout, list(items[0].branches))
        )

    def padded(self, items: Sequence[Tokenized]) -> dict[str, Scored]:
        decoder, _, _ = split(causal_model(self.model))
        states = {
            name: torch.stack([_state(decoder, item, name, self.device) for item in items])
            for name in items[0].branches
        }
        return super().padded(items) | _parts(states)


def _parts(states: dict[str, Tensor]) -> dict[str, Scored]:
    return {
        f"{name}{STATE}": Scored(state_NH, torch.ones_like(state_NH))
        for name, state_NH in states.items()
    }


def _means(hidden_LH: Tensor, layout: Layout, names: list[str]) -> dict[str, Tensor]:
    """Every token belongs to one place, its comparison and its branch; one sum over the row serves
    all of them.
    """
    places = len(layout.bounds) * (len(names) + 1)
    place_L = layout.segment_L * (len(names) + 1) + layout.branch_L
    hidden_LH = hidden_LH.float()
    sums_PH = hidden_LH.new_zeros(places, hidden_LH.shape[1]).index_add_(0, place_L, hidden_LH)
    counts_P = torch.bincount(place_L, minlength=places).clamp(min=1)
    mean_NBH = (sums_PH / counts_P[:, None]).reshape(len(layout.bounds), len(names) + 1, -1)
    return {name: mean_NBH[:, number] for number, name in enumerate(names, start=1)}


def _state(decoder: Any, item: Tokenized, name: str, device: torch.device) -> Tensor:
    """The slow obvious way: prompt and answer alone."""
    ids = [*item.prompt, *item.branches[name]]
    hidden_LH = (
        decoder(input_ids=torch.tensor([ids], device=device), use_cache=False)
        .last_hidden_state[0]
        .float()
    )
    own_TH = hidden_LH[len(item.prompt) :]
    return own_TH.mean(0) if len(own_TH) else hidden_LH.new_zeros(hidden_LH.shape[1])
