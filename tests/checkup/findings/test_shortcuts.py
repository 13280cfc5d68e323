"""Length, position and writers: planted slopes are recovered, and nothing is found where nothing
was planted.
"""

import re

import numpy as np
import pytest
from scipy.special import expit

from holdfast.checkup.findings.answer_models import answer_models
from holdfast.checkup.findings.length_bias import slope_of
from holdfast.checkup.findings.position_bias import first_bonus, position_bias
from holdfast.checkup.present.length_bias import slope_says
from holdfast.checkup.result import Severity
from holdfast.checkup.table import LENGTH_BIAS
from tests.checkup.rows import QUIET, comparisons, drawable, plain_rows, sentence


def by_length(n, slope, seed=0):
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(n):
        one, two = (
            letter * int(k) for letter, k in zip("vw", rng.integers(10, 400, 2), strict=True)
        )
        wins = bool(rng.random() < expit(slope * (np.log1p(len(one)) - np.log1p(len(two)))))
        rows.append(
            {
                "prompt": f"question {i}",
                "chosen": (one, two)[not wins],
                "rejected": (one, two)[wins],
            }
        )
    return rows


# ------------------------------------------------------------ length


def test_a_planted_slope_is_recovered():
    found = drawable(LENGTH_BIAS.run(comparisons(by_length(1500, 1.5)), QUIET))
    slope = found.numbers["slope"]
    assert slope["low"] < 1.5 < slope["high"] and slope["high"] - slope["low"] < 0.5
    assert found.severity in (Severity.WARNING, Severity.PROBLEM) and found.estimate.value > 0.65
    assert sum(bin["pairs"] for bin in found.numbers["bins"]) == 1500 - found.numbers["equal"]
    assert LENGTH_BIAS.run(comparisons(by_length(800, 0.0)), QUIET).severity is Severity.OK


def test_the_slope_equals_a_library_s_and_knows_no_direction():
    from sklearn.linear_model import LogisticRegression

    x = np.random.default_rng(0).normal(size=300) + 0.3
    sign = np.where(np.arange(300) % 2, 1.0, -1.0)
    model = LogisticRegression(C=1e9, fit_intercept=False, tol=1e-10).fit(
        (x * sign)[:, None], sign > 0
    )
    found = slope_of(x, np.arange(300), level=0.95)
    assert found.value == pytest.approx(float(model.coef_[0, 0]), abs=1e-4)
    assert slope_of(-x, np.arange(300), level=0.95).value == pytest.approx(-found.value)


def test_repeated_rows_do_not_narrow_the_slope_s_interval():
    x = np.random.default_rng(1).normal(size=200) + 0.2
    once, thrice = (
        slope_of(x, np.arange(200), level=0.95),
        slope_of(np.tile(x, 3), np.tile(np.arange(200), 3), level=0.95),
    )
    assert thrice.high - thrice.low == pytest.approx(once.high - once.low, rel=0.02)


def test_length_that_decides_everything_has_no_interval():
    assert slope_of(np.ones(5), np.arange(5), level=0.95).value is None
    assert slope_of(-np.ones(5), np.arange(5), level=0.95).value is None
    # one row out of 400 is decided otherwise, by a hair: the fit runs away
    assert slope_of(np.array([*[0.2] * 399, -1e-4]), np.arange(400), level=0.95).value is None
    decided = [
        {"prompt": f"p{i}", "chosen": "a" * (20 + i), "rejected": "b" * (5 + i % 3)}
        for i in range(40)
    ]
    found = drawable(LENGTH_BIAS.run(comparisons(decided), QUIET))
    assert found.severity is Severity.PROBLEM
    assert found.says.endswith("Length all but decides who wins, so no finite slope fits.")
    assert found.numbers["slope"]["value"] is None


