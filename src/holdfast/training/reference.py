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
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from holdfast.errors import OptionError
from holdfast.models.load import load_policy
from holdfast.scorers.branches import BranchScorer, Verification
from holdfast.scorers.reference import model_hash, score_reference
from holdfast.scorers.text import Path as ScoringPath
from holdfast.scorers.text import TextScorer
from holdfast.training.plan import split
from holdfast.training.policy import adapter_off
from holdfast.training.step import Rows, score_all
from holdfast.training.world import World
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

    def __init__(self, world: World, scorer: nn.Module, inner: TextScorer):
        self.world, self.scorer, self.path, self.model = world, scorer, inner.path, inner.model

    def __call__(self, items: Sequence[Tokenized]) -> dict[str, Scored]:
        lengths = [item.tokens for item in items]
        everything = sum(lengths)  # a batch was already cut to size: one microbatch a process
        return score_all(
            self.world,
            self.scorer,
            items,
            split(lengths, processes=self.world.size, budget=everything),
        )


@dataclass
class Asked:
    """Which model `reference=` names, before anything is scored. `model` is one that was loaded for
    it, or given; else None.
    """

    who: str
    identity: str
    is_start: bool
    model: Any = None


def asked_reference(
    asked: Any,
    policy: Any,
    *,
    start_hash: str,
    fresh_adapter: bool,
    trust_remote_code: bool = False,
) -> Asked:
    """The model that `reference=` names, and the hash of its content.

    Args:
        asked: `reference=` as it was given.
        policy: the policy before its first step.
        start_hash: content hash of that policy.
        fresh_adapter: whether its adapter (if any) is made for this run, so that it changes nothing
            yet.
        trust_remote_code: run code that comes with a reference model.
    """
    if asked is None:
        return Asked("the policy before training", start_hash, True)
    if isinstance(asked, str) and asked == ADAPTER_OFF:
        return Asked("the model with its adapter off", f"{start_hash}:off", fresh_adapter)
    model = load_policy(asked, trust_remote_code=trust_remote_code)
    if model is policy:
        raise OptionError(
            "reference is the very model that is trained",
            hint="leave reference out: the policy before training is the default",
        )
    identity = model_hash(model)
    name = str(asked) if not isinstance(asked, nn.Module) else type(asked).__name__
    return Asked(name, identity, identity == start_hash, model)


def reference_log_probs(
    world: World,
    scorer: nn.Module,
    asked: Asked,
    items: Sequence[Tokenized],
    *,
    precision: str,
    cache: Path,
    tokens: int,
    path: ScoringPath,
    verify: Callable[[World, BranchScorer, Sequence[Tokenized]], Verification],
) -> Reference:
    """Score the reference, or read its numbers back. A model that was loaded for it is let go.

    Args:
        world: the processes.
        scorer: the policy as it is trained, before its first step.
        asked: whose numbers.
        items: all rows, those to train on first.
        precision: arithmetic of the forward pass; part of what the numbers depend on.
        cache: folder of the numbers.
        tokens: packed tokens scored at once, by each process.
        path: how another model is scored, "packed" or "plain".
        verify: compares its packed path with its padded one.
    """
    inner: TextScorer = world.unwrap(scorer)
    how: dict[str, Any] = {
        "cache_dir": cache,
        "progress": world.is_main,
        "tokens": tokens * world.size,
    }
    how["key"] = f"{asked.identity}:{precision}"
    if asked.model is None:
        with (
            adapter_off(inner.model) if asked.identity.endswith(":off") else nullcontext(),
            inner.log_probs_alone(),
        ):
            found = score_reference(_Shared(world, scorer, inner), items, **how)  # type: ignore[arg-type]
        return Reference(asked.who, asked.identity, asked.is_start, found)
    with _on(asked.model, world.device):
        other = TextScorer(asked.model, path=path)
        verification = verify(world, other, items)
        with world.accelerator.autocast() if precision != "fp32" else nullcontext():
            found = score_reference(_Shared(world, other, other), items, **how)  # type: ignore[arg-type]
    asked.model = None
    del other
    gc.collect()
    return Reference(asked.who, asked.identity, asked.is_start, found, verification)


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
