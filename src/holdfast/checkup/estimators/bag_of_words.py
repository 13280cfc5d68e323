"""Bags of words of answers and of what they answer."""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from scipy import sparse

from holdfast.checkup.comparisons import Comparisons
from holdfast.stats.arrays import Floats, Ints
from holdfast.text.codes import coded
from holdfast.types import Text

RARE = 3  # texts that a word must stand in
LONGEST = (
    20_000  # characters of an answer that are looked at: a book in one cell must not cost minutes
)
ASKED = 4_000  # characters of a prompt that are looked at
TOKEN = re.compile(r"\w+|[^\w\s]")


def bag_of_words(texts: Iterable[str]) -> tuple[sparse.csr_matrix, list[str]]:
    """Which words each text holds, 0 or 1, and the words: those that stand in at least `RARE`
    texts. Marks are words.
    """
    number: dict[str, int] = {}
    columns, ends = array("i"), array("q", [0])
    for text in texts:
        for word in dict.fromkeys(
            TOKEN.findall(text[:LONGEST].lower())
        ):  # once each, in an order that no hash decides
            columns.append(number.setdefault(word, len(number)))
        ends.append(len(columns))
    bag_NV = sparse.csr_matrix(
        (
            np.ones(len(columns), np.float32),
            np.frombuffer(columns, np.int32),
            np.frombuffer(ends, np.int64),
        ),
        shape=(len(ends) - 1, len(number)),
    )
    often = np.bincount(bag_NV.indices, minlength=len(number)) >= RARE
    kept = sorted(
        (word, column) for word, column in number.items() if often[column]
    )  # sets have no order of their own
    return bag_NV[:, [column for _, column in kept]], [word for word, _ in kept]


class Bags(NamedTuple):
    """Which words the chosen and then the rejected answers hold (2N, V), and which the P distinct
    prompts (P, V); the prompt of each comparison; the words."""

    answers_NV: sparse.csr_matrix
    prompts_PV: sparse.csr_matrix
    prompt_N: Ints
    words: list[str]


def bags_of(data: Comparisons) -> Bags:
    """Bags of all answers and prompts over one list of words, read once."""

    def make() -> Bags:
        prompts = coded([asked_last(row.prompt) for row in data.rows])
        both_NV, words = bag_of_words([*data.chosen, *data.rejected, *prompts.names])
        return Bags(both_NV[: 2 * len(data)], both_NV[2 * len(data) :], prompts.code_N, words)

    found: Bags = data.once("bags", make)
    return found


def asked_last(prompt: Text) -> str:
    """What is to be answered: of a conversation, what the user said last. Of a long text its
    beginning and its end.
    """
    if not isinstance(prompt, str):
        said = [message for message in prompt if message.get("role") == "user"] or prompt
        prompt = str(said[-1].get("content") or "") if said else ""
    return prompt if len(prompt) <= ASKED else prompt[: ASKED // 2] + " " + prompt[-ASKED // 2 :]


def weighed(bag_NV: sparse.csr_matrix, worth_V: Floats) -> sparse.csr_matrix:
    """Bags in which each word counts for what it is worth, each of unit length."""
    out = bag_NV.copy()
    out.data = worth_V[out.indices].astype(np.float32)
    size_N = np.sqrt(np.asarray(out.multiply(out).sum(1)).ravel())
    out.data /= np.repeat(np.maximum(size_N, 1e-9), np.diff(out.indptr)).astype(np.float32)
    return out
