"""The flip rate from held-out log-odds: by hand, against expectation-maximization, by coverage, and where it cannot be known."""

import numpy as np
import pytest
from scipy.special import expit

from holdfast.checkup.flips import binned, design_effect, flip_rate, flips_from_agreement, posterior_wrong, upper_bound


def log_odds(seed, n=3000, spread=4.0, flip=0.2):
    """Log-odds of a model that is calibrated before the flips; negative where it disagrees with the label."""
    rng = np.random.default_rng(seed)
    t_N = np.abs(rng.normal(size=n)) * spread
    agrees_N = (rng.random(n) < expit(t_N)) ^ (rng.random(n) < flip)
    return np.where(agrees_N, t_N, -t_N)


@pytest.mark.parametrize("flip", [0.0, 0.05, 0.2, 0.3])
def test_the_interval_covers_the_planted_rate(flip):
    found = [flip_rate(log_odds(seed, flip=flip), np.arange(3000)) for seed in range(60)]
    assert np.mean([f.low <= flip <= f.high for f in found]) >= 0.9
    assert all(f.identified for f in found)
    assert abs(np.mean([f.value for f in found]) - flip) < 0.01


def test_without_flips_the_lower_end_stays_at_zero():
    assert np.mean([flip_rate(log_odds(seed, flip=0.0), np.arange(3000)).low > 0 for seed in range(60)]) <= 0.1


def test_a_model_of_short_reach_identifies_nothing_and_bounds_from_above():
    found = [flip_rate(log_odds(seed, spread=0.3, flip=0.1), np.arange(3000)) for seed in range(20)]
    assert not any(f.identified for f in found)
    assert all(f.high >= 0.1 for f in found)


def test_labels_that_are_nearly_coins_are_not_told_from_a_model_that_knows_little():
    rng = np.random.default_rng(0)
    t_N = np.where(rng.random(4000) < 0.55, 1, -1) * np.abs(rng.normal(size=4000)) * 5
    assert not flip_rate(t_N, np.arange(4000)).identified


def test_it_is_where_expectation_maximization_ends():
    """At the right scale and the logistic link: eta <- mean of eta p / (eta p + (1 - eta)(1 - p)), held-out p fixed, to its fixed point."""
    t_N = log_odds(1, n=20_000, flip=0.25)
    eta = 0.9
    for _ in range(2000):
        eta = float(np.mean(eta * expit(t_N) / (eta * expit(t_N) + (1 - eta) * expit(-t_N))))
    assert abs(flip_rate(t_N, np.arange(20_000)).value - (1 - eta)) < 0.02


def test_repeated_rows_of_one_cluster_do_not_narrow_the_interval():
    t_N = log_odds(0, n=800)
    once = flip_rate(t_N, np.arange(800))
    five = flip_rate(np.repeat(t_N, 5), np.repeat(np.arange(800), 5))
    assert five.high - five.low == pytest.approx(once.high - once.low, abs=0.015)


def test_design_effect_of_copies_is_their_number():
    pull_N = np.repeat(np.random.default_rng(0).normal(size=1000), 4)
    assert design_effect(pull_N, np.repeat(np.arange(1000), 4)) == pytest.approx(4, rel=0.02)
    assert design_effect(np.zeros(3), np.arange(3)) == 1.0


def test_upper_bound_holds_and_bins_keep_every_row():
    assert np.mean([upper_bound(log_odds(s, n=500, flip=0.2), np.arange(500), 0.95) >= 0.2 for s in range(100)]) >= 0.95
    t_B, n_B = binned(np.random.default_rng(0).normal(size=1234))
    assert n_B.sum() == 1234 and (np.diff(t_B) > 0).all()


def test_agreement_by_hand():
    assert flips_from_agreement(1.0) == 0.0
    assert flips_from_agreement(0.82) == pytest.approx(0.1)  # 1 - 2 x 0.1 x 0.9
    assert flips_from_agreement(0.68) == pytest.approx(0.2)
    assert flips_from_agreement(0.4) == 0.5


def test_the_posterior_is_bayes_rule():
    t_N = log_odds(3, n=5000, flip=0.2)
    found = flip_rate(t_N, np.arange(5000))
    wrong_N = posterior_wrong(t_N, found)
    assert wrong_N[np.argmin(t_N)] > 0.95 and wrong_N[np.argmax(t_N)] < 0.05
    assert wrong_N.mean() == pytest.approx(found.value, abs=0.02)
