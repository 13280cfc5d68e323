"""Models of items that meet more than once."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.optimize import minimize

from holdfast.errors import DataError, OptionError
from holdfast.rewards import cross_validate, fit_items


def drawn(logit_AA: np.ndarray, n: int, seed: int) -> tuple[list[int], list[int]]:
    rng = np.random.default_rng(seed)
    first, second = rng.integers(0, len(logit_AA), (2, n))
    keep = first != second
    first, second = first[keep], second[keep]
    wins = rng.random(len(first)) < 1 / (1 + np.exp(-logit_AA[first, second]))
    return np.where(wins, first, second).tolist(), np.where(wins, second, first).tolist()


def circle(answers: int, size: float = 4.0) -> np.ndarray:
    angle = 2 * np.pi * np.arange(answers) / answers
    return size * np.sin(angle[None] - angle[:, None])


def test_two_items_in_closed_form():
    """3 wins of 4 without a ridge: the odds are 3 to 1, in either kind."""
    for kind in ("bradley_terry", "general_preference"):
        found = fit_items(["a", "a", "a", "b"], ["b", "b", "b", "a"], kind=kind, ridge=0.0, dim=2)
        assert found.logit(["a"], ["b"])[0] == pytest.approx(math.log(3), abs=1e-4)
        assert found.log_loss == pytest.approx(0.562335, abs=1e-5)  # the entropy of 1/4
        assert found.pref_AA[0, 1] == pytest.approx(0.75, abs=1e-4)


def test_bradley_terry_is_the_plain_maximum():
    winners, losers = drawn(np.subtract.outer([0.0, 1.0, -1.0, 0.5], [0.0, 1.0, -1.0, 0.5]), 300, 1)
    found = fit_items(winners, losers, kind="bradley_terry", ridge=2.0)
    at = [found.items.index(i) for i in range(4)]

    def slow(r):
        return (
            sum(math.log1p(math.exp(-(r[w] - r[k]))) for w, k in zip(winners, losers, strict=True))
            + (r**2).sum()
        )

    best = minimize(slow, np.zeros(4), tol=1e-12).x
    assert found.output_AH[at, 0] == pytest.approx(best, abs=1e-4)


def test_weights_are_repetitions_and_confidence_is_a_soft_label():
    winners, losers = drawn(circle(5), 200, 2)
    doubled = fit_items(winners * 2, losers * 2, seed=3)
    weighed = fit_items(winners, losers, weight=[2.0] * len(winners), seed=3)
    assert weighed.logit_AA == pytest.approx(doubled.logit_AA, abs=1e-3)
    both = fit_items(
        winners + losers,
        losers + winners,
        kind="bradley_terry",
        weight=[0.8] * len(winners) + [0.2] * len(winners),
    )
    soft = fit_items(winners, losers, kind="bradley_terry", confidence=[0.8] * len(winners))
    assert soft.pref_AA == pytest.approx(both.pref_AA, abs=1e-5)


@pytest.mark.parametrize("answers", [3, 4, 6])
@pytest.mark.parametrize("dim", [2, 4])
def test_a_planted_circle_is_found_by_one_kind_and_not_by_the_other(answers: int, dim: int):
    truth = circle(answers)
    winners, losers = drawn(truth, 3000, answers)
    found = fit_items(winners, losers, dim=dim)
    at = np.array(found.items)
    assert np.abs(found.pref_AA - 1 / (1 + np.exp(-truth[np.ix_(at, at)]))).max() < 0.08
    assert np.abs(found.pref_AA + found.pref_AA.T - 1).max() < 1e-12
    ranked = fit_items(winners, losers, kind="bradley_terry")
    assert ranked.log_loss > found.log_loss + 0.1


def test_coverage_of_the_truth_by_held_out_log_loss():
    """Out of fold, the kind that holds the truth has the lower log loss: general preference on
    cycles, Bradley-Terry on a ladder.
    """
    strength = np.random.default_rng(0).normal(size=12)
    worlds = {"circle": circle(12), "ladder": np.subtract.outer(strength, strength)}
    log_loss = {}
    for world, logit_AA in worlds.items():
        winners, losers = drawn(logit_AA, 1500, 7)
        for kind in ("bradley_terry", "general_preference"):
            held = cross_validate(winners, losers, kind=kind, ridge=3.0)
            assert np.isfinite(held).all()
            log_loss[world, kind] = np.log1p(np.exp(-held)).mean()
    assert log_loss["circle", "general_preference"] < log_loss["circle", "bradley_terry"] - 0.2
    assert (
        log_loss["ladder", "bradley_terry"]
        < log_loss["ladder", "general_preference"]
        < log_loss["ladder", "bradley_terry"] + 0.03
    )


def test_noisy_votes_on_a_ladder_do_not_cost_the_ladder():
    """Many items, few votes, much noise: cycles that are not there must not drown the strengths
    that are.
    """
    strength = np.random.default_rng(1).normal(scale=0.7, size=150)
    winners, losers = drawn(np.subtract.outer(strength, strength), 3000, 11)
    right = {
        kind: (cross_validate(winners, losers, kind=kind, folds=3) > 0).mean()
        for kind in ("bradley_terry", "general_preference")
    }
    free = fit_items(winners, losers, circle_ridge=0.1)
    assert right["general_preference"] > right["bradley_terry"] - 0.05 > 0.5
    assert fit_items(winners, losers).log_loss > free.log_loss + 0.05  # the free one fits the noise


def test_folds_do_not_see_their_own_pairs():
    """Every pair in one fold only: a pair's own result is not known to its judge, and a stranger's
    is NaN.
    """
    winners, losers = ["a", "b", "c", "x"], ["b", "c", "d", "y"]
    held = cross_validate(winners, losers, clusters=[0, 1, 2, 3], folds=4, kind="bradley_terry")
    assert np.isnan(held[3]) and np.isnan(held[0])  # a is met nowhere else
    assert held[1] == pytest.approx(0.0, abs=1e-9) or np.isfinite(held[1])


def test_features_judge_items_that_were_never_met():
    rng = np.random.default_rng(5)
    features = {i: np.array([1.0, rng.normal()]) for i in range(30)}
    strength = np.array([features[i][1] for i in range(30)])
    winners, losers = drawn(2 * np.subtract.outer(strength, strength), 1500, 6)
    for kind in ("bradley_terry", "general_preference"):
        found = fit_items(winners, losers, kind=kind, features=features, dim=4)
        logit = found.logit_of_features([[1.0, 1.0], [1.0, 0.0]], [[1.0, -1.0], [1.0, 0.0]])
        assert logit[0] == pytest.approx(4.0, abs=0.8) and logit[1] == pytest.approx(0.0, abs=1e-9)


def test_the_same_seed_gives_the_same_numbers():
    winners, losers = drawn(circle(6), 300, 8)
    assert (
        fit_items(winners, losers, seed=4).output_AH == fit_items(winners, losers, seed=4).output_AH
    ).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fit_items([], []), "0 winners and 0 losers"),
        (lambda: fit_items(["a"], []), "1 winners and 0 losers"),
        (lambda: fit_items(["a", "b"], ["b", "b"]), "meeting 2: 'b' meets itself"),
        (lambda: fit_items(["a", None], ["b", "c"]), r"winners\[1\] is None"),
        (lambda: fit_items(["a"], ["b"], weight=[math.nan]), r"weight\[0\] is nan"),
        (lambda: fit_items(["a"], ["b"], weight=[0.0]), "all weights are 0"),
        (lambda: fit_items(["a"], ["b"], confidence=[1.2]), r"confidence\[0\] is 1.2"),
        (
            lambda: fit_items(["a"], ["b"], features={"a": [1.0]}),
            "1 items have no features, such as 'b'",
        ),
        (
            lambda: fit_items(["a"], ["b"], features={"a": [1.0], "b": [math.inf]}),
            "features of 'b' are not finite",
        ),
        (lambda: fit_items(["a"], ["b"]).logit(["a"], ["z"]), "'z' never met"),
        (lambda: fit_items(["a"], ["b"]).logit_of_features([[1.0]], [[1.0]]), "without features"),
        (lambda: cross_validate(["a"], ["b"]), "1 clusters cannot fill 5 folds"),
    ],
)
def test_bad_meetings_are_named(call, message: str):
    with pytest.raises(DataError, match=message):
        call()


def test_bad_settings_are_named():
    for settings in ({"kind": "elo"}, {"dim": 5}, {"ridge": -1.0}, {"ridge": math.nan}):
        with pytest.raises(OptionError):
            fit_items(["a"], ["b"], **settings)


@pytest.mark.parametrize(
    ("winners", "losers", "options", "match"),
    [
        ("ab", "bc", {}, "'b' never lost|'a' never lost"),
        ("abcd", "badc", {}, "met some of the others by no chain"),
        ("abca", "bcad", {}, "never lost"),
        ("ab", "ba", {"confidence": [1.0, 0.0]}, "never lost"),
        (
            "ab",
            "bc",
            {"features": {"a": [2.0], "b": [1.0], "c": [0.0]}},
            "a linear map of the features",
        ),
    ],
)
def test_without_a_ridge_a_fit_that_is_infinite_is_refused(winners, losers, options, match: str):
    with pytest.raises(DataError, match="with ridge 0 there is no best fit") as error:
        fit_items(list(winners), list(losers), kind="bradley_terry", ridge=0, **options)
    assert any(part in str(error.value) for part in match.split("|"))


@pytest.mark.parametrize(
    ("winners", "losers", "options"),
    [
        ("abc", "bca", {}),
        ("ab", "bc", {"confidence": [0.9, 0.8]}),
        ("aab", "bba", {"features": {"a": [1.0], "b": [0.0]}}),
    ],
)
def test_without_a_ridge_a_fit_that_is_finite_is_found(winners, losers, options):
    found = fit_items(list(winners), list(losers), kind="bradley_terry", ridge=0, **options)
    assert found.converged and np.abs(found.logit_AA).max() < 5


def test_circles_need_a_ridge():
    with pytest.raises(OptionError, match="circle_ridge is 0"):
        fit_items(["a", "b"], ["b", "a"], circle_ridge=0)
