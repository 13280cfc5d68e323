"""The text world asked for a trade-off: how much an answer keeps to its topic, against how much it
says.

An answer asked for at an angle of a degrees has 1 + Binomial(5, sin a) sentences, and each noun is
of the topic with probability cos a, else of any. Its attributes are the share of nouns of the topic
and its sentences over 6, so that they are near (cos a, sin a), which is what is best in that
direction. The wish is put into words as `generation.rps` does. A model is taught angles from 0 to
25 degrees and may be asked for others.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from math import cos, radians, sin
from typing import Any

from holdfast.generation.rps import in_words
from holdfast.lab.worlds import text
from holdfast.types import Text

CONE = (0, 25)
MOST = 6


def wish(prompt: str, angle: float) -> str:
    """The prompt with its trade-off in words."""
    return str(
        in_words(prompt, [round(100 * cos(radians(angle))), round(100 * sin(radians(angle)))])
    )


def sample_answer(prompt: Text, angle: float, rng: random.Random) -> str:
    """One answer as it should be under that trade-off."""
    topic, tone = text.asked(prompt)
    sentences = 1 + sum(rng.random() < sin(radians(angle)) for _ in range(MOST - 1))
    said = []
    for _ in range(sentences):
        noun = rng.choice(
            text.TOPICS[
                topic if rng.random() < cos(radians(angle)) else rng.choice(list(text.TOPICS))
            ]
        )
        said.append(
            f"the {rng.choice(text.TONES[tone])} {noun} {rng.choice(text.VERBS)} "
            f"{rng.choice(text.PLACES)}."
        )
    return " ".join(said)


def corpus(prompts: Sequence[str], n: int, *, seed: int) -> list[dict[str, Any]]:
    """n answers asked for at whole angles from 0 to 25 degrees."""
    rng = random.Random(f"directions {seed}")
    rows = []
    for prompt in rng.choices(list(prompts), k=n):
        angle = rng.randint(*CONE)
        rows.append(
            {"prompt": wish(prompt, angle), "completion": sample_answer(prompt, angle, rng)}
        )
    return rows


def on_topic(prompts: Sequence[Text], answers: Sequence[str]) -> list[float]:
    """The share of an answer's nouns that are of the topic; 0 without nouns."""
    return [
        text.parts(prompt, answer)["topic"] for prompt, answer in zip(prompts, answers, strict=True)
    ]


def much_said(prompts: Sequence[Text], answers: Sequence[str]) -> list[float]:
    """An answer's sentences over 6, at most 1."""
    return [min(1.0, answer.count(".") / MOST) for answer in answers]
