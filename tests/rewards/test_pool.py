"""Pools of an ensemble by hand, and the coverage of its interval where the truth is planted."""

from __future__ import annotations

import numpy as np
import pytest

from holdfast.errors import OptionError
from holdfast.rewards.pool import Scale, epistemic, parse_pool


def test_pools_by_hand():
    """R = (1, 2, 6): mean 3, worst 1, 3 - 0.5 x 14/3 = 2/3 with the population's variance."""
    score_MN = np.array([[1.0], [2.0], [6.0]])
    made = {
        name: float(parse_pool(name)(score_MN)[0])
        for name in ("mean", "worst_case", "uncertainty_weighted", "quantile", "quantile:q=0.5")
    }
    assert made == pytest.approx(
        {
            "mean": 3.0,
            "worst_case": 1.0,
            "uncertainty_weighted": 2 / 3,
            "quantile": 1.5,
            "quantile:q=0.5": 2.0,
        }
    )


def test_caution_turns_a_choice():
    """a = (1, 1, 1), b = (2, 2, -0.5): the mean prefers b, 7/6; the cautious pools prefer a."""
    both_MN = np.array([[1.0, 2.0], [1.0, 2.0], [1.0, -0.5]])
    assert np.diff(parse_pool("mean")(both_MN))[0] == pytest.approx(1 / 6)
    assert parse_pool("worst_case")(both_MN).tolist() == [1.0, -0.5]
    assert parse_pool("uncertainty_weighted")(both_MN) == pytest.approx([1.0, 0.472222], abs=1e-6)


def test_one_member_is_itself_and_scales_are_taken_out():
    one_MN = np.array([[1.0, -2.0]])
    for name in ("mean", "worst_case", "uncertainty_weighted:weight=2", "quantile:q=0"):
        assert parse_pool(name)(one_MN).tolist() == [1.0, -2.0]
    assert not np.isfinite(epistemic(one_MN)).any()
    scale = Scale(np.array([10.0, -1.0]), np.array([2.0, 0.5]))
    assert scale(np.array([[12.0], [-0.5]])).tolist() == [[1.0], [1.0]]


def test_refusals():
    for text in ("median", "quantile:q=2", "uncertainty_weighted:weight=-1", "mean:q=1"):
        with pytest.raises(OptionError):
            parse_pool(text)


def test_the_interval_covers_another_member_at_its_level():
    rng = np.random.default_rng(0)
    score_MN, more_N = rng.normal(size=(4, 20_000)), rng.normal(size=20_000)
    low_N, high_N = epistemic(score_MN)
    assert np.mean((low_N <= more_N) & (more_N <= high_N)) == pytest.approx(0.95, abs=0.005)
