"""Methods compared at the same distance from the reference, not at the same beta."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from holdfast.errors import OptionError
from holdfast.lab.worlds.loglinear import World


def stretched(world: World, logp_WSA: Tensor, budget: float, *, halvings: int = 60) -> Tensor:
    """Each world's policy with its log-ratio to the reference multiplied by one constant, so that
    KL(pi || pi_ref) is `budget`.

    pi_c = pi_ref (pi / pi_ref)^c / Z: for DPO and whatever else is a function of beta h with h
    linear in the parameters, this is the fit at another beta, exactly. KL rises with c; where it
    ends below the budget (too few answers), the most certain policy is returned.
    """
    ratio_WSA = logp_WSA - world.reference_WSA

    def at(log_c_W: Tensor) -> Tensor:
        return (world.reference_WSA + log_c_W.exp()[:, None, None] * ratio_WSA).log_softmax(-1)

    low_W = torch.full((len(world.seeds),), -10.0, dtype=torch.float64)
    high_W = -low_W
    for _ in range(halvings):
        middle_W = (low_W + high_W) / 2
        over_W = world.kl_W(at(middle_W)) > budget
        low_W, high_W = torch.where(over_W, low_W, middle_W), torch.where(over_W, middle_W, high_W)
    return at(low_W)


def matched(world: World, runs: Sequence[Tensor], budget: float) -> Tensor:
    """Of a method's runs over a grid of its settings, the one that came nearest to the KL budget,
    stretched to meet it exactly.

    Nearest is least |log KL - log budget|, in each world apart. So no method is punished for its
    distance, and none is read off a straight line between two runs that lie far apart.
    """
    miss_GW = torch.stack(
        [(world.kl_W(run).clamp(min=1e-12).log() - np.log(budget)).abs() for run in runs]
    )
    nearest_WSA = torch.stack(list(runs))[miss_GW.argmin(0), torch.arange(len(world.seeds))]
    return stretched(world, nearest_WSA, budget)


def at_kl(kl_G: ArrayLike, value_G: ArrayLike, budget: float, *, at_reference: float) -> float:
    """The value of a method at a KL budget, from runs over a grid of its settings, where policies
    cannot be stretched.

    Runs are put in order of KL, the reference (KL 0) first, and joined by straight lines. A grid
    that never gets as far as the budget gives the value of its farthest run: the budget is then not
    spent, which is the method's own doing.
    """
    kl, value = np.asarray(kl_G, dtype=float), np.asarray(value_G, dtype=float)
    if kl.shape != value.shape or kl.ndim != 1 or not len(kl):
        raise OptionError("a frontier needs one value for each KL of the grid")
    order = np.argsort(kl)
    return float(
        np.interp(
            budget,
            np.concatenate([[0.0], kl[order]]),
            np.concatenate([[at_reference], value[order]]),
        )
    )
