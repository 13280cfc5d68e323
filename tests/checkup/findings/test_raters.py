"""Raters: who is reliable, who contradicts, and when nothing can be told."""

import json
from dataclasses import replace

import numpy as np
import pytest

from holdfast.checkup.comparisons import Comparisons
from holdfast.checkup.estimators.agreement import shared_verdicts
from holdfast.checkup.findings.raters import raters
from holdfast.checkup.request import CheckRequest
from holdfast.checkup.result import Severity
from holdfast.types import Row, Where
from tests.checkup.rows import QUIET


def judged(seed, flips, pairs=150, per_pair=3, **more):
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(pairs):
        good, bad = rng.permutation([f"a {i}", f"b {i}"]).tolist()
        for rater in rng.choice(len(flips), per_pair, replace=False):
            win, lose = (good, bad) if rng.random() >= flips[rater] else (bad, good)
            rows.append(
                Row(
                    Where("made", len(rows) + 1),
                    f"question {i}",
                    win,
                    lose,
                    rater=f"r{rater}",
                    **more,
                )
            )
    return Comparisons.of(rows)


def test_alike_counts_the_pairs_other_raters():
    rows = [
        Row(Where("made", i), "p", win, "b" if win == "a" else "a", rater=rater, group=group)
        for i, (win, rater, group) in enumerate(
            [("a", "x", "g"), ("a", "y", "g"), ("b", "z", "h"), ("b", "x", "g")]
        )
    ]
    found = shared_verdicts(
        Comparisons.of([*rows, Row(Where("made", 9), "p", "c", "d", rater="x")])
    )
    assert found.row_V.tolist() == [0, 1, 2]  # x said a first; c against d was judged once
    assert found.agreement_V.tolist() == [0.5, 0.5, 0.0]
    group_V = np.array([0, 0, 1])
    assert found.agreement_within(group_V)[:2].tolist() == [1.0, 1.0] and np.isnan(
        found.agreement_within(group_V)[2]
    )
    assert found.agreement_within(group_V, outside=True).tolist() == [0.0, 0.0, 0.0]


def test_a_rater_who_contradicts_the_rest_is_named():
    found = raters(judged(0, [0.1] * 7 + [0.8]), CheckRequest())
    assert (
        found.severity is Severity.PROBLEM
        and found.numbers["differ"]
        and found.numbers["stand_out"] == ["r7"]
    )
    assert "r7" in found.says and "r7" in found.remedy
    worst = found.numbers["by_rater"][0]
    assert worst["rater"] == "r7" and worst["low"] < 0.2 < worst["high"]
    assert found.examples and json.dumps(found.numbers) and [chart.spec() for chart in found.charts]


def test_raters_alike_raise_no_light():
    lights = [
        raters(judged(seed, [0.2] * 8), CheckRequest(seed=seed)).severity for seed in range(20)
    ]
    assert sum(severity is not Severity.OK for severity in lights) <= 2


def test_hard_pairs_are_not_held_against_who_judged_them():
    """Raters 0 to 3 judge clear pairs and 4 to 7 pairs that are coins; none is careless."""
    clear, coins = judged(1, [0.02] * 4), judged(2, [0.5] * 4)
    rows = [
        *clear.rows,
        *(
            Row(r.where, f"other {r.prompt}", r.chosen, r.rejected, rater=f"s{r.rater}")
            for r in coins.rows
        ),
    ]
    assert not raters(Comparisons.of(rows), CheckRequest()).numbers["differ"]


def test_alpha_is_twice_agreement_less_one():
    numbers = raters(judged(3, [0.1] * 4), CheckRequest()).numbers
    assert numbers["alpha"]["value"] == pytest.approx(2 * numbers["agreement"]["value"] - 1)
    assert numbers["agreement"]["low"] < 0.9**2 + 0.1**2 < numbers["agreement"]["high"]


def test_what_cannot_be_told_is_said():
    assert (
        raters(judged(4, [0.1, 0.4], per_pair=2), CheckRequest()).severity is Severity.INCONCLUSIVE
    )  # which of two errs
    alone = raters(judged(5, [0.1] * 3, per_pair=1), CheckRequest())  # texts that say nothing
    assert (
        alone.severity is Severity.INCONCLUSIVE and alone.cannot and alone.numbers["differ"] is None
    )


