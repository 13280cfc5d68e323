"""Answers held against plain forwards of the model that made them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from holdfast.scorers.rope import forget_lengths

# What rounding may change the log-probability of a sampled token by, in nats. Measured in bfloat16
# on SmolLM2-135M (16 answers, 792 tokens): the shared way differs from a plain forward by at most
# 0.42, and that forward from its own float32 by at most 0.34, so this is rounding. What must not
# pass is larger: one position too far changes some token of every answer by at least 3.3, a wrong
# token of the prompt by 5.9. What changes less than 0.75 is found in float32 alone.
TOLERANCE = {torch.float32: 2e-3, torch.float64: 1e-6, torch.bfloat16: 0.75, torch.float16: 0.1}


def largest_difference(
    inner: Any, prompt: Sequence[int], answer: Sequence[int], logp_T: Tensor, *, whole: bool
) -> tuple[float, float]:
    """The largest difference of the answer's log-probabilities from those of the model's own
    forward without a cache, and what rounding may make of it, both in nats.

    Args:
        whole: one forward reads prompt and answer. Else the first and the last token are each read
            after a forward of what stands before it, as models need whose numbers depend on the
            length of a sequence.
    """
    made: list[torch.dtype] = []
    head = inner.get_output_embeddings()  # its output tells the precision, under autocast too
    handle = (
        head.register_forward_hook(lambda module, args, out: made.append(out.dtype))
        if head is not None
        else None
    )
    places = [slice(0, len(answer))] if whole else [slice(t, t + 1) for t in (0, len(answer) - 1)]
    worst, tolerance = 0.0, 0.0
    try:
        for place in places:
            logits_TV = _logits(inner, [*prompt, *answer[: place.stop - 1]])
            ids_T1 = torch.tensor(list(answer[place]), device=logits_TV.device)[:, None]
            right_TV = logits_TV[-len(ids_T1) :].float().log_softmax(-1)
            nats = float((right_TV.gather(1, ids_T1)[:, 0].cpu() - logp_T[place]).abs().max())
            worst = nats if not nats <= worst else worst  # NaN is worse than any number
            tolerance = TOLERANCE.get(made[0] if made else logits_TV.dtype, 2e-3)
    finally:
        if handle is not None:
            handle.remove()
    return worst, tolerance


def _logits(inner: Any, ids: Sequence[int]) -> Tensor:
    forget_lengths(inner)
    device = next(inner.parameters()).device
    out = inner(input_ids=torch.tensor([list(ids)], device=device), use_cache=False)
    logits_LV: Tensor = out.logits[0]
    return logits_LV
