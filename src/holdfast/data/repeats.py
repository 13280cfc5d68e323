"""Text answers that repeat their prompt in front, as message lists often do: told for a file as a
whole, and taken off both answers.

A single row says little: "Hi" may be answered by "Hi there!". Where most rows of a file begin both
answers with the prompt, that is how the file is written.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from holdfast.types import Text

MOST = 0.8  # share of the first rows whose answers must all repeat the prompt
ANSWERS = ("chosen", "rejected", "answer")


def freed(parts: Mapping[str, Any]) -> dict[str, Any] | None:
    """The parts of a row with the prompt taken off its answers; None unless each of them begins
    with the prompt and goes on after it.

    White space between prompt and answer goes with the prompt.
    """
    asked = _asked(parts["prompt"])
    answers = {name: parts[name] for name in ANSWERS if parts.get(name) is not None}
    if not asked or not answers or not all(isinstance(text, str) for text in answers.values()):
        return None
    rest = {name: _behind(asked, text) for name, text in answers.items()}
    return {**parts, **rest} if all(rest.values()) else None


def repeated(rows: Iterable[Mapping[str, Any]]) -> bool:
    """Whether these rows are of a file whose answers repeat their prompts."""
    found = [freed(parts) is not None for parts in rows]
    return bool(found) and sum(found) >= MOST * len(found)


def _asked(prompt: Text) -> str:
    """The text of a prompt, of a conversation its last turn."""
    if isinstance(prompt, str):
        return prompt.strip()
    return str(prompt[-1]["content"]).strip() if prompt and prompt[-1]["role"] == "user" else ""


def _behind(asked: str, answer: str) -> str | None:
    """What stands behind the prompt in an answer; None if the prompt is not in front, or ends
    within a word.
    """
    answer = answer.lstrip()
    if not answer.startswith(asked):
        return None
    rest = answer[len(asked) :]
    within = rest[:1].isalnum() and asked[-1].isalnum()
    return None if within else rest.lstrip()