def test_without_raters_or_with_one_there_is_nothing_to_look_at():
    rows = [Row(Where("made", i), "p", f"a {i}", "b") for i in range(5)]
    assert raters(Comparisons.of(rows), CheckRequest()).severity is Severity.NOT_APPLICABLE
    assert (
        raters(judged(0, [0.1], pairs=5, per_pair=1), CheckRequest()).severity
        is Severity.NOT_APPLICABLE
    )


def test_raters_of_different_pairs_are_held_against_a_model():
    rng = np.random.default_rng(6)
    rows = []
    for i in range(600):
        rater = int(rng.integers(6))
        good, bad = (
            " ".join(["good"] * int(rng.integers(3, 9)) + [f"w{i}"]),
            " ".join(["bad"] * int(rng.integers(3, 9)) + [f"v{i}"]),
        )
        wrong = rng.random() < (0.45 if rater == 0 else 0.05)
        rows.append(
            Row(
                Where("made", i),
                f"question {i}",
                bad if wrong else good,
                good if wrong else bad,
                rater=f"r{rater}",
            )
        )
    found = raters(Comparisons.of(rows), CheckRequest())
    assert found.numbers["differ"] and found.numbers["stand_out"] == ["r0"]
    worst = found.numbers["by_rater"][0]
    assert worst["rater"] == "r0" and worst["low"] < 0.55 < worst["high"]


def test_one_prompt_five_rows_empty_texts():
    rows = [
        Row(Where("made", i), "", "" if i % 2 else "x", "y" if i % 2 else "", rater=f"r{i}")
        for i in range(5)
    ]
    assert raters(Comparisons.of(rows), CheckRequest()).severity is Severity.INCONCLUSIVE


# ------------------------------------------------------------ rankings, copies, habits


def rankings(seed, people=60, prompts=1, answers=5):
    """People of one Plackett-Luce taste, who each rank all answers of every prompt."""
    rng, rows = np.random.default_rng(seed), []
    for person in range(people):
        for q in range(prompts):
            worth = -0.4 * np.arange(answers) + rng.gumbel(size=answers)
            for a in range(answers):
                for b in range(a):
                    win, lose = (a, b) if worth[a] > worth[b] else (b, a)
                    rows.append(
                        Row(
                            Where("made", len(rows) + 1),
                            f"q{q}",
                            f"film {win}",
                            f"film {lose}",
                            rater=f"r{person}",
                        )
                    )
    return Comparisons.of(rows)


def test_a_ranking_is_one_draw():
    """Ten verdicts that follow from one ranking are not ten: alike raters seemed to differ in 20
    of 20 files.
    """
    for seed in range(6):
        one = raters(rankings(seed), CheckRequest(seed=seed))
        assert one.severity is Severity.INCONCLUSIVE and not one.numbers["differ"], one.says
    severities = [
        raters(rankings(seed, people=8, prompts=20), CheckRequest(seed=seed)).severity
        for seed in range(10)
    ]
    assert sum(severity is not Severity.OK for severity in severities) <= 1


def copied(seed, keep=1.0, people=4, wrong=0.15, pairs=260):
    """Alike raters, the last of whom says what the one before said, in a share `keep` of pairs."""
    rng, rows = np.random.default_rng(seed), []
    for i in range(pairs):
        right = rng.random(people) >= wrong
        if rng.random() < keep:
            right[-1] = right[-2]
        for k, good in enumerate(right):
            win, lose = (f"a {i}", f"b {i}") if good else (f"b {i}", f"a {i}")
            rows.append(Row(Where("made", len(rows) + 1), f"q{i}", win, lose, rater=f"r{k}"))
    return Comparisons.of(rows)


