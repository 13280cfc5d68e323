"""Robust value iteration by hand, against brute force, and on worlds with known break-evens."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from holdfast.errors import DataError, OptionError
from holdfast.optimization.robust_mdp import (
    NOMINAL,
    around,
    ball,
    evaluate,
    linear,
    optimum,
    parting_radius,
    penalty,
    shifts,
    tabular,
    world,
)
from holdfast.optimization.robust_mdp.planning import soft_step
from holdfast.optimization.robust_mdp.worlds import gymnasium_world, hat, linear_world, put_world


@pytest.mark.parametrize(
    ("delta", "xi", "radius"),
    [(0.3, 0.1, 0.480640), (0.3, 0.2, 0.375750), (0.3, 0.3, 0.280840), (0.4, 0.1, 0.375750)],
)
def test_the_radius_at_which_policies_part_is_the_break_even(delta, xi, radius):
    """Worked out by hand for the linear world: the safe action wins once (1 - radius) times what
    the paid state earns falls below what the good one does.
    """
    found = parting_radius(linear_world(delta=delta, xi=xi), "total_variation", most=1.0)
    assert found == pytest.approx(radius, abs=2e-6)


@pytest.mark.parametrize(
    ("xi", "radius", "eta", "expected"),
    [
        (0.1, 0.0, 0.0, 1.423232),
        (0.1, 0.3, 0.0, 1.183232),
        (0.1, 0.6, 0.0, 0.990976),
        (0.3, 0.3, 0.0, 1.438320),
        (0.3, 0.3, 0.2, 1.122907),
        (0.3, 0.3, 0.05, 1.300267),
        (0.1, 0.3, 0.2, 1.003806),
        (0.1, 0.3, 1e7, 0.986286),  # the mean under the reference
    ],
)
def test_values_of_the_linear_world(xi, radius, eta, expected):
    place = linear_world(delta=0.3, xi=xi)
    found = optimum(place.mdp, around(place, "total_variation", radius), eta=eta)
    assert found.value == pytest.approx(expected, abs=2e-6)
    again = evaluate(place.mdp, found.policy_HSA, around(place, "total_variation", radius), eta=eta)
    assert again.value == pytest.approx(found.value, abs=1e-9)


@pytest.mark.parametrize(
    ("horizon", "up", "expected"),
    [(2, 0.5, 1.0), (3, 0.5, 1.01), (3, 0.7, 0.6084), (3, 0.3, 1.9572), (10, 0.5, 2.459625)],
)
def test_prices_of_the_put(horizon, up, expected):
    place = put_world(horizon=horizon)
    assert optimum(place.shifted(up)).value == pytest.approx(expected, abs=1e-6)


def test_hat_features_of_the_put():
    at = 80 + 5 * np.arange(20.0)
    assert hat(np.array([98.0]), at, 5.0)[0, 3:5] == pytest.approx([0.4, 0.6])
    assert hat(np.array([79.0]), at, 5.0)[0, 0] == pytest.approx(0.8)
    assert not hat(np.array([75.0]), at, 5.0).any()


def test_the_soft_step_by_hand():
    q, log_ref = np.array([[1.0, 2.0, 0.5]]), np.log([[0.5, 0.25, 0.25]])
    policy, best = soft_step(q, log_ref, 1.0)
    assert best[0] == pytest.approx(1.286083, abs=1e-6)
    assert policy[0] == pytest.approx([0.375600, 0.510493, 0.113906], abs=1e-6)
    assert soft_step(q, log_ref, 0.5)[1][0] == pytest.approx(1.445842, abs=1e-6)
    assert soft_step(q, log_ref, 1e8)[1][0] == pytest.approx(1.125, abs=1e-6)
    assert soft_step(q, log_ref, 0.0)[1][0] == 2.0


@pytest.mark.parametrize("made", [ball("kl", 0.2), ball("chi_square", 0.5), penalty("kl", 0.7)])
def test_against_every_policy_of_a_small_process(made):
    """The robust optimum is the best robust value among all 2^6 deterministic policies."""
    rng = np.random.default_rng(4)
    mdp = tabular(rng.dirichlet(np.ones(3), (3, 2)), rng.normal(size=(3, 2)), horizon=2)
    values = []
    for choice in itertools.product(range(2), repeat=6):
        policy = np.eye(2)[np.array(choice).reshape(2, 3)]
        values.append(evaluate(mdp, policy, made).value)
    assert optimum(mdp, made).value == pytest.approx(max(values), abs=1e-10)


def test_a_set_of_size_0_is_the_nominal_kernel_and_larger_balls_are_worse():
    place = gymnasium_world("FrozenLake-v1", horizon=30)
    nominal = optimum(place.mdp).value
    # 0.3 and so on: value iteration written out over gymnasium's own table
    import gymnasium

    table = gymnasium.make("FrozenLake-v1").unwrapped.P
    value = np.zeros(16)
    for _ in range(30):
        value = np.array(
            [
                max(
                    sum(p * (r + (0 if done else value[s2])) for p, s2, r, done in table[s][a])
                    for a in range(4)
                )
                for s in range(16)
            ]
        )
    assert nominal == pytest.approx(value[0], abs=1e-12)
    for name in ("total_variation", "kl", "chi_square"):
        values = [optimum(place.mdp, ball(name, r)).value for r in (0.0, 0.01, 0.1, 0.5)]
        assert values[0] == pytest.approx(nominal, abs=1e-12)
        assert all(a > b for a, b in itertools.pairwise(values) if a > 1e-9)


def test_gymnasium_worlds_have_their_sizes_and_end():
    for name, states, horizon in (("CliffWalking-v1", 49, 20), ("Taxi-v4", 501, 6)):
        place = world(name, horizon=horizon)
        assert place.mdp.states == states and place.mdp.ended_S[-1]
        found = optimum(place.mdp, ball("kl", 0.05))
        assert found.value <= optimum(place.mdp).value
        assert np.abs(found.policy_HSA.sum(2) - 1).max() < 1e-12


def test_shifted_kernels_favor_the_robust_policy_of_the_linear_world():
    place = linear_world()
    nominal = optimum(place.mdp)
    robust = optimum(place.mdp, around(place, "total_variation", 0.6))
    rows = shifts(place, nominal, robust)
    assert rows[0].nominal > rows[0].robust and rows[-1].robust > rows[-1].nominal
    assert all(row.best >= max(row.nominal, row.robust) - 1e-12 for row in rows)


GOOD = np.full((2, 2, 2), 0.5)


@pytest.mark.parametrize(
    ("transition", "reward", "says"),
    [
        (GOOD * 1.1, np.zeros((2, 2)), r"transition\[0, 0\] sums to 1.1, not to 1"),
        (GOOD, np.full((2, 2), np.nan), r"reward\[0, 0\] is nan"),
        (GOOD, np.zeros((3, 2)), "2 states and 2 actions"),
        (-GOOD, np.zeros((2, 2)), "must be at least 0"),
        (np.full((2, 2, 3), 1 / 3), np.zeros((2, 2)), "2 states, but 3 next states"),
        (np.full((2, 2), 0.5), np.zeros((2, 2)), r"transition has shape \(2, 2\)"),
    ],
)
def test_bad_tables_are_named(transition, reward, says):
    with pytest.raises(DataError, match=says):
        tabular(transition, reward, horizon=3)


def test_bad_settings_are_named(tmp_path):
    mdp = tabular(GOOD, np.zeros((2, 2)), horizon=3)
    with pytest.raises(OptionError, match="horizon"):
        tabular(GOOD, np.zeros((2, 2)), horizon=0)
    with pytest.raises(OptionError, match="no divergence 'k1'"):
        ball("k1", 0.1)
    with pytest.raises(DataError, match="radius is -1"):
        ball("kl", -1)
    with pytest.raises(DataError, match="radius is inf"):
        ball("kl", np.inf)
    with pytest.raises(
        DataError, match=r"radius is 1\.5; total_variation of two laws is at most 1"
    ):
        ball("total_variation", [0.1, 1.5])
    with pytest.raises(OptionError, match="price"):
        penalty("kl", 0)
    with pytest.raises(DataError, match="sizes for 1 steps and 3 factors"):
        optimum(mdp, ball("kl", [0.1, 0.2, 0.3]))
    with pytest.raises(DataError, match="policy has shape"):
        evaluate(mdp, np.ones(3) / 3, NOMINAL)
    with pytest.raises(DataError, match=r"reference.* is 0"):
        optimum(mdp, eta=0.1, reference=[1.0, 0.0])
    with pytest.raises(DataError, match=r"features.* sums to"):
        linear(np.full((2, 2, 2), 0.4), np.full((2, 2), 0.5), np.zeros(2), horizon=2)
    with pytest.raises(DataError, match="no reward"):
        np.savez(tmp_path / "mine.npz", transition=GOOD)
        world(str(tmp_path / "mine.npz"))
    with pytest.raises(DataError, match="no tabular environment"):
        gymnasium_world("CartPole-v1")
