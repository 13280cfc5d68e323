"""A Hugging Face causal model in this process, by the fastest way that is right for it.

    shared    the model's own forward over a `PrefixCache`: every prompt is read once for all its
              answers, rows that are done leave the batch, and nothing of `generate` runs between
              two tokens
    together  `model.generate` on answers to prompts of one length, so that nothing is padded
    alone     `model.generate` on one answer after the other, for models that mix the rows of a
              batch
    uncached  the same without a cache, for models whose cache is not what a forward says (dynamic
              rope) or does not work

A way is verified: log-probabilities of sampled tokens are held against a plain forward of prompt
and answer alone, at the first call and whenever sequences are longer, or prompts shorter, than
those verified. A model that fails, or that a way cannot serve, goes on with the next one, and says
so; a model that fails in the last one is refused. The draws are the same in every way.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from transformers import GenerationConfig

from holdfast.errors import ModelError, OptionError
from holdfast.generation.bar import answer_bar
from holdfast.generation.choose import Chooser
from holdfast.generation.contract import Answer, Generation
from holdfast.generation.linear import packed_linears
from holdfast.generation.made import ROW_MULTIPLE, Choice, Made, filled
from holdfast.generation.noise import key
from holdfast.generation.prefix_cache import PrefixCache, UnservedError, active, attention_of
from holdfast.generation.served import (
    check_windows,
    end_tokens,
    evaluating,
    or_unserved,
    own_settings,
    stretches,
    unserved_by_config,
)
from holdfast.generation.verify import largest_difference
from holdfast.models.load import context_length
from holdfast.scorers.padded import causal_model
from holdfast.scorers.rope import forget_lengths

DROP_AT = 0.75  # rows that are done leave once no more than this share is left
WAYS = ("shared", "together", "alone", "uncached")
MEANS = {
    "together": "by `generate`, prompts of one length at a time",
    "alone": "by `generate`, one answer after the other",
    "uncached": "by `generate`, one answer after the other and without a cache",
}


@dataclass(frozen=True)
class _Work:
    """What a call asks for."""

    prompts: Sequence[Sequence[int]]
    limits: Sequence[int]  # tokens that the answers to each prompt may have
    samples: int
    seeds: Sequence[int]
    generation: Generation
    stop_ids: tuple[int, ...]

    def of(self, which: Sequence[int]) -> _Work:
        """Some of the prompts."""
        limits, seeds = ([numbers[p] for p in which] for numbers in (self.limits, self.seeds))
        prompts = [self.prompts[p] for p in which]
        return replace(self, prompts=prompts, limits=limits, seeds=seeds)


@dataclass
class _Found:
    """What is known of a model. `lengths` is of the shortest prompt and the longest sequence that
    were verified, in tokens: of rows alone (False) and of rows beside other ones (True)."""

    way: str = WAYS[0]
    reasons: dict[str, str] = field(default_factory=dict)
    worst_nats: float = 0.0
    lengths: dict[bool, tuple[int, int]] = field(default_factory=dict)


_found: WeakKeyDictionary[Any, _Found] = WeakKeyDictionary()


class HuggingFaceGenerator:
    """A `Generator` of a model as it is at each call: its weights may change between calls. What is
    found about a model is kept as long as the model, so generators are cheap to make.

    Attributes:
        way: how the model is generated at present, a name from WAYS.
        reasons: why each way before it is not used, by its name.
        worst_nats: largest difference of a sampled token's log-probability from the plain
            forward's, over all that was verified in this way.

    Args:
        model: a causal language model.
        tokenizer: its end token ends answers, beside those that the model's generation settings
            name.
        rows: answers generated at once. Answers to one prompt are kept together, so more are if
            `samples` is larger.
        context: tokens of prompt and answer at most; None for what the model's config says.
        bar: label of a bar over the answers, shown on a terminal; none without a label.
    """

    repeatable = True

    def __init__(
        self,
        model: Any,
        tokenizer: Any = None,
        *,
        rows: int = 64,
        context: int | None = None,
        bar: str = "",
    ):
        self.model, self.tokenizer, self.rows, self.bar = model, tokenizer, rows, bar
        self._advance: Callable[[int], None]  # the bar, during a call
        self.inner = causal_model(model)
        self._stretches = stretches(self.inner)
        self.context = context if context is not None or self._stretches else context_length(model)
        self._keeps = "logits_to_keep" in inspect.signature(self.inner.forward).parameters
        known = self.inner in _found
        self._found = _found.setdefault(self.inner, _Found())
        unserved = "" if known else unserved_by_config(self.inner)
        if self._stretches and not known:
            self._leave(
                "its dynamic rope turns the keys of a cache by the length at which they "
                "were written",
                WAYS[-1],
            )
        elif unserved:
            self._leave(unserved)

    @property
    def way(self) -> str:
        return self._found.way

    @property
    def reasons(self) -> dict[str, str]:
        return self._found.reasons

    @property
    def worst_nats(self) -> float:
        return self._found.worst_nats

    def __call__(
        self,
        prompt_ids: Sequence[Sequence[int]],
        *,
        samples: int,
        seeds: Sequence[int],
        generation: Generation,
    ) -> list[list[Answer]]:
        if samples < 1 or len(seeds) != len(prompt_ids):
            raise OptionError(
                f"{samples} samples and {len(seeds)} seeds for {len(prompt_ids)} prompts",
                hint="one seed a prompt",
            )
        stops = generation.stop_ids
        stops = end_tokens(self.model, self.tokenizer) if stops is None else tuple(stops)
        limits = [self._limit(n, ids, generation) for n, ids in enumerate(prompt_ids)]
        work = _Work(prompt_ids, limits, samples, seeds, generation, stops)
        with evaluating(self.model), torch.no_grad():
            while True:
                try:
                    with answer_bar(self.bar, samples * len(prompt_ids)) as self._advance:
                        way = self._shared if self.way == "shared" else self._by_generate
                        return way(work)
                except UnservedError as error:
                    self._leave(str(error))

    def _leave(self, reason: str, way: str = "") -> None:
        """Go on with another way, the next one if none is named.

        Raises:
            ModelError: there is none.
        """
        if self.way == WAYS[-1]:
            raise ModelError(
                f"{type(self.inner).__name__} does not generate what its own forward of a prompt "
                f"says, or cannot generate: {reason}",
                hint="Holdfast draws answers from causal language models; is this one, as it is "
                "configured?",
            )
        way = way or WAYS[WAYS.index(self.way) + 1]
        _found[self.inner] = self._found = _Found(way, self.reasons | {self.way: reason})
        warnings.warn(
            f"{type(self.inner).__name__} generates {MEANS[way]}, which is slower: {reason}",
            stacklevel=3,
        )

    @property
    def device(self) -> torch.device:
        return torch.device(next(self.model.parameters()).device)

    def _limit(self, n: int, ids: Sequence[int], generation: Generation) -> int:
        """Tokens that the answers to a prompt may have."""
        if not len(ids):
            raise OptionError(
                f"prompt {n + 1} has no token", hint="begin it with the tokenizer's bos token"
            )
        if self.context is not None and len(ids) >= self.context:
            raise OptionError(
                f"prompt {n + 1} has {len(ids):,} tokens and the model's context is "
                f"{self.context:,}: no room for an answer",
                hint="leave out prompts that are too long, or shorten them",
            )
        return (
            generation.max_new_tokens
            if self.context is None
            else min(generation.max_new_tokens, self.context - len(ids))
        )

    # ------------------------------------------------------------ shared

    def _shared(self, work: _Work) -> list[list[Answer]]:
        """Blocks of prompts in order of length, the longest first: what comes after it is mostly
        verified by it.
        """
        order = sorted(range(len(work.prompts)), key=lambda p: (-len(work.prompts[p]), p))
        out: list[list[Answer]] = [[] for _ in order]
        step = max(1, self.rows // work.samples)
        with or_unserved(), packed_linears(self.inner):
            for start in range(0, len(order), step):
                block = order[start : start + step]
                with attention_of(self.inner):
                    answers = self._block(work.of(block))
                for p, row in zip(block, answers, strict=True):
                    out[p] = row
                if start == 0 or start + step >= len(order):
                    self._verify([answer for p in block for answer in out[p]])
                self._advance(work.samples * len(block))
        return out

    def _block(self, work: _Work) -> list[list[Answer]]:
        """All answers to some prompts, at once."""
        prompts, samples, how = work.prompts, work.samples, work.generation
        device, most = self.device, max(work.limits)
        prompt_M = torch.arange(len(prompts), device=device).repeat_interleave(
            samples
        )  # of each of M answers
        limit_M = torch.tensor(work.limits, device=device)[prompt_M]
        start_M = torch.tensor([len(ids) for ids in prompts], device=device)[prompt_M]
        key_M = torch.tensor(
            [key(seed, sample) for seed in work.seeds for sample in range(samples)], device=device
        )
        made = Made.empty(len(prompt_M), most, device)
        stops = torch.tensor(work.stop_ids, dtype=torch.long, device=device)
        row_N, real = filled(
            torch.arange(len(prompt_M), device=device)
        )  # the answer of each row; rows from `real` on are fillers
        cache = PrefixCache(most)
        with active(cache):
            logits_PV = torch.cat([self._read(cache, ids) for ids in prompts])
            check_windows(self.inner, cache)
            cache.share(prompt_M[row_N])
            chooser = Chooser(how, key_M[row_N])
            logits_NV = logits_PV[prompt_M[row_N]]
            for t in range(most):
                chosen = chooser(logits_NV, t)
                going_N = made.add(row_N[:real], chosen, t, stops, limit_M)
                going = int(going_N.sum())
                if not going:
                    break
                ids_N = chosen.ids_N
                if going <= DROP_AT * real and len(row_N) > ROW_MULTIPLE:
                    kept, real = filled(going_N.nonzero()[:, 0])
                    row_N, ids_N = row_N[kept], ids_N[kept]
                    cache.keep(kept)
                    chooser.keep(kept)
                logits_NV = self._forward(cache, ids_N[:, None], (start_M[row_N] + t)[:, None])
                cache.advance()
        answers = made.answers([prompts[p] for p in prompt_M.tolist()])
        return [answers[p * samples : (p + 1) * samples] for p in range(len(prompts))]

    def _read(self, cache: PrefixCache, ids: Sequence[int]) -> Tensor:
        """Read a prompt; the logits of the token after it, (1, V)."""
        ids_1L = torch.tensor([list(ids)], device=self.device)
        logits_1V = self._forward(cache, ids_1L, torch.arange(len(ids), device=self.device)[None])
        cache.read(len(ids))
        return logits_1V

    def _forward(self, cache: PrefixCache, ids_NL: Tensor, position_NL: Tensor) -> Tensor:
        more = {"logits_to_keep": 1} if self._keeps else {}
        out = self.inner(
            input_ids=ids_NL,
            position_ids=position_NL,
            past_key_values=cache,
            use_cache=True,
            **more,
        )
        logits_NV: Tensor = out.logits[:, -1]
        return logits_NV

    # ------------------------------------------------------------ generate

    def _by_generate(self, work: _Work) -> list[list[Answer]]:
        made: dict[tuple[int, int], Answer] = {}
        tasks = sorted(
            ((p, s) for p in range(len(work.prompts)) for s in range(work.samples)),
            key=lambda task: -len(work.prompts[task[0]]),
        )
        start, rows = 0, self.rows if self.way == "together" else 1
        while start < len(tasks):
            length = len(work.prompts[tasks[start][0]])
            block = [
                task for task in tasks[start : start + rows] if len(work.prompts[task[0]]) == length
            ]
            with or_unserved():
                answers = self._generated(work, block)
            made |= zip(block, answers, strict=True)
            self._verify(answers)
            start += len(block)
            self._advance(len(block))
        return [[made[p, s] for s in range(work.samples)] for p in range(len(work.prompts))]

    def _generated(self, work: _Work, block: list[tuple[int, int]]) -> list[Answer]:
        """Some answers (prompt, sample) to prompts of one length."""
        first, how = block[0][0], work.generation
        chooser = Chooser(
            how, torch.tensor([key(work.seeds[p], s) for p, s in block], device=self.device)
        )
        prompt, limit = len(work.prompts[first]), work.limits[first]
        choice = Choice(chooser, prompt, limit, work.stop_ids)
        ids_NL = torch.tensor([list(work.prompts[p]) for p, _ in block], device=self.device)
        end = list(work.stop_ids) or None
        config = GenerationConfig(
            max_new_tokens=work.limits[first],
            do_sample=False,
            use_cache=self.way != WAYS[-1],
            eos_token_id=end,
            pad_token_id=end[0] if end else 0,
        )
        forget_lengths(self.inner)
        with own_settings(self.model, config):
            self.model.generate(
                ids_NL,
                attention_mask=torch.ones_like(ids_NL),
                generation_config=config,
                logits_processor=[choice],
            )
        return choice.made.answers([work.prompts[p] for p, _ in block])

    # ------------------------------------------------------------ verification

    def _verify(self, block: Sequence[Answer]) -> None:
        """Hold the longest sequence and the one of the shortest prompt, where they are beyond those
        verified, against a plain forward.

        Raises:
            UnservedError: rounding does not explain the difference.
        """
        several = len({(one.prompt_ids, one.ids_T) for one in block}) > 1
        longest = max(block, key=lambda one: len(one.prompt_ids) + len(one.ids_T))
        shortest = min(reversed(block), key=lambda one: len(one.prompt_ids))
        for one in (longest, shortest):
            prompt, tokens = len(one.prompt_ids), len(one.prompt_ids) + len(one.ids_T)
            low, high = self._found.lengths.get(several, (prompt + 1, 0))
            if low <= prompt and tokens <= high:
                continue
            assert one.logp_T is not None
            nats, tolerance = largest_difference(
                self.inner, one.prompt_ids, one.ids_T, one.logp_T, whole=self.way != WAYS[-1]
            )
            if not nats <= tolerance:
                raise UnservedError(
                    "log-probabilities of its sampled tokens differ from a plain forward's by up "
                    f"to {nats:.2g} nats"
                )
            self._found.worst_nats = max(self.worst_nats, nats)
            self._found.lengths[several] = min(low, prompt), max(high, tokens)