def test_a_copy_is_named_and_nobody_is_accused():
    found = raters(copied(0), CheckRequest())
    (copy,) = found.numbers["copies"]
    assert (copy["one"], copy["other"], copy["differ"]) == ("r2", "r3", 0)
    assert copy["expected"] == pytest.approx(260 * 2 * 0.15 * 0.85, rel=0.4)
    assert found.severity is Severity.WARNING and not found.numbers["differ"]
    assert found.numbers["raters"] == 3 and "counted once" in found.says


def test_raters_who_are_alike_or_agree_on_everything_are_no_copies():
    for seed, wrong in [(1, 0.15), (2, 0.02), (3, 0.0), (4, 0.4)]:
        found = raters(copied(seed, keep=0.0, wrong=wrong), CheckRequest())
        assert not found.numbers["copies"], found.says


def test_who_takes_one_place_is_named_as_that():
    rng, rows = np.random.default_rng(0), []
    for i in range(120):
        first = rng.random() < 0.5  # whether a is shown first
        for k in range(4):
            a = first if k == 3 else rng.random() >= 0.1
            win, lose = (f"a {i}", f"b {i}") if a else (f"b {i}", f"a {i}")
            extra = {"chosen_first": a == first}
            rows.append(
                Row(Where("made", len(rows) + 1), f"q{i}", win, lose, rater=f"r{k}", extra=extra)
            )
    found = raters(Comparisons.of(rows), CheckRequest())
    assert found.numbers["one_place"] == [
        {"rater": "r3", "first": True, "taken": 120, "verdicts": 120}
    ]
    assert "r3 takes the answer shown first in 120 of 120 verdicts" in found.says
    always = [replace(row, extra={"chosen_first": True}) for row in rows]
    assert not raters(Comparisons.of(always), CheckRequest()).numbers["one_place"]


def test_a_reversed_scale_is_named():
    assert "as if the scale were reversed" in raters(judged(0, [0.1] * 7 + [0.9]), QUIET).says
    assert "reversed" not in raters(judged(0, [0.1] * 7 + [0.5]), QUIET).says


def self_judged(seed, turned, other=False, better=0.5):
    """Judge a, which wrote one answer of each pair, turns a share of its defeats; `other` judges
    the same.
    """
    rng, rows = np.random.default_rng(seed), []
    for i in range(400):
        won = rng.random() < better
        for rater in ("a", "c") if other else ("a",):
            own = won or (rater == "a" and rng.random() < turned)
            models = {
                "chosen_model": "a" if own else "b",
                "rejected_model": "b" if own else "a",
            }
            win, lose = (f"x {i}", f"y {i}") if own else (f"y {i}", f"x {i}")
            rows.append(
                Row(Where("made", len(rows) + 1), f"q{i}", win, lose, rater=rater, extra=models)
            )
    return Comparisons.of(rows)


@pytest.mark.parametrize(
    ("turned", "other", "better", "partial"),
    [
        (0.6, False, 0.5, True),
        (0.0, False, 0.5, False),
        (0.6, True, 0.5, True),
        (0.0, True, 0.8, False),  # better, by the other's verdicts, too
    ],
)
def test_a_judge_that_prefers_its_own_answers(turned, other, better, partial):
    found = raters(self_judged(0, turned, other, better), CheckRequest())
    (judge,) = found.numbers["self_preference"]
    assert judge["judge"] == "a" and judge["partial"] is partial
    assert judge["own"]["value"] == pytest.approx(better + (1 - better) * turned, abs=0.08)
    assert ("takes its own" in found.says) is partial


def test_people_of_two_opinions_are_not_unreliable():
    """Forty people judge disjoint pairs of one question; ten of them like the other side."""
    rng, rows = np.random.default_rng(0), []
    for i in range(60):
        for person in range(40):
            first = (person < 10) == (rng.random() < 0.1)
            win, lose = (f"a {i}", f"b {i}") if first else (f"b {i}", f"a {i}")
            rows.append(Row(Where("made", len(rows) + 1), "Which?", win, lose, rater=f"p{person}"))
    found = raters(Comparisons.of(rows), CheckRequest())
    assert found.severity is Severity.INCONCLUSIVE and not found.remedy
    assert found.numbers["p"] < 0.02 and "nobody is unreliable" in found.says
