"""Calibration against numbers worked by hand and against planted truth."""

from __future__ import annotations

import math

import numpy as np
import pytest

from holdfast.evaluation.calibration import best_scale, calibration


def test_by_hand():
    """Four pairs at log-odds +-log 4 (confidence 0.8), three right: |3/4 - 0.8| = 0.05; Brier (3 x
    0.04 + 0.64) / 4 = 0.19.
    """
    found = calibration([math.log(4)] * 3 + [-math.log(4)])
    assert (
        found.ece == pytest.approx(0.05)
        and found.accuracy.value == 0.75
        and found.brier.value == pytest.approx(0.19)
    )
    assert found.log_loss.value == pytest.approx((3 * math.log(1.25) + math.log(5)) / 4)
    (only,) = found.bins
    assert (
        only.n == 4
        and only.confidence == pytest.approx(0.8)
        and only.right.value == 0.75
        and only.low <= 0.8 <= only.high
    )
    assert found.scale == pytest.approx(
        math.log(3) / math.log(4), abs=1e-6
    )  # odds of 3 to 1 are the truth


def drawn(scale: float, n: int, seed: int) -> np.ndarray:
    """Log-odds of a model that is right about the truth up to a factor."""
    rng = np.random.default_rng(seed)
    true = rng.normal(scale=1.5, size=n)
    wins = rng.random(n) < 1 / (1 + np.exp(-true))
    return scale * np.where(wins, true, -true)


def test_a_perfect_model_is_not_accused_and_an_overconfident_one_is():
    """Of 40 perfect models about 2 fall below p = 0.05; one that doubles its log-odds is caught
    every time and told its factor.
    """
    honest = [calibration(drawn(1.0, 500, seed), resamples=0).ece_p for seed in range(40)]
    assert sum(p <= 0.05 for p in honest) <= 6
    bold = [calibration(drawn(2.0, 1500, seed), resamples=0) for seed in range(5)]
    assert all(found.ece_p < 0.01 and found.ece > 2 * found.ece_perfect for found in bold)
    assert np.mean([found.scale for found in bold]) == pytest.approx(0.5, abs=0.05)


def test_bins_cover_the_truth():
    """95% intervals of a perfect model's bins hold the mean confidence most of the time."""
    inside = []
    for seed in range(12):
        for b in calibration(drawn(1.0, 800, seed), resamples=300, seed=seed).bins:
            if b.right.low is not None:
                inside.append(b.right.low <= b.confidence <= b.right.high)
    assert 0.88 <= np.mean(inside) <= 1.0


def test_odd_rows():
    found = calibration([math.nan, 0.0, 0.0])
    assert found.n == 2 and found.accuracy.value == 0.5 and found.ece == 0 and found.scale is None
    assert calibration([2.0, 3.0]).scale is None
    assert best_scale(np.array([1.0, -1.0, -1.0])) < 0
    assert math.isfinite(calibration([1e9, -1e9]).log_loss.value)
    with pytest.raises(ValueError, match="no pair"):
        calibration([math.nan])
