"""The adversary of the surrogate: a point of Xi at which the network's value is large.

By sampling and swaps: points that spend the budget on few items, the best of them improved by
moving an entry's share to another item as long as the value rises. The mixed-integer program of
`embedding.worst_of_network` is the checked alternative.
"""

from __future__ import annotations

import numpy as np

from holdfast.optimization.two_stage.network import SetNetwork
from holdfast.optimization.two_stage.problem import Floats, Uncertainty

DRAWS = 1024
ROUNDS = 40  # of swaps
SHARES = (1.0, 0.5, 0.2, 0.05)  # of an entry that is moved; the next one where no swap helps
TAKEN = 400  # pairs tried in a round


def by_sampling(
    network: SetNetwork,
    features_NF: Floats,
    x_N: Floats,
    uncertainty: Uncertainty,
    *,
    seed: int = 0,
    known: tuple[Floats, ...] = (),
) -> tuple[Floats, float]:
    """The best point found, and the network's value there, scaled.

    Args:
        network: the surrogate
        features_NF: of the problem's items
        x_N: the first decision
        uncertainty: Xi
        seed: of the draws
        known: points to begin with beside the draws
    """
    rng = np.random.default_rng(seed)
    points_BJ = np.array([*draws(uncertainty, DRAWS, rng), *known])
    values_B = network.predict(features_NF, x_N, points_BJ)
    at = int(np.argmax(values_B))
    best_J, best = points_BJ[at], float(values_B[at])
    shares = iter(SHARES)
    share = next(shares)
    for _ in range(ROUNDS):
        around_BJ = swaps(best_J, uncertainty, rng, share)
        values_B = network.predict(features_NF, x_N, around_BJ) if len(around_BJ) else np.zeros(0)
        if len(values_B) and values_B.max() > best + 1e-9:
            at = int(np.argmax(values_B))
            best_J, best = around_BJ[at], float(values_B[at])
            continue
        after = next(shares, None)
        if after is None:
            break
        share = after
    return best_J, best


def draws(uncertainty: Uncertainty, count: int, rng: np.random.Generator) -> Floats:
    """Points with the budget spent: entries raised to their highest in random order. A quarter is
    spread over up to three times as many entries.
    """
    low_J, high_J = uncertainty.low_J, uncertainty.high_J
    points_BJ = np.repeat(low_J[None], count, axis=0)
    for b in range(count):
        ceiling_J = high_J
        if b % 4 == 0:
            ceiling_J = low_J + (high_J - low_J) * rng.uniform(1 / 3, 1, len(low_J))
        left = uncertainty.budget - low_J.sum()
        for j in rng.permutation(len(low_J)):
            step = min(ceiling_J[j] - low_J[j], left)
            points_BJ[b, j] += step
            left -= step
            if left <= 0:
                break
    return points_BJ


def swaps(
    point_J: Floats, uncertainty: Uncertainty, rng: np.random.Generator, share: float = 1.0
) -> Floats:
    """Neighbors: a share of what one entry may go down moved to another one; where there is a
    budget to spare, an entry raised.
    """
    low_J, high_J = uncertainty.low_J, uncertainty.high_J
    gives, takes = np.flatnonzero(point_J > low_J), np.flatnonzero(point_J < high_J)
    pairs = [(i, j) for i in gives for j in takes if i != j]
    if len(pairs) > TAKEN:
        pairs = [pairs[p] for p in rng.choice(len(pairs), TAKEN, replace=False)]
    found = []
    for i, j in pairs:
        step = min(share * (high_J[i] - low_J[i]), point_J[i] - low_J[i], high_J[j] - point_J[j])
        moved_J = point_J.copy()
        moved_J[i] -= step
        moved_J[j] += step
        found.append(moved_J)
    left = uncertainty.budget - float(point_J.sum())
    if left > 1e-9:
        for j in takes:
            moved_J = point_J.copy()
            moved_J[j] += min(left, high_J[j] - point_J[j])
            found.append(moved_J)
    return np.array(found)
