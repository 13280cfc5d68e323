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
so. The draws are the same in every way.
"""

from __future__ import annotations

import contextlib
import inspect
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from transformers import GenerationConfig, LogitsProcessor

from holdfast.errors import ModelError, OptionError
from holdfast.generation.choose import Chooser, Chosen
from holdfast.generation.contract import Answer, Sampling
from holdfast.generation.linear import packed_linears
from holdfast.generation.noise import key
from holdfast.generation.prefix_cache import PrefixCache, UnservedError, active, attention_of
from holdfast.models.load import context_length
from holdfast.scorers.padded import causal_model

TOLERANCE = {
    torch.float32: 2e-3,
    torch.float64: 1e-6,
    torch.bfloat16: 0.75,
    torch.float16: 0.1,
}  # nats a token, by rounding
ROW_MULTIPLE = (
    8  # dead rows fill up to it: elementwise kernels round a row by where threads cut the batch
)
DROP_AT = 0.75  # rows that are done leave once no more than this share is left
WAYS = ("shared", "together", "alone", "uncached")
MEANS = {
    "together": "by `generate`, prompts of one length at a time",
    "alone": "by `generate`, one answer after the other",
    "uncached": "by `generate`, one answer after the other and without a cache",
}
FAILURES = (
    RuntimeError,
    ValueError,
    TypeError,
    AttributeError,
    IndexError,
    KeyError,
    NotImplementedError,
    AssertionError,
)


@dataclass(frozen=True)
class _Work:
    """What a call asks for."""

    prompts: Sequence[Sequence[int]]
    limits: Sequence[int]  # tokens that the answers to each prompt may have
    samples: int
    seeds: Sequence[int]
    sampling: Sampling

    def of(self, which: Sequence[int]) -> _Work:
        """Some of the prompts."""
        limits, seeds = ([numbers[p] for p in which] for numbers in (self.limits, self.seeds))
        return _Work([self.prompts[p] for p in which], limits, self.samples, seeds, self.sampling)


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
        rows: answers generated at once. Answers to one prompt are kept together, so more are if
            `samples` is larger.
        context: tokens of prompt and answer at most; None for what the model's config says.
        progress: called with the number of answers done.
    """

    def __init__(
        self,
        model: Any,
        *,
        rows: int = 64,
        context: int | None = None,
        progress: Callable[[int], None] | None = None,
    ):
        self.model, self.rows, self.progress = model, rows, progress
        self.inner = causal_model(model)
        config = self.inner.config.get_text_config()
        self._stretches = "dynamic" in _rope_types(getattr(config, "rope_parameters", None))
        self.context = context if context is not None or self._stretches else context_length(model)
        self._keeps = "logits_to_keep" in inspect.signature(self.inner.forward).parameters
        known = self.inner in _found
        self._found = _found.setdefault(self.inner, _Found())
        unserved = "" if known else _unserved_by_config(self.inner)
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
        sampling: Sampling,
    ) -> list[list[Answer]]:
        if samples < 1 or len(seeds) != len(prompt_ids):
            raise OptionError(
                f"{samples} samples and {len(seeds)} seeds for {len(prompt_ids)} prompts",
                hint="one seed a prompt",
            )
        limits = [self._limit(n, ids, sampling) for n, ids in enumerate(prompt_ids)]
        work = _Work(prompt_ids, limits, samples, seeds, sampling)
        with _evaluating(self.model), torch.no_grad():
            while True:
                try:
                    return self._shared(work) if self.way == "shared" else self._by_generate(work)
                except UnservedError as error:
                    self._leave(str(error))

    def _leave(self, reason: str, way: str = "") -> None:
        """Go on with another way, the next one if none is named."""
        way = way or WAYS[WAYS.index(self.way) + 1]
        _found[self.inner] = self._found = _Found(way, self.reasons | {self.way: reason})
        warnings.warn(
            f"{type(self.inner).__name__} generates {MEANS[way]}, which is slower: {reason}",
            stacklevel=3,
        )

    @property
    def device(self) -> torch.device:
        return torch.device(next(self.model.parameters()).device)

    def _limit(self, n: int, ids: Sequence[int], sampling: Sampling) -> int:
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
            sampling.max_new_tokens
            if self.context is None
            else min(sampling.max_new_tokens, self.context - len(ids))
        )

    # ------------------------------------------------------------ shared

    def _shared(self, work: _Work) -> list[list[Answer]]:
        """Blocks of prompts in order of length, the longest first: what comes after it is mostly
        verified by it.
        """
        order = sorted(range(len(work.prompts)), key=lambda p: (-len(work.prompts[p]), p))
        out: list[list[Answer]] = [[] for _ in order]
        step = max(1, self.rows // work.samples)
        with _or_unserved(), packed_linears(self.inner):
            for start in range(0, len(order), step):
                block = order[start : start + step]
                with attention_of(self.inner):
                    answers = self._block(work.of(block))
                for p, row in zip(block, answers, strict=True):
                    out[p] = row
                if start == 0 or start + step >= len(order):
                    self._verify([(work.prompts[p], answer) for p in block for answer in out[p]])
                self._report(work.samples * len(block))
        return out

    def _block(self, work: _Work) -> list[list[Answer]]:
        """All answers to some prompts, at once."""
        prompts, samples, how = work.prompts, work.samples, work.sampling
        device, most = self.device, max(work.limits)
        prompt_M = torch.arange(len(prompts), device=device).repeat_interleave(
            samples
        )  # of each of M answers
        limit_M = torch.tensor(work.limits, device=device)[prompt_M]
        start_M = torch.tensor([len(ids) for ids in prompts], device=device)[prompt_M]
        key_M = torch.tensor(
            [key(seed, sample) for seed in work.seeds for sample in range(samples)], device=device
        )
        made = _Made.empty(len(prompt_M), most, device)
        stops = torch.tensor(how.stop_ids, dtype=torch.long, device=device)
        row_N, real = _filled(
            torch.arange(len(prompt_M), device=device)
        )  # the answer of each row; rows from `real` on are fillers
        cache = PrefixCache(most)
        with active(cache):
            logits_PV = torch.cat([self._read(cache, ids) for ids in prompts])
            _check_windows(self.inner, cache)
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
                    kept, real = _filled(going_N.nonzero()[:, 0])
                    row_N, ids_N = row_N[kept], ids_N[kept]
                    cache.keep(kept)
                    chooser.keep(kept)
                logits_NV = self._forward(cache, ids_N[:, None], (start_M[row_N] + t)[:, None])
                cache.advance()
        answers = made.answers()
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
            with contextlib.nullcontext() if self.way == WAYS[-1] else _or_unserved():
                answers = self._generated(work, block)
            made |= zip(block, answers, strict=True)
            if self.way != WAYS[-1]:
                self._verify(
                    [
                        (work.prompts[p], answer)
                        for (p, _), answer in zip(block, answers, strict=True)
                    ]
                )
            start += len(block)
            self._report(len(block))
        return [[made[p, s] for s in range(work.samples)] for p in range(len(work.prompts))]

    def _generated(self, work: _Work, block: list[tuple[int, int]]) -> list[Answer]:
        """Some answers (prompt, sample) to prompts of one length."""
        first, how = block[0][0], work.sampling
        chooser = Chooser(
            how, torch.tensor([key(work.seeds[p], s) for p, s in block], device=self.device)
        )
        choice = _Choice(chooser, len(work.prompts[first]), work.limits[first], how, self.device)
        ids_NL = torch.tensor([list(work.prompts[p]) for p, _ in block], device=self.device)
        end = list(how.stop_ids) or None
        config = GenerationConfig(
            max_new_tokens=work.limits[first],
            do_sample=False,
            use_cache=self.way != WAYS[-1],
            eos_token_id=end,
            pad_token_id=end[0] if end else 0,
        )
        if (
            self._stretches
        ):  # a longer sequence read before would go on stretching this one; a short one ends that
            self.inner(input_ids=ids_NL[:1, :1], use_cache=False)
        with _own_settings(self.model, config):
            self.model.generate(
                ids_NL,
                attention_mask=torch.ones_like(ids_NL),
                generation_config=config,
                logits_processor=[choice],
            )
        return choice.made.answers()

    # ------------------------------------------------------------ verification

    def _verify(self, block: Sequence[tuple[Sequence[int], Answer]]) -> None:
        """Hold the longest sequence and the one of the shortest prompt, where they are beyond those
        verified, against a plain forward.

        Raises:
            UnservedError: rounding does not explain the difference.
        """
        several = len({(tuple(ids), answer.ids_T) for ids, answer in block}) > 1
        longest = max(block, key=lambda one: len(one[0]) + len(one[1].ids_T))
        shortest = min(reversed(block), key=lambda one: len(one[0]))
        for ids, answer in (longest, shortest):
            low, high = self._found.lengths.get(several, (len(ids) + 1, 0))
            tokens = len(ids) + len(answer.ids_T)
            if low <= len(ids) and tokens <= high:
                continue
            logp_T, tolerance = self._plain_logp(ids, answer.ids_T)
            nats = float((logp_T - answer.logp_T).abs().max())
            if not nats <= tolerance:
                raise UnservedError(
                    "log-probabilities of its sampled tokens differ from a plain "
                    f"forward's by up to {nats:.2g} nats"
                )
            self._found.worst_nats = max(self.worst_nats, nats)
            self._found.lengths[several] = min(low, len(ids)), max(high, tokens)

    def _plain_logp(self, prompt: Sequence[int], answer: Sequence[int]) -> tuple[Tensor, float]:
        """Log-probabilities of an answer's tokens by one forward of prompt and answer, and what
        rounding may change them by.
        """
        ids_1L = torch.tensor([[*prompt, *answer]], device=self.device)
        made: list[torch.dtype] = []
        head = (
            self.inner.get_output_embeddings()
        )  # under autocast its output tells the precision, and the parameters do not
        handle = (
            head.register_forward_hook(lambda module, args, out: made.append(out.dtype))
            if head is not None
            else None
        )
        try:
            logits_TV = self.inner(input_ids=ids_1L, use_cache=False).logits[
                0, len(prompt) - 1 : -1
            ]
        finally:
            if handle is not None:
                handle.remove()
        logp_T = (
            logits_TV.float().log_softmax(-1).gather(1, ids_1L[0, len(prompt) :, None])[:, 0].cpu()
        )
        return logp_T, TOLERANCE.get(made[0] if made else logits_TV.dtype, 2e-3)

    def _report(self, answers: int) -> None:
        if self.progress is not None:
            self.progress(answers)


class _Choice(LogitsProcessor):
    """Leaves `generate` one token to take: the one that the chooser takes."""

    def __init__(
        self, chooser: Chooser, prompt: int, limit: int, how: Sampling, device: torch.device
    ):
        rows = len(chooser.key_N)
        self.chooser, self.prompt = chooser, prompt
        self.made = _Made.empty(rows, limit, device)
        self.row_N, self.limit_N = (
            torch.arange(rows, device=device),
            torch.full((rows,), limit, device=device),
        )
        self.stops = torch.tensor(how.stop_ids, dtype=torch.long, device=device)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        t = input_ids.shape[1] - self.prompt
        chosen = self.chooser(scores, t)
        self.made.add(self.row_N, chosen, t, self.stops, self.limit_N)
        return torch.full_like(scores, -torch.inf).scatter_(1, chosen.ids_N[:, None], 0.0)


@dataclass
class _Made:
    """M answers while they are made, of at most T tokens."""

    ids_MT: Tensor
    logp_MT: Tensor
    sampler_logp_MT: Tensor
    length_M: Tensor  # 0 while an answer goes on
    stopped_M: Tensor

    @classmethod
    def empty(cls, answers: int, tokens: int, device: torch.device) -> _Made:
        logp_MT, sampler_logp_MT = (torch.zeros(answers, tokens, device=device) for _ in range(2))
        ids_MT = torch.zeros(answers, tokens, dtype=torch.long, device=device)
        length_M = torch.zeros(answers, dtype=torch.long, device=device)
        return cls(ids_MT, logp_MT, sampler_logp_MT, length_M, length_M.bool())

    def add(self, row_N: Tensor, chosen: Chosen, t: int, stops: Tensor, limit_M: Tensor) -> Tensor:
        """Put down the tokens of some answers at position t; which of them go on."""
        n = len(row_N)
        self.ids_MT[row_N, t] = chosen.ids_N[:n]
        self.logp_MT[row_N, t] = chosen.logp_N[:n]
        self.sampler_logp_MT[row_N, t] = chosen.sampler_logp_N[:n]
        stop_N, length_N = torch.isin(chosen.ids_N[:n], stops), self.length_M[row_N]
        going_N = length_N == 0
        self.stopped_M[row_N] |= stop_N & going_N
        ends_N = going_N & (stop_N | (limit_M[row_N] <= t + 1))
        self.length_M[row_N] = torch.where(ends_N, t + 1, length_N)
        return going_N & ~ends_N

    def answers(self) -> list[Answer]:
        logp_MT, sampler_logp_MT = self.logp_MT.cpu(), self.sampler_logp_MT.cpu()
        made = []
        for m, (ids, length, stopped) in enumerate(
            zip(self.ids_MT.tolist(), self.length_M.tolist(), self.stopped_M.tolist(), strict=True)
        ):
            logp_T = logp_MT[m, :length].clone()
            if not bool(torch.isfinite(logp_T).all()):
                raise ModelError(
                    "the model's logits are not finite while it answers",
                    hint="look for NaN in its weights",
                )
            made.append(
                Answer(
                    tuple(ids[:length]),
                    logp_T,
                    sampler_logp_MT[m, :length].clone(),
                    "stop" if stopped else "length",
                )
            )
        return made


def _filled(rows: Tensor) -> tuple[Tensor, int]:
    """The rows, the last one repeated until their number is a multiple of ROW_MULTIPLE; and how
    many are real.
    """
    return torch.cat([rows, rows[-1:].expand(-len(rows) % ROW_MULTIPLE)]), len(rows)


# ------------------------------------------------------------ models


def _unserved_by_config(inner: Any) -> str:
    """What the config alone says against the fast path; empty if nothing."""
    config = inner.config.get_text_config()
    if inner.config.is_encoder_decoder:
        return "it has an encoder"
    if getattr(inner, "_is_stateful", False):
        return "it keeps a recurrent state"
    kinds = set(getattr(config, "layer_types", None) or ()) - {
        "full_attention",
        "sliding_attention",
    }
    if kinds:
        return f"it has layers of kind {', '.join(sorted(kinds))}"
    if "position_ids" not in inspect.signature(inner.forward).parameters:
        return "it does not take position_ids"
    moves = "longrope" in _rope_types(getattr(config, "rope_parameters", None))
    return "its longrope turns keys by the length of a sequence" if moves else ""


def _rope_types(rope: Any) -> set[str]:
    if not isinstance(rope, dict):
        return set()
    return {str(rope.get("rope_type"))}.union(*(_rope_types(value) for value in rope.values()))


def _check_windows(inner: Any, cache: PrefixCache) -> None:
    kinds = getattr(inner.config.get_text_config(), "layer_types", None) or ()
    if "sliding_attention" in kinds and not cache.windows:
        raise UnservedError("its sliding windows do not reach the attention function")


@contextlib.contextmanager
def _or_unserved() -> Iterator[None]:
    """What a model's own code raises on a way that it does not support becomes `UnservedError`."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except FAILURES as error:
        text = str(error).partition("\n")[0]
        raise UnservedError(f"{type(error).__name__}: {text}") from error


@contextlib.contextmanager
def _evaluating(model: Any) -> Iterator[None]:
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


@contextlib.contextmanager
def _own_settings(model: Any, config: GenerationConfig) -> Iterator[None]:
    """`generate` fills every unset option from the model's own settings, so those are put out of
    reach meanwhile.
    """
    own, use_cache = model.generation_config, getattr(model.config, "use_cache", None)
    model.generation_config = config
    if use_cache is not None:
        model.config.use_cache = config.use_cache
    try:
        yield
    finally:
        model.generation_config = own
        if use_cache is not None:
            model.config.use_cache = use_cache
