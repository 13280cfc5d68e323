"""Halpern's iteration and its variance-reduced forms: worked iterates, bounds, counts, and the
operators of games.
"""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest

from holdfast.errors import OptionError
from holdfast.games import Game, exploitability
from holdfast.games.inclusions import (
    FiniteSum,
    cocoercive,
    deterministic,
    monotone,
    of_game,
    onto_simplex,
    resolvent,
    run,
)
from holdfast.lab.worlds.finite_sum import finite_sum

ONE = FiniteSum(1, lambda u: u, lambda i, u: u, 1.0)
TURN = FiniteSum(1, lambda u: np.array([u[1], -u[0]]), lambda i, u: np.array([u[1], -u[0]]), 1.0)


def first(iterates, count):
    return [at.u_D for at in islice(iterates, count)]


def test_iterates_by_hand():
    np.testing.assert_allclose(
        np.ravel(first(cocoercive(ONE, np.ones(1)), 6)),
        [1, 0.75, 0.6625, 0.609375, 0.568638, 0.534319],
        atol=5e-7,
    )
    np.testing.assert_allclose(
        np.ravel(first(deterministic(ONE, np.ones(1), relax=1.0), 5)),
        [1, 1 / 2, 1 / 3, 1 / 4, 1 / 5],
    )
    np.testing.assert_allclose(
        np.ravel(first(deterministic(ONE, np.ones(1)), 5)), [1, 0, 1 / 3, 0, 1 / 5], atol=1e-15
    )


def test_a_rotation_needs_the_resolvent():
    """J = (I + F)^-1 by hand: J(1, 0) = (.5, .5). Plain forward steps on a rotation run away,
    resolvents do not.
    """
    rng = np.random.default_rng(0)
    z, _ = resolvent(TURN, np.array([1.0, 0]), np.zeros(2), rng, eta=1.0, budget=400)
    np.testing.assert_allclose(z, [0.5, 0.5], atol=1e-6)
    u = np.array([1.0, 0.0])
    points = []
    for k in range(4):
        z, _ = resolvent(TURN, u, u, rng, eta=1.0, budget=600)
        points.append(np.linalg.norm(u - z))
        u = np.array([1.0, 0]) / (k + 2) + (1 - 1 / (k + 2)) * z
    # ||u - J u|| at u_1..u_3, after u_0's own
    np.testing.assert_allclose(points[1:], [0.559017, 0.424918, 0.312500], atol=1e-5)


def test_parts_average_to_the_whole():
    problem, _ = finite_sum(200, 5, 0)
    u = np.random.default_rng(1).normal(size=5)
    np.testing.assert_allclose(problem.some(np.arange(200), u), problem.whole(u), atol=1e-12)
    game = Game(np.array([[0.5, 0.8, 0.3], [0.2, 0.5, 0.9], [0.7, 0.1, 0.5]]))
    of = of_game(game)
    p = np.array([0.2, 0.3, 0.5])
    mean = sum(chance * of.some(np.array([i]), p) for i, chance in enumerate(of.chances_N))
    np.testing.assert_allclose(mean, of.whole(p), atol=1e-12)
    assert of.lipschitz == pytest.approx(
        np.linalg.norm(game.skew_AA)
    ) and of.whole_L == pytest.approx(np.linalg.norm(game.skew_AA, 2))


def test_the_residual_keeps_its_bound():
    """sqrt(E ||F(u_k)||^2) <= 16 L ||u_0 - u*|| / (k + 4), at every k; u* = 0."""
    problem, u = finite_sum(400, 6, 3)
    for k, at in zip(range(400), cocoercive(problem, u), strict=False):
        assert problem.residual(at.u_D) <= 16 * problem.lipschitz * np.linalg.norm(u) / (k + 4)


def test_calls_are_counted_part_by_part():
    problem, u = finite_sum(100, 4, 0)
    calls = [at.calls for at in islice(cocoercive(problem, u), 200)]
    assert calls[0] == 100 and set(np.diff(calls)) == {
        100,
        20,
    }  # the whole of F, or ten parts at two points
    assert [at.calls for at in islice(deterministic(problem, u), 3)] == [100, 200, 300]


def test_both_reach_a_small_residual_and_say_so():
    problem, u = finite_sum(1000, 6, 1)
    for iterates in (cocoercive(problem, u), deterministic(problem, u)):
        found = run(iterates, problem, until=0.05, max_calls=10**6)
        assert (
            found["reached"]
            and found["residuals"][-1] <= 0.05
            and found["calls"] == sorted(found["calls"])
        )
    assert not run(cocoercive(problem, u), problem, until=0.0, max_calls=5000)["reached"]
    with pytest.raises(OptionError, match="relax"):
        next(deterministic(problem, u, relax=3.0))


@pytest.mark.parametrize("reduced", [True, False])
def test_a_game_is_an_inclusion(reduced: bool):
    half = np.triu(np.random.default_rng(2).uniform(size=(15, 15)), 1)
    game = Game(half + np.tril(1 - half.T, -1) + 0.5 * np.eye(15))
    problem = of_game(game)
    found = run(
        monotone(problem, np.full(15, 1 / 15), variance_reduced=reduced),
        problem,
        until=1e-2,
        max_calls=15 * 800,
    )
    assert found["reached"] and exploitability(game, found["u_D"]) < 0.02
    assert found["u_D"].sum() == pytest.approx(1) and (found["u_D"] >= 0).all()


def test_projection_onto_the_simplex():
    np.testing.assert_allclose(onto_simplex(np.array([0.5, 0.5, 0.5])), [1 / 3] * 3)
    np.testing.assert_allclose(onto_simplex(np.array([2.0, 0.0, -1.0])), [1, 0, 0])
    np.testing.assert_allclose(onto_simplex(np.array([0.6, 0.5, -0.4])), [0.55, 0.45, 0])
