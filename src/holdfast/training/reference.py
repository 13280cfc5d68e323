"""The reference's log-probabilities of a run's rows: whose they are, and scoring them once, shared among the processes.

    None            the policy as it was before the first step: no second model is ever held
    "adapter-off"   the model under the adapter; not the same thing where the adapter had been trained before
    a model         loaded, scored, and freed

Rows to train on and rows to evaluate on are scored together, so that no row is ever compared with a policy that has moved.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from holdfast.errors import OptionError
from holdfast.models.load import load_policy
from holdfast.scorers.reference import model_hash, score_reference
from holdfast.scorers.text import TextScorer
from holdfast.training.plan import split
from holdfast.training.policy import adapter_off
from holdfast.training.step import Rows, score_all
from holdfast.training.world import World
from holdfast.types import Scored, Tokenized

ADAPTER_OFF = "adapter-off"


@dataclass(frozen=True)
class Reference:
    """Whose log-probabilities they are. `is_start` is True where the policy starts as its own reference."""

    who: str
    identity: str
    is_start: bool
    items: list[dict[str, Tensor]]


class _Shared:
    """A scorer's face for `score_reference`: each batch is dealt to the processes, and all get the whole of it back."""

    def __init__(self, world: World, scorer: nn.Module, inner: TextScorer):
        self.world, self.scorer, self.path, self.model = world, scorer, inner.path, inner.model

    def __call__(self, items: Sequence[Tokenized]) -> dict[str, Scored]:
        lengths = [item.tokens for item in items]
        everything = sum(lengths)  # a batch was already cut to size: one microbatch a process
        return score_all(self.world, self.scorer, items, split(lengths, processes=self.world.size, budget=everything))


def reference_log_probs(
    world: World,
    scorer: nn.Module,
    asked: Any,
    items: Sequence[Tokenized],
    *,
    start_hash: str,
    fresh_adapter: bool,
    precision: str,
    cache: Path,
    tokens: int,
    trust_remote_code: bool = False,
) -> Reference:
    """Score the reference, or read its numbers back.

    Args:
        world: the processes.
        scorer: the policy as it is trained, before its first step.
        asked: `reference=` as it was given.
        items: all rows, those to train on first.
        start_hash: content hash of the policy before its first step.
        fresh_adapter: whether its adapter (if any) was made for this run, so that it changes nothing yet.
        precision: arithmetic of the forward pass; part of what the numbers depend on.
        cache: folder of the numbers.
        tokens: packed tokens scored at once, by each process.
        trust_remote_code: run code that comes with a reference model.
    """
    inner: TextScorer = world.unwrap(scorer)
    how = {"cache_dir": cache, "progress": world.is_main, "tokens": tokens * world.size}
    if asked is None:
        with inner.log_probs_alone():
            found = score_reference(_Shared(world, scorer, inner), items, key=f"{start_hash}:{precision}", **how)  # type: ignore[arg-type]
        return Reference("the policy before training", start_hash, True, found)
    if isinstance(asked, str) and asked == ADAPTER_OFF:
        with adapter_off(inner.model), inner.log_probs_alone():
            found = score_reference(_Shared(world, scorer, inner), items, key=f"{start_hash}:off:{precision}", **how)  # type: ignore[arg-type]
        return Reference("the model with its adapter off", f"{start_hash}:off", fresh_adapter, found)
    model = load_policy(asked, trust_remote_code=trust_remote_code)
    if model is inner.model:
        raise OptionError(
            "reference is the very model that is trained", hint="leave reference out: the policy before training is the default"
        )
    identity = model_hash(model)
    with _on(model, world.device):
        other = TextScorer(model, path=inner.path)
        with world.accelerator.autocast() if precision != "fp32" else nullcontext():
            found = score_reference(_Shared(world, other, other), items, key=f"{identity}:{precision}", **how)  # type: ignore[arg-type]
    name = str(asked) if not isinstance(asked, nn.Module) else type(asked).__name__
    del model, other
    gc.collect()
    return Reference(name, identity, identity == start_hash, found)


@contextmanager
def _on(model: nn.Module, device: torch.device) -> Iterator[None]:
    """The model on the device for a while, and off it again, whoever owns it."""
    before = next(model.parameters()).device
    model.to(device)
    try:
        yield
    finally:
        model.to(before)


def with_reference(rows: Rows, items: Sequence[Mapping[str, Tensor]]) -> Rows:
    return Rows(rows.items, rows.rows, items)
