"""Answers drawn from a model, as text, for whatever is done with them at inference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.progress import Progress

from holdfast.data.render import tokenized_prompts
from holdfast.evaluation.generate import generate, text_of
from holdfast.terminal import Terminal
from holdfast.types import Row, Text, Where


def draw(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[Text],
    *,
    samples: int = 1,
    max_new_tokens: int = 256,
    temperature: float = 1.0,
    template: str = "auto",
    accept_loss: Sequence[str] = (),
    seed: int = 0,
    batch: int = 64,
    progress: bool = False,
) -> list[list[str]]:
    """`samples` answers to each prompt, prompts rendered as in training.

    Args:
        model: a causal language model
        tokenizer: the model's
        prompts: strings, or conversations
        samples: answers to each prompt
        max_new_tokens: the most tokens of an answer; one that reaches it is cut off
        temperature: of the draws; 0 takes the most probable token
        template: as in `tokenize`
        accept_loss: what the chat template may drop of a prompt, as in `tokenize`
        seed: of the draws
        batch: answers generated at once
        progress: a bar over the answers
    """
    if not prompts:
        return []
    rows = [Row(Where("prompts", n), prompt) for n, prompt in enumerate(prompts, 1)]
    asked = tokenized_prompts(rows, tokenizer, template=template, accept_loss=accept_loss)
    with Progress(console=Terminal(stderr=True), transient=True, disable=not progress) as bar:
        task = bar.add_task("answers", total=len(asked) * samples)
        drawn = generate(
            model,
            tokenizer,
            asked,
            max_new_tokens=max_new_tokens,
            temperature=temperature,
            samples=samples,
            seed=seed,
            batch=batch,
            progress=lambda n: bar.advance(task, n),
        )
    return [[text_of(tokenizer, answer) for answer in row] for row in drawn]
