"""Answers of one model to the prompts of the data, and what can be said of them: lengths, ends,
rewards.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from holdfast.generation import Answer
from holdfast.rewards.functions import Reward, checked
from holdfast.stats.intervals import mean_interval
from holdfast.types import Text

QUANTILES = (0.1, 0.5, 0.9)


@dataclass(frozen=True)
class Samples:
    """S answers to each of P prompts."""

    prompts: Sequence[Text]
    answers: Sequence[Sequence[Answer]]
    texts: Sequence[Sequence[str]]

    @property
    def flat_prompts(self) -> list[Text]:
        return [prompt for prompt, row in zip(self.prompts, self.texts, strict=True) for _ in row]

    @property
    def flat_texts(self) -> list[str]:
        return [text for row in self.texts for text in row]

    @property
    def flat(self) -> list[Answer]:
        return [answer for row in self.answers for answer in row]

    @property
    def clusters(self) -> list[int]:
        """The prompt of each answer, in the order of `flat`."""
        return [p for p, row in enumerate(self.answers) for _ in row]


def lengths(
    samples: Samples, prompts: NDArray[np.int64], *, resamples: int, seed: int
) -> dict[str, Any]:
    """Length in tokens (an end-of-sequence token counts) of the answers to some prompts, and the
    share cut off before an end.
    """
    rows = [(answer, p) for p in prompts for answer in samples.answers[p]]
    if not rows:
        return {"n": 0}
    tokens, clusters = (
        np.array([len(answer.ids_T) for answer, _ in rows]),
        [int(p) for _, p in rows],
    )
    cut = [1.0 if answer.finish_reason == "length" else 0.0 for answer, _ in rows]
    return {
        "n": len(rows),
        "mean": mean_interval(tokens, clusters, resamples=resamples, seed=seed).to_dict(),
        "quantiles": {f"{q:g}": float(np.quantile(tokens, q)) for q in QUANTILES},
        "max": int(tokens.max()),
        "cut_off": mean_interval(cut, clusters, resamples=resamples, seed=seed).to_dict(),
    }


def best_of_samples(drawn: Samples, reward: Reward, name: str, n: int) -> Samples:
    """Of every n answers to a prompt, in the order drawn, the one of highest reward."""
    score_PSN = checked(
        reward(drawn.flat_prompts, drawn.flat_texts), len(drawn.flat), name
    ).reshape(len(drawn.prompts), -1, n)
    place_PS = score_PSN.argmax(2) if score_PSN.size else np.zeros(score_PSN.shape[:2], np.int64)
    kept_PS = (place_PS + n * np.arange(place_PS.shape[1])).tolist()
    answers = [[row[i] for i in kept] for row, kept in zip(drawn.answers, kept_PS, strict=True)]
    return Samples(
        drawn.prompts,
        answers,
        [[row[i] for i in kept] for row, kept in zip(drawn.texts, kept_PS, strict=True)],
    )
