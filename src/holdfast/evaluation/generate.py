"""Answers drawn from a model: left-padded batches, a seed of their own, an end at the model's end-of-sequence tokens.

What is drawn is the model's own distribution at the given temperature. The sampling settings that a model folder may carry (top-k, top-p,
repetition penalty) are set aside, or a divergence estimated from the samples would be that of another policy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig

from holdfast.errors import OptionError


@dataclass(frozen=True)
class Generated:
    """One answer. `ids` includes the end-of-sequence token if it was reached; `ended` is False if the limit cut it off."""

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

    The same seed, prompts and batch size give the same answers; the global random state is left as it was. Prompts are taken in order of
    length, so that little is padded. Temperature 0 takes the most probable token.

    Args:
        batch: answers generated at once.
        progress: called with the number of answers done after each batch.
    """
    if max_new_tokens < 1 or samples < 1 or temperature < 0:
        raise OptionError(f"max_new_tokens {max_new_tokens}, samples {samples} and temperature {temperature} must be positive")
    ends = end_tokens(model, tokenizer)
    config = _sampling(tokenizer, ends, max_new_tokens, temperature)
    tasks = sorted(((len(ids), p, s) for p, ids in enumerate(prompts) for s in range(samples)))
    out: list[list[Generated | None]] = [[None] * samples for _ in prompts]
    with _own_settings(model, config), torch.random.fork_rng(devices=_cuda_devices(model)), torch.no_grad():
        for start in range(0, len(tasks), batch):
            torch.manual_seed(seed * 1_000_003 + start)
            block = tasks[start : start + batch]
            answers = _batch(model, [prompts[p] for _, p, _ in block], config)
            for (_, p, s), ids in zip(block, answers, strict=True):
                out[p][s] = _cut(prompts[p], ids, ends)
            if progress is not None:
                progress(len(block))
    return [[answer for answer in row if answer is not None] for row in out]


def text_of(tokenizer: Any, answer: Generated) -> str:
    """The answer as a reader sees it, without special tokens."""
    return str(tokenizer.decode(answer.ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)).strip()


def end_tokens(model: Any, tokenizer: Any) -> list[int]:
    """Every token that ends an answer: the tokenizer's and those that the model's generation settings name."""
    named = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    found = [*(named if isinstance(named, list) else [named]), tokenizer.eos_token_id]
    ends = sorted({int(token) for token in found if token is not None})
    if not ends:
        raise OptionError("neither tokenizer nor model says which token ends an answer", hint="set eos_token in the tokenizer")
    return ends


def _sampling(tokenizer: Any, ends: list[int], max_new_tokens: int, temperature: float) -> GenerationConfig:
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else ends[0]
    drawing = {"do_sample": True, "temperature": temperature, "top_k": 0, "top_p": 1.0} if temperature > 0 else {"do_sample": False}
    return GenerationConfig(
        max_new_tokens=max_new_tokens, eos_token_id=ends, pad_token_id=pad, bos_token_id=tokenizer.bos_token_id, **drawing
    )


@contextmanager
def _own_settings(model: Any, config: GenerationConfig) -> Iterator[None]:
    """Generation fills every unset option from the model's own settings, so those are put out of reach meanwhile; dropout is off."""
    was_training, own = model.training, model.generation_config
    use_cache = model.config.use_cache
    model.eval()
    model.generation_config, model.config.use_cache = config, True
    try:
        yield
    finally:
        model.generation_config, model.config.use_cache = own, use_cache
        model.train(was_training)


def _batch(model: Any, prompts: list[Sequence[int]], config: GenerationConfig) -> list[list[int]]:
    longest = max(map(len, prompts))
    ids_NL = torch.full((len(prompts), longest), int(config.pad_token_id))
    attend_NL = torch.zeros_like(ids_NL)
    for n, ids in enumerate(prompts):
        ids_NL[n, longest - len(ids) :] = torch.as_tensor(list(ids))
        attend_NL[n, longest - len(ids) :] = 1
    device = next(model.parameters()).device
    out_NL: Tensor = model.generate(ids_NL.to(device), attention_mask=attend_NL.to(device), generation_config=config)
    return out_NL[:, longest:].tolist()


def _cut(prompt: Sequence[int], ids: list[int], ends: list[int]) -> Generated:
    for t, token in enumerate(ids):
        if token in ends:
            return Generated(tuple(prompt), tuple(ids[: t + 1]), True)
    return Generated(tuple(prompt), tuple(ids), False)


def _cuda_devices(model: Any) -> list[int]:
    return sorted({p.device.index or 0 for p in model.parameters() if p.device.type == "cuda"})
