"""Answers drawn from a model: left-padded batches, a seed of their own, an end at the model's
end-of-sequence tokens.

A batch must not change what a model says of a prompt. Recurrent models that read no attention mask
(RWKV, xLSTM), positions that depend on the longest row of a batch (dynamic rope) and a cache that
is wrong for several rows break that. So a model is tried against its own forward of each prompt
alone, without a cache, before it is given a batch; one that does not pass is given prompts of one
length at a time, or one prompt at a time, or no cache.

What is drawn is the model's own distribution at the given temperature. The sampling settings that a
model folder may carry (top-k, top-p, repetition penalty) are ignored, or a divergence estimated
from the samples would be that of another policy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from inspect import signature
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from transformers import GenerationConfig

from holdfast.errors import ModelError, OptionError
from holdfast.models.load import context_length
from holdfast.scorers.padded import causal_model
from holdfast.scorers.rope import forget_lengths

# Largest difference of a next token's log-probability between a batch and a prompt alone that float
# rounding explains, nats.
TOLERANCE = {torch.float64: 1e-6, torch.float32: 2e-3, torch.float16: 0.1, torch.bfloat16: 0.5}


@dataclass(frozen=True)
class Batching:
    """How prompts may be given to a model together."""

    padded: bool = True  # prompts of different lengths, left-padded
    several: bool = True  # more than one prompt at once
    cache: bool = True


WAYS = (
    Batching(),
    Batching(padded=False),
    Batching(padded=False, several=False),
    Batching(padded=False, several=False, cache=False),
)
_found: WeakKeyDictionary[Any, dict[tuple[int, int], Batching]] = (
    WeakKeyDictionary()
)  # by model, by shortest and longest row


@dataclass(frozen=True)
class Generated:
    """One answer. `ids` includes the end-of-sequence token if it was reached; `ended` is False if
    the limit cut it off.
    """

    prompt: tuple[int, ...]
    ids: tuple[int, ...]
    ended: bool

    @property
    def length(self) -> int:
        return len(self.ids)


def generate(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    temperature: float = 1.0,
    samples: int = 1,
    seed: int = 0,
    batch: int = 64,
    progress: Callable[[int], None] | None = None,
) -> list[list[Generated]]:
    """`samples` answers to each prompt, given as token ids.

    The same seed, prompts and batch size give the same answers; the global random state is left as
    it was. Prompts are taken in order of length, so that little is padded. Temperature 0 takes the
    most probable token. A model for which batches would change the answers is given fewer prompts
    at once.

    Args:
        batch: answers generated at once.
        progress: called with the number of answers done after each batch.
    """
    if max_new_tokens < 1 or samples < 1 or temperature < 0:
        raise OptionError(
            f"max_new_tokens {max_new_tokens}, samples {samples} and temperature "
            f"{temperature} must be positive"
        )
    ends = end_tokens(model, tokenizer)
    config = _sampling(tokenizer, ends, max_new_tokens, temperature)
    tasks = sorted(((len(ids), p, s) for p, ids in enumerate(prompts) for s in range(samples)))
    out: list[list[Generated | None]] = [[None] * samples for _ in prompts]
    with (
        _own_settings(model, config),
        torch.random.fork_rng(devices=_cuda_devices(model)),
        torch.no_grad(),
    ):
        how = batching_of(model, prompts, config)
        config.use_cache = how.cache
        for start, block in _blocks(tasks, batch, how):
            torch.manual_seed(seed * 1_000_003 + start)
            answers = _batch(model, [prompts[p] for _, p, _ in block], config)
            for (_, p, s), ids in zip(block, answers, strict=True):
                out[p][s] = _cut(prompts[p], ids, ends)
            if progress is not None:
                progress(len(block))
    return [[answer for answer in row if answer is not None] for row in out]


def text_of(tokenizer: Any, answer: Generated) -> str:
    """The answer as a reader sees it, without special tokens."""
    return str(
        tokenizer.decode(answer.ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    ).strip()


def end_tokens(model: Any, tokenizer: Any) -> list[int]:
    """Every token that ends an answer: the tokenizer's and those that the model's generation
    settings name.
    """
    named = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    found = [*(named if isinstance(named, list) else [named]), tokenizer.eos_token_id]
    ends = sorted({int(token) for token in found if token is not None})
    if not ends:
        raise OptionError(
            "neither tokenizer nor model says which token ends an answer",
            hint="set eos_token in the tokenizer",
        )
    return ends


def _sampling(
    tokenizer: Any, ends: list[int], max_new_tokens: int, temperature: float
) -> GenerationConfig:
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else ends[0]
    drawing = (
        {"do_sample": True, "temperature": temperature, "top_k": 0, "top_p": 1.0}
        if temperature > 0
        else {"do_sample": False}
    )
    return GenerationConfig(
        max_new_tokens=max_new_tokens,
        eos_token_id=ends,
        pad_token_id=pad,
        bos_token_id=tokenizer.bos_token_id,
        **drawing,
    )


@contextmanager
def _own_settings(model: Any, config: GenerationConfig) -> Iterator[None]:
    """Generation fills every unset option from the model's own settings, so those are put out of
    reach meanwhile; dropout is off.
    """
    was_training, own = model.training, model.generation_config
    use_cache = getattr(model.config, "use_cache", None)
    model.eval()
    model.generation_config = config
    if use_cache is not None:
        model.config.use_cache = True
    try:
        yield
    finally:
        model.generation_config = own
        if use_cache is not None:
            model.config.use_cache = use_cache
        model.train(was_training)


def batching_of(model: Any, prompts: Sequence[Sequence[int]], config: GenerationConfig) -> Batching:
    """The most that the model can be given at once, found by trying it on the shortest of these
    prompts and on the longest one with room for its answer. A model that was tried over these
    lengths before is not tried again.

    Raises:
        ModelError: even one prompt at a time and without a cache, it does not go on as its forward
            says.
    """
    if not prompts:
        return WAYS[0]
    short, long = min(prompts, key=len), max(prompts, key=len)
    grown = _grown(model, long, config.max_new_tokens)
    found = _found.setdefault(model, {})
    for (shortest, longest), how in found.items():
        if shortest <= len(short) and len(grown) <= longest:
            return how
    batches: dict[Batching, list[list[Sequence[int]]]] = {
        WAYS[0]: [[short, grown]],
        WAYS[1]: [[ids, _another(model, ids)] for ids in (short, grown)],
        WAYS[2]: [[short], [grown]],
        WAYS[3]: [[short], [grown]],
    }
    fits = _tolerance(model)
    for how in WAYS:
        if all(_error(model, batch, config, cache=how.cache) <= fits for batch in batches[how]):
            found[len(short), len(grown)] = how
            return how
    raise ModelError(
        f"{type(causal_model(model)).__name__} does not generate what its own forward of "
        "a prompt finds most probable, or cannot generate",
        hint=(
            "Holdfast draws answers from causal language models; is this one, as it is configured?"
        ),
    )


def _tolerance(model: Any) -> float:
    device = next(model.parameters()).device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else model.dtype
    return TOLERANCE.get(dtype, 2e-3)


def _grown(model: Any, ids: Sequence[int], tokens: int) -> list[int]:
    """The prompt as long as it will be with its answer, two tokens short of the model's context."""
    room = (context_length(model) or len(ids) + tokens) - 2
    length = max(len(ids), min(len(ids) + tokens, room))
    return (list(ids) * (length // len(ids) + 1))[:length]


def _another(model: Any, ids: Sequence[int]) -> list[int]:
    """A different prompt of the same length."""
    return [(token + 1) % int(model.config.get_text_config().vocab_size) for token in ids]


def _error(
    model: Any, prompts: list[Sequence[int]], config: GenerationConfig, *, cache: bool
) -> float:
    """Largest difference of the log-probabilities of two greedy steps between these prompts as one
    batch and the forward of each alone, nats; infinite where the batch cannot be run at all."""
    steps = GenerationConfig(
        max_new_tokens=2,
        min_new_tokens=2,
        do_sample=False,
        use_cache=cache,
        eos_token_id=config.eos_token_id,
        pad_token_id=config.pad_token_id,
        output_logits=True,
        return_dict_in_generate=True,
    )
    forget_lengths(causal_model(model))
    try:
        made = model.generate(**_left_padded(model, prompts, config), generation_config=steps)
    except (
        RuntimeError,
        ValueError,
        TypeError,
        AttributeError,
        IndexError,
        NotImplementedError,
    ) as error:
        if isinstance(error, torch.OutOfMemoryError):
            raise
        return float("inf")
    logp_NTV = torch.stack(made.logits, dim=1).float().log_softmax(-1)
    last = (
        {"logits_to_keep": 1}
        if "logits_to_keep" in signature(causal_model(model).forward).parameters
        else {}
    )
    worst = 0.0
    for row, ids in enumerate(prompts):
        for step in range(2):
            read = [*ids, *made.sequences[row, -2:].tolist()[:step]]
            forget_lengths(causal_model(model))
            logits_LV = model(
                input_ids=torch.tensor([read], device=logp_NTV.device), use_cache=False, **last
            ).logits[0]
            difference = float(
                (logp_NTV[row, step] - logits_LV[-1].float().log_softmax(-1)).abs().max()
            )
            worst = difference if not difference <= worst else worst
    return worst


def _blocks(
    tasks: list[tuple[int, int, int]], batch: int, how: Batching
) -> Iterator[tuple[int, list[tuple[int, int, int]]]]:
    """(index of its first task, tasks) of each batch."""
    start = 0
    while start < len(tasks):
        block = tasks[start : start + (batch if how.several else 1)]
        if not how.padded:
            block = [task for task in block if task[0] == block[0][0]]
        yield start, block
        start += len(block)


def _batch(model: Any, prompts: list[Sequence[int]], config: GenerationConfig) -> list[list[int]]:
    given = _left_padded(model, prompts, config)
    forget_lengths(causal_model(model))
    out_NL: Tensor = model.generate(**given, generation_config=config)
    return out_NL[:, given["input_ids"].shape[1] :].tolist()


def _left_padded(
    model: Any, prompts: list[Sequence[int]], config: GenerationConfig
) -> dict[str, Tensor]:
    longest = max(map(len, prompts))
    ids_NL = torch.full((len(prompts), longest), int(config.pad_token_id))
    attend_NL = torch.zeros_like(ids_NL)
    for n, ids in enumerate(prompts):
        ids_NL[n, longest - len(ids) :] = torch.as_tensor(list(ids))
        attend_NL[n, longest - len(ids) :] = 1
    device = next(model.parameters()).device
    return {"input_ids": ids_NL.to(device), "attention_mask": attend_NL.to(device)}


def _cut(prompt: Sequence[int], ids: list[int], ends: list[int]) -> Generated:
    for t, token in enumerate(ids):
        if token in ends:
            return Generated(tuple(prompt), tuple(ids[: t + 1]), True)
    return Generated(tuple(prompt), tuple(ids), False)


def _cuda_devices(model: Any) -> list[int]:
    return sorted({p.device.index or 0 for p in model.parameters() if p.device.type == "cuda"})
