"""Inputs that are made where rows are rendered: further prompts of a row, copies of its answers,
another row's answer.

    revision     "here is an answer, improve it": each of the two answers is shown, and after it
                 each of the two is scored
    rationale    "which of these two is better, and why?": the row's `rationale` is scored
    copies       copies of both answers that lack more and more of their key phrases
    mismatched   another row's answer under this row's prompt

`holdfast.data.producers` makes their texts.
"""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.inputs.base import ExtraPrompt
from holdfast.types import Batch, Row, Scored

SIDES = ("chosen", "rejected")
CORRUPTION_LEVELS = (
    0.0,
    0.5,
    1.0,
)  # share of an answer's key phrases that its copies lack, the first being the answer itself
COPY = "_copy_"  # the others are branches `chosen_copy_1`, ...


def revised(answer: str, shown: str) -> str:
    """The branch of `answer` after a prompt that shows `shown`."""
    return f"{answer}_given_{shown}"


def copies_of(batch: Batch, answer: str) -> list[Scored]:
    """The scored copies of "chosen" or "rejected", least corrupted first. One that would equal a
    fuller copy has no tokens.
    """
    return [part for name, part in batch.extra.items() if name.startswith(f"{answer}{COPY}")]


def _without_words(rows: Sequence[Row]) -> str:
    lacking = [
        row
        for row in rows
        if not (isinstance(why := row.extra.get("rationale"), str) and why.strip())
    ]
    if not lacking:
        return ""
    some = f"{len(lacking)} of {len(rows)} rows have none, first {lacking[0].where}"
    return "the data have none" if len(lacking) == len(rows) else some


def _one_prompt(rows: Sequence[Row]) -> str:
    return (
        "every row has the same prompt" if all(row.prompt == rows[0].prompt for row in rows) else ""
    )


revision = ExtraPrompt(
    "revision",
    "each answer again after a prompt that shows one and asks to improve it; made from "
    "the pairs when rows are rendered",
    branches=tuple(revised(answer, shown) for answer in SIDES for shown in SIDES),
)
rationale = ExtraPrompt(
    "rationale",
    "the reason why the chosen answer is better",
    hint="add a `rationale` column, the reason in words",
    branches=("rationale",),
    check=_without_words,
)
copies = ExtraPrompt(
    "copies",
    "copies of both answers that lack some of their key phrases; made from the pairs when "
    "rows are rendered",
    branches=tuple(f"{name}{COPY}{k}" for name in SIDES for k in range(1, len(CORRUPTION_LEVELS))),
)
mismatched = ExtraPrompt(
    "mismatched",
    "another row's answer under this row's prompt; made from the rows themselves, two or more",
    hint="give rows with two different prompts at least",
    branches=("mismatched",),
    check=_one_prompt,
)
