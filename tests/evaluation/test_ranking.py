"""Ranking accuracy and margins, by hand."""

import numpy as np
import pytest

from holdfast.evaluation.ranking import PairScores, accuracies, margins, wins


def four_rows(**changes):
    columns = {
        "chosen_N": np.array([-3.0, -8.0, -5.0, -6.0]),
        "rejected_N": np.array([-4.0, -7.0, -5.0, -9.0]),
        "chosen_length_N": np.array([3.0, 8.0, 5.0, 2.0]),
        "rejected_length_N": np.array([1.0, 7.0, 10.0, 9.0]),
        "ref_chosen_N": np.array([-5.0, -10.0, -5.0, -6.0]),
        "ref_rejected_N": np.array([-4.0, -7.0, -6.0, -9.0]),
    }
    return PairScores(**(columns | changes))


def test_wins_by_hand():
    inf = np.inf
    found = wins(np.array([1.0, 0.0, 2.0, -inf, -inf]), np.array([0.0, 1.0, 2.0, -inf, 0.0]))
    assert found.tolist() == [1.0, 0.0, 0.5, 0.5, 0.0]
    assert np.isnan(wins(np.array([np.nan]), np.array([0.0]))).all()


def test_each_ranking_by_hand():
    found = {name: values.tolist() for name, values in accuracies(four_rows()).items()}
    assert found == {
        "policy": [1, 0, 0.5, 1],
        "policy_per_token": [1, 0.5, 0, 0],  # -1 > -4, -1 = -1, -1 < -0.5, -3 < -1
        "reference": [0, 0, 1, 1],
        "reference_per_token": [1, 0, 0, 0],  # -5/3 > -4, -1.25 < -1, -1 < -0.6, -3 < -1
        "implicit_reward": [1, 1, 0, 0.5],  # 2 > 0, 2 > 0, 0 < 1, 0 = 0
        "policy_minus_reference": [1, 0, -0.5, 0],
    }


def test_the_implicit_reward_may_rank_what_the_policy_does_not():
    """Row 2: the policy still prefers the rejected answer, but has moved towards the chosen one."""
    found = accuracies(four_rows())
    assert found["policy"][1] == 0 and found["implicit_reward"][1] == 1


def test_margins_by_hand():
    found = {name: values.tolist() for name, values in margins(four_rows()).items()}
    assert found == {
        "policy": [1, -1, 0, 3],
        "reference": [-1, -3, 1, 3],
        "implicit": [2, 2, -1, 0],
        "chosen_movement": [2, 2, 0, 0],
        "rejected_movement": [0, 0, 1, 0],
    }


def test_without_a_reference_only_the_policy_is_ranked():
    scores = four_rows(ref_chosen_N=None, ref_rejected_N=None)
    assert set(accuracies(scores)) == {"policy", "policy_per_token"} and set(margins(scores)) == {
        "policy"
    }


def test_taking_rows_takes_every_column():
    taken = four_rows().take(np.array([3, 0]))
    assert taken.chosen_N.tolist() == [-6, -3] and taken.ref_rejected_N.tolist() == [-9, -4]
    assert margins(taken)["implicit"] == pytest.approx([0, 2])
