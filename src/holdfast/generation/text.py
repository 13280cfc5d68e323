"""Answers as text: prompts rendered as in training, answers without special tokens."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from holdfast.data.render import tokenized_prompts
from holdfast.generation.contract import Answer, Backend, Generation, Generator
from holdfast.generation.hugging_face import HuggingFaceGenerator
from holdfast.models.load import load_policy, load_tokenizer
from holdfast.types import Row, Text, Where


def draw(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[Text],
    *,
    samples: int = 1,
    generation: Generation | None = None,
    template: str = "auto",
    accept_loss: Sequence[str] = (),
    step: int = 0,
    rows: int = 64,
    progress: bool = False,
) -> list[list[str]]:
    """`samples` answers to each prompt, as text.

    Args:
        model: a causal language model, or a `Generator`
        tokenizer: the model's
        prompts: strings, or conversations
        samples: answers to each prompt
        generation: how answers are drawn; `Generation()` unless given
        template: as in `tokenize`
        accept_loss: what the chat template may drop of a prompt, as in `tokenize`
        step: which of several draws with one seed this is
        rows: answers generated at once; answers do not depend on it
        progress: a bar over the answers
    """
    if not prompts:
        return []
    how = generation or Generation()
    asked = prompt_ids(prompts, tokenizer, template=template, accept_loss=accept_loss)
    generator = generator_of(model, tokenizer, rows=rows, bar="answers" * progress)
    seeds = how.seeds(len(asked), step=step)
    drawn = generator(asked, samples=samples, seeds=seeds, generation=how)
    return [[text_of(tokenizer, answer) for answer in row] for row in drawn]


def generator_of(model: Any, tokenizer: Any, *, rows: int = 64, bar: str = "") -> Generator:
    """The model itself if it is a generator, else the Hugging Face one of a model in memory."""
    if not isinstance(model, nn.Module):
        made: Generator = model
        return made
    return HuggingFaceGenerator(model, tokenizer, rows=rows, bar=bar)


def hugging_face_backend(*, rows: int = 64, progress: bool = True) -> Backend:
    """The backend that loads a folder's model into this process, on the GPU if there is one.

    Args:
        rows: answers generated at once.
        progress: a bar over the answers, on a terminal.
    """

    def load(folder: Path) -> Generator:
        device = "cuda" if torch.cuda.is_available() else "cpu"
        model = load_policy(folder, trainable_adapter=False).to(device).eval()
        tokenizer = load_tokenizer(folder, model=model)
        return HuggingFaceGenerator(model, tokenizer, rows=rows, bar="answers" * progress)

    return load


def prompt_ids(
    prompts: Sequence[Text], tokenizer: Any, *, template: str = "auto", accept_loss: Sequence[str]
) -> list[Sequence[int]]:
    """Token ids of prompts as a model is asked them.

    Raises:
        DataError: a prompt that cannot be rendered, or not whole.
    """
    rows = [Row(Where("prompts", n), prompt) for n, prompt in enumerate(prompts, 1)]
    return tokenized_prompts(rows, tokenizer, template=template, accept_loss=accept_loss)


def text_of(tokenizer: Any, answer: Answer) -> str:
    """The answer as a reader sees it, without special tokens."""
    return str(
        tokenizer.decode(answer.ids_T, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    ).strip()
