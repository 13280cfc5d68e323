"""Who makes the further sequences that a method asks for: of a row's texts, or of other rows'
tokens.

    revision, rationale    further prompts with answers of their own
    copies                 further answers to the row's own prompt
    mismatched             a branch made of other rows' tokens

Texts only: `holdfast.data.render` tokenizes them like every other prompt. A producer of your own:
`PRODUCERS[my_input] = Producer(...)`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from holdfast.data.mismatch import Across, mismatch
from holdfast.data.template import plain_turn, prefilled
from holdfast.data.transcript import turns_of_prompt
from holdfast.inputs.base import ExtraPrompt
from holdfast.inputs.prompts import (
    COPY,
    CORRUPTION_LEVELS,
    copies,
    mismatched,
    rationale,
    revised,
    revision,
)
from holdfast.text.keywords import without_key_phrases
from holdfast.types import Row, Text

IMPROVE = "Improve your answer. Write only the improved answer."
WHICH = "Which of the two answers is better, and why?"
ORDINALS = ("the first answer", "the second answer")


@dataclass(frozen=True)
class Tree:
    """A prompt, and the answers to be scored after it by branch name."""

    prompt: Text
    answers: Mapping[str, Text]


@dataclass(frozen=True)
class Producer:
    """How an input is made, in one of three ways.

    Attributes:
        trees: `trees(row, chat, rng)`, further prompts with answers of their own
        beside: `beside(row)`, further answers to the row's own prompt
        across: `across(items, seed=, max_tokens=)`, a branch of each item made of other rows'
            tokens
    """

    trees: Callable[[Row, bool, random.Random], Sequence[Tree]] | None = None
    beside: Callable[[Row], Mapping[str, Text]] | None = None
    across: Callable[..., Across] | None = None


def revise_prompt(prompt: Text, shown: Text, *, chat: bool) -> Text:
    """The prompt that shows an answer and asks for a better one: two more turns of a conversation.
    Plain text has no turns: there the prompt comes again after the request, so that what follows it
    is an answer as before."""
    if isinstance(prompt, str) and not chat:
        return f"{prompt}{_words(shown)}\n\n{IMPROVE}\n\n{prompt}"
    asked = (
        (turns_of_prompt(prompt) or [{"role": "user", "content": prompt}])
        if isinstance(prompt, str)
        else prompt
    )
    answered = [{"role": "assistant", "content": shown}] if isinstance(shown, str) else shown
    if prefilled(asked[-1]):
        answered = [
            {**asked[-1], **answered[0], "content": asked[-1]["content"] + answered[0]["content"]}
        ]
        asked = asked[:-1]
    return [*asked, *answered, {"role": "user", "content": IMPROVE}]


def rationale_prompt(prompt: Text, first: Text, second: Text) -> str:
    """One message that quotes prompt and answers and asks which answer is better."""
    return (
        f"Prompt:\n{_words(prompt)}\n\nThe first answer:\n{_words(first)}\n\nThe second "
        f"answer:\n{_words(second)}\n\n{WHICH}\n"
    )


def _revisions(row: Row, chat: bool, rng: random.Random) -> list[Tree]:
    both = _both(row)
    return [
        Tree(
            revise_prompt(row.prompt, shown, chat=chat),
            {revised(name, given): answer for name, answer in both.items()},
        )
        for given, shown in both.items()
    ]


def _rationale(row: Row, chat: bool, rng: random.Random) -> list[Tree]:
    """Which answer stands first is drawn, so that its place tells nothing. `{chosen}` and
    `{rejected}` in the rationale become "the first answer" or "the second answer", as it falls."""
    assert row.chosen is not None and row.rejected is not None
    chosen_first = rng.random() < 0.5
    order = (row.chosen, row.rejected) if chosen_first else (row.rejected, row.chosen)
    chosen, rejected = ORDINALS if chosen_first else ORDINALS[::-1]
    why = str(row.extra["rationale"]).replace("{chosen}", chosen).replace("{rejected}", rejected)
    return [Tree(rationale_prompt(row.prompt, *order), {"rationale": why})]


def _words(text: Text) -> str:
    """A text as it is; a conversation as lines of who said what, a lone message by its words."""
    if isinstance(text, str):
        return text
    return (
        plain_turn(text[0])
        if len(text) == 1
        else "\n\n".join(f"{m['role']}: {plain_turn(m)}" for m in text)
    )


def corrupted(row: Row) -> dict[str, Text]:
    """Copies of both answers of a comparison by branch name: `chosen_copy_1` lacks the share
    CORRUPTION_LEVELS[1] of its key phrases, and so on. A copy that would be without words is the
    answer itself."""
    return {
        f"{name}{COPY}{k}": _changed(answer, rate)
        for name, answer in _both(row).items()
        for k, rate in enumerate(CORRUPTION_LEVELS[1:], start=1)
    }


def _changed(text: Text, rate: float) -> Text:
    if isinstance(text, str):
        less = without_key_phrases(text, rate)
        return less if less.strip() else text
    return [{**message, "content": _changed(str(message["content"]), rate)} for message in text]


def without_equals(branches: Mapping[str, Sequence[int]]) -> dict[str, Sequence[int]]:
    """The branches of a comparison with every copy left empty that has the tokens of a fuller
    one.
    """
    out = dict(branches)
    for name, ids in branches.items():
        whole, _, level = name.partition(COPY)
        if level and ids in [
            branches[whole],
            *(branches[f"{whole}{COPY}{k}"] for k in range(1, int(level))),
        ]:
            out[name] = []
    return out


def _both(row: Row) -> dict[str, Text]:
    assert row.chosen is not None and row.rejected is not None
    return {"chosen": row.chosen, "rejected": row.rejected}


PRODUCERS: dict[ExtraPrompt, Producer] = {
    revision: Producer(trees=_revisions),
    rationale: Producer(trees=_rationale),
    copies: Producer(beside=corrupted),
    mismatched: Producer(across=mismatch),
}