def test_the_sentence_of_a_slope_without_interval_shuts_its_brackets():
    x = np.random.default_rng(1).normal(size=50) + 0.2
    one, many = slope_of(x, np.zeros(50), level=0.95), slope_of(x, np.arange(50), level=0.95)
    assert (one.value, one.low) == (pytest.approx(many.value), None)
    assert re.fullmatch(
        r"An answer twice as long has .* the odds of winning \(slope -?[0-9.]+\)\.", slope_says(one)
    )
    assert re.fullmatch(
        r"An answer .* \(slope -?[0-9.]+, 95% CI -?[0-9.]+ to -?[0-9.]+\)\.", slope_says(many)
    )


# ------------------------------------------------------------ position


def league(n, bonus, seed=0, players=8, fixed=False):
    rng = np.random.default_rng(seed)
    strength = rng.normal(size=players)
    rows = []
    for _ in range(n):
        one, two = rng.choice(players, 2, replace=False)
        if fixed and one > two:
            one, two = two, one
        won = rng.random() < expit(bonus + strength[one] - strength[two])
        rows.append(
            {
                "first": f"team {one}",
                "second": f"team {two}",
                "winner": "first" if won else "second",
            }
        )
    return rows


def test_the_place_is_told_from_strength():
    found = drawable(position_bias(comparisons(league(3000, 0.6)), QUIET))
    assert found.estimate.low < expit(0.6) < found.estimate.high
    assert found.severity is Severity.WARNING and found.numbers["identified"]
    assert position_bias(comparisons(league(3000, 0.0)), QUIET).severity is Severity.OK


def test_sides_that_never_change_places_are_not_identified():
    rows = [
        {"first": "a", "second": f"m{i % 5}", "winner": "first" if i % 3 else "second"}
        for i in range(60)
    ]
    found = position_bias(comparisons(rows), QUIET)
    assert (
        found.severity is Severity.INCONCLUSIVE and not found.numbers["identified"] and found.cannot
    )


def test_the_bonus_equals_the_closed_form_of_two_players():
    """Two players, each first half of the time: the odds are exp(b + s) and exp(b - s), so b is
    their mean log-odds.
    """
    first = np.repeat([0, 0, 1, 1], [3000, 1000, 2400, 1600])
    won = np.repeat([True, False, True, False], [3000, 1000, 2400, 1600])
    bonus, apart = first_bonus(first, 1 - first, won, 2, np.arange(8000), level=0.95)
    assert bonus.value == pytest.approx(
        (np.log(3) + np.log(1.5)) / 2, abs=2e-3
    ) and apart == pytest.approx(1.0)
    few = first_bonus(
        first[::100], 1 - first[::100], won[::100], 2, np.arange(80), level=0.95
    ).estimate.value
    assert few == pytest.approx(
        (np.log(30.5 / 10.5) + np.log(24.5 / 16.5)) / 2, abs=5e-3
    )  # half a win and half a loss more in each cell


def test_many_strengths_from_few_results_do_not_stretch_the_bonus():
    """Plain maximum likelihood says 1.2 where the truth is 1."""
    found = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        strength, pairs = (
            rng.normal(size=80),
            np.array([rng.choice(80, 2, replace=False) for _ in range(480)]),
        )
        won = rng.random(480) < 1 / (
            1 + np.exp(-1.0 - strength[pairs[:, 0]] + strength[pairs[:, 1]])
        )
        found.append(
            first_bonus(
                pairs[:, 0], pairs[:, 1], won, 80, np.arange(480), level=0.95
            ).estimate.value
        )
    assert (
        np.mean(found) == pytest.approx(1.0, abs=2.5 * np.std(found) / np.sqrt(12))
        and np.std(found) < 0.2
    )


def test_one_pair_alone_does_not_tell_the_bonus_from_strength():
    """Two baselines are always first, and what is their place and what their strength only their
    own meetings say: one cluster.
    """
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 2, 400), rng.integers(2, 12, 400)
    second[:20] = 1 - first[:20]
    clusters = 100 * np.minimum(first, second) + np.maximum(first, second)
    assert (
        first_bonus(first, second, rng.random(400) < 0.7, 12, clusters, level=0.95).estimate.value
        is None
    )


