"""Further prompts of a row: what a method asks the model besides the row's own prompt.

    revision     "here is an answer, improve it": each of the two answers is shown, and after it each of the two is scored
    rationale    "which of these two is better, and why?": the row's `rationale` is scored

Texts only: `holdfast.data.render` tokenizes them like every other prompt.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from holdfast.card import Need
from holdfast.data.template import plain_turn, prefilled
from holdfast.data.transcript import turns_of_prompt
from holdfast.types import Row, Text

IMPROVE = "Improve your answer. Write only the improved answer."
WHICH = "Which of the two answers is better, and why?"
ORDINALS = ("the first answer", "the second answer")


@dataclass(frozen=True)
class Tree:
    """A prompt, and the answers to be scored after it by branch name."""

    prompt: Text
    answers: Mapping[str, Text]


def revise_prompt(prompt: Text, shown: Text, *, chat: bool) -> Text:
    """The prompt that shows an answer and asks for a better one: two more turns of a conversation. Plain text has no turns: there the
    prompt comes again after the request, so that what follows it is an answer as before."""
    if isinstance(prompt, str) and not chat:
        return f"{prompt}{_words(shown)}\n\n{IMPROVE}\n\n{prompt}"
    asked = (turns_of_prompt(prompt) or [{"role": "user", "content": prompt}]) if isinstance(prompt, str) else prompt
    answered = [{"role": "assistant", "content": shown}] if isinstance(shown, str) else shown
    if prefilled(asked[-1]):
        answered = [{**asked[-1], **answered[0], "content": asked[-1]["content"] + answered[0]["content"]}]
        asked = asked[:-1]
    return [*asked, *answered, {"role": "user", "content": IMPROVE}]


def rationale_prompt(prompt: Text, first: Text, second: Text) -> str:
    """One message that quotes prompt and answers and asks which answer is better."""
    return f"Prompt:\n{_words(prompt)}\n\nThe first answer:\n{_words(first)}\n\nThe second answer:\n{_words(second)}\n\n{WHICH}\n"


def trees_of(row: Row, index: int, needs: Iterable[Need], *, chat: bool, seed: int) -> list[Tree]:
    """The further trees of a comparison that the needs ask for; `index` is its place among the rows."""
    return [tree for need in needs if need in TREES for tree in TREES[need](row, chat, random.Random(f"{seed} {index}"))]


def _revisions(row: Row, chat: bool, rng: random.Random) -> list[Tree]:
    assert row.chosen is not None and row.rejected is not None
    both = {"chosen": row.chosen, "rejected": row.rejected}
    return [
        Tree(revise_prompt(row.prompt, shown, chat=chat), {f"{name}_given_{given}": answer for name, answer in both.items()})
        for given, shown in both.items()
    ]


def _rationale(row: Row, chat: bool, rng: random.Random) -> list[Tree]:
    """Which answer stands first is drawn, so that its place tells nothing. `{chosen}` and `{rejected}` in the rationale become "the first
    answer" or "the second answer", as it falls."""
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
    return plain_turn(text[0]) if len(text) == 1 else "\n\n".join(f"{m['role']}: {plain_turn(m)}" for m in text)


TREES: Mapping[Need, Callable[[Row, bool, random.Random], Sequence[Tree]]] = {"revision": _revisions, "rationale": _rationale}
