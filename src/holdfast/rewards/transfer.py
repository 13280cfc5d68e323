"""Preference labels carried from one task to another by Gromov-Wasserstein transport (PEARL).

    found = transfer(source_MM, target_NN, label_MM)
    found.label_NN[j, k]                 # P(target j is preferred to target k)
    found.ambiguous                      # symmetric tasks: no labels can be carried

Only distances within each task are compared, so the two need not share a space.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from holdfast.card import check
from holdfast.errors import DataError
from holdfast.extras import require
from holdfast.stats.arrays import Floats

NEAR = 1e-3  # transports this near to the best one, in units of the mean squared distance
APART = 0.25  # mean difference of their labels from which they say something else


@dataclass(frozen=True)
class Transfer:
    """Attributes:
    label_NN: probability that the row is preferred to the column; 1/2 on the diagonal.
    plan_MN: the transport, which sums to 1.
    cost: its Gromov-Wasserstein cost, in units of the largest squared distance of the source.
    ambiguous: whether another transport, as good, gives other labels: the tasks are symmetric.
    """

    label_NN: Floats
    plan_MN: Floats
    cost: float
    ambiguous: bool


def transfer(
    source_MM: ArrayLike,
    target_NN: ArrayLike,
    label_MM: ArrayLike,
    *,
    starts: int = 20,
    seed: int = 0,
) -> Transfer:
    """Align items of two tasks by their distances, and carry the labels over.

        T = argmin sum (Cs_ik - Ct_jl)^2 T_ij T_kl,   z_jk = sum A_uv Z_uv / sum A_uv,
        A = T_j T_k'                      (Liu et al. 2023, PEARL)

    The problem is not convex: the best of several starts counts, by its cost, never by its labels.

    Args:
        source_MM: distances between the labeled items.
        target_NN: distances between the items without labels.
        label_MM: probability that the row is preferred to the column; Z + Z' = 1.
        starts: of the conditional gradient: the product coupling, and random ones.
        seed: of the random starts.

    Raises:
        DataError: distances that are not symmetric, or labels whose two directions do not sum to 1.

    Departures:
        1. The weights of z are normalized: sum A = q_j q_k, without which labels shrink.
        2. Each task's distances are divided by their own largest one.
    """
    require("optimize")
    import ot

    cs, ct = (_distances(x, name) for x, name in ((source_MM, "source"), (target_NN, "target")))
    z = np.array(label_MM, dtype=float)
    if z.shape != cs.shape or not np.allclose(z + z.T, 1.0):
        raise DataError(
            "label_MM must be as large as source_MM, and its two directions must sum to 1",
            hint="1/2 on the diagonal, and label[v, u] = 1 - label[u, v]",
        )
    check("starts", starts, isinstance(starts, int) and starts >= 1, "be a whole number above 0")
    m, n = len(cs), len(ct)
    p, q = np.full(m, 1 / m), np.full(n, 1 / n)
    rng = np.random.default_rng(seed)
    plans = []
    for k in range(starts):
        start = None if k == 0 else ot.emd(p, q, rng.random((m, n)))
        plan = np.asarray(ot.gromov_wasserstein(cs, ct, p, q, "square_loss", G0=start))
        plans.append((_cost(cs, ct, plan), k, plan))
    best = min(plans)[2]
    cost = _cost(cs, ct, best)
    label = carried(best, z)
    ambiguous = any(
        other - cost < NEAR and np.abs(carried(plan, z) - label).mean() > APART
        for other, _, plan in plans
    )
    return Transfer(label, best, cost, ambiguous)


def carried(plan_MN: Floats, label_MM: Floats) -> Floats:
    """z_NN under a transport."""
    share_MN = plan_MN / plan_MN.sum(0, keepdims=True)
    made: Floats = share_MN.T @ label_MM @ share_MN
    np.fill_diagonal(made, 0.5)
    return made


def _cost(cs: Floats, ct: Floats, plan: Floats) -> float:
    p, q = plan.sum(1), plan.sum(0)
    return float(p @ cs**2 @ p + q @ ct**2 @ q - 2 * np.sum((cs @ plan @ ct) * plan))


def _distances(x: ArrayLike, name: str) -> Floats:
    made = np.array(x, dtype=float)
    square = made.ndim == 2 and made.shape[0] == made.shape[1] and len(made) >= 2
    if not square or not np.allclose(made, made.T) or not np.isfinite(made).all():
        raise DataError(f"{name} distances must be a finite, symmetric table of 2 items or more")
    largest = float(made.max())
    return made / largest if largest > 0 else made
