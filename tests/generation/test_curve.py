"""Best of n for every n from stored answers: against enumeration of subsets, the exact law of a
table, and coverage.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from holdfast.errors import DataError, OptionError
from holdfast.generation.best_of_n import best_of_table, kl_bound
from holdfast.generation.curve import best_of_n_curve, best_of_n_weights


def slow(score: list[float], value: list[float], n: int) -> float:
    """The mean over all subsets; equals share."""
    kept = []
    for some in combinations(range(len(score)), n):
        top = max(score[i] for i in some)
        kept.append(np.mean([value[i] for i in some if score[i] == top]))
    return float(np.mean(kept))


def test_it_equals_the_mean_over_all_subsets():
    rng = np.random.default_rng(0)
    score = np.round(rng.normal(size=(4, 7)), 1)
    score[0] = [1, 1, 2, 2, 2, 0, 1]
    score[1] = 3.0
    value = rng.normal(size=(4, 7))
    for point in best_of_n_curve(score, value, resamples=0):
        rows = list(zip(score.tolist(), value.tolist(), strict=True))
        assert point.value is not None
        assert point.value.value == pytest.approx(np.mean([slow(s, v, point.n) for s, v in rows]))
        assert point.score.value == pytest.approx(np.mean([slow(s, s, point.n) for s, _ in rows]))
        assert point.kl_bound == kl_bound(point.n)


def test_weights_by_hand():
    """Of three, two are drawn: the highest is the third in 2 of 3 pairs, the second in 1 of 3."""
    assert best_of_n_weights(3, [1, 2, 3]) == pytest.approx(
        np.array([[1 / 3] * 3, [0, 1 / 3, 2 / 3], [0, 0, 1]])
    )
    assert best_of_n_weights(4000, [1, 64, 2000, 4000]).sum(1) == pytest.approx(1)


def test_it_is_unbiased_where_the_largest_of_a_part_is_not_the_whole():
    """Means over many draws against the exact law of best of n, selecting by a score that disagrees
    with the value: the value falls with n while the score rises.
    """
    rng = np.random.default_rng(1)
    p, score, value = np.array([0.5, 0.3, 0.2]), np.array([0.0, 1, 2]), np.array([0.2, 1, -1])
    drawn = rng.choice(3, size=(20_000, 8), p=p)
    for point in best_of_n_curve(score[drawn], value[drawn], sizes=[1, 2, 5, 8], resamples=0):
        law = best_of_table(np.log([p] * point.n), score)
        assert point.value is not None
        assert point.value.value == pytest.approx(law @ value, abs=0.02)
        assert point.score.value == pytest.approx(law @ score, abs=0.02)


def test_intervals_hold_the_truth():
    rng = np.random.default_rng(2)
    p, score, value = np.array([0.4, 0.3, 0.2, 0.1]), np.arange(4.0), np.array([0.0, 1, 3, 2])
    held = []
    for repeat in range(150):
        drawn = rng.choice(4, size=(60, 8), p=p)
        curve = best_of_n_curve(
            score[drawn], value[drawn], sizes=[1, 4, 8], resamples=200, seed=repeat
        )
        for point in curve:
            assert point.value is not None
            held.append(point.value.holds(best_of_table(np.log([p] * point.n), score) @ value))
    assert 0.91 < np.mean(held) < 0.985


def test_what_it_says_and_refuses():
    one = best_of_n_curve([[1.0, 2.0]])
    assert [point.n for point in one] == [1, 2]
    assert one[0].value is None
    assert one[1].score.low is None  # one prompt says nothing about others
    assert one[1].to_dict()["score"]["value"] == 2
    with pytest.raises(OptionError, match="n is 3"):
        best_of_n_curve([[1.0, 2.0]], sizes=[3])
    with pytest.raises(DataError, match="answer 2 to prompt 1"):
        best_of_n_curve([[1.0, float("inf")]])
    with pytest.raises(DataError, match="shape"):
        best_of_n_curve([[1.0, 2.0]], [[1.0]])
    with pytest.raises(DataError, match="not empty"):
        best_of_n_curve([])