def test_columns_that_say_who_came_first():
    pair = {"prompt": "p", "chosen": "x", "rejected": "y"}
    for column, values, expected in (
        ("chosen_first", [True, False, None], [1, 0, -1]),
        ("chosen_first", [1, 0, "?"], [1, 0, -1]),
        ("chosen_position", [0, 1], [1, 0]),
        ("chosen_position", [1, 2], [1, 0]),
        ("first_shown", ["chosen", "rejected"], [1, 0]),
        ("chosen_order", ["A", "b"], [1, 0]),
    ):
        rows = [{**pair, "prompt": f"p{i}", column: value} for i, value in enumerate(values)]
        assert comparisons(rows).first_N.tolist() == expected


def test_verdicts_that_stay_with_the_place():
    a, b = (
        {"prompt": "p", "chosen": "x", "rejected": "y"},
        {"prompt": "p", "chosen": "y", "rejected": "x"},
    )
    rows = [
        {**a, "chosen_first": True},
        {**b, "chosen_first": True},
        {**a, "prompt": "q", "chosen_first": True},
    ]
    rows.append({**a, "prompt": "q", "chosen_first": False})
    found = drawable(position_bias(comparisons(rows), QUIET))
    assert (found.numbers["both_orders"]["pairs"], found.numbers["both_orders"]["stay"]) == (2, 0.5)


# ------------------------------------------------------------ writers


def written(n, edge, seed=0):
    rng = np.random.default_rng(seed)
    rows = plain_rows(n, seed)
    for row in rows:
        won = ("strong", "weak") if rng.random() < 0.5 + edge else ("weak", "strong")
        row["chosen_model"], row["rejected_model"] = won if rng.random() < 0.9 else ("weak", "weak")
    return rows


def test_names_that_give_the_label_away():
    found = drawable(answer_models(comparisons(written(800, 0.48)), QUIET))
    assert found.severity is Severity.PROBLEM and found.estimate.value == pytest.approx(
        0.98, abs=0.02
    )
    assert (
        found.numbers["same_model"] == pytest.approx(0.1, abs=0.04)
        and next(iter(found.numbers["wins"])) == "strong"
    )
    assert answer_models(comparisons(written(800, 0.0)), QUIET).severity is Severity.OK
    assert answer_models(comparisons(plain_rows(10)), QUIET).severity is Severity.NOT_APPLICABLE


def test_where_length_decides_every_row_no_factor_is_quoted():
    rows = [
        {"prompt": f"p{i}", "chosen": "a" * (20 + i % 7), "rejected": "b" * 5} for i in range(60)
    ]
    found = drawable(LENGTH_BIAS.run(comparisons(rows), QUIET))
    assert "no finite slope fits" in found.says and "e+" not in found.says
    assert found.estimate.value == 1.0


def test_lengths_that_nobody_would_notice_raise_nothing():
    """A solution against itself with another last number: where they differ, by one digit."""
    rng = np.random.default_rng(0)
    rows = []
    for i in range(400):
        text = f"First we add and then we multiply, step by step, so that the answer is {100 + i}"
        longer = rng.random() < 0.3
        rows.append(
            {"prompt": f"question {i}", "chosen": text, "rejected": text + ("0" if longer else "")}
            | ({} if longer else {"rejected": text[:-1] + str(int(rng.integers(10)))})
        )
    data = comparisons([row for row in rows if row["chosen"] != row["rejected"]])
    found = LENGTH_BIAS.run(data, QUIET)
    assert found.severity is Severity.OK, found.says
    assert found.numbers["noticeable"] == 0 and "0 pairs differ by 5% or more" in found.says


def test_two_prompts_are_no_evidence_of_a_liking_for_length():
    rng = np.random.default_rng(0)
    rows = [
        {"prompt": f"question {i % 2}", "chosen": sentence(rng, 20, 30), "rejected": sentence(rng)}
        for i in range(200)
    ]
    assert LENGTH_BIAS.run(comparisons(rows), QUIET).severity is Severity.OK
    spread = [{**row, "prompt": f"question {i}"} for i, row in enumerate(rows)]
    assert LENGTH_BIAS.run(comparisons(spread), QUIET).severity is Severity.PROBLEM
