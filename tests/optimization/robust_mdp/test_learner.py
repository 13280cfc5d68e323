"""DR-RPO: bonus and policy steps by hand, and what it learns on the linear world."""

from __future__ import annotations

import numpy as np
import pytest

from holdfast.errors import DataError, OptionError
from holdfast.optimization.robust_mdp import (
    NOMINAL,
    around,
    dr_rpo,
    evaluate,
    fixed_reference,
    mirror,
    optimum,
    tabular,
)
from holdfast.optimization.robust_mdp.learner import Learned, bonus_root, bonus_sum
from holdfast.optimization.robust_mdp.worlds import linear_world, put_world


def test_both_forms_of_the_bonus_by_hand():
    f = np.array([0.6, 0.0, 0.0, 0.4])
    inverse = np.linalg.inv(0.1 * np.eye(4) + 10 * np.outer(f, f))
    assert bonus_sum(f[None], inverse)[0] == pytest.approx(2.131451, abs=1e-6)
    assert bonus_root(f[None], inverse)[0] == pytest.approx(1.507215, abs=1e-6)


def test_policy_steps_by_hand():
    q, ref = np.array([[1.0, 2.0, 0.5]]), np.log([[0.5, 0.25, 0.25]])
    log_pi, value = fixed_reference(1.0)(q, ref, np.log([[0.1, 0.1, 0.8]]))
    assert value[0] == pytest.approx(1.286083, abs=1e-6)  # the last policy plays no part
    log_pi, value = mirror(1.0)(q, np.log([[0.1, 0.1, 0.8]]), ref)
    assert np.exp(log_pi[0]) == pytest.approx([0.375600, 0.510493, 0.113906], abs=1e-6)
    assert value[0] == pytest.approx(np.exp(log_pi[0]) @ q[0])
    greedy, value = fixed_reference(0.0)(q, ref, ref)
    assert np.exp(greedy[0]).tolist() == [0, 1, 0] and value[0] == 2


def test_the_mirror_step_learns_the_robust_policy_and_lsvi_does_not():
    """At xi 0.3 and radius 0.3, beyond the break-even: under the worst shift the robust learner is
    ahead of the nominal one by more than 0.3 on average, and near the robust optimum.
    """
    place = linear_world(delta=0.3, xi=0.3)
    against, worst = around(place, "total_variation", 0.3), place.shifted(1.0)
    ends: dict[str, list[float]] = {"robust": [], "nominal": []}
    for seed in range(4):
        for name, step, ambiguity in (
            ("robust", mirror(0.2), against),
            ("nominal", fixed_reference(0.0), NOMINAL),
        ):
            found = dr_rpo(
                place.mdp, ambiguity, step=step, seed=seed, most=place.most, measure=False
            )
            ends[name].append(evaluate(worst, found.policy_HSA).value)
    assert np.mean(ends["robust"]) > np.mean(ends["nominal"]) + 0.3
    assert np.mean(ends["robust"]) > 1.3


def test_regret_is_counted_from_the_exact_optimum_and_the_seed_decides():
    place = linear_world()
    against = around(place, "total_variation", 0.3)
    run = {"step": fixed_reference(0.2), "eta": 0.2, "episodes": 30, "most": place.most}
    first, again = (dr_rpo(place.mdp, against, seed=3, **run) for _ in range(2))
    assert np.array_equal(first.value_E, again.value_E)
    assert first.best == pytest.approx(optimum(place.mdp, against, eta=0.2).value)
    assert (first.value_E <= first.best + 1e-9).all() and (np.diff(first.regret_E) >= 0).all()


def test_the_slope_of_a_planted_regret():
    k = np.arange(1, 401)
    value_E = -np.diff(np.append(0.0, 3 * k**0.5))
    assert Learned(np.ones(1), value_E, 0.0).slope() == pytest.approx(0.5, abs=1e-9)
    assert Learned(np.ones(1), -np.ones(400), 0.0).slope() == pytest.approx(1.0)


def test_negative_rewards_and_own_features_are_learned_from():
    """Two actions that cost 1 and 2: the cheap one is found. The put runs on its hat features."""
    mdp = tabular(np.ones((1, 2, 1)), [[-2.0, -1.0]], horizon=2)
    found = dr_rpo(mdp, step=fixed_reference(0.0), episodes=20)
    assert found.policy_HSA[:, 0, 1].tolist() == [1, 1]
    place = put_world(horizon=4)
    found = dr_rpo(
        place.mdp, step=mirror(0.5), features=place.features_XI, episodes=20, most=place.most
    )
    assert 0 <= found.value_E[-1] <= found.best


def test_bad_settings_are_named():
    place = linear_world()
    for bad, error in (
        ({"episodes": 0}, OptionError),
        ({"beta": -1.0}, OptionError),
        ({"ridge": 0.0}, OptionError),
        ({"bonus": "huge"}, OptionError),
        ({"features": np.ones((3, 2))}, DataError),
        ({"features": np.ones((80, 900))}, DataError),
    ):
        with pytest.raises(error, match=next(iter(bad))):
            dr_rpo(place.mdp, step=mirror(0.2), **bad)
    with pytest.raises(OptionError, match="eta"):
        mirror(0.0)
