"""Policies of words: DPO's is a logistic regression with a ridge; who divides by length does; flips
turn labels; limits are refused.
"""

import numpy as np
import pytest
from scipy import sparse
from scipy.special import expit

from holdfast.lab.bag_of_words import BETA, Words, fit, log_odds, tried, within_reach
from holdfast.lab.stress.arms import arm_named
from holdfast.lab.stress.text import world_rows
from holdfast.methods import get
from holdfast.types import Row, Where
from tests.worded import worded


def said(prompt, chosen, rejected, **more):
    return Row(Where("made", 1), prompt, chosen, rejected, **more)


def differences(words):
    return (words.counts_2NF[0] - words.counts_2NF[1]).toarray()


def test_words_are_counted_and_those_of_the_prompt_once_more():
    rows = [
        said("the sea", "the sea the sea !", "a b"),
        said("the sea", "b a the", "! sea a b"),
        said("q", "the sea ! once", "a b the"),
    ]
    words = Words.of(rows)  # `once` stands in too few answers
    chosen, rejected = (side.toarray() for side in words.counts_2NF)
    assert words.length_2N[0].tolist() == [5, 3, 3] and words.length_2N[1].tolist() == [2, 4, 3]
    assert chosen[:, -1].tolist() == [4, 1, 0] and rejected[:, -1].tolist() == [0, 1, 0]
    assert (words.group_N, words.rater_N, words.weight_N) == (None, None, None)


def test_dpo_is_the_logistic_regression_with_the_same_ridge():
    words = Words.of(world_rows(200).rows)
    theta = fit(words, get("dpo"), {}, None, steps=1500).numpy()
    weight, x = BETA * words.spread * theta, differences(words) / words.spread
    slope = -(x.T @ expit(-x @ weight)) / len(x) + weight / len(
        x
    )  # of the mean cost and of |w|^2 / 2N
    assert np.abs(slope).max() < 1e-3
    assert log_odds(
        words, fit(words, get("dpo"), {}, None, steps=1500), get("dpo"), {}
    ) == pytest.approx(x @ weight)


def test_rdpo_told_nothing_is_dpo_and_told_the_rate_is_bolder():
    words = Words.of(world_rows(200).rows)
    dpo, same, bolder = (
        log_odds(words, fit(words, get(name), own, None), get(name), own)
        for name, own in (("dpo", {}), ("rdpo", {"flip_rate": 0.0}), ("rdpo", {"flip_rate": 0.2}))
    )
    assert same == pytest.approx(dpo)
    assert np.abs(bolder).mean() > 1.2 * np.abs(dpo).mean()


def test_at_one_length_ln_dpo_is_dpo_and_a_taste_for_length_alone_is_nothing_to_it():
    alike = Words.of(
        [said("p", "a a b", "b b c"), said("q", "a c c", "c b b"), said("r", "a b c", "b c b")]
    )
    dpo, ln = (
        log_odds(alike, fit(alike, get(name), {}, None), get(name), {})
        for name in ("dpo", "ln_dpo")
    )
    assert ln == pytest.approx(dpo, abs=1e-6)
    longer = Words.of(
        [said("p", "a a a a", "a"), said("q", "a a a", "a a"), said("r", "a a a a a", "a a")]
    )
    assert log_odds(longer, fit(longer, get("dpo"), {}, None), get("dpo"), {}).min() > 0.1
    assert log_odds(
        longer, fit(longer, get("ln_dpo"), {}, None), get("ln_dpo"), {}
    ) == pytest.approx([0, 0, 0])


def test_a_turned_row_is_the_row_the_other_way_round():
    words = Words.of(world_rows(30).rows)
    places = np.arange(5, 15)
    turned = words.take(places, [0, 3])
    sign = np.ones(10)
    sign[[0, 3]] = -1
    assert (differences(turned) == sparse.diags_array(sign) @ differences(words)[places]).all()


def test_what_is_learned_ranks_rows_never_seen():
    words = Words.of(worded(400))
    train, held = np.arange(300), np.arange(300, 400)
    z = tried(words=words, train=train, turned=(), held=held, arm=arm_named("dpo"), settings={})
    around = tried(
        words=words,
        train=train,
        turned=train.tolist(),
        held=held,
        arm=arm_named("dpo"),
        settings={},
    )
    assert (z > 0).mean() > 0.6
    assert around == pytest.approx(-z)  # every label turned: the same policy with its sign changed


def test_groups_and_raters_reach_the_methods_that_read_them():
    rows = [
        said(f"p{i}", "a b" if i % 2 else "b c", "c d", group=str(i % 2), rater=f"r{i % 3}")
        for i in range(30)
    ]
    words = Words.of(rows)
    assert np.isfinite(fit(words, get("dpo"), {}, "groups").numpy()).all()
    assert np.isfinite(fit(words, get("lcpo_dpo"), {}, None).numpy()).all()


def test_answers_without_a_common_word_teach_nothing():
    words = Words.of([said("p", f"x{i}", f"y{i}") for i in range(5)])
    assert log_odds(words, fit(words, get("dpo"), {}, None), get("dpo"), {}).tolist() == [0.0] * 5


def test_what_is_within_reach():
    assert all(within_reach(get(name)) for name in ("dpo", "rdpo", "cdpo", "lcpo_dpo", "ln_dpo"))
    assert not any(within_reach(get(name)) for name in ("srpo", "sft", "kto"))
