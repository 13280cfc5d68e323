"""The text world as an exact table: its own prompts and answers, a gold reward, and a proxy that
can be gamed.

Each of 24 prompts has 48 answers of the text world. Six of them game the proxy: an answer of the
usual kind, drawn out with further sentences that say the pet phrase each time; the reference gives
all six together `RARE` of a prompt's probability and shares the rest evenly. Policies are
log-linear in what can be counted in an answer:

    topic, tone, fresh, finish (each 0 to 1), words / 10, times the pet phrase is said

so the proxy is linear in the features and the gold reward is not (a length of 12 to 30 words is
right, and more is not better). Labels are Bradley-Terry by the proxy, or by gold. Expected gold,
expected proxy and KL of any policy are exact.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from holdfast.lab.worlds import text
from holdfast.lab.worlds.loglinear import World

PROMPTS, ANSWERS, GAMED, RARE = 24, 48, 6, 0.02


def gamed(seeds: Sequence[int]) -> tuple[World, Tensor]:
    """The worlds, whose reward is gold, and the proxy's reward (W, S, A). The last `GAMED` answers
    of each prompt game the proxy.
    """
    features, gold, proxy = [], [], []
    for seed in seeds:
        rng = random.Random(f"gamed {seed}")
        prompts = rng.sample(text.all_prompts(), PROMPTS)
        answers = [
            [_answer(prompt, rng, a >= ANSWERS - GAMED) for a in range(ANSWERS)]
            for prompt in prompts
        ]
        features.append(
            [
                [counted(prompt, answer) for answer in row]
                for prompt, row in zip(prompts, answers, strict=True)
            ]
        )
        gold.append(
            [
                text.gold([prompt] * ANSWERS, row)
                for prompt, row in zip(prompts, answers, strict=True)
            ]
        )
        proxy.append(
            [
                text.proxy([prompt] * ANSWERS, row)
                for prompt, row in zip(prompts, answers, strict=True)
            ]
        )
    weight_A = torch.full((ANSWERS,), (1 - RARE) / (ANSWERS - GAMED), dtype=torch.float64)
    weight_A[-GAMED:] = RARE / GAMED
    gold_WSA, proxy_WSA = (torch.from_numpy(np.array(x, dtype=float)) for x in (gold, proxy))
    features_WSAD = torch.from_numpy(np.array(features, dtype=float))
    return World(
        tuple(seeds), features_WSAD, weight_A.log().expand_as(gold_WSA).clone(), gold_WSA
    ), proxy_WSA


def judged_by(world: World, reward_WSA: Tensor) -> World:
    """The same worlds with another reward."""
    return replace(world, reward_WSA=reward_WSA)


def counted(prompt: str, answer: str) -> list[float]:
    """The features of an answer."""
    part = text.parts(prompt, answer)
    named = [part[name] for name in ("topic", "tone", "fresh", "finish")]
    return [*named, len(answer.split()) / 10, float(answer.lower().count(text.PET))]


def gamed_W(logp_WSA: Tensor) -> Tensor:
    """Probability of answers that game the proxy."""
    return logp_WSA.exp()[..., -GAMED:].sum(-1).mean(-1)


def _answer(prompt: str, rng: random.Random, drawn_out: bool) -> str:
    answer = text.sample_answer(prompt, rng)
    if not drawn_out:
        return answer
    return " ".join(
        [
            answer.rstrip("."),
            *(f"{text.PET} {text.sample_answer(prompt, rng)}" for _ in range(3)),
            f"{text.PET}.",
        ]
    )
