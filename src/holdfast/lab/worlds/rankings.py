"""Rankings of items, and two ways in which they are biased against a group of them.

`position[v, c]` is voter v's place for item c, 0 the best. Latent rankings come from Mallows'
model, from an urn, or from nowhere (impartial culture: nothing to recover); a bias then moves items
of the second group down.
"""

from __future__ import annotations

import numpy as np

from holdfast.stats.arrays import Bools, Floats, Ints


def impartial(voters: int, m: int, rng: np.random.Generator) -> Ints:
    """Every ranking as likely as any other."""
    return np.argsort(rng.random((voters, m)), axis=1)


def mallows(center_M: Ints, phi: float, voters: int, rng: np.random.Generator) -> Ints:
    """P(ranking) proportional to phi^(pairs in another order than in the center), phi in (0, 1]; by
    repeated insertion.
    """
    m = len(center_M)
    order = [[int(np.argmin(center_M))] for _ in range(voters)]
    by_place = np.argsort(center_M)
    for i in range(1, m):
        chance = phi ** np.arange(i, -1, -1.0)
        for ranking, place in zip(
            order, rng.choice(i + 1, voters, p=chance / chance.sum()), strict=True
        ):
            ranking.insert(int(place), int(by_place[i]))
    return np.argsort(np.array(order), axis=1)


def urn(voters: int, m: int, alpha: float, rng: np.random.Generator) -> Ints:
    """Polya and Eggenberger: each ranking is that of an earlier voter with probability alpha v / (1
    + alpha v), else a fresh one.
    """
    drawn = impartial(voters, m, rng)
    for v in range(1, voters):
        if rng.random() < alpha * v / (1 + alpha * v):
            drawn[v] = drawn[rng.integers(v)]
    return drawn


def by_utility(
    utility_M: Floats,
    voters: int,
    noise: float,
    rng: np.random.Generator,
    *,
    second_M: Bools,
    theta: float,
) -> Ints:
    """Each voter sees utility + noise, times theta for items of the second group, and ranks by
    that.
    """
    seen = (utility_M + noise * rng.standard_normal((voters, len(utility_M)))) * np.where(
        second_M, theta, 1.0
    )
    return np.argsort(np.argsort(-seen, axis=1), axis=1)


def swapped(
    position_VM: Ints, second_M: Bools, *, phi: float, share: float, rng: np.random.Generator
) -> Ints:
    """Swaps that put items of the first group above items of the second.

    For each ranking, int(share x pairs with the second group's item above) times: draw such a pair,
    places q < p, with probability proportional to phi^(p - q), and swap the two. Weights are those
    of the ranking as it then is. One long swap undoes several pairs, so a share of 1/2 is already
    near full segregation; where no such pair is left the swaps end.
    """
    voters, m = position_VM.shape
    order = np.argsort(position_VM, axis=1)  # the item at each place
    second = second_M[order].astype(float)
    above = ((1 - second) * (np.cumsum(second, axis=1) - second)).sum(1)
    left = (share * above + 1e-9).astype(int)
    reach = np.triu(
        phi ** np.maximum(np.arange(m)[None] - np.arange(m)[:, None], 0.0), 1
    )  # place q to a later place p
    rows = np.arange(voters)
    while len(rows := rows[left[rows] > 0]):
        own = second[rows]
        into = (1 - own) * (own @ reach)
        rows, own, into = (part[into.sum(1) > 0] for part in (rows, own, into))
        if not len(rows):
            break
        p = _draw(into, rng)
        q = _draw(own * reach[:, p].T, rng)
        for table in (order, second):
            table[rows, p], table[rows, q] = table[rows, q], table[rows, p]
        left[rows] -= 1
    return np.argsort(order, axis=1)


def _draw(weight_VM: Floats, rng: np.random.Generator) -> Ints:
    """One place a row, with these weights."""
    total = np.cumsum(weight_VM, axis=1)
    return np.asarray(
        (total < rng.random((len(total), 1)) * total[:, -1:]).sum(1).clip(max=total.shape[1] - 1)
    )
