"""Per-rater reliability: intervals that cover, agreement with a peer library, and a test of whether
raters differ that keeps its level.
"""

import numpy as np
import pytest

from holdfast.checkup.estimators.reliability import Scores, differ, reliabilities


def world(seed, a_R, pairs, per_pair):
    rng = np.random.default_rng(seed)
    pair_V = np.repeat(np.arange(pairs), per_pair)
    rater_V = np.concatenate([rng.choice(len(a_R), per_pair, replace=False) for _ in range(pairs)])
    right_V = rng.random(len(pair_V)) < np.asarray(a_R)[rater_V]
    return np.where(right_V, 1.0, -1.0) * rng.choice([-1.0, 1.0], pairs)[pair_V], pair_V, rater_V


@pytest.mark.parametrize("per_pair", [2, 3])
def test_intervals_cover_reliabilities_drawn_at_random(per_pair):
    covered = []
    for seed in range(20):
        a_R = np.random.default_rng(1000 + seed).beta(8, 2, 25)
        found = reliabilities(*world(seed, a_R, 300, per_pair), 25, seed=seed)
        covered.append((found.low_R <= a_R) & (a_R <= found.high_R))
    assert 0.87 <= np.mean(covered) <= 0.99


def test_reliabilities_agree_with_a_peer():
    crowdkit = pytest.importorskip("crowdkit.aggregation")
    import pandas as pd

    a_R = [0.95, 0.9, 0.85, 0.7, 0.6, 0.8]
    forward_V, pair_V, rater_V = world(0, a_R, 1500, 4)
    frame = pd.DataFrame({"task": pair_V, "worker": rater_V, "label": (forward_V > 0).astype(int)})
    theirs = crowdkit.OneCoinDawidSkene(n_iter=100).fit(frame).skills_.sort_index().to_numpy()
    assert np.abs(reliabilities(forward_V, pair_V, rater_V, 6).value_R - theirs).max() < 0.02


def test_few_verdicts_are_drawn_to_the_others_and_have_a_wide_interval():
    forward_V, pair_V, rater_V = world(1, [0.9] * 8, 300, 3)
    seldom = (rater_V == 7) & (np.cumsum(rater_V == 7) > 2)
    found = reliabilities(forward_V[~seldom], pair_V[~seldom], rater_V[~seldom], 8)
    width_R = found.high_R - found.low_R
    assert width_R[7] > 1.5 * width_R[:7].max() and abs(found.value_R[7] - 0.9) < 0.1


def test_who_is_right_can_be_told_from_outside():
    rng = np.random.default_rng(2)
    a_R, rater_V = np.array([0.95, 0.6]), np.repeat([0, 1], 1500)
    side = rng.choice([-1.0, 1.0], 3000)
    forward_V = np.where(rng.random(3000) < a_R[rater_V], 1, -1) * side
    found = reliabilities(
        forward_V,
        np.arange(3000),
        rater_V,
        2,
        side_P=3.0 * np.where(rng.random(3000) < 0.953, side, -side),
    )
    assert np.all((found.low_R - 0.01 < a_R) & (a_R < found.high_R + 0.01))


def test_the_test_by_exchange_keeps_its_level_however_skewed_and_finds_what_is_there():
    def p(seed, odd):
        rng = np.random.default_rng(seed)
        rater_E = np.tile(np.arange(20), 40)
        value = (rng.random(800) < np.where(rater_E < odd, 0.6, 0.95)).astype(float)
        return differ(
            Scores(value, np.arange(800) // 20, np.arange(800), rater_E),
            20,
            resamples=60,
            seed=seed,
        )

    alike = [p(seed, 0) for seed in range(120)]
    assert np.mean([found.p < 0.05 for found in alike]) <= 0.11
    assert np.mean([found.p_low_R.min() < 0.05 for found in alike]) <= 0.11
    assert np.mean([found.p_either < 0.05 for found in alike]) <= 0.11
    assert all(min(found.p, found.p_low_R.min()) <= found.p_either for found in alike)
    odd = p(0, 1)
    assert (
        odd.p < 0.05
        and odd.p_either < 0.05
        and odd.p_low_R[0] < 0.05
        and (odd.p_low_R[1:] > 0.05).all()
    )


def test_values_of_one_pool_stay_in_it():
    """Raters who differ only because their pools do are not told apart."""
    value = np.repeat([0.0, 1.0], 100) + np.tile([0.0, 0.1], 100)
    found = differ(
        Scores(value, np.repeat([0, 1], 100), np.arange(200), np.repeat(np.arange(20), 10)),
        20,
        resamples=50,
        seed=0,
    )
    assert found.p > 0.5
