"""Identities of ranking accuracy: worked by hand, and pair by pair on random numbers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from holdfast.errors import DataError, OptionError
from holdfast.evaluation.difficulty import (
    alignment_gap,
    columns,
    costs_and_thresholds,
    dpo_cost,
    ideal_log_ratio,
    ideal_ranking,
    ipo_ranking,
    log_odds,
    reference_error,
    threshold,
)
from holdfast.evaluation.ranking import PairScores, wins
from holdfast.methods import get
from holdfast.types import Pairs, Scored


def test_a_pair_is_ranked_rightly_iff_its_cost_is_at_most_the_threshold():
    rng = np.random.default_rng(0)
    chosen, rejected, ref_chosen, ref_rejected = rng.integers(-30, -5, (4, 4000)).astype(
        float
    )  # whole numbers, so that ties occur
    c = reference_error(ref_chosen, ref_rejected)
    for beta in (0.01, 0.1, 1.0):
        cost, bound = dpo_cost(chosen, rejected, c, beta=beta), threshold(c, beta=beta)
        tie = chosen == rejected
        assert tie.sum() > 50
        np.testing.assert_allclose(cost[tie], bound[tie], rtol=1e-12)
        np.testing.assert_array_equal(cost[~tie] < bound[~tie], chosen[~tie] > rejected[~tie])


@pytest.mark.parametrize(
    ("beta", "c", "value"),
    [(0.1, 5, 0.474077), (0.1, 20, 0.126928), (0.1, -5, 0.974077), (0.5, 5, 0.078890)],
)
def test_thresholds_worked_by_hand(beta, c, value):
    assert threshold(c, beta=beta) == pytest.approx(value, abs=1e-6)


def test_the_threshold_far_out_neither_overflows_nor_vanishes_early():
    assert threshold(1e5, beta=0.01) == pytest.approx(0.0, abs=1e-300)
    assert threshold(-1e5, beta=1.0) == pytest.approx(1e5)
    assert threshold(600.0, beta=1.0) == pytest.approx(np.exp(-600.0))


def test_ideal_log_ratios_worked_by_hand():
    assert ideal_log_ratio(5.0, 0.8, beta=0.1) == pytest.approx(-5 + 13.862944, abs=1e-6)
    assert ideal_log_ratio(5.0, 0.6, beta=0.1) == pytest.approx(-0.945349, abs=1e-6)
    np.testing.assert_array_equal(ideal_ranking([5.0, 5.0], [0.8, 0.6], beta=0.1), [1, 0])


def test_the_ideal_ratio_is_that_of_the_exact_optimum_of_a_table():
    rng = np.random.default_rng(1)
    reward, ref = rng.standard_normal(6), rng.dirichlet(np.ones(6))
    best = ref * np.exp(reward / 0.3)
    best /= best.sum()
    share = 1 / (1 + np.exp(-(reward[2] - reward[4])))
    c = reference_error(np.log(ref[2]), np.log(ref[4]))
    assert ideal_log_ratio(c, share, beta=0.3) == pytest.approx(
        np.log(best[2] / best[4]), abs=1e-12
    )


def test_limits_of_beta():
    rng = np.random.default_rng(2)
    c, share = rng.normal(0, 5, 500), rng.uniform(0.5001, 1, 500)
    assert ideal_ranking(c, share, beta=1e-9).mean() == 1
    np.testing.assert_array_equal(
        ideal_ranking(c, share, beta=1e9), c < 0
    )  # the reference's own ranking


def test_one_rater_counts_as_odds_of_a_thousand():
    assert log_odds(1.0) == pytest.approx(np.log(1000))
    assert log_odds(0.0) == pytest.approx(-np.log(1000))
    edge = 6.907755 / 0.1
    np.testing.assert_array_equal(ideal_ranking([edge - 0.01, edge + 0.01], 1.0, beta=0.1), [1, 0])


def test_at_the_reference_every_cost_is_log_two_and_the_verdict_is_its_own():
    rng = np.random.default_rng(3)
    chosen, rejected = rng.normal(-20, 5, (2, 100))
    c = reference_error(chosen, rejected)
    np.testing.assert_allclose(dpo_cost(chosen, rejected, c, beta=0.1), np.log(2), rtol=1e-12)
    np.testing.assert_array_equal(threshold(c, beta=0.1) >= np.log(2), c <= 0)
    one = np.ones(100)
    found = columns(PairScores(chosen, rejected, one, one, chosen, rejected), one)
    assert np.nanmean(found["learned"]) == 0
    assert np.nanmean(found["unlearned"]) == 0


def test_where_the_reference_is_right_a_cost_of_at_most_log_two_is_right():
    rng = np.random.default_rng(4)
    chosen, rejected = rng.normal(-20, 5, (2, 2000))
    c = -np.abs(rng.normal(0, 5, 2000))
    low = dpo_cost(chosen, rejected, c, beta=0.2) <= np.log(2)
    assert 100 < low.sum() < 1900
    assert (chosen[low] >= rejected[low]).all()


def test_ipo_targets_worked_by_hand():
    np.testing.assert_array_equal(
        ipo_ranking([3.0, 6.0, 5.0], tau=0.1), [1, 0, 0.5]
    )  # 5 - 3 = 2; 5 - 6 = -1; 5 - 5 = 0


def test_the_cost_is_that_of_the_table_of_methods():
    rng = np.random.default_rng(5)
    chosen, rejected, ref_chosen, ref_rejected = rng.normal(-20, 5, (4, 50))
    c = reference_error(ref_chosen, ref_rejected)

    def scored(logp, ref):
        one = torch.from_numpy(logp)[:, None]
        return Scored(one, torch.ones_like(one), torch.from_numpy(ref)[:, None])

    expected = get("dpo").objective(
        Pairs(scored(chosen, ref_chosen), scored(rejected, ref_rejected)), beta=0.3
    )
    np.testing.assert_allclose(
        dpo_cost(chosen, rejected, c, beta=0.3), expected.numpy(), rtol=1e-10
    )
    np.testing.assert_array_equal(
        dpo_cost(chosen, rejected, c, beta=0.3, gamma=0.0),
        dpo_cost(chosen, rejected, 9 * c, beta=0.3, gamma=0.0),
    )


def test_the_alignment_gap_is_ideal_minus_actual():
    chosen, rejected, c, share = (
        [-1.0, -3.0, -2.0],
        [-2.0, -2.0, -2.0],
        [5.0, 5.0, -1.0],
        [0.6, 0.8, 0.9],
    )
    np.testing.assert_array_equal(
        alignment_gap(chosen, rejected, c, share, beta=0.1), [0 - 1, 1 - 0, 1 - 0.5]
    )


def test_a_quotient_of_log_probabilities_would_say_the_opposite():
    assert wins(np.array([-10.0]), np.array([-20.0]))[0] == 1
    assert (
        -10.0 / -20.0 < 1
    )  # the published defect: it takes the likelier answer for the less likely


def test_the_whole_picture_of_eight_pairs():
    ref_chosen = np.array([-10.0, -10, -10, -10, -10, -10, -10, -10])
    c = np.array([-2.0, -1, 1, 2, 3, 4, 5, 6])
    policy_ratio = np.array([1.0, -1, 1, 1, 1, -1, -1, -1])
    one = np.ones(8)
    scores = PairScores(policy_ratio, np.zeros(8), one, one, ref_chosen, ref_chosen + c)
    found = columns(scores, one, betas=(0.1, 2.0), target_N=np.full(8, 3.0))
    mean = {name: np.nanmean(value) for name, value in found.items()}
    assert mean["learned"] == 0.5
    assert mean["unlearned"] == 0.5
    assert [mean[f"learned_quarter_{q}"] for q in (1, 2, 3, 4)] == [1.0, 1.0, 0.0, 0.0]
    assert mean["idealized@0.1"] == 1.0  # log 1000 > 0.1 * 6
    assert mean["idealized@2"] == 5 / 8  # 2 c < 6.9: c up to 3
    assert mean["gap@2"] == 1 / 8
    assert mean["idealized@own"] == 4.5 / 8  # 3 > c in four, a tie at 3
    assert np.isnan(found["learned"]).sum() == 2  # the reference is right there: not asked
    assert columns(PairScores(one, one, one, one), one) == {}


def test_costs_beside_thresholds_say_who_is_ranked_rightly():
    rng = np.random.default_rng(8)
    w, lose, ref_w, ref_l = rng.normal(-20, 5, (4, 300))
    one = np.ones(300)
    found = costs_and_thresholds(PairScores(w, lose, one, one, ref_w, ref_l), beta=0.1)
    asked = ref_l > ref_w
    np.testing.assert_array_equal(np.isnan(found["cost"]), ~asked)
    np.testing.assert_array_equal((found["cost"] <= found["threshold"])[asked], (w >= lose)[asked])
    assert costs_and_thresholds(PairScores(w, lose, one, one), beta=0.1) == {}


def test_what_cannot_be_is_refused():
    with pytest.raises(DataError, match="between 0 and 1"):
        log_odds([0.5, 1.2])
    with pytest.raises(OptionError, match="beta"):
        threshold(1.0, beta=0.0)
