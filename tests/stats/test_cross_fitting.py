"""No two rows judge each other, and verdicts on coins have the variance of coins."""

import numpy as np
import pytest

from holdfast.stats.cross_fitting import one_way_folds


def test_of_two_rows_one_judges_the_other_and_never_both():
    cluster_N = np.repeat(np.arange(30), 2)
    judges = np.zeros((60, 60), int)  # judges[i, j]: row i helps to judge row j
    for fitted, judged in one_way_folds(cluster_N, seed=3):
        judges[np.ix_(fitted, judged)] += 1
    same_fold = (judges + judges.T) == 0
    assert (
        (judges + judges.T) <= 1
    ).all() and same_fold.sum() == 5 * 12**2  # five folds of twelve rows
    assert same_fold[cluster_N[:, None] == cluster_N].all()
    assert judges.sum(0).tolist() == [24] * 60  # two fifths of the rows


def test_few_clusters_and_even_numbers_of_folds():
    assert [len(judged) for _, judged in one_way_folds(np.array([0, 0, 1, 1]), seed=0)] == [
        2
    ]  # the second is judged by nobody
    assert list(one_way_folds(np.zeros(4, int), seed=0)) == []
    with pytest.raises(ValueError, match="even"):
        list(one_way_folds(np.arange(9), seed=0, folds=4))


def test_the_variance_under_coins_is_that_of_coins():
    """Linear scores in many directions; ordinary cross-fitting has 1 + 2 / pi times it."""

    def share(rng, splits):
        x_ND = rng.normal(size=(100, 60))
        right_N = np.concatenate(
            [x_ND[judged] @ x_ND[fitted].sum(0) > 0 for fitted, judged in splits]
        )
        return right_N.mean()

    rng, fold_N = np.random.default_rng(0), np.arange(100) % 5
    both_ways = [(np.flatnonzero(fold_N != k), np.flatnonzero(fold_N == k)) for k in range(5)]
    ratio = {
        name: 400 * np.var([share(rng, splits) for _ in range(2000)])  # of the variance 1 / 4n
        for name, splits in (
            ("one way", list(one_way_folds(np.arange(100), seed=0))),
            ("both ways", both_ways),
        )
    }
    assert ratio["one way"] == pytest.approx(
        1.0, abs=0.13
    )  # four standard errors of a variance from 2,000 draws
    assert ratio["both ways"] == pytest.approx(1 + 2 / np.pi, abs=0.21)
