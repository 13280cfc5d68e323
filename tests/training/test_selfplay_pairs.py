"""Tables of verdicts and the comparisons made of them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from holdfast.errors import OptionError
from holdfast.training.selfplay.pairs import MOST, PairwiseJudge, comparisons

CYCLE = {"a": {"b": 0.8, "c": 0.3}, "b": {"a": 0.2, "c": 0.9}, "c": {"a": 0.7, "b": 0.1}}


def judge(prompts, first, second):
    """P(A>B) = .8, P(B>C) = .9, P(C>A) = .7, and a habit of favoring the first place by 0.05."""
    return [min(1.0, CYCLE[x][y] + 0.05) for x, y in zip(first, second, strict=True)]


def test_a_functions_table_is_antisymmetric_and_rid_of_the_favored_place():
    asked = []

    def counting(prompts, first, second):
        asked.append(len(first))
        return judge(prompts, first, second)

    (table,) = PairwiseJudge.of(counting).preferences(["x"], [["a", "b", "c", "a"]])
    assert table[0].tolist() == pytest.approx([0.5, 0.8, 0.3, 0.5]) and table[
        1, 2
    ] == pytest.approx(0.9)
    assert np.allclose(table + table.T, 1)
    assert asked == [5, 5]  # six pairs but the equal one, in both orders


def test_best_and_worst_with_means_that_count_the_answer_itself():
    """Win rates against (a, b, c): a (.5 + .8 + .3)/3 = .533, b .533, c .433; ties go to the
    first.
    """
    pref = PairwiseJudge.of(judge).preferences(["x"], [["a", "b", "c"]])
    (row,), places, aside = comparisons(
        ["x"], [["a", "b", "c"]], pref, pairing="best_worst", seed=0
    )
    assert (row["chosen"], row["rejected"]) == ("a", "c") and not aside and places == [(0, 0, 2)]
    assert row["chosen_win_rate"] == pytest.approx(1.6 / 3) and row[
        "rejected_win_rate"
    ] == pytest.approx(1.3 / 3)
    assert row["confidence"] == pytest.approx(0.3) and row["reward_gap"] == pytest.approx(
        math.log(0.3 / 0.7)
    )
    assert row["chosen_log_odds"] == pytest.approx((math.log(4) + math.log(3 / 7)) / 3)


def test_independent_labels_follow_the_judge():
    prompts = [str(p) for p in range(2000)]
    answers = [["a", "b", "c"]] * 2000
    pref = np.repeat(PairwiseJudge.of(judge).preferences(["x"], [["a", "b", "c"]]), 2000, axis=0)
    rows, _, _ = comparisons(prompts, answers, pref, pairing="independent", seed=1)
    assert {row["chosen"] for row in rows} == {"a", "b"}
    assert np.mean([row["chosen"] == "a" for row in rows]) == pytest.approx(0.8, abs=0.03)
    again, _, _ = comparisons(prompts, answers, pref, pairing="independent", seed=1)
    assert rows == again


def test_certain_verdicts_and_equal_answers():
    pref = np.array([[[0.5, 1.0], [0.0, 0.5]], [[0.5, 0.5], [0.5, 0.5]]])
    rows, _, aside = comparisons(
        ["x", "y"], [["a", "b"], ["same", "same"]], pref, pairing="best_worst", seed=0
    )
    assert rows[0]["reward_gap"] == MOST and aside == {"the answers are equal, or equally good": 1}
    with pytest.raises(OptionError, match="pairing"):
        comparisons(["x"], [["a", "b"]], pref[:1], pairing="all", seed=0)
