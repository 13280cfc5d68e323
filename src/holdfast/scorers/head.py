"""Log-probabilities straight out of the LM head, a chunk of tokens at a time.

    log p(y_t) = z_t[y_t] - log sum_v exp z_t[v],      z_t = head(h_t)

The logits of a chunk are thrown away and made again in backward, so at no time does an array of
(all tokens x vocabulary) exist. The sum over the vocabulary is taken in float32 whatever the
model's precision.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from holdfast.scorers.float32 import as_now

RECOMPUTED: Any = {"use_reentrant": False, "preserve_rng_state": False, "context_fn": as_now}
CHUNK_ELEMENTS = {
    "cpu": 1 << 22,
    "cuda": 1 << 26,
}  # logits held at once: 16 MiB of float32 fits a CPU's cache, 256 MiB feeds a GPU


def token_logp(
    hidden_RH: Tensor, target_R: Tensor, head: Callable[[Tensor], Tensor], *, vocabulary: int
) -> Tensor:
    """float32 log-probability of each target, nats, shape (R,)."""
    rows = _rows_at_once(hidden_RH, vocabulary)
    grad = torch.is_grad_enabled()
    parts = []
    for hidden, target in zip(hidden_RH.split(rows), target_R.split(rows), strict=True):
        if grad:
            parts.append(checkpoint(_chunk, hidden, target, head, **RECOMPUTED))
        else:
            parts.append(_chunk(hidden, target, head))
    return torch.cat(parts) if parts else hidden_RH.new_zeros(0, dtype=torch.float32)


def token_logp_and_kl(
    hidden_RH: Tensor,
    reference_RH: Tensor,
    target_R: Tensor,
    head: Callable[[Tensor], Tensor],
    reference_head: Callable[[Tensor], Tensor],
    *,
    vocabulary: int,
) -> tuple[Tensor, Tensor]:
    """As `token_logp`, and beside it KL(reference || policy) of the next token, nats, both float32
    and of shape (R,):

        KL = sum_v p_ref(v) [log p_ref(v) - log p(v)]

    over the whole vocabulary, with a gradient to the policy, whose logits are made once for both.
    """
    rows = max(1, _rows_at_once(hidden_RH, vocabulary) // 2)  # two heads' logits are held
    grad = torch.is_grad_enabled()
    parts = []
    for each in zip(
        hidden_RH.split(rows), reference_RH.split(rows), target_R.split(rows), strict=True
    ):
        if grad:
            parts.append(checkpoint(_chunk_with_kl, *each, head, reference_head, **RECOMPUTED))
        else:
            parts.append(_chunk_with_kl(*each, head, reference_head))
    if not parts:
        nothing = hidden_RH.new_zeros(0, dtype=torch.float32)
        return nothing, nothing
    logp, kl = zip(*parts, strict=True)
    return torch.cat(logp), torch.cat(kl)


def _chunk_with_kl(
    hidden: Tensor,
    reference: Tensor,
    target: Tensor,
    head: Callable[[Tensor], Tensor],
    reference_head: Callable[[Tensor], Tensor],
) -> tuple[Tensor, Tensor]:
    logp = head(hidden).float().log_softmax(-1)
    with torch.no_grad():
        reference_logp = reference_head(reference).float().log_softmax(-1)
    return logp.gather(-1, target[:, None]).squeeze(-1), divergence(reference_logp, logp)


def divergence(reference_logp: Tensor, logp: Tensor) -> Tensor:
    """KL over the last axis; a token that the reference gives no chance adds nothing."""
    return (
        reference_logp.exp() * torch.where(reference_logp > -torch.inf, reference_logp - logp, 0.0)
    ).sum(-1)


def _rows_at_once(hidden_RH: Tensor, vocabulary: int) -> int:
    return max(1, CHUNK_ELEMENTS.get(hidden_RH.device.type, 1 << 24) // max(1, vocabulary))


def _chunk(hidden: Tensor, target: Tensor, head: Callable[[Tensor], Tensor]) -> Tensor:
    logits = head(hidden).float()
    return logits.gather(-1, target[:, None]).squeeze(-1) - torch.logsumexp(logits, dim=-1)
