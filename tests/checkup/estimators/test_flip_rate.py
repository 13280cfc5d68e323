"""The flip rate from held-out log-odds: by hand, against expectation-maximization, by coverage, and
where it cannot be known.
"""

import numpy as np
import pytest
from scipy.special import expit

from holdfast.checkup.estimators.flip_rate import (
    DOUBTS,
    binned,
    by_models,
    design_effect,
    flip_rate,
    flips_from_agreement,
    peaks,
    posterior_wrong,
    upper_bound,
)
from tests.checkup.rows import comparisons


def log_odds(seed, n=3000, spread=4.0, flip=0.2):
    """Log-odds of a model that is calibrated before the flips; negative where it disagrees with the
    label.
    """
    rng = np.random.default_rng(seed)
    t_N = np.abs(rng.normal(size=n)) * spread
    agrees_N = (rng.random(n) < expit(t_N)) ^ (rng.random(n) < flip)
    return np.where(agrees_N, t_N, -t_N)


@pytest.mark.parametrize("flip", [0.0, 0.05, 0.2, 0.3])
def test_the_interval_covers_the_planted_rate(flip):
    found = [flip_rate(log_odds(seed, flip=flip), np.arange(3000)) for seed in range(60)]
    assert np.mean([f.rate.holds(flip) for f in found]) >= 0.9
    assert all(f.identified for f in found)
    assert abs(np.mean([f.rate.value for f in found]) - flip) < 0.01


def test_without_flips_the_lower_end_stays_at_zero():
    assert (
        np.mean(
            [
                flip_rate(log_odds(seed, flip=0.0), np.arange(3000)).rate.low > 0
                for seed in range(60)
            ]
        )
        <= 0.1
    )


def test_a_model_of_short_reach_identifies_nothing_and_bounds_from_above():
    found = [flip_rate(log_odds(seed, spread=0.3, flip=0.1), np.arange(3000)) for seed in range(20)]
    assert not any(f.identified for f in found)
    assert all(f.rate.high >= 0.1 for f in found)


def test_labels_that_are_nearly_coins_are_not_told_from_a_model_that_knows_little():
    rng = np.random.default_rng(0)
    t_N = np.where(rng.random(4000) < 0.55, 1, -1) * np.abs(rng.normal(size=4000)) * 5
    assert not flip_rate(t_N, np.arange(4000)).identified


def test_it_is_where_expectation_maximization_ends():
    """At the right scale and the logistic link: eta <- mean of eta p / (eta p + (1 - eta)(1 - p)),
    held-out p fixed, to its fixed point.
    """
    t_N = log_odds(1, n=20_000, flip=0.25)
    eta = 0.9
    for _ in range(2000):
        eta = float(np.mean(eta * expit(t_N) / (eta * expit(t_N) + (1 - eta) * expit(-t_N))))
    assert abs(flip_rate(t_N, np.arange(20_000)).rate.value - (1 - eta)) < 0.02


def test_a_model_that_cannot_see_what_matters_gives_way_to_one_that_can():
    """A coarse model is at chance on a third of the rows, wherever it stands, which looks like
    flips; another model sees those, too.
    """
    rng = np.random.default_rng(0)
    fine_N = log_odds(0, flip=0.0)
    blind_N = rng.random(3000) < 1 / 3
    coarse_N = np.where(blind_N, rng.permutation(fine_N) * rng.choice([-1, 1], 3000), fine_N)
    alone = flip_rate(coarse_N, np.arange(3000))
    assert alone.rate.low > 0.1
    both = flip_rate([coarse_N, fine_N], np.arange(3000))
    assert both.model == 1 and both.rate.low == 0.0 and both.rate.high < 0.03


def test_errors_that_grow_with_the_difference_are_no_flips():
    """What the model does not know grows with the length of x, as t does: without the lengths, its
    errors where |t| is large are flips.
    """
    rng = np.random.default_rng(1)
    size_N = rng.lognormal(0, 1.2, 40_000)
    known_N, unknown_N = (rng.normal(size=40_000) * np.sqrt(size_N) * scale for scale in (1.0, 1.0))
    t_N = known_N * np.where(rng.random(40_000) < expit(3 * (known_N + unknown_N)), 1, -1)
    alone, told = (
        flip_rate(t_N, np.arange(40_000)),
        flip_rate(t_N, np.arange(40_000), size_N=size_N),
    )
    assert (
        alone.rate.value > 0.04
        and told.doubt > 0
        and told.rate.value < 0.02
        and told.rate.low == 0.0
    )


