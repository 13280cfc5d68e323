"""Answers as bags of tokens of which a few carry the reward, and a small network that scores them.

Forty types of token, eight of which are key tokens with rewards N(0, 1); an answer is fourteen
tokens drawn alike, and its gold the sum of its key tokens. A score is v . tanh(A x + b) of the
counts x, sixteen units wide; what stands before v is the answer's feature.

Axes: W worlds, N answers or pairs, V types, H units, K degrees.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.special import expit
from torch import Tensor

TYPES, KEYS, LENGTH, UNITS = 40, 8, 14, 16
BODY = TYPES * UNITS + 2 * UNITS  # parameters of the network


@dataclass(frozen=True)
class Bags:
    """n pairs of answers in each of W worlds, as counts, with their gold."""

    chosen_WNV: Tensor
    rejected_WNV: Tensor
    gap_WN: Tensor  # gold of chosen less gold of rejected

    @property
    def right_WN(self) -> Tensor:
        """The answer with more gold, less the other one: the sign of the truth, not of the
        label.
        """
        return self.gap_WN.sign()


def bags(seeds: Sequence[int], n: int, what: str) -> Bags:
    """Pairs labeled by Bradley-Terry on gold; `what` names the draw, over the same rewards."""
    chosen, rejected, gaps = [], [], []
    for seed in seeds:
        reward_V = np.concatenate(
            [np.random.default_rng([seed, 51]).standard_normal(KEYS), np.zeros(TYPES - KEYS)]
        )
        rng = np.random.default_rng([seed, 52, *what.encode()])
        first_NV, second_NV = (
            rng.multinomial(LENGTH, np.full(TYPES, 1 / TYPES), n).astype(float) for _ in range(2)
        )
        gap_N = (first_NV - second_NV) @ reward_V
        won_N = rng.random(n) < expit(gap_N)
        chosen.append(np.where(won_N[:, None], first_NV, second_NV))
        rejected.append(np.where(won_N[:, None], second_NV, first_NV))
        gaps.append(np.where(won_N, gap_N, -gap_N))
    return Bags(*(torch.from_numpy(np.stack(x)) for x in (chosen, rejected, gaps)))


def without(count_WNV: Tensor, rate: float, *, keys: bool, seeds: Sequence[int]) -> Tensor:
    """The answers without a share of their key tokens (rounded up), or without as many of their
    other tokens. Nested in the rate.
    """
    out = count_WNV.clone()
    for w, seed in enumerate(seeds):
        rng = np.random.default_rng([seed, 53])
        for row_V in out[w]:
            counts = row_V.numpy()
            gone = int(np.ceil(rate * counts[:KEYS].sum()))
            tokens = np.repeat(np.arange(TYPES), counts.astype(int))
            order = rng.permutation(tokens[(tokens < KEYS) == keys])
            np.subtract.at(counts, order[:gone], 1)
    return out


def start_WD(seeds: Sequence[int], more: int) -> Tensor:
    """Random networks, and `more` parameters at 0."""
    made = [
        np.random.default_rng([seed, 54]).standard_normal(BODY)
        * np.repeat([0.2, 0.0, 0.25], [TYPES * UNITS, UNITS, UNITS])
        for seed in seeds
    ]
    return torch.nn.functional.pad(torch.from_numpy(np.stack(made)), (0, more))


def feature_WNH(theta_WD: Tensor, count_WNV: Tensor) -> Tensor:
    weight_WVH = theta_WD[:, : TYPES * UNITS].view(-1, TYPES, UNITS)
    return torch.tanh(
        torch.bmm(count_WNV, weight_WVH) + theta_WD[:, None, TYPES * UNITS : TYPES * UNITS + UNITS]
    )


def score_WN(theta_WD: Tensor, feature_WNH: Tensor) -> Tensor:
    return torch.einsum("wnh,wh->wn", feature_WNH, theta_WD[:, BODY - UNITS : BODY])
