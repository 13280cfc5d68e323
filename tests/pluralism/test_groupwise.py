"""Group-wise regret: the hedge by hand, its bound, the learner against batch ridge, and the
identities of the reduction.
"""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import Ridge, SGDClassifier, SGDRegressor

from holdfast.errors import DataError, OptionError
from holdfast.pluralism.groupwise import (
    Hedge,
    OnlineRidge,
    bands,
    groupwise,
    hindsight,
    log_loss,
    log_potential_weight,
    per_group,
    squared,
)


def stream(seed, *, t=600, d=4, groups=3):
    rng = np.random.default_rng(seed)
    x = np.column_stack([np.ones(t), rng.random((t, d - 1))])
    active = rng.random((t, groups)) < 0.4
    theta = rng.dirichlet(np.ones(d), groups + 1)
    which = np.where(active.any(1), active.argmax(1), groups)
    return x, np.clip((x * theta[which]).sum(1) + 0.05 * rng.standard_normal(t), 0, 1), active


def test_weights_by_hand():
    weights = np.exp(
        log_potential_weight(np.array([0.0, 1, -1, 2, 0.5]), np.array([0.0, 1, 1, 4, 3]))
    )
    assert weights == pytest.approx([0.197806, 0.473867, 0.0, 0.376590, 0.103115], abs=1e-6)
    far = log_potential_weight(
        np.array([1e4, 9999.0]), np.array([1e4, 1e4])
    )  # exp(3333) overflows; its logarithm does not
    assert np.isfinite(far).all()
    assert far[0] > far[1]


def test_three_rounds_by_hand():
    hedge, awake = Hedge(2), np.array([True, True])
    for losses, q, mixed in (
        ((0.2, 0.6), (0.5, 0.5), 0.4),
        ((0.1, 0.9), (0.716544, 0.283456), 0.326765),
        ((0.5, 0.3), (0.984300, 0.015700), 0.496860),
    ):
        weight = hedge.weights(awake)
        assert weight == pytest.approx(q, abs=1e-6)
        assert weight @ losses == pytest.approx(mixed, abs=1e-6)
        before = hedge.regret_G.copy()
        hedge.update(weight, np.array(losses), awake)
        assert weight @ (hedge.regret_G - before) == pytest.approx(0)
    assert hedge.regret_G == pytest.approx([0.423624, -0.576375], abs=1e-6)


def test_the_bound_holds_for_experts_that_sleep():
    largest = 0.0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        hedge, skill = Hedge(6), rng.random(6)
        for t in range(300):
            awake = rng.random(6) < rng.uniform(0.1, 1)
            if not awake.any():
                continue
            loss = rng.random(6) * (skill if t < 150 or seed % 2 else skill[::-1])
            hedge.update(hedge.weights(awake), loss, awake)
        largest = max(largest, float((hedge.regret_G / hedge.bound_G).max()))
    assert 0 < largest < 1


def test_ridge_is_the_batch_solution():
    x, y, _ = stream(0, t=50)
    online = OnlineRidge(0.7).partial_fit(x[:20], y[:20]).partial_fit(x[20:], y[20:])
    assert online.theta_D == pytest.approx(
        np.linalg.solve(x.T @ x + 0.7 * np.eye(4), x.T @ y), abs=1e-10
    )
    assert online.predict(x) == pytest.approx(
        Ridge(0.7, fit_intercept=False).fit(x, y).predict(x), abs=1e-8
    )
    assert OnlineRidge().predict(x[:2]).tolist() == [0, 0]


def test_one_group_is_the_plain_learner_and_twins_are_one():
    x, y, _ = stream(1, t=200)
    plain, learner = [], OnlineRidge()
    for t in range(200):
        plain.append(float(np.clip(learner.predict(x[t])[0], 0, 1)) if t else 0.5)
        learner.partial_fit(x[t], y[t])
    one = groupwise(x, y, np.zeros((200, 0)))
    assert one.prediction_T == pytest.approx(plain)
    assert groupwise(x, y, np.ones((200, 1)), always=False).prediction_T == pytest.approx(plain)
    assert groupwise(x, y, np.ones((200, 2)), always=False).prediction_T == pytest.approx(plain)


