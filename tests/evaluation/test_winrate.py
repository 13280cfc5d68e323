"""Win rates by hand, under rewards and under judges with and without habits."""

import numpy as np
import pytest

from holdfast.errors import OptionError
from holdfast.evaluation.samples import Samples
from holdfast.evaluation.winrate import play_judge, play_reward, under_judge, under_reward


def samples(texts):
    return Samples([f"p{i}" for i in range(len(texts))], [[()] * len(row) for row in texts], texts)


def length_reward(prompts, answers):
    return [len(answer) for answer in answers]


def better(first, second):
    """A judge who prefers the longer answer, and says so with certainty."""
    return [
        1.0 if len(a) > len(b) else 0.0 if len(a) < len(b) else 0.5
        for a, b in zip(first, second, strict=True)
    ]


def test_every_answer_meets_every_answer_of_its_prompt():
    first, second = np.array([[1.0, 3.0], [0.0, 0.0]]), np.array([[2.0, 2.0, 3.0], [0.0, 0.0, 1.0]])
    # prompt 1: 1 loses three times; 3 wins twice and ties once. Prompt 2: two ties and a loss,
    # twice.
    assert under_reward(first, second).tolist() == [2.5 / 6, 2 / 6]
    assert under_reward(first, first).tolist() == [0.5, 0.5]
    assert (under_reward(first, second) + under_reward(second, first).tolist()).tolist() == [
        1.0,
        1.0,
    ]


def test_a_reward_match_by_hand():
    match = play_reward(
        length_reward, "length", samples([["aaa"], ["a"], ["aa"]]), samples([["a"], ["aa"], ["bb"]])
    )
    summary = match.summary(np.arange(3), resamples=200, seed=0)
    assert summary["win_rate"]["value"] == 0.5
    assert summary["reward"]["value"] == 2.0 and summary["opponent_reward"][
        "value"
    ] == pytest.approx(5 / 3)
    assert summary["reward_difference"]["value"] == pytest.approx(1 / 3)
    assert match.summary(np.array([0]), resamples=200, seed=0)["win_rate"]["value"] == 1.0
    assert "win_rate" not in play_reward(length_reward, "length", samples([["a"]]), None).summary(
        np.arange(1), resamples=10, seed=0
    )


def test_a_fair_judge_keeps_its_verdict():
    verdicts, changed, place = under_judge(
        lambda p, a, b: better(a, b), ["x"] * 3, ["aaa", "a", "aa"], ["b", "bb", "bb"]
    )
    assert (
        verdicts.tolist() == [1.0, 0.0, 0.5] and not changed.any() and place.tolist() == [0, 0, 0]
    )


def test_a_judge_of_places_is_found_out():
    """One that always prefers what comes first says nothing: every verdict is one half, every
    winner changes with the order.
    """
    verdicts, changed, place = under_judge(
        lambda p, a, b: np.ones(len(p)), ["x"] * 2, ["a", "b"], ["c", "d"]
    )
    assert verdicts.tolist() == [0.5, 0.5] and changed.all() and place.tolist() == [1.0, 1.0]


def test_a_leaning_judge_by_hand():
    # asked (a, b): 0.8; asked (b, a): 0.6. Verdict (0.8 + 0.4) / 2; the winner changes; the first
    # place is worth 0.4.
    judge = lambda prompts, first, second: [0.8 if first[0] == "a" else 0.6]  # noqa: E731
    verdicts, changed, place = under_judge(judge, ["x"], ["a"], ["b"])
    assert (
        verdicts == pytest.approx([0.6])
        and changed.tolist() == [True]
        and place == pytest.approx([0.4])
    )


def test_a_judge_match_reports_its_order():
    judge = lambda prompts, first, second: better(first, second)  # noqa: E731
    summary = play_judge(
        judge, "longer", samples([["aaa"], ["a"]]), samples([["b"], ["bb"]])
    ).summary(np.arange(2), resamples=100, seed=0)
    assert (
        summary["win_rate"]["value"] == 0.5
        and summary["order_changed"]["value"] == 0.0
        and summary["first_place_bonus"]["value"] == 0.0
    )
    with pytest.raises(OptionError, match="only one"):
        play_judge(judge, "longer", samples([["a"]]), None)


@pytest.mark.parametrize("wrong", [[2.0], [-0.1]])
def test_a_judge_returns_probabilities(wrong):
    with pytest.raises(OptionError, match="for comparison 1"):
        under_judge(lambda p, a, b: wrong, ["x"], ["a"], ["b"])
