"""The slow obvious way: one right-padded row per answer, prompt and all, and the model's own
logits.

What the packed scoring must equal, and what is used when it does not (a recurrent layer, an
attention that takes no layout).
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from holdfast.scorers.layout import branch_names
from holdfast.types import Scored, Tokenized

# cuDNN's attention backward gives NaN in torch 2.13 at lengths that are 64 modulo 128; the others
# do not.
SAFE_KERNELS = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]


def causal_model(model: Any) -> Any:
    """The Hugging Face model itself, out of a peft wrapper if it is in one."""
    get = getattr(model, "get_base_model", None)
    return get() if callable(get) else model


def score_padded(
    model: Any, items: Sequence[Tokenized], *, device: torch.device
) -> dict[str, Scored]:
    """One `Scored` per branch, each from a padded forward of its own."""
    return {
        name: _score_branch(model, sequences, device)
        for name, sequences in sequences_of(items).items()
    }


def sequences_of(
    items: Sequence[Tokenized],
) -> dict[str, list[tuple[Sequence[int], Sequence[int]]]]:
    """(prompt, answer) of every item, by branch."""
    branch_names(items)
    trees = zip(*(item.trees for item in items), strict=True)
    return {
        name: [(tree.prompt, tree.branches[name]) for tree in column]
        for column in trees
        for name in column[0].branches
    }


def _score_branch(
    model: Any, sequences: list[tuple[Sequence[int], Sequence[int]]], device: torch.device
) -> Scored:
    padded = Padded.of(sequences, device)
    logp_NTV = padded.forward(model).logits_NTV.log_softmax(-1)
    return Scored(padded.chosen(logp_NTV), padded.mask_NT)


@dataclass(frozen=True)
class Forward:
    """A padded forward, read where response tokens are predicted (and where they stand): every
    layer's states, and logits in float32.
    """

    logits_NTV: Tensor
    before_NTLH: Tensor | None = None  # states of L layers just before token t is read
    after_NTLH: Tensor | None = None  # and just after


@dataclass(frozen=True)
class Padded:
    """N sequences, right-padded to the longest, with T response tokens each at most."""

    ids_NL: Tensor
    attend_NL: Tensor
    at_NT: Tensor  # the position that predicts response token t
    target_NT: Tensor
    mask_NT: Tensor

    @classmethod
    def of(
        cls, sequences: list[tuple[Sequence[int], Sequence[int]]], device: torch.device
    ) -> Padded:
        rows = len(sequences)
        longest = max(len(prompt) + len(answer) for prompt, answer in sequences)
        ids_NL = torch.zeros(rows, longest, dtype=torch.long)
        attend_NL = torch.zeros(rows, longest, dtype=torch.long)
        answers = max(1, max(len(answer) for _, answer in sequences))
        at_NT = torch.zeros(rows, answers, dtype=torch.long)
        target_NT = torch.zeros(rows, answers, dtype=torch.long)
        mask_NT = torch.zeros(rows, answers)
        for n, (prompt, answer) in enumerate(sequences):
            p, a = len(prompt), len(answer)
            ids_NL[n, : p + a] = torch.as_tensor([*prompt, *answer])
            attend_NL[n, : p + a] = 1
            if a:
                at_NT[n, :a] = torch.arange(p - 1, p + a - 1)
                target_NT[n, :a] = torch.as_tensor(list(answer))
                mask_NT[n, :a] = 1
        return cls(*(x.to(device) for x in (ids_NL, attend_NL, at_NT, target_NT, mask_NT)))

    def forward(self, model: Any, *, states: bool = False) -> Forward:
        """Run the model; `states` keeps those of all layers."""
        more: dict[str, Any] = {"output_hidden_states": True} if states else {}
        length = self.ids_NL.shape[1]
        read_R = self.at_NT[self.mask_NT.bool()]
        first, last = (int(read_R.min()), int(read_R.max())) if len(read_R) else (0, 0)
        if (
            "logits_to_keep" in inspect.signature(causal_model(model).forward).parameters
        ):  # the others would only fill the memory
            more["logits_to_keep"] = torch.arange(first, last + 1, device=self.ids_NL.device)
        if not bool(self.attend_NL.all()):
            more["attention_mask"] = self.attend_NL
        with sdpa_kernel(SAFE_KERNELS):
            out = model(input_ids=self.ids_NL, use_cache=False, **more)
        start = first if out.logits.shape[1] < length else 0
        logits_NTV = _read(out.logits, (self.at_NT - start).clamp(min=0)).float()
        if not states:
            return Forward(logits_NTV)
        after_NT = (self.at_NT + 1).clamp(max=self.ids_NL.shape[1] - 1)
        before, after = (
            [_read(layer, at) for layer in out.hidden_states[1:]] for at in (self.at_NT, after_NT)
        )
        return Forward(logits_NTV, torch.stack(before, 2), torch.stack(after, 2))

    def chosen(self, logp_NTV: Tensor) -> Tensor:
        """Each response token's own log-probability, 0 where padded."""
        return torch.where(
            self.mask_NT.bool(), logp_NTV.gather(-1, self.target_NT[..., None]).squeeze(-1), 0.0
        )


def _read(x_NLV: Tensor, at_NT: Tensor) -> Tensor:
    return x_NLV.gather(1, at_NT[..., None].expand(-1, -1, x_NLV.shape[-1]))
