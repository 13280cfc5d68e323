"""Random knapsack instances, as Arslan and Detienne draw theirs, with whole numbers throughout."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from holdfast.optimization.two_stage.knapsack import Knapsack
from holdfast.optimization.two_stage.problem import Floats

SIZES = (20, 30, 40, 50, 60, 70, 80)
CORRELATIONS = (
    "UN",
    "WC",
    "ASC",
    "SC",
)  # of profits with weights: none, weak, almost strong, strong
LARGEST, STEPS = 1000, 100  # R, the largest weight; H, the steps of the capacity
CAPACITIES = (40, 80)  # h: the capacity is h / (H + 1) of all weights
BUDGETS = (0.1, 0.15, 0.2)  # Gamma as a share of the items
DELTAS = (0.1, 0.5, 1.0)  # spread of the degradations


@dataclass(frozen=True)
class Kind:
    """What tells the published files apart."""

    n_items: int
    correlation: str
    capacity: int
    budget: float
    delta: float


def random_kind(rng: np.random.Generator) -> Kind:
    return Kind(
        int(rng.choice(SIZES)),
        str(rng.choice(CORRELATIONS)),
        int(rng.choice(CAPACITIES)),
        float(rng.choice(BUDGETS)),
        float(rng.choice(DELTAS)),
    )


def random_knapsack(kind: Kind, rng: np.random.Generator, name: str = "random") -> Knapsack:
    """One instance of a kind; every number is rounded to a whole one of at least 1."""
    n, R = kind.n_items, LARGEST
    weight = whole(rng.uniform(1, R, n))
    profit = whole(
        {
            "UN": lambda: rng.uniform(1, R, n),
            "WC": lambda: rng.uniform(weight - R / 20, weight + R / 20),
            "ASC": lambda: rng.uniform(weight + R / 10 - R / 1000, weight + R / 10 + R / 1000),
            "SC": lambda: weight + R / 10,
        }[kind.correlation]()
    )
    degradation = whole(profit * rng.uniform((1 - kind.delta) / 2, (1 + kind.delta) / 2, n))
    outsourcing = whole(profit * rng.uniform(1.1, 1.5, n))
    half = degradation / 2
    repair = whole(
        {
            "UN": lambda: rng.uniform(1, weight),
            "WC": lambda: rng.uniform(half - R / 40, half + R / 40),
            "ASC": lambda: rng.uniform(
                half + weight / 10 - R / 1000, half + weight / 10 + R / 1000
            ),
            "SC": lambda: half + weight / 10,
        }[kind.correlation]()
    )
    capacity = float(np.floor(kind.capacity / (STEPS + 1) * weight.sum()))
    return Knapsack(
        profit, degradation, outsourcing, weight, repair, capacity, kind.budget * n, name
    )


def whole(values: Floats) -> Floats:
    return np.maximum(np.round(values), 1.0)
