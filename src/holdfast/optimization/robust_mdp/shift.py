"""Where robust and nominal policies part, and what each is worth under shifted kernels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import Any

import numpy as np

from holdfast.card import check
from holdfast.optimization.robust_mdp.ambiguity import Ambiguity, ball
from holdfast.optimization.robust_mdp.planning import Solution, evaluate, optimum
from holdfast.optimization.robust_mdp.worlds import World


@dataclass(frozen=True)
class Shift:
    """Returns at one shifted kernel, and the best that any policy could have had there."""

    amount: float
    nominal: float
    robust: float
    best: float


def around(world: World, divergence: str, radius: float) -> Ambiguity:
    """A ball at the factors that the world's adversary may touch."""
    return ball(divergence, radius * world.uncertain_TI)


def shifts(world: World, nominal: Solution, robust: Solution) -> list[Shift]:
    """Both policies at every shifted kernel of the world, exactly."""
    found = []
    for amount in world.shifts:
        mdp = world.shifted(amount)
        found.append(
            Shift(
                amount,
                evaluate(mdp, nominal.policy_HSA).value,
                evaluate(mdp, robust.policy_HSA).value,
                optimum(mdp).value,
            )
        )
    return found


def parting_radius(
    world: World,
    divergence: str,
    *,
    most: float,
    nominal: Solution | None = None,
    grid: int = 12,
    rounds: int = 30,
    seen: Callable[[float, float], Any] | None = None,
) -> float | None:
    """The least radius at which the policy that is best for the nominal kernel is no longer best
    against the ball: the robust optimum is worth more than that policy's robust value, by more
    than 1e-7 of the optimum. Radii of a geometric grid are tried in order, then the step where
    this first happens is halved.

    Args:
        world: the world
        divergence: of the ball
        most: the largest radius that is tried
        nominal: the policy, where it is known
        grid: radii tried, down to most / 1000
        rounds: halvings
        seen: called with each radius of the grid and the robust policy's lead there

    Returns:
        the radius, or None where the two do not part up to `most`.
    """
    check("most", most, lambda: 0 < most < inf, "be above 0 and finite")
    policy = (nominal or optimum(world.mdp)).policy_HSA

    def lead(radius: float) -> float:
        against = around(world, divergence, radius)
        best = optimum(world.mdp, against).value
        ahead = best - evaluate(world.mdp, policy, against).value
        return ahead if ahead > 1e-7 * max(1.0, abs(best)) else 0.0

    below = 0.0
    for radius in np.geomspace(most / 1000, most, grid):
        ahead = lead(float(radius))
        if seen is not None:
            seen(float(radius), ahead)
        if ahead > 0:
            above = float(radius)
            break
        below = float(radius)
    else:
        return None
    for _ in range(rounds):
        middle = (below + above) / 2
        below, above = (below, middle) if lead(middle) > 0 else (middle, above)
    return above
