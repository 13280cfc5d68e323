"""Intervals, checked by what they promise: of many worlds whose answer is known, a 95% interval
holds it in about 95%.
"""

import numpy as np
import pytest
from scipy import stats

from holdfast.stats.intervals import mean_interval

WORLDS = 600  # the share that covers then has a standard deviation of 0.9% around 95%


def covered(draw, truth):
    """Share of the worlds whose interval holds the truth."""
    hits = 0
    for seed in range(WORLDS):
        values, clusters = draw(np.random.default_rng(seed))
        estimate = mean_interval(values, clusters, resamples=400, seed=seed)
        hits += estimate.low is not None and estimate.low <= truth <= estimate.high
    return hits / WORLDS


def clustered(rng, clusters, value):
    """Rows in clusters of 1 to 5, every row the value of its cluster and a little noise: rows are
    far from independent.
    """
    labels = np.repeat(np.arange(clusters), rng.integers(1, 6, clusters))
    return value[labels], labels


def bernoulli(rng):
    return rng.random(80) < 0.7, None


def bernoulli_with_ties(rng):
    return rng.choice([0.0, 0.5, 1.0], p=[0.2, 0.2, 0.6], size=60), None


def skewed(rng):
    return rng.exponential(size=60), None


def clustered_normal(rng):
    values, labels = clustered(rng, 60, rng.normal(2.0, 1.0, 60))
    return values + 0.3 * rng.normal(size=len(values)), labels


def clustered_bernoulli(rng):
    values, labels = clustered(rng, 60, rng.beta(2, 1, 60))
    return (rng.random(len(values)) < values).astype(float), labels


@pytest.mark.parametrize(
    ("draw", "truth"),
    [
        (bernoulli, 0.7),
        (bernoulli_with_ties, 0.7),
        (skewed, 1.0),
        (clustered_normal, 2.0),
        (clustered_bernoulli, 2 / 3),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_95_percent_interval_covers_95_percent(draw, truth):
    assert 0.92 <= covered(draw, truth) <= 0.98


def test_ignoring_clusters_would_cover_too_little():
    assert covered(lambda rng: (clustered_normal(rng)[0], None), 2.0) < 0.85


def test_few_clusters_are_wider_than_the_normal_law_says():
    values = np.random.default_rng(0).normal(size=8)
    estimate = mean_interval(values, resamples=4000)
    normal = 2 * 1.96 * values.std(ddof=1) / np.sqrt(8)
    student = 2 * stats.t.ppf(0.975, 7) * values.std(ddof=1) / np.sqrt(8)
    assert normal < estimate.high - estimate.low
    assert estimate.high - estimate.low == pytest.approx(student, rel=0.15)


def test_the_mean_is_over_rows_not_over_clusters():
    estimate = mean_interval([1, 1, 1, 0], ["a", "a", "a", "b"])
    assert estimate.value == 0.75 and estimate.n == 4 and estimate.clusters == 2


def test_whole_clusters_are_drawn():
    """One cluster of a hundred equal rows is one observation, so the interval is as wide as that of
    two rows.
    """
    wide = mean_interval([1.0] * 100 + [0.0] * 100, [0] * 100 + [1] * 100)
    narrow = mean_interval([1.0] * 100 + [0.0] * 100)
    assert wide.low == 0.0 and wide.high == 1.0
    assert narrow.low > 0.4 and narrow.high < 0.6


def test_same_seed_same_interval_and_no_global_state():
    values = np.random.default_rng(1).normal(size=50)
    np.random.seed(5)
    before = np.random.get_state()[1].copy()
    assert (
        mean_interval(values, seed=1)
        == mean_interval(values, seed=1)
        != mean_interval(values, seed=2)
    )
    assert (np.random.get_state()[1] == before).all()


def test_what_cannot_be_told_is_not_told():
    for values, clusters, value in [
        ([], None, None),
        ([np.nan], None, None),
        ([0.3], None, 0.3),
        ([1.0, 0.0], ["a", "a"], 0.5),
        ([0.5] * 9, None, 0.5),
    ]:
        estimate = mean_interval(values, clusters)
        assert (estimate.value, estimate.low, estimate.high, estimate.method) == (
            value,
            None,
            None,
            "",
        )
    assert mean_interval([1.0, 2.0, 4.0], resamples=0).low is None


def test_nan_rows_are_left_out():
    assert (
        mean_interval([1.0, np.nan, 3.0]).value == 2.0 and mean_interval([1.0, np.nan, 3.0]).n == 2
    )


def test_all_right_is_wilson_with_one_trial_a_cluster():
    n, z = 12, stats.norm.ppf(0.975)
    estimate = mean_interval([1.0] * 24, [i // 2 for i in range(24)])
    assert estimate.value == 1.0 and estimate.high == pytest.approx(1.0)
    assert estimate.low == pytest.approx(n / (n + z**2))  # Wilson's lower end at n of n
    assert mean_interval([0.0] * 12).high == pytest.approx(1 - n / (n + z**2))


def test_intervals_that_touch_overlap():
    a, b, c = (mean_interval(np.array([0.0, 0.1, 0.2, 0.3]) + shift) for shift in (0.0, 0.05, 5.0))
    assert a.overlaps(b) and b.overlaps(a) and not a.overlaps(c)
    assert a.overlaps(mean_interval([9.0]))  # nothing is known of its width
