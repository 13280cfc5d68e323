"""Features that know the prompt: by hand, inverted, and in a world where nothing else
helps.
"""

from dataclasses import replace

import numpy as np
import pytest

from holdfast.checkup.comparisons import Comparisons
from holdfast.checkup.estimators.bag_of_words import ASKED, asked_last, bags_of, weighed
from holdfast.checkup.estimators.features import dense_ND, preference_model, surface_ND
from holdfast.checkup.estimators.relevance import (
    PROMPTS_A_DIRECTION,
    SHARED,
    TYPICAL,
    _typical,
    relevance_names,
    relevance_ND,
)
from holdfast.lab.worlds import text as world
from tests.checkup.rows import comparisons


@pytest.fixture(scope="module")
def data():
    return Comparisons.of(world.preferences(world.all_prompts(), 900, seed=3))


def test_shared_words_by_hand():
    rows = [
        {
            "prompt": f"tell of w{i} please",
            "chosen": f"the w{i} is red .",
            "rejected": "the sky is red .",
        }
        for i in range(40)
    ]
    rows = rows + rows  # so that a word stands in three texts
    found = dict(zip(SHARED, relevance_ND(comparisons(rows)).T, strict=False))
    worth = np.log((1 + 160) / (1 + np.array([2, 0, 0, 0])))  # of w, tell, of, please
    assert found["prompt's words answered"] == pytest.approx(worth[0] / worth.sum())
    assert found["shared words"] == pytest.approx(np.log(2))


def test_a_row_turned_around_has_the_opposite_features(data):
    turned = Comparisons.of(
        [replace(row, chosen=row.rejected, rejected=row.chosen) for row in data.rows]
    )
    assert np.abs(relevance_ND(data) + relevance_ND(turned)).max() < 1e-4
    assert np.abs(relevance_ND(data)).max() > 0.1


def test_the_directions_are_those_of_the_covariance_made_in_full(data):
    """Sum over all directions of s (u p)(v a) is p'Ca: with as many directions as words, and
    against the matrix itself.
    """
    bag_of_words = bags_of(data)
    worth_V = np.log(
        (1 + bag_of_words.answers_NV.shape[0])
        / (1 + np.bincount(bag_of_words.answers_NV.indices, minlength=len(bag_of_words.words)))
    )
    p_NV = weighed(bag_of_words.prompts_PV, worth_V).toarray()[bag_of_words.prompt_N].astype(float)
    a_2NV = weighed(bag_of_words.answers_NV, worth_V).toarray().astype(float)
    a_NV = (a_2NV[: len(data)] + a_2NV[len(data) :]) / 2
    c_VV = p_NV.T @ a_NV / len(data) - np.outer(p_NV.mean(0), a_NV.mean(0))
    u, s, v = np.linalg.svd(c_VV)
    kept = 16
    slow_N = (
        ((p_NV - p_NV.mean(0)) @ u[:, :kept]) * ((a_2NV[: len(data)] - a_NV.mean(0)) @ v[:kept].T)
    ) @ s[:kept]
    found_N = _typical(bag_of_words, worth_V, 0)[: len(data), 0]
    assert np.corrcoef(slow_N, found_N)[0, 1] > 0.999


def test_where_taste_depends_on_the_prompt_it_is_seen(data):
    def right(x):
        return float((preference_model(x).logit_N > 0).mean())

    blind = Comparisons.of([replace(row, prompt="") for row in data.rows])
    assert relevance_ND(blind).shape[1] == 0
    assert right(data) > right(blind) + 0.1


def test_few_prompts_give_no_features_and_names_are_those_of_the_columns(data):
    few = data.take(
        [
            i
            for i, row in enumerate(data.rows)
            if row.prompt in {r.prompt for r in data.rows[: PROMPTS_A_DIRECTION - 1]}
        ]
    )
    assert relevance_ND(few).shape == (len(few), 0) and relevance_names(few) == []
    assert list(relevance_names(data)) == [*SHARED, *TYPICAL]
    assert dense_ND(data).shape[1] > surface_ND(data).shape[1]


def test_what_is_asked_is_what_the_user_said_last():
    turns = [
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "two"},
        {"role": "user", "content": "three"},
    ]
    assert asked_last(turns) == "three" and asked_last(turns[1:2]) == "two" and asked_last([]) == ""
    long = asked_last("a" * ASKED + "b" * ASKED)
    assert len(long) == ASKED + 1 and long.startswith("a") and long.endswith("b")
