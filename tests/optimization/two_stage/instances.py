"""Small instances, and slow obvious answers."""

from __future__ import annotations

import itertools

import numpy as np
from scipy.optimize import linprog

from holdfast.optimization.two_stage import CapitalBudgeting, CapitalLoans, Knapsack, TwoStage
from holdfast.optimization.two_stage.generate import Kind, random_knapsack


def by_hand(capacity: float = 5, budget: float = 1) -> Knapsack:
    return Knapsack([10, 8], [5, 4], [12, 9], [3, 2], [1, 1], capacity, budget)


def small_knapsack(seed: int, n: int = 4) -> Knapsack:
    rng = np.random.default_rng(seed)
    correlation = ("UN", "WC", "ASC", "SC")[seed % 4]
    return random_knapsack(Kind(n, correlation, 40, 0.3, 1.0), rng)


def small_loans(seed: int, n: int = 3) -> CapitalLoans:
    rng = np.random.default_rng(seed)
    cost = rng.uniform(5, 15, n)
    return CapitalLoans(
        cost / 4, cost, rng.uniform(-0.5, 0.5, (n, 2)), cost.sum() / 2, 5, 5, 0.4, 0.5
    )


def small_budgeting(seed: int, n: int = 4, factors: int = 2) -> CapitalBudgeting:
    rng = np.random.default_rng(seed)
    cost = rng.uniform(1, 10, n)
    return CapitalBudgeting(
        cost,
        cost / 5,
        rng.dirichlet(np.ones(factors), n),
        rng.dirichlet(np.ones(factors), n),
        cost.sum() / 2,
    )


def binary(n: int) -> np.ndarray:
    return np.array(list(itertools.product((0.0, 1.0), repeat=n)))


def first_decisions(model: TwoStage) -> np.ndarray:
    every = binary(model.n_first)
    if model.limits is None:
        return every
    return every[np.all(every @ model.limits[0].T <= model.limits[1] + 1e-9, axis=1)]


def listed_recourse(model: TwoStage, x_N: np.ndarray, xi_J: np.ndarray) -> float:
    """The second stage by trying every w."""
    return min(
        model.cost(x_N, w, xi_J)
        for w in binary(len(model.second_M))
        if model.missed(x_N, w, xi_J) <= 1e-9
    )


def listed_worst_case(model: TwoStage, x_N: np.ndarray) -> float:
    """The worst case as one linear program over every w, where constraints do not move."""
    J, lines = len(model.uncertainty), []
    for w in binary(len(model.second_M)):
        if model.missed(x_N, w, np.zeros(J)) <= 1e-9:
            fixed, slope = model.cost_line(x_N, w)
            lines.append((fixed, slope))
    rows = [np.append(-slope, 1.0) for _, slope in lines]
    most = [fixed for fixed, _ in lines]
    if np.isfinite(model.uncertainty.budget):
        rows.append(np.append(np.ones(J), 0.0))
        most.append(model.uncertainty.budget)
    bounds = [*zip(model.uncertainty.low_J, model.uncertainty.high_J, strict=True), (None, None)]
    found = linprog(np.append(np.zeros(J), -1.0), np.array(rows), most, bounds=bounds)
    return -found.fun
