"""Answers of many tokens, simple enough to integrate over: tokens are drawn alike at every place,
and an answer may end after each.

Six types of token with qualities 1, .6, .2, -.2, -.6, -1; after each token the answer ends with
probability h. The reference is uniform over types with mean length 10. Gold is the mean quality of
an answer's tokens, which length cannot buy. The rater prefers by Bradley-Terry on 4 (mean quality)
+ kappa (length): kappa above 0 is a taste for length. Answers longer than CAP are cut.

An answer's log-probability depends on its counts alone, so it is scored as one column that holds
the sum, with the length in the mask: sums and lengths are those of the long form, and nothing here
looks at single tokens. Lengths count the end token.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from scipy.special import expit
from torch import Tensor

from holdfast.types import Pairs, Scored

QUALITY = torch.tensor([1.0, 0.6, 0.2, -0.2, -0.6, -1.0], dtype=torch.float64)
MEAN_LENGTH, CAP = 10, 60
START = torch.tensor(
    [0.0] * 6 + [float(-np.log(MEAN_LENGTH - 1))], dtype=torch.float64
)  # six logits of types, one of ending


@dataclass(frozen=True)
class Texts:
    """Counts of each token type in N answers of each of W worlds."""

    count_WNK: Tensor

    @property
    def length_WN(self) -> Tensor:
        return self.count_WNK.sum(-1)

    def scored(self, theta_WD: Tensor) -> Scored:
        """W N answers under policies with these logits, and under the reference."""
        reference_WN = self._logp_WN(START.expand_as(theta_WD)).detach()
        return Scored(
            self._logp_WN(theta_WD).reshape(-1, 1),
            (self.length_WN + 1).reshape(-1, 1),
            reference_WN.reshape(-1, 1),
        )

    def _logp_WN(self, theta_WD: Tensor) -> Tensor:
        logp_WK = theta_WD[:, :6].log_softmax(-1)
        end_W, go_on_W = F.logsigmoid(theta_WD[:, 6]), F.logsigmoid(-theta_WD[:, 6])
        return (
            torch.einsum("wnk,wk->wn", self.count_WNK, logp_WK)
            + end_W[:, None]
            + (self.length_WN - 1) * go_on_W[:, None]
        )


def comparisons(seeds: Sequence[int], n: int, *, kappa: float) -> tuple[Texts, Texts]:
    """n pairs of reference answers a world, as (chosen, rejected)."""
    chosen, rejected = [], []
    for seed in seeds:
        rng = np.random.default_rng([seed, 23])
        length_2N = np.minimum(rng.geometric(1 / MEAN_LENGTH, (2, n)), CAP)
        count_2NK = rng.multinomial(length_2N, np.full(6, 1 / 6)).astype(float)
        worth_2N = 4 * (count_2NK @ QUALITY.numpy()) / length_2N + kappa * length_2N
        first_N = rng.random(n) < expit(worth_2N[0] - worth_2N[1])
        chosen.append(np.where(first_N[:, None], count_2NK[0], count_2NK[1]))
        rejected.append(np.where(first_N[:, None], count_2NK[1], count_2NK[0]))
    return Texts(torch.from_numpy(np.stack(chosen))), Texts(torch.from_numpy(np.stack(rejected)))


def pairs(chosen: Texts, rejected: Texts, theta_WD: Tensor) -> Pairs:
    """All worlds' comparisons in one batch, world by world."""
    return Pairs(chosen.scored(theta_WD), rejected.scored(theta_WD))


def start_WD(worlds: int) -> Tensor:
    """The reference."""
    return START.expand(worlds, -1).clone()


def gold_W(theta_WD: Tensor) -> Tensor:
    """Expected mean quality, exact: types are drawn alike at every place."""
    return theta_WD[:, :6].softmax(-1) @ QUALITY


def length_W(theta_WD: Tensor, *, cap: int = CAP) -> Tensor:
    """Expected length in tokens without the end, cut at `cap`: (1 - (1 - h)^cap) / h."""
    h_W = theta_WD[:, 6].sigmoid()
    return -torch.expm1(cap * torch.log1p(-h_W)) / h_W


def kl_W(theta_WD: Tensor) -> Tensor:
    """KL of whole answers from the reference's, nats, exact up to the cap: a place costs its types'
    KL, and each chance to end its own.
    """
    places_W = length_W(theta_WD)
    chances_W = length_W(theta_WD, cap=CAP - 1)
    logp_WK = theta_WD[:, :6].log_softmax(-1)
    types_W = (logp_WK.exp() * (logp_WK - START[:6].log_softmax(-1))).sum(-1)
    end_W, h_W = theta_WD[:, 6], theta_WD[:, 6].sigmoid()
    ends_W = h_W * (F.logsigmoid(end_W) - F.logsigmoid(START[6])) + (1 - h_W) * (
        F.logsigmoid(-end_W) - F.logsigmoid(-START[6])
    )
    return places_W * types_W + chances_W * ends_W
