"""Representation: planted groups whose labels agree with one reward at known rates, and numbers
that can be worked by hand.
"""

import numpy as np
import pytest

from holdfast.checkup.findings.representation import representation
from holdfast.checkup.request import CheckRequest
from holdfast.checkup.result import Severity
from holdfast.errors import DataError
from holdfast.pluralism import labels_for
from tests.checkup.rows import comparisons, plain_rows, sentence

HALVES = {"a": 0.5, "b": 0.5}


def planted(n, seed, *, share=0.8, flips=(0.1, 0.4), raters=40):
    """Labels that follow one strong taste (a word), inverted at each group's own rate: V_a =
    0.9, V_b = 0.6.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(n):
        rater = int(rng.integers(raters))
        group = "a" if rater < share * raters else "b"
        sides = [f"lovely {sentence(rng)}", f"awful {sentence(rng)}"]
        if rng.random() < flips[group == "b"]:
            sides.reverse()
        rows.append(
            {
                "prompt": f"q{i}",
                "chosen": sides[0],
                "rejected": sides[1],
                "group": group,
                "rater": f"r{rater}",
            }
        )
    return comparisons(rows)


def test_gap_by_hand():
    found = representation(planted(700, 0), CheckRequest(population=HALVES, quiet=True))
    a, b = found.numbers["groups"]
    assert abs(a["mean"] - 0.9) < 0.05 and abs(b["mean"] - 0.6) < 0.1
    # the data see 0.8 x 0.9 + 0.2 x 0.6 = 0.84, the population would 0.75; group b lies 0.24 below
    assert (
        abs(found.estimate.value - 0.09) < 0.04
        and abs(found.numbers["worst"]["value"] - 0.24) < 0.09
    )
    assert found.numbers["worst_group"] == "b" and found.severity is Severity.PROBLEM
    assert abs(found.numbers["composition"] - 0.3) < 0.03
    assert "b" in found.remedy and all(
        found.numbers["worst_group"] in e.why for e in found.examples
    )


def test_average_gap_is_zero_where_the_data_look_like_the_population():
    data = planted(500, 1, share=0.5)
    shares = np.bincount(data.group.code_N).tolist()
    found = representation(
        data, CheckRequest(population=dict(zip(data.group.names, shares, strict=True)), quiet=True)
    )
    assert found.estimate.value < 1e-9 and found.numbers["composition"] < 1e-9
    assert (
        found.numbers["worst"]["value"] > 0.1 and found.severity is Severity.WARNING
    )  # which the average hides


def test_sample_sizes_are_hoeffding_s():
    data = planted(200, 0)
    assert representation(data, CheckRequest(population=HALVES, quiet=True)).numbers[
        "needed"
    ] == labels_for(0.05, groups=2)
    one = CheckRequest(population={"a": 1.0}, epsilon=0.1, quiet=True)
    assert representation(data, one).numbers["needed"] == 185  # ceil(ln(2 / .05) / (2 x .01))
    strict = CheckRequest(population={"a": 1.0}, epsilon=0.01, level=0.999, quiet=True)
    assert representation(data, strict).numbers["needed"] == 38_005
    assert "738" in representation(data, CheckRequest(population={"a": 1.0}, quiet=True)).says


def test_a_group_that_nobody_speaks_for():
    found = representation(
        planted(400, 2), CheckRequest(population={"a": 0.4, "b": 0.2, "c": 0.4}, quiet=True)
    )
    assert (
        found.severity is Severity.PROBLEM
        and found.numbers["absent"] == ("c",)
        and abs(found.numbers["missing"] - 0.4) < 1e-9
    )
    assert "c" in found.remedy and "no label at all" in found.says


def test_without_a_population_composition_is_told_and_nothing_else_decided():
    found = representation(planted(400, 3, flips=(0.2, 0.2)), CheckRequest(quiet=True))
    assert (
        found.severity is Severity.INCONCLUSIVE
        and "--population" in found.cannot
        and found.numbers["composition"] == 0
    )


def test_absent_without_groups():
    assert (
        representation(comparisons(plain_rows(20)), CheckRequest(quiet=True)).severity
        is Severity.NOT_APPLICABLE
    )
    one = comparisons(plain_rows(20, group=lambda i, rng: "all"))
    assert representation(one, CheckRequest(quiet=True)).severity is Severity.NOT_APPLICABLE


def test_strangers_are_counted_and_bad_shares_refused():
    data = planted(200, 4)
    found = representation(data, CheckRequest(population={"a": 1.0}, quiet=True))
    assert found.numbers["stray"] > 0 and "left out" in found.cannot
    with pytest.raises(DataError, match="finite"):
        representation(data, CheckRequest(population={"a": -1.0}, quiet=True))


def test_a_reward_that_knows_nothing_is_not_called_fair():
    rng = np.random.default_rng(5)
    rows = [
        {
            "prompt": f"q{i}",
            "chosen": sentence(rng),
            "rejected": sentence(rng),
            "group": "ab"[i % 5 == 0],
            "rater": f"r{i % 400}",
        }
        for i in range(4000)
    ]
    population = {"a": 0.8, "b": 0.2}
    found = representation(comparisons(rows), CheckRequest(population=population, quiet=True))
    assert (
        found.severity is Severity.INCONCLUSIVE
        and found.estimate.value is None
        and not found.examples
    )
    assert "may be chance" in found.cannot and "reward fitted" not in found.says
    for row in rows:
        row["chosen"] = f"lovely {row['chosen']}"
    found = representation(comparisons(rows), CheckRequest(population=population, quiet=True))
    assert (
        found.severity is Severity.OK and found.estimate.value is not None
    )  # the same rows, and a reward that knows


def test_of_many_groups_those_that_weigh_most_are_shown_and_the_count_is_said():
    rng = np.random.default_rng(0)
    sizes = {f"large{g}": 5 for g in range(60)} | {f"small{g}": 1 for g in range(300)}
    rows = []
    for group, number in sizes.items():
        for _ in range(number):
            sides = [f"lovely {sentence(rng)}", f"awful {sentence(rng)}"]
            rows.append(
                {
                    "prompt": f"q{len(rows)}",
                    "chosen": sides[0],
                    "rejected": sides[1],
                    "group": group,
                    "rater": f"r{len(rows) % 40}",
                }
            )
    found = representation(comparisons(rows), CheckRequest(quiet=True))
    table = found.tables[0]
    assert len(table.rows) == 30 and "30 of 360 groups" in table.caption
    assert all("30 of 360 groups" in chart.caption for chart in found.charts)
    assert found.numbers["worst_group"] in [row[0] for row in table.rows]
    assert sum(str(row[0]).startswith("large") for row in table.rows) >= 29
    assert len(found.numbers["groups"]) == 200 and found.numbers["number_of_groups"] == 360