def test_disjoint_groups_are_served_by_their_own():
    x, y, _ = stream(2, t=200)
    side = np.arange(200) % 3 == 0
    both = groupwise(x, y, np.column_stack([side, ~side]), always=False)
    for own in (side, ~side):
        assert both.prediction_T[own] == pytest.approx(
            groupwise(x[own], y[own], np.ones((own.sum(), 1)), always=False).prediction_T
        )


def test_overlapping_groups_lose_less_than_without_groups_and_keep_the_bound():
    for seed in range(3):
        x, y, active = stream(10 + seed, t=1500)
        ours, plain = groupwise(x, y, active), groupwise(x, y, np.zeros((1500, 0)))
        assert (ours.over_own_G <= ours.bound_G).all()
        assert ours.loss_T.mean() < 0.95 * plain.loss_T.mean()
        assert per_group(ours.loss_T, active).max() < per_group(plain.loss_T, active).max()
        assert (
            squared(ours.prediction_T, y) <= ours.loss_T + 1e-12
        ).all()  # the mean of a convex loss
        slow = [
            np.nansum((ours.loss_T - ours.expert_loss_TG[:, g])[ours.active_TG[:, g]])
            for g in range(4)
        ]
        assert ours.over_own_G == pytest.approx(slow)
        assert np.isnan(ours.expert_loss_TG[~ours.active_TG]).all()
        assert (ours.weight_TG[~ours.active_TG] == 0).all()


def test_any_online_estimator_of_scikit_learn_will_do():
    x, y, active = stream(3, t=300)
    regressor = groupwise(
        x,
        y,
        active,
        learner=lambda: SGDRegressor(
            fit_intercept=False, learning_rate="constant", eta0=0.1, random_state=0
        ),
    )
    assert regressor.loss_T[100:].mean() < y.var()
    label = (x @ [0, 4, -4, 0] > 0).astype(float)
    classifier = groupwise(
        x,
        label,
        active,
        learner=lambda: SGDClassifier(loss="log_loss", random_state=0),
        loss=log_loss,
    )
    assert classifier.loss_T[200:].mean() < classifier.loss_T[:20].mean()
    with pytest.raises(OptionError, match="no online learner"):
        groupwise(x, y, active, learner=Ridge)


def test_best_in_hindsight_and_bands():
    x, y, active = stream(4, t=300)
    best = hindsight(x, y, active)
    own = active[:, 0]
    theta = np.linalg.lstsq(x[own], y[own], rcond=None)[0]
    assert best[0] == pytest.approx(squared(np.clip(x[own] @ theta, 0, 1), y[own]).sum(), rel=1e-5)
    assert bands([1.0, 5.0, 9.0], (5, 9)).argmax(1).tolist() == [0, 1, 2]


def test_rounds_of_no_group_and_streams_that_cannot_be_read():
    x, y, active = stream(5, t=40)
    active[3] = False
    alone = groupwise(x, y, active, always=False)
    assert alone.prediction_T[3] == 0.5
    assert np.isfinite(alone.loss_T).all()
    assert np.isnan(per_group(y, np.column_stack([active, np.zeros(40)]))[3])
    for broken, what in (
        ((x, y + 1, active), "outside 0 to 1"),
        ((x[:-1], y, active), "shapes"),
        ((x, y, active * 2), "true or false"),
    ):
        with pytest.raises(DataError, match=what):
            groupwise(*broken)
    x[7, 1] = np.inf
    with pytest.raises(DataError, match="row 7"):
        groupwise(x, y, active)
    with pytest.raises(DataError, match="losses lie in 0 to 1"):
        groupwise(x[:5], y[:5], active[:5], loss=lambda p, y: 5 + 0 * p)


def test_a_learner_that_predicts_nan_is_an_error_and_not_a_confident_0():
    class Broken:
        def partial_fit(self, x, y):
            return self

        def predict(self, x):
            return [float("nan")]

    with pytest.raises(DataError, match="predicts nan"):
        groupwise(np.ones((3, 1)), [0.5, 0.5, 0.5], np.zeros((3, 0)), learner=Broken)
    for edges in ([1.0, 0.0], [0.0, float("nan")]):
        with pytest.raises(DataError, match="edges"):
            bands([0.5], edges)
