"""Probes: chance where nothing tells, the planted share where something does, and areas that can be
counted.
"""

import numpy as np
import pytest

from holdfast.checkup.estimators.bag_of_words import bag_of_words
from holdfast.checkup.estimators.features import (
    SURFACE,
    dense_ND,
    surface_2ND,
    surface_of,
    words_ND,
)
from holdfast.checkup.findings.separability import auc_of, sampled_places, separability
from holdfast.checkup.result import Severity
from tests.checkup.rows import HOSTILE, QUIET, comparisons, drawable, plain_rows


def styled(n, share, seed=0):
    """In this share of rows the chosen answer, and it alone, is a list."""
    rng = np.random.default_rng(seed)
    rows = plain_rows(n, seed)
    for row in rows:
        side = "chosen" if rng.random() < share else "rejected"
        row[side] = "- " + row[side].replace(" ", "\n- ", 2)
    return rows


def test_a_planted_style_is_found_and_named():
    found = drawable(separability(comparisons(styled(600, 0.95)), QUIET))
    assert found.severity is Severity.PROBLEM
    assert found.numbers["format"]["paired"]["value"] == pytest.approx(0.95, abs=0.03)
    by_name = {feature["name"]: feature for feature in found.numbers["features"]}
    assert by_name["list items"]["value"] == pytest.approx(0.95, abs=0.03)


def test_nothing_is_found_where_labels_are_coins():
    found = drawable(separability(comparisons(plain_rows(500)), QUIET))
    assert found.severity is Severity.OK
    for kind in ("length", "format", "surface", "words"):
        paired = found.numbers[kind]["paired"]
        assert abs(paired["value"] - 0.5) < 0.08 and (paired["low"] is None or paired["low"] < 0.53)


def test_answers_of_one_writer_are_the_control():
    rng = np.random.default_rng(0)
    rows = plain_rows(500)
    for row in rows:
        row["chosen_model"], row["rejected_model"] = (
            ("a", "b") if rng.random() < 0.7 else ("a", "a")
        )
        if row["rejected_model"] == "b":
            row["rejected"] += " cheerio"
    found = separability(comparisons(rows), QUIET)
    controls = found.numbers["controls"]
    assert controls["two_writers"]["value"] > 0.95 and controls["one_writer"]["low"] < 0.55
    assert "Between answers of one writer" in found.says


@pytest.mark.parametrize(
    "rows",
    [
        plain_rows(1),
        plain_rows(5),
        HOSTILE * 5,
        [{**row, "prompt": "same"} for row in plain_rows(60)],
    ],
)
def test_little_or_strange_data(rows, tmp_path):
    drawable(separability(comparisons(rows, quarantine=tmp_path / "aside.jsonl"), QUIET))


def test_the_area_equals_a_library_s_and_a_count():
    from sklearn.metrics import roc_auc_score

    score_2N = np.round(
        np.random.default_rng(0).normal(size=(2, 200)) + [[0.4], [0.0]], 1
    )  # with ties
    found = auc_of(score_2N, np.arange(200), level=0.95)
    assert found.value == pytest.approx(roc_auc_score(np.repeat([1, 0], 200), score_2N.ravel()))
    assert (
        auc_of(np.array([[1.0, 3.0], [0.0, 3.0]]), np.arange(2), level=0.95).value == 0.625
    )  # (1 + 0 + 1 + 0.5) / 4


def test_whole_prompts_are_sampled():
    cluster = np.repeat(np.arange(100), 7)
    places = sampled_places(cluster, 200, seed=1)
    assert (
        set(np.bincount(cluster[places])[np.unique(cluster[places])]) == {7}
        and 150 <= len(places) <= 200
    )
    assert len(sampled_places(cluster, 1000, seed=1)) == 700


# ------------------------------------------------------------ features


def test_surface_features_by_hand():
    text = "# Title\n- one, two\n* three!\n**bold** `x` 12 http://A \u00e9?"
    found = dict(zip(SURFACE, surface_of(text), strict=True))
    assert (
        found["lines"],
        found["list items"],
        found["headings"],
        found["bold"],
        found["code"],
        found["links"],
    ) == (3, 2, 1, 2, 2, 1)
    assert (
        found["question marks"],
        found["exclamation marks"],
        found["commas"],
        found["words"],
    ) == (1, 1, 1, 12)
    assert (
        found["digits"] == 2 / len(text)
        and found["capitals"] == 2 / len(text)
        and found["non-ASCII"] == pytest.approx(1 / len(text))
    )
    assert surface_of("") == (0,) * len(SURFACE)
    assert surface_of("I can't, sorry.")[SURFACE.index("refusal or apology")] == 2


def test_a_row_turned_around_has_the_opposite_features():
    rows = plain_rows(40)
    turned = [{**row, "chosen": row["rejected"], "rejected": row["chosen"]} for row in rows]
    one, two = comparisons(rows), comparisons(turned)
    assert np.allclose(surface_2ND(one)[0], surface_2ND(two)[1])
    assert abs(words_ND(one) + words_ND(two)).max() < 1e-6
    assert np.allclose(np.abs(dense_ND(one)).sum(), np.abs(dense_ND(two)).sum(), rtol=1e-3)


def test_rare_words_are_left_out_and_each_answer_has_unit_length():
    held, words = bag_of_words(["a b", "a b", "a c", "b!"])
    assert words == ["a", "b"] or words == ["b", "a"]
    assert held.toarray().sum() == 6
    from holdfast.checkup.estimators.features import words_2NV

    both, _ = words_2NV(comparisons(plain_rows(30)))
    assert np.allclose(np.asarray(both.multiply(both).sum(1)).ravel(), 1, atol=1e-5)


def test_a_book_in_a_cell_and_blank_lines_cost_little():
    import time

    start = time.process_time()
    surface_of("\n" * 500_000 + "a" * 500_000)
    assert time.process_time() - start < 5  # quadratic would be minutes
