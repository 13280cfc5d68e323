"""Have a model improve its own answers, under the prompt that `srpo` trains it to revise with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from holdfast.data.producers import revise_prompt
from holdfast.data.template import Chat, Marks, renderer
from holdfast.errors import OptionError
from holdfast.generation.contract import Generation
from holdfast.generation.text import draw
from holdfast.types import Text


def revise(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[Text],
    answers: Sequence[str],
    *,
    steps: int = 1,
    generation: Generation | None = None,
    template: str = "auto",
    accept_loss: Sequence[str] = (),
) -> list[list[str]]:
    """The answers, then each round of revisions: `steps + 1` lists, aligned with `prompts`. Round k
    shows the model its answer of round k - 1 and asks for a better one.

    More rounds are not always better: at the exact optimum of `srpo` a revision gains nothing. Look
        at every round.

    Args:
        model: a causal language model, or a `Generator`
        tokenizer: the model's
        prompts: strings, or conversations
        answers: the answers to begin with, as text
        steps: rounds of revision
        generation: how revisions are drawn; `Generation()` unless given
        template: as in `tokenize`
        accept_loss: what the chat template may drop of a prompt, as in `tokenize`

    Raises:
        OptionError: `steps` is negative, or prompts and answers are not aligned.
    """
    if steps < 0 or len(prompts) != len(answers):
        raise OptionError(
            f"steps is {steps}, with {len(prompts)} prompts and {len(answers)} answers",
            hint="one answer for each prompt",
        )
    chat = isinstance(renderer(template, Marks.of(tokenizer)), Chat)
    rounds = [list(answers)]
    for step in range(steps if prompts else 0):
        asked = [
            revise_prompt(prompt, shown, chat=chat)
            for prompt, shown in zip(prompts, rounds[-1], strict=True)
        ]
        drawn = draw(
            model,
            tokenizer,
            asked,
            generation=generation,
            step=step,
            template=template,
            accept_loss=accept_loss,
        )
        rounds.append([text for (text,) in drawn])
    return rounds
