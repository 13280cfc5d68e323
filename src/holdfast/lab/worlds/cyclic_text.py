"""The text world with preferences that are cyclic: what counts in an answer is the tone of its
first tone word.

    warm beats stern with 0.8, stern beats playful with 0.9, playful beats warm with 0.7; an answer
    without one loses to all with 0.95

No tone is best: the minimax winner says warm, stern and playful with probabilities 4/9, 2/9 and
3/9, and wins one half against anyone. The start mostly says playful. Answers are one sentence each,
so a policy's tones are known exactly: the probability of each tone word after "the", by the model
itself.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from holdfast.data.render import written_answers
from holdfast.lab.worlds import text
from holdfast.scorers.text import TextScorer
from holdfast.types import Text, Tokenized

CLASSES = ("warm", "stern", "playful", "none")
PREF_CC = np.array(
    [[0.5, 0.8, 0.3, 0.95], [0.2, 0.5, 0.9, 0.95], [0.7, 0.1, 0.5, 0.95], [0.05, 0.05, 0.05, 0.5]]
)
WINNER = np.array([4, 2, 3, 0]) / 9
START = {"warm": 0.15, "stern": 0.15, "playful": 0.7}
_TONE = {word: tone for tone in CLASSES[:3] for word in text.TONES[tone]}


def tone_of(answer: str) -> int:
    """The class of an answer, a place in `CLASSES`."""
    found = next((word for word in re.findall(r"[a-z]+", answer.lower()) if word in _TONE), None)
    return CLASSES.index(_TONE[found]) if found else 3


def judge(prompts: Sequence[Text], first: Sequence[str], second: Sequence[str]) -> list[float]:
    """P(first is better)."""
    return [float(PREF_CC[tone_of(a), tone_of(b)]) for a, b in zip(first, second, strict=True)]


def sample_answer(prompt: Text, rng: random.Random) -> str:
    """One sentence on the prompt's topic, its tone drawn as the start has it."""
    topic, _ = text.asked(prompt)
    (tone,) = rng.choices(list(START), weights=list(START.values()))
    word, noun = rng.choice(text.TONES[tone]), rng.choice(text.TOPICS[topic])
    return f"the {word} {noun} {rng.choice(text.VERBS)} {rng.choice(text.PLACES)}."


def corpus(prompts: Sequence[str], n: int, *, seed: int) -> list[dict[str, Any]]:
    """n answers as the start gives them, to learn it from."""
    rng = random.Random(f"cyclic corpus {seed}")
    return [
        {"prompt": prompt, "completion": sample_answer(prompt, rng)}
        for prompt in rng.choices(list(prompts), k=n)
    ]


def tones(policy: Any, tokenizer: Any, prompts: Sequence[str]) -> NDArray[np.float64]:
    """share_PC: the probability that the policy's answer to each prompt is of each class, exact for
    answers that begin "the TONE".
    """
    words = list(_TONE)
    items = written_answers(prompts, [[f"the {word}" for word in words]] * len(prompts), tokenizer)
    begun = [
        Tokenized(item.prompt, {name: ids[:-1] for name, ids in item.branches.items()})
        for item in items
    ]  # no end of sequence yet
    share_PC = np.zeros((len(prompts), len(CLASSES)))
    policy.eval()
    scorer = TextScorer(policy)
    with torch.no_grad():
        for at in range(0, len(begun), 8):
            parts = scorer(begun[at : at + 8])
            for name, word in enumerate(words):
                share_PC[at : at + 8, CLASSES.index(_TONE[word])] += (
                    parts[str(name)].logp_N.double().exp().numpy()
                )
    share_PC[:, 3] = 1 - share_PC[:, :3].sum(1)
    return share_PC


def exploitability(share_PC: NDArray[np.float64]) -> float:
    """The most that a tone wins against the policy, above one half, on average over prompts; 0 for
    the minimax winner alone.
    """
    return float(np.mean((share_PC @ PREF_CC.T).max(1) - 0.5))