def test_few_clusters_say_little():
    t_N = log_odds(0, n=3000)
    many, three, one = (
        flip_rate(t_N, code_N)
        for code_N in (np.arange(3000), np.arange(3000) % 3, np.zeros(3000, int))
    )
    assert many.rate.width < three.rate.width < one.rate.width


def test_a_model_that_says_nothing_bounds_nothing():
    found = flip_rate(np.zeros(500), np.arange(500))
    assert found.rate.high == pytest.approx(0.49) and not found.identified and found.reach == 0


def test_the_peak_lies_between_the_points_of_the_grid():
    x_A = np.arange(12.0)
    logl_FA = np.stack([-((x_A - 5.3) ** 2), 3 - 0.5 * (x_A - 6.0) ** 2, -x_A])
    assert peaks(logl_FA).tolist() == pytest.approx([0.0, 3.0, 0.0])


def test_repeated_rows_of_one_cluster_do_not_narrow_the_interval():
    t_N = log_odds(0, n=800)
    once = flip_rate(t_N, np.arange(800))
    five = flip_rate(np.repeat(t_N, 5), np.repeat(np.arange(800), 5))
    assert five.rate.width == pytest.approx(once.rate.width, abs=0.015)


def test_design_effect_of_copies_is_their_number():
    pull_N = np.repeat(np.random.default_rng(0).normal(size=1000), 4)
    assert design_effect(pull_N, np.repeat(np.arange(1000), 4)) == pytest.approx(4, rel=0.02)
    assert design_effect(np.zeros(3), np.arange(3)) == 1.0


def test_upper_bound_holds_and_bins_keep_every_row():
    assert (
        np.mean(
            [
                upper_bound(log_odds(s, n=500, flip=0.2), np.arange(500), 0.95) >= 0.2
                for s in range(100)
            ]
        )
        >= 0.95
    )
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
    wrong_N = posterior_wrong(found)
    assert wrong_N[np.argmin(t_N)] > 0.95 and wrong_N[np.argmax(t_N)] < 0.05
    assert wrong_N.mean() == pytest.approx(found.rate.value, abs=0.02)


def test_where_rows_are_so_many_that_the_grid_is_coarse_its_neighbors_are_in_the_interval():
    for flip in (0.101, 0.1025, 0.1049):
        found = flip_rate(log_odds(0, n=400_000, spread=8.0, flip=flip), np.arange(400_000))
        assert (
            0.005 <= found.rate.high - found.rate.low <= 0.02
            and found.rate.low <= flip <= found.rate.high
        )


def test_upsets_among_names_in_circles_are_no_proof_of_flips():
    """Rock beats scissors beats paper beats rock, always, and all of them beat the rest: no label
    is flipped.
    """
    beats = {("rock", "scissors"), ("scissors", "paper"), ("paper", "rock")} | {
        (a, b) for a in ("rock", "scissors", "paper") for b in "xyz"
    }
    rows = [{"winner": winner, "loser": loser} for winner, loser in sorted(beats)] * 100
    found = by_models(comparisons(rows))
    assert found.rate.low == 0.0 and found.rate.high <= found.bound


def test_a_fit_at_the_edge_of_the_grid_of_doubts_is_no_estimate():
    """Labels that follow t over the length of the difference: every larger doubt fits better."""
    rng = np.random.default_rng(0)
    n = 6000
    size_N = rng.lognormal(0, 2, n)
    x_N = np.abs(rng.normal(size=n)) * 4
    agrees_N = (rng.random(n) < expit(x_N)) ^ (rng.random(n) < 0.2)
    t_N = np.where(agrees_N, 1, -1) * x_N * np.sqrt(size_N)
    found = flip_rate(t_N, np.arange(n), size_N=size_N)
    assert found.doubt == DOUBTS[-1] and found.rate.width < 0.1 and not found.identified
    inner = flip_rate(
        np.where(agrees_N, 1, -1) * x_N * np.sqrt(1 + size_N / size_N.mean()),
        np.arange(n),
        size_N=size_N,
    )
    assert inner.doubt < DOUBTS[-1] and inner.identified and inner.rate.holds(0.2)
