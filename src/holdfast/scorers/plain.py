"""The slow obvious way: one right-padded row per answer, prompt and all, and the model's own logits.

What the packed path must equal, and what is used when it does not (a recurrent layer, an attention that takes no layout).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from holdfast.scorers.layout import branch_names
from holdfast.types import Scored, Tokenized

# cuDNN's attention backward gives NaN in torch 2.13 at lengths that are 64 modulo 128; the others do not.
SAFE_KERNELS = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]


def score_plain(model: Any, items: Sequence[Tokenized], *, device: torch.device) -> dict[str, Scored]:
    """One `Scored` per branch, each from a padded forward of its own."""
    branch_names(items)
    trees = zip(*(item.trees for item in items), strict=True)
    return {
        name: _score_branch(model, [(tree.prompt, tree.branches[name]) for tree in column], device)
        for column in trees
        for name in column[0].branches
    }


def _score_branch(model: Any, sequences: list[tuple[Sequence[int], Sequence[int]]], device: torch.device) -> Scored:
    rows = len(sequences)
    longest = max(len(prompt) + len(answer) for prompt, answer in sequences)
    ids_NL = torch.zeros(rows, longest, dtype=torch.long)
    attend_NL = torch.zeros(rows, longest, dtype=torch.long)
    answers = max(1, max(len(answer) for _, answer in sequences))
    at_NT = torch.zeros(rows, answers, dtype=torch.long)  # the position that predicts response token t
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
    with sdpa_kernel(SAFE_KERNELS):
        logits_NLV: Tensor = model(input_ids=ids_NL.to(device), attention_mask=attend_NL.to(device), use_cache=False).logits
    at_NT, target_NT, mask_NT = at_NT.to(device), target_NT.to(device), mask_NT.to(device)
    wanted_NTV = logits_NLV.gather(1, at_NT[..., None].expand(-1, -1, logits_NLV.shape[-1])).float()
    logp_NT = wanted_NTV.log_softmax(-1).gather(-1, target_NT[..., None]).squeeze(-1)
    return Scored(torch.where(mask_NT.bool(), logp_NT, 0.0), mask_NT)
