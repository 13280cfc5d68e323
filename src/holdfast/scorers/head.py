"""Log-probabilities straight out of the LM head, a chunk of tokens at a time.

    log p(y_t) = z_t[y_t] - log sum_v exp z_t[v],      z_t = head(h_t)

The logits of a chunk are thrown away and made again in backward, so at no time does an array of (all tokens x vocabulary) exist. The
sum over the vocabulary is taken in float32 whatever the model's precision.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

CHUNK_ELEMENTS = {"cpu": 1 << 22, "cuda": 1 << 26}  # logits held at once: 16 MiB of float32 fits a CPU's cache, 256 MiB feeds a GPU


def token_logp(hidden_RH: Tensor, target_R: Tensor, head: Callable[[Tensor], Tensor], *, vocabulary: int) -> Tensor:
    """float32 log-probability of each target, nats, shape (R,)."""
    rows = max(1, CHUNK_ELEMENTS.get(hidden_RH.device.type, 1 << 24) // max(1, vocabulary))
    grad = torch.is_grad_enabled()
    parts = []
    for hidden, target in zip(hidden_RH.split(rows), target_R.split(rows), strict=True):
        if grad:
            parts.append(checkpoint(_chunk, hidden, target, head, use_reentrant=False, preserve_rng_state=False))
        else:
            parts.append(_chunk(hidden, target, head))
    return torch.cat(parts) if parts else hidden_RH.new_zeros(0, dtype=torch.float32)


def _chunk(hidden: Tensor, target: Tensor, head: Callable[[Tensor], Tensor]) -> Tensor:
    logits = head(hidden).float()
    return logits.gather(-1, target[:, None]).squeeze(-1) - torch.logsumexp(logits, dim=-1)
