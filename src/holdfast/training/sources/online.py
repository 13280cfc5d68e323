"""Answers that the policy draws while it is trained, for methods that ask for them: new at every
step, scored by the reference at once.

The reference's numbers of such answers cannot be made beforehand, so the reference stays in memory:
a copy of the policy as it was before training, or the model that was named.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from holdfast.card import Method
from holdfast.errors import RunError
from holdfast.generation import Generation, HuggingFaceGenerator
from holdfast.inputs import samples
from holdfast.models.load import load_policy
from holdfast.scorers.text import Scoring, TextScorer, score_in_chunks
from holdfast.training.distributed import Distributed
from holdfast.training.examples import Examples
from holdfast.training.sources.source import Source


@dataclass
class Sampler:
    """Draws from the policy as it is, and knows the reference."""

    context: Distributed
    policy: Any
    reference: TextScorer
    tokenizer: Any
    generation: Generation
    tokens: int  # packed tokens that the reference scores at once

    def draw(self, rows: Examples, step: int) -> Examples:
        """The same rows, each with answers of the policy's own to its prompt. All processes get
        those of the first one.
        """
        generator = HuggingFaceGenerator(self.policy, self.tokenizer)
        seeds = self.generation.seeds(len(rows), step=step)
        drawn = generator(
            [item.prompt for item in rows.items],
            samples=samples.least,
            seeds=seeds,
            generation=self.generation,
        )
        answers = self.context.gather([[list(one.ids_T) for one in answers] for answers in drawn])[
            0
        ]
        own = [dict(zip(samples.branches, row, strict=True)) for row in answers]
        alone = [
            replace(item, branches=branches, others=())
            for item, branches in zip(rows.items, own, strict=True)
        ]
        with self.context.accelerator.autocast():
            scored = score_in_chunks(self.reference, alone, tokens=self.tokens)
        items = [
            replace(item, branches={**item.branches, **branches})
            for item, branches in zip(rows.items, own, strict=True)
        ]
        known: Sequence[Any] = rows.reference if rows.reference is not None else [{}] * len(rows)
        return Examples(
            items,
            rows.rows,
            [{**before, **more} for before, more in zip(known, scored, strict=True)],
        )


@dataclass(frozen=True)
class Online:
    """Those of another source, with new answers of the policy's own at every step.

    Attributes:
        source: where the rows come from.
        sampler: draws the answers.
        quiet: a context without dropout, in which they are drawn.
    """

    source: Source
    sampler: Sampler
    quiet: Callable[[], AbstractContextManager[None]]

    @property
    def steps_in_epoch(self) -> int:
        return self.source.steps_in_epoch

    def step(self, n: int) -> Examples:
        with self.quiet():
            return self.sampler.draw(self.source.step(n), n + 1)

    def held_out(self, n: int) -> Examples | None:
        examples = self.source.held_out(n)
        if examples is None:
            return None
        with self.quiet():
            return self.sampler.draw(examples, -n - 1)


def sampler_for(
    method: Method,
    context: Distributed,
    policy: Any,
    *,
    asked: Any,
    tokenizer: Any,
    rows: Examples,
    seed: int,
    tokens: int,
    scoring: Scoring = "packed",
    trust_remote_code: bool,
) -> Sampler | None:
    """A sampler if the method wants one. To be called before the first step and before a checkpoint
    moves in.

    Args:
        asked: `reference=` as it was given; None for the policy as it is now.

    Raises:
        RunError: the policy is sharded over processes, or its reference is an adapter switched off.
    """
    if samples not in method.card.needs:
        return None
    if context.sharded:
        raise RunError(
            f"{method.name} draws from the policy at every step, which FSDP does not allow here",
            hint="use DDP, or one process",
        )
    if isinstance(asked, str) and asked == "adapter-off":
        raise RunError(
            f"{method.name} needs its reference at every step",
            hint="name the base model as the reference",
        )
    model = (
        copy.deepcopy(policy)
        if asked is None
        else load_policy(asked, trust_remote_code=trust_remote_code)
    )
    reference = TextScorer(_frozen(model).to(context.device), scoring=scoring)
    longest = max(len(ids) for item in rows.items for ids in item.branches.values())
    how = Generation(max_new_tokens=longest, seed=seed)
    return Sampler(context, policy, reference, tokenizer, how, tokens)


def _frozen(model: nn.Module) -> nn.Module:
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    return model.eval()
