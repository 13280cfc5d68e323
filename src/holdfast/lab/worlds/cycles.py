"""Answers whose preferences are cyclic: to each prompt, a few answers spread evenly on a circle
of its own; and ladders beside them.

On a circle the gold log-odds of answer i over j are size x sin(angle_j - angle_i): each answer
beats those within half a turn ahead. On a ladder they are size x (reward_i - reward_j). An answer
of one prompt says nothing of another prompt's, so a model must learn all.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

PROMPTS = 8
SIZE = 4.0  # log-odds of a pair a quarter turn apart


def gold_logits(seeds: Sequence[int], answers: int, *, circular: bool) -> Tensor:
    """gold_WSAA: log-odds that the row's answer beats the column's, for W seeds and 8 prompts."""
    tables = []
    for seed in seeds:
        rng = np.random.default_rng([seed, 41, answers, int(circular)])
        if circular:
            turn_SA = np.stack(
                [rng.permutation(answers) for _ in range(PROMPTS)]
            ) / answers + rng.random((PROMPTS, 1))
            tables.append(SIZE * np.sin(2 * np.pi * (turn_SA[:, None, :] - turn_SA[:, :, None])))
        else:
            reward_SA = rng.standard_normal((PROMPTS, answers))
            tables.append(SIZE / 2 * (reward_SA[:, :, None] - reward_SA[:, None, :]))
    return torch.from_numpy(np.stack(tables))


def noisy_pairs(gold_WSAA: Tensor, n: int, seeds: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
    """n comparisons of each world: (prompt_WN, chosen_WN, rejected_WN); two different answers, the
    winner drawn by the gold log-odds.
    """
    parts = []
    answers = gold_WSAA.shape[-1]
    for gold_SAA, seed in zip(gold_WSAA.numpy(), seeds, strict=True):
        rng = np.random.default_rng([seed, 43])
        s, i = rng.integers(0, PROMPTS, n), rng.integers(0, answers, n)
        j = (i + rng.integers(1, answers, n)) % answers
        wins = rng.random(n) < 1 / (1 + np.exp(-gold_SAA[s, i, j]))
        parts.append([s, np.where(wins, i, j), np.where(wins, j, i)])
    prompt, chosen, rejected = torch.from_numpy(np.array(parts)).unbind(1)
    return prompt, chosen, rejected


def agreement(logit_WSAA: Tensor, gold_WSAA: Tensor) -> Tensor:
    """Share of pairs with a gold winner that get the gold winner, a tie counting half: (W,)."""
    decided = gold_WSAA.abs() > 1e-9
    right = (torch.sign(logit_WSAA) * torch.sign(gold_WSAA) + 1) / 2
    return torch.where(decided, right, 0.0).sum((1, 2, 3)) / decided.sum((1, 2, 3))
