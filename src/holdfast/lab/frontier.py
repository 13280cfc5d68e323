"""Rewards at matched KL: methods are compared at the same distance from the reference, not at the same beta."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from torch import Tensor

from holdfast.errors import OptionError


def at_kl(kl_G: ArrayLike, value_G: ArrayLike, budget: float, *, at_reference: float) -> float:
    """The value of a method at a KL budget, from runs over a grid of its settings.

    Runs are put in order of KL, the reference (KL 0) first, and joined by straight lines. A grid that never gets as far as the budget gives the
    value of its farthest run: the budget is then not spent, which is the method's own doing.
    """
    kl, value = np.asarray(kl_G, dtype=float), np.asarray(value_G, dtype=float)
    if kl.shape != value.shape or kl.ndim != 1 or not len(kl):
        raise OptionError("a frontier needs one value for each KL of the grid")
    order = np.argsort(kl)
    return float(np.interp(budget, np.concatenate([[0.0], kl[order]]), np.concatenate([[at_reference], value[order]])))


def frontier(kl_GW: list[Tensor], value_GW: list[Tensor], budget: float, at_reference_W: Tensor) -> list[float]:
    """`at_kl` for each of W worlds; the grid's runs are the list."""
    kl, value = np.stack([x.numpy() for x in kl_GW]), np.stack([x.numpy() for x in value_GW])
    return [at_kl(kl[:, w], value[:, w], budget, at_reference=float(at_reference_W[w])) for w in range(kl.shape[1])]
