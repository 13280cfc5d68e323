"""Worst case under a price on KL divergence: rows of high cost weigh exponentially more."""

from __future__ import annotations

from math import inf

import torch
from torch import Tensor

from holdfast.card import Reduction, State, check
from holdfast.inputs.row_weights import base_N
from holdfast.types import Batch


def kl(*, temperature: float) -> Reduction:
    """An adversary may move weight to the costly rows, and pays temperature for each nat of KL
    divergence from the base weights.

        sup over q of  sum_i q_i c_i - temperature KL(q || p)
            =  temperature log sum_i p_i exp(c_i / temperature)
        worst case     q_i proportional to p_i exp(c_i / temperature)

    The Gibbs variational formula (Donsker, Varadhan 1983); as a training objective: Hu and Hong
    2013, "Kullback-Leibler divergence constrained distributionally robust optimization", and Li et
    al. 2021, "Tilted empirical risk minimization" (arXiv 2007.01162). Temperature to infinity gives
    the mean, temperature to 0 the worst row. Flipped labels are costly rows: under label noise this
    reduction leans on the noise.

    Args:
        temperature: price of one nat of divergence, in the unit of the costs; take it near the
            spread of the costs; large is gentle

    Raises:
        OptionError: temperature is not above 0.
        DataError: the weights of a batch are negative, not finite or all zero.

    Departures:
        1. The price is fixed, not the size of the KL ball: a ball's radius would need a search for
           the temperature in each batch.
    """
    check(
        "temperature",
        temperature,
        0 < temperature < inf,
        "be above 0 and finite",
        hint="near the spread of the costs is a start",
    )

    def apply(cost_N: Tensor, batch: Batch, state: State) -> tuple[Tensor, State]:
        p_N = base_N(cost_N, batch)
        cost_N = torch.where(p_N > 0, cost_N, -inf)
        top = cost_N.detach().max()
        # Around the largest cost, and through expm1, nothing overflows at low temperature and
        # nothing cancels at high.
        return top + temperature * torch.log1p(
            (p_N * torch.expm1((cost_N - top) / temperature)).sum()
        ), state

    return Reduction(name=f"kl:temperature={temperature!r}", init=dict, apply=apply)
