"""Two texts side by side, with the words that differ marked."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

HEAD, TAIL = 2600, 700  # characters of a long text that are shown
# share of words in common below which two texts are simply different, and marking them tells
# nothing
ALIKE = 0.3
WORD = re.compile(r"\S+\s*|\s+")
Marked = list[tuple[str, bool]]  # stretches of text, and whether the other text lacks them


@dataclass(frozen=True)
class Pair:
    """A row to look at: what was asked, two answers, where it stands, and why it is shown.

    Attributes:
        where: its place in the data: "prefs.jsonl:17"
        why: a few words
        prompt: what was asked; empty if nothing was
        left: the first text
        right: the second
        labels: what the two are
        about: further facts, (name, value)
    """

    where: str
    why: str
    prompt: str
    left: str
    right: str
    labels: tuple[str, str] = ("chosen", "rejected")
    about: Sequence[tuple[str, str]] = ()

    @property
    def asked(self) -> str:
        return cut(self.prompt)

    @property
    def marked(self) -> tuple[Marked, Marked]:
        return differences(cut(self.left), cut(self.right))

    @property
    def unlike(self) -> bool:
        """Whether the two have so little in common that nothing is marked."""
        return self.left != self.right and not any(
            differs for side in self.marked for _, differs in side
        )


def cut(text: str, head: int = HEAD, tail: int = TAIL) -> str:
    """The text, or its beginning and its end with a count of what lies between."""
    left_out = len(text) - head - tail
    return (
        text
        if left_out <= 40
        else f"{text[:head]}\n[\u2026 {left_out:,} characters \u2026]\n{text[-tail:]}"
    )


def differences(left: str, right: str) -> tuple[Marked, Marked]:
    """Each text in stretches, (text, whether the other lacks it), word by word. Nothing is marked
    where little is in common.
    """
    words = [WORD.findall(side) for side in (left, right)]
    bare = [[word.strip() for word in side] for side in words]
    matcher = SequenceMatcher(None, bare[0], bare[1], autojunk=False)
    if left == right or matcher.ratio() < ALIKE:
        return [(left, False)], [(right, False)]
    sides: tuple[Marked, Marked] = ([], [])
    for kind, left_from, left_to, right_from, right_to in matcher.get_opcodes():
        for side, text, start, stop in zip(
            sides, words, (left_from, right_from), (left_to, right_to), strict=True
        ):
            if stop > start:
                side.append(("".join(text[start:stop]), kind != "equal"))
    return sides
