"""The reference's log-probabilities of a run's rows: whose they are, and scoring them once, shared
among the processes.

    None            the policy as it was before the first step: no second model is ever held
    "adapter-off"   the model under the adapter; not the same thing where the adapter had been
                    trained before
    a model         loaded, scored, and freed

Rows to train on and rows to evaluate on are scored together, so that no row is ever compared with a
policy that has moved.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from holdfast.errors import OptionError
from holdfast.scorers.reference import model_hash, score_reference
from holdfast.scorers.scorer import Verification
from holdfast.scorers.text import Scoring, TextScorer
from holdfast.training.batching import split
from holdfast.training.distributed import Distributed
from holdfast.training.gradient import score_batch
from holdfast.training.model import adapter_off
from holdfast.training.request import RunRequest
from holdfast.training.verify import verify
from holdfast.types import Scored, Tokenized

ADAPTER_OFF = "adapter-off"


@dataclass(frozen=True)
class Reference:
    """Whose log-probabilities they are. `is_start` is True where the policy starts as its own
    reference.
    """

    who: str
    identity: str
    is_start: bool
    items: list[dict[str, Tensor]]
    verification: Verification | None = (
        None  # of its own scorer, where it is another model than the policy
    )


class _Shared:
    """A scorer's face for `score_reference`: each batch is dealt to the processes, and all get the
    whole of it back.
    """

    def __init__(self, context: Distributed, scorer: nn.Module, inner: TextScorer):
        self.context, self.scorer, self.scoring, self.model = (
            context,
            scorer,
            inner.scoring,
            inner.model,
        )

    def __call__(self, items: Sequence[Tokenized]) -> dict[str, Scored]:
        lengths = [item.tokens for item in items]
        everything = sum(lengths)  # a batch was already cut to size: one microbatch a process
        return score_batch(
            self.context,
            self.scorer,
            items,
            split(lengths, processes=self.context.size, budget=everything),
        )


@dataclass
class NamedReference:
    """Which model `reference=` names, before anything is scored. `model` is one that was loaded for
    it, or given; else None.
    """

    who: str
    identity: str
    is_start: bool
    model: nn.Module | None = None


def named_reference(request: RunRequest, policy: nn.Module, start_hash: str) -> NamedReference:
    """The model that `reference=` names, and the hash of its content.

    Args:
        request: names the reference.
        policy: the policy before its first step.
        start_hash: content hash of that policy.
    """
    asked = request.reference
    if asked is None:
        return NamedReference("the policy before training", start_hash, True)
    if isinstance(asked, str) and asked == ADAPTER_OFF:
        fresh = bool(request.options.lora_rank)  # made for this run, so it changes nothing yet
        return NamedReference("the model with its adapter off", f"{start_hash}:off", fresh)
    model = request.task.load(asked, request.options)
    if model is policy:
        raise OptionError(
            "reference is the very model that is trained",
            hint="leave reference out: the policy before training is the default",
        )
    identity = model_hash(model)
    name = str(asked) if not isinstance(asked, nn.Module) else type(asked).__name__
    return NamedReference(name, identity, identity == start_hash, model)


def reference_log_probs(
    context: Distributed,
    scorer: nn.Module,
    named: NamedReference,
    items: Sequence[Tokenized],
    *,
    precision: str,
    cache: Path,
    tokens: int,
    scoring: Scoring,
) -> Reference:
    """Score the reference, or read its numbers back. A model that was loaded for it is let go.

    Args:
        context: the processes.
        scorer: the policy as it is trained, before its first step.
        named: whose numbers.
        items: all rows, those to train on first.
        precision: arithmetic of the forward pass; part of what the numbers depend on.
        cache: folder of the numbers.
        tokens: packed tokens scored at once, by each process.
        scoring: how another model is scored, "packed" or "padded".
    """
    inner: TextScorer = context.unwrap(scorer)
    how: dict[str, Any] = {
        "cache_dir": cache,
        "progress": context.is_main,
        "tokens": tokens * context.size,
    }
    how["key"] = f"{named.identity}:{precision}"
    if named.model is None:
        with (
            adapter_off(inner.model) if named.identity.endswith(":off") else nullcontext(),
            inner.log_probs_alone(),
        ):
            found = score_reference(_Shared(context, scorer, inner), items, **how)  # type: ignore[arg-type]
        return Reference(named.who, named.identity, named.is_start, found)
    with _on(named.model, context.device):
        other = TextScorer(named.model, scoring=scoring)
        verification = verify(context, other, items)
        with context.accelerator.autocast() if precision != "fp32" else nullcontext():
            found = score_reference(_Shared(context, other, other), items, **how)  # type: ignore[arg-type]
    named.model = None
    del other
    gc.collect()
    return Reference(named.who, named.identity, named.is_start, found, verification)


@contextmanager
def _on(model: nn.Module, device: torch.device) -> Iterator[None]:
    """The model on the device for a while, and off it again, whoever owns it."""
    before = next(model.parameters()).device
    model.to(device)
    try:
        yield
    finally:
        model.to(before)
