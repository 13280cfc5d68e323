"""The next token of each row from its logits, by noise that belongs to the row.

A token is drawn in two races of exponential clocks, first among blocks of BLOCK tokens, then inside
the block that won: a race is won by argmax w_i / E_i with probability w_i / sum w (the Gumbel-max
trick), so P(block) P(token | block) = P(token) exactly. It needs V / BLOCK + BLOCK random numbers a
row instead of V, and a change of the logits in their last bit changes the token with a probability
of that size; inverting the cumulative distribution, cheaper still, would not have that.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from holdfast.generation.contract import Generation
from holdfast.generation.noise import exponentials, streams

BLOCK = 128
STEPS = 16  # positions for which noise is made at once
CANDIDATES = (
    512  # tokens that are sorted for top_p; all of them where these do not hold enough probability
)


@dataclass
class Chosen:
    """The tokens of N rows, and their log-probabilities (float32, nats) as in `Answer`."""

    ids_N: Tensor
    logp_N: Tensor
    sampler_logp_N: Tensor


class Chooser:
    """Chooses tokens for the rows whose keys it holds; `keep` drops rows."""

    def __init__(self, generation: Generation, key_N: Tensor):
        self.generation, self.key_N = generation, key_N
        self._noise: tuple[int, Tensor] | None = None

    def keep(self, rows: Tensor) -> None:
        self.key_N, self._noise = self.key_N[rows], None

    def __call__(self, logits_NV: Tensor, position: int) -> Chosen:
        """The tokens at `position` of the answers."""
        logits_NV = logits_NV.float()
        top_N1 = logits_NV.amax(1, keepdim=True)
        weight_NV = (logits_NV - top_N1).exp_()
        total_N = weight_NV.sum(1)
        how = self.generation
        if how.temperature == 0:
            ids_N = logits_NV.argmax(1)
            logp_N = _at(logits_NV, ids_N) - top_N1[:, 0] - total_N.log()
            return Chosen(ids_N, logp_N, torch.zeros_like(logp_N))
        scaled_NV = logits_NV
        if how.temperature != 1 or how.truncated:
            scaled_NV = logits_NV / how.temperature
            weight_NV = truncated((scaled_NV - scaled_NV.amax(1, keepdim=True)).exp_(), how)
        block_NB = block_sums(weight_NV)
        noise_NL = self.noise(position, BLOCK + block_NB.shape[1])
        won_N1 = (block_NB / noise_NL[:, BLOCK:]).argmax(1, keepdim=True)
        inside_NB = won_N1 * BLOCK + torch.arange(BLOCK, device=won_N1.device)
        last = weight_NV.shape[1] - 1
        weight_NB = weight_NV.gather(1, inside_NB.clamp(max=last)).masked_fill_(inside_NB > last, 0)
        ids_N = (won_N1 * BLOCK + (weight_NB / noise_NL[:, :BLOCK]).argmax(1, keepdim=True))[
            :, 0
        ].clamp_(max=last)
        logp_N = _at(logits_NV, ids_N) - top_N1[:, 0] - total_N.log()
        sampler_logp_N = (
            logp_N if scaled_NV is logits_NV else (_at(weight_NV, ids_N) / block_NB.sum(1)).log()
        )
        return Chosen(ids_N, logp_N, sampler_logp_N)

    def noise(self, position: int, lanes: int) -> Tensor:
        start = position - position % STEPS
        if self._noise is None or self._noise[0] != start:
            stream = torch.cat([streams(self.key_N, start + step) for step in range(STEPS)])
            self._noise = start, exponentials(stream, lanes).view(STEPS, len(self.key_N), lanes)
        return self._noise[1][position - start]


def block_sums(weight_NV: Tensor) -> Tensor:
    """Sums over BLOCK neighbors each; the last block may be shorter."""
    whole = weight_NV.shape[1] // BLOCK * BLOCK
    sums_NB = weight_NV[:, :whole].unflatten(1, (-1, BLOCK)).sum(2)
    return (
        sums_NB
        if whole == weight_NV.shape[1]
        else torch.cat([sums_NB, weight_NV[:, whole:].sum(1, keepdim=True)], 1)
    )


def truncated(weight_NV: Tensor, how: Generation) -> Tensor:
    """Probabilities up to a factor, the largest of a row being 1, with 0 where top_k, top_p or
    min_p (in this order) cut a token off.
    """
    if 0 < how.top_k < weight_NV.shape[1]:
        least_N1 = weight_NV.topk(how.top_k, 1).values[:, -1:]
        weight_NV = weight_NV.masked_fill(weight_NV < least_N1, 0)
    if how.top_p < 1:
        weight_NV = _nucleus(weight_NV, how.top_p)
    if how.min_p > 0:  # the most probable token has weight 1 and is never cut off
        weight_NV = weight_NV.masked_fill(weight_NV < how.min_p, 0)
    return weight_NV


def _nucleus(weight_NV: Tensor, top_p: float) -> Tensor:
    """A token stays if those more probable than it do not reach top_p."""
    total_N1 = weight_NV.sum(1, keepdim=True)
    count = min(CANDIDATES, weight_NV.shape[1])
    sorted_NC, order_NC = weight_NV.topk(count, 1)
    if count < weight_NV.shape[1] and bool(
        (sorted_NC.sum(1, keepdim=True) < top_p * total_N1).any()
    ):
        sorted_NC, order_NC = weight_NV.sort(dim=1, descending=True, stable=True)
    above_NC = sorted_NC.cumsum(1) - sorted_NC
    return torch.zeros_like(weight_NV).scatter_(
        1, order_NC, sorted_NC.masked_fill(above_NC >= top_p * total_N1, 0)
    )


def _at(x_NV: Tensor, ids_N: Tensor) -> Tensor:
    return x_NV.gather(1, ids_N[:, None])[:, 0]
