"""Worst cases by hand, against primal solvers, and against the reductions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import linprog, minimize

from holdfast import reductions
from holdfast.optimization.robust_mdp import DIVERGENCES, ball, penalty
from holdfast.optimization.robust_mdp.divergences import (
    chi_ball,
    chi_penalty,
    kl_ball,
    kl_penalty,
    tv_ball,
    tv_penalty,
)
from holdfast.types import Pairs, Scored

M, V = np.array([[0.2, 0.3, 0.4, 0.1]]), np.array([[0.0, 1.0, 2.0, 3.0]])


def value(dual, size, m=M, v=V, floor=0.0):
    rows = len(m)
    return dual(v, m, np.full(rows, float(size)), np.full(rows, float(floor))).value_I


@pytest.mark.parametrize(
    ("dual", "size", "expected"),
    [
        (tv_ball, 0, 1.4),
        (tv_ball, 0.1, 1.1),
        (tv_ball, 0.3, 0.7),
        (tv_ball, 1, 0.0),
        (kl_ball, 0, 1.4),
        (kl_ball, 0.1, 0.990540),
        (kl_ball, 0.3, 0.699292),
        (kl_ball, 5, 0.0),
        (chi_ball, 0, 1.4),
        (chi_ball, 0.1, 1.110172),  # 1.4 - sqrt(0.1 * 0.84): no weight reaches 0
        (chi_ball, 0.3, 0.898004),
        (chi_ball, 1, 0.519494),
        (chi_ball, 1e6, 0.0),
        (tv_penalty, 0.5, 0.4),
        (tv_penalty, 1.5, 1.05),
        (tv_penalty, 3, 1.4),
        (kl_penalty, 0.5, 0.696811),
        (kl_penalty, 3, 1.259692),
        (kl_penalty, np.inf, 1.4),
        (chi_penalty, 0.5, 1.0),
        (chi_penalty, 1.5, 1.26),  # 1.4 - 0.84 / 6
        (chi_penalty, np.inf, 1.4),
    ],
)
def test_values_by_hand(dual, size, expected):
    assert value(dual, size)[0] == pytest.approx(expected, abs=1e-6)


def rows_of(seed, rows=40, k=5):
    rng = np.random.default_rng(seed)
    m = rng.dirichlet(np.ones(k), rows)
    m[: rows // 4, 0] = 0.0  # unused places, ties and far-apart values are among the rows
    m /= m.sum(1, keepdims=True)
    v = rng.normal(size=(rows, k)) * 10.0 ** rng.integers(-2, 3, (rows, 1))
    v[rows // 2 :, 1] = v[rows // 2 :, 2]
    return m, v


@pytest.mark.parametrize("size", [1e-6, 0.01, 0.2, 1.0, 4.0])
@pytest.mark.parametrize("dual", [kl_ball, chi_ball, tv_ball, kl_penalty, chi_penalty, tv_penalty])
def test_the_law_it_returns_is_feasible_and_attains_the_dual_value(dual, size):
    """Weak duality: a feasible law's value is never below the optimum, a dual value never above.
    Equal to 1e-8 of the spread, so both are exact.
    """
    m, v = rows_of(3)
    size_I = np.full(len(m), size)
    floor_I = v.min(1) - 0.5
    got = dual(v, m, size_I, floor_I)
    law, outside = got.law_IK, got.outside_I
    assert law.min() >= 0 and np.abs(law.sum(1) + outside - 1).max() < 1e-12
    primal = (law * v).sum(1) + outside * floor_I
    with np.errstate(divide="ignore", invalid="ignore"):
        spent = {
            "tv": 0.5 * np.abs(law - m).sum(1) + 0.5 * outside,
            "kl": np.where(law > 0, law * np.log(law / m), 0.0).sum(1),
            "chi": np.where(m > 0, (law - m) ** 2 / np.where(m > 0, m, 1), 0.0).sum(1),
        }[dual.__name__.partition("_")[0]]
    if dual.__name__.endswith("ball"):
        assert (spent <= size * (1 + 1e-9) + 1e-12).all()
    else:
        primal = primal + size * spent
    assert np.abs(primal - got.value_I).max() <= 1e-8 * np.ptp(v, axis=1).max()


def test_total_variation_against_a_linear_program():
    m, v = rows_of(5, rows=12)
    for size in (0.05, 0.4):
        for row in range(len(m)):
            floor = float(v[row].min() - 1)
            k = m.shape[1]
            worth = np.append(v[row], floor)
            base = np.append(m[row], 0.0)
            # q and t >= |q - m|
            eye = np.eye(k + 1)
            found = linprog(
                np.append(worth, np.zeros(k + 1)),
                A_ub=np.block(
                    [[eye, -eye], [-eye, -eye], [np.zeros((1, k + 1)), np.full((1, k + 1), 0.5)]]
                ),
                b_ub=np.concatenate([base, -base, [size]]),
                A_eq=np.append(np.ones(k + 1), np.zeros(k + 1))[None],
                b_eq=[1.0],
            )
            got = value(tv_ball, size, m[row : row + 1], v[row : row + 1], floor)[0]
            assert got == pytest.approx(found.fun, abs=1e-8 * np.ptp(worth))


@pytest.mark.parametrize("name", ["kl", "chi"])
def test_smooth_balls_against_a_general_primal_solver(name):
    rng = np.random.default_rng(11)
    for _ in range(6):
        m, v = rng.dirichlet(np.full(4, 3.0)), rng.normal(size=4)
        spent = {
            "kl": lambda q, m=m: float(np.sum(q * np.log(np.maximum(q, 1e-300) / m))),
            "chi": lambda q, m=m: float(np.sum((q - m) ** 2 / m)),
        }[name]
        found = minimize(
            lambda q, v=v: float(q @ v),
            m,
            jac=lambda q, v=v: v,
            bounds=[(1e-12, 1)] * 4,
            constraints=[
                {"type": "eq", "fun": lambda q: q.sum() - 1},
                {"type": "ineq", "fun": lambda q, spent=spent: 0.1 - spent(q)},
            ],
            method="SLSQP",
            options={"ftol": 1e-14, "maxiter": 500},
        )
        dual = {"kl": kl_ball, "chi": chi_ball}[name]
        assert value(dual, 0.1, m[None], v[None])[0] == pytest.approx(found.fun, abs=1e-8)


def test_equal_to_the_reductions_over_costs():
    """A worst case over values is minus the worst case over costs -V."""
    rng = np.random.default_rng(2)
    v = rng.normal(size=9)
    m = np.full(9, 1 / 9)
    one = Scored(torch.zeros(9, 1), torch.ones(9, 1), torch.zeros(9, 1))
    batch = Pairs(one, one)
    costs = torch.tensor(-v)
    chi, _ = reductions.chi_square(radius=0.7).apply(costs, batch, {})
    tilted, _ = reductions.kl(temperature=0.4).apply(costs, batch, {})
    assert value(chi_ball, 0.7, m[None], v[None])[0] == pytest.approx(-float(chi), abs=1e-9)
    assert value(kl_penalty, 0.4, m[None], v[None])[0] == pytest.approx(-float(tilted), abs=1e-9)


@pytest.mark.parametrize("name", DIVERGENCES)
@pytest.mark.parametrize("made", [ball, penalty])
def test_estimated_duals_agree_with_exact_ones_where_the_estimate_is_a_law(name, made):
    """With a law for weights the regression's dual is the exact one, up to the grid it searches."""
    rng = np.random.default_rng(7)
    m, v = rng.dirichlet(np.ones(5), 6), np.append(0.0, rng.uniform(0, 3, 4))
    for size in (0.02, 0.3, 1.0, *([] if "total" in name and made is ball else [2.0])):
        against = made(name, size)
        exact = against.worst(0, np.tile(v, (6, 1)), m, 0.0).value_I
        size_I = against.size_I(0, 6)
        near = against.estimated(m, v, size_I, 0.0)
        assert (near <= exact + 1e-9).all()
        assert np.abs(near - exact).max() < 0.03
