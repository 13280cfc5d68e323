"""Best case under a price on KL divergence: rows of high cost weigh exponentially less."""

from __future__ import annotations

from math import inf

import torch
from torch import Tensor

from holdfast.card import Reduction, State, check
from holdfast.inputs.row_weights import base_N
from holdfast.reductions._measure import expectation
from holdfast.types import Batch


def kl_best_case(*, temperature: float) -> Reduction:
    """A friend may move weight away from the costly rows, and pays temperature for each nat of KL
    divergence from the base weights.

        inf over q of  sum_i q_i c_i + temperature KL(q || p)
            =  -temperature log sum_i p_i exp(-c_i / temperature)
        best case      q_i proportional to p_i exp(-c_i / temperature)

    The mirror image of `kl`: the Gibbs variational formula with its sign turned, used against
    flipped labels by Wu et al. 2024 (Dr. DPO, arXiv 2407.07880). Temperature to infinity gives the
    mean, temperature to 0 the cheapest row. A row that the policy contradicts firmly is let go:
    right if its label is wrong, wrong if it was merely hard.

    Args:
        temperature: price of one nat of divergence, in the unit of the costs; 0.5 to 2 with
            logistic costs; large is close to the mean

    Raises:
        OptionError: temperature is not above 0.
        DataError: the weights of a batch are negative, not finite or all zero.
    """
    check(
        "temperature",
        temperature,
        0 < temperature < inf,
        "be above 0 and finite",
        hint="1 is usual with logistic costs",
    )

    def apply(cost_N: Tensor, batch: Batch, state: State) -> tuple[Tensor, State]:
        p_N = base_N(cost_N, batch)
        # An infinite cost would get no weight and vanish: 0 times it does not, so that the trouble
        # shows.
        trouble = 0.0 * expectation(p_N, cost_N)
        cost_N = torch.where(p_N > 0, cost_N, inf)
        least = cost_N.detach().min()
        return least - temperature * torch.log1p(
            (p_N * torch.expm1((least - cost_N) / temperature)).sum()
        ) + trouble, state

    return Reduction(name=f"kl_best_case:temperature={temperature!r}", init=dict, apply=apply)
