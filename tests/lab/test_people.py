"""The worlds of many people: what they say of themselves is so."""

from __future__ import annotations

import random

import numpy as np
import pytest

from holdfast.lab.worlds import contexts, direction_text, directions, streams, text
from holdfast.lab.worlds import subgroups as subgroups


def test_camps_have_their_cosine_and_their_labels():
    rng = np.random.default_rng(0)
    theta_KD = subgroups.tastes(rng, -0.5)
    assert theta_KD[0] @ theta_KD[1] / 4 == pytest.approx(-0.5)
    assert np.linalg.norm(theta_KD, axis=1) == pytest.approx([2.0, 2.0])
    x_ND, rater_N = subgroups.labels(rng, theta_KD, 50)
    assert np.bincount(rater_N).tolist() == [50] * 100
    own = np.einsum("nd,nd->n", x_ND, theta_KD[subgroups.CAMP_R[rater_N]])
    p = 1 / (1 + np.exp(-np.abs(own)))
    assert (own > 0).mean() == pytest.approx(p.mean(), abs=0.02)


def test_quality_falls_outside_the_trained_angles():
    drawn = directions.attributes([0, 25, 45, -20], 20000, 0.6, np.random.default_rng(0)).mean(0)
    assert np.linalg.norm(drawn, axis=1) == pytest.approx([1, 1, 0.4, 0.4], abs=0.01)
    assert np.degrees(np.arctan2(*drawn[1][::-1])) == pytest.approx(25, abs=0.5)


def test_streams_have_their_groups_and_labels():
    rng = np.random.default_rng(0)
    rows = streams.rows(rng, 3000, "min", ordered=True)
    assert rows.active_TG.mean(0) == pytest.approx([0.5, 0.3, 0.2, 0.6, 0.4], abs=0.03)
    assert (rows.active_TG.sum(1) == 2).all()
    assert (np.diff(rows.active_TG[:, 4].astype(int)) >= 0).all()
    common = streams.rows(rng, 3000, "common")
    theta = np.linalg.lstsq(common.x_TD, common.y_T, rcond=None)[0]
    assert theta.sum() == pytest.approx(1, abs=0.01)
    assert np.std(common.y_T - common.x_TD @ theta) == pytest.approx(0.02, abs=0.002)


def test_contexts_are_learned_where_they_can_be():
    rng = np.random.default_rng(0)
    bits = contexts.contexts(4)
    assert len(np.unique(bits, axis=0)) == 16
    parity = contexts.preference(bits, "parity", rng)
    assert set(np.round(parity, 6)) == {0.817574, 0.182426}
    additive = contexts.preference(bits, "additive", rng)
    for learner in (contexts.count_table, contexts.logistic):
        assert (
            contexts.labels_needed(
                additive, bits, learner, np.random.default_rng(1), within=0.05, most=2**14
            )
            < 2**13
        )
    assert (
        contexts.labels_needed(
            parity, bits, contexts.logistic, np.random.default_rng(1), within=0.05, most=2**10
        )
        == 2**11
    )
    assert contexts.count_table(bits[:1], np.array([3.0]), np.array([2.0])).tolist() == [0.6]
    assert contexts.logistic(bits, np.zeros(16), np.zeros(16)).tolist() == [0.5] * 16


@pytest.mark.parametrize("angle", [0, 25, 45])
def test_text_asked_for_at_an_angle_has_its_attributes(angle: int):
    """On topic with probability cos a + (1 - cos a) / 8 topics; of 6 sentences, 1 + 5 sin a."""
    rng, prompts = random.Random(angle), text.all_prompts()[:400]
    answers = [direction_text.sample_answer(prompt, angle, rng) for prompt in prompts]
    cos, sin = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    assert np.mean(direction_text.on_topic(prompts, answers)) == pytest.approx(
        cos + (1 - cos) / 8, abs=0.04
    )
    assert np.mean(direction_text.much_said(prompts, answers)) == pytest.approx(
        (1 + 5 * sin) / 6, abs=0.04
    )


def test_what_is_taught_is_asked_for_within_the_cone():
    rows = direction_text.corpus(text.all_prompts(), 50, seed=0)
    asked = {row["prompt"].rpartition("verbosity ")[2] for row in rows}
    assert all(0 <= int(percent.rstrip(".")) <= 42 for percent in asked) and len(asked) > 10
    assert direction_text.wish(rows[0]["prompt"].partition("\n")[0], 45).endswith(
        "helpfulness 71, verbosity 71."
    )
