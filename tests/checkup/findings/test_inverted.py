"""Labels that were inverted: found where they were planted, at about the planted rows, and
nowhere else.
"""

import numpy as np
import pytest

from holdfast.checkup.findings.inverted import inverted
from holdfast.checkup.result import Severity
from tests.checkup.rows import HOSTILE, QUIET, comparisons, drawable, plain_rows, sentence


def tasteful(n, seed=0, turned=lambda i: False, **columns):
    """Answers with "gold" are better, in four of five rows; `turned` rows are labeled the other way
    around.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(n):
        good, bad = sentence(rng) + " gold", sentence(rng)
        if (rng.random() < 0.2) != turned(i):
            good, bad = bad, good
        row = {"prompt": f"question {i}", "chosen": good, "rejected": bad}
        rows.append(row | {name: make(i) for name, make in columns.items()})
    return rows


def test_nothing_is_found_where_nothing_was_turned():
    found = drawable(inverted(comparisons(tasteful(600)), QUIET))
    assert found.severity is Severity.OK and found.numbers["places"] == []
    assert found.estimate.value == pytest.approx(0.8, abs=0.06)


def test_a_stretch_is_found_at_its_rows():
    found = drawable(inverted(comparisons(tasteful(800, turned=lambda i: 300 <= i < 400)), QUIET))
    assert found.severity is Severity.PROBLEM
    (place,) = found.numbers["places"]
    assert abs(place["first"] - 300) < 12 and abs(place["last"] - 399) < 12
    assert place["turned"] > 0.85 and "rows 3" in found.says
    assert all(280 <= example.place < 420 for example in found.examples)


def test_two_stretches():
    found = inverted(
        comparisons(tasteful(1000, turned=lambda i: 100 <= i < 180 or 700 <= i < 780)), QUIET
    )
    assert [round(place["first"], -2) for place in found.numbers["places"]] == [100, 700]


def test_a_source_a_rater_and_a_score_are_named():
    rows = tasteful(700, turned=lambda i: i % 7 == 3, source=lambda i: f"site {i % 7}")
    found = drawable(inverted(comparisons(rows), QUIET))
    assert [place["what"] for place in found.numbers["places"]] == ["source site 3"]
    lowest_made_highest = tasteful(
        600,
        turned=lambda i: i % 10 == 0,
        score_chosen=lambda i: 10.0 if i % 10 == 0 else 5.0 + i % 3,
    )
    for row in lowest_made_highest:
        row["score_rejected"] = 4.0
    found = inverted(comparisons(lowest_made_highest), QUIET)
    assert "score_chosen 10" in [place["what"] for place in found.numbers["places"]]


def test_half_of_the_file():
    found = drawable(inverted(comparisons(tasteful(600, turned=lambda i: i < 300)), QUIET))
    assert found.severity is Severity.PROBLEM
    (place,) = found.numbers[
        "places"
    ]  # a stretch that is half of the rows, or the halves against each other
    assert place["first"] == -1 or 240 < place["last"] - place["first"] < 360


def test_a_noisier_stretch_is_no_inverted_one():
    rng = np.random.default_rng(5)
    coins = rng.random(800) < 0.5
    assert (
        inverted(
            comparisons(tasteful(800, turned=lambda i: 300 <= i < 450 and bool(coins[i]))), QUIET
        ).numbers["places"]
        == []
    )


def test_labels_against_their_own_scores():
    rows = plain_rows(
        100, score_chosen=lambda i, rng: float(i % 4), score_rejected=lambda i, rng: 1.0
    )
    found = drawable(inverted(comparisons(rows), QUIET))
    assert found.numbers["scores"] == {
        "what": "score_chosen - score_rejected",
        "rows": 100,
        "against": 25,
        "equal": 25,
    }
    assert found.severity is Severity.PROBLEM and "25 labels of 100 run against" in found.says


def voted(n, shared_verdicts, seed=0):
    """Every pair is judged by `votes` raters, each for the answer with "gold" in four of five
    cases; `strength` is the share of votes.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(n):
        good, bad = sentence(rng) + " gold", sentence(rng)
        won = rng.random(shared_verdicts) < 0.8
        for first in won:
            win, lose = (good, bad) if first else (bad, good)
            rows.append(
                {
                    "prompt": f"question {i}",
                    "chosen": win,
                    "rejected": lose,
                    "strength": float(np.mean(won == first)),
                }
            )
    return rows


def test_the_minority_of_a_vote_is_not_turned_around():
    rows = voted(200, 5)
    assert inverted(comparisons(rows), QUIET).numbers["places"] == []
    shrunk = [
        {**row, "strength": 0.8 * row["strength"]} for row in rows
    ]  # of every five votes one was a tie
    assert inverted(comparisons(shrunk), QUIET).numbers["places"] == []


def test_a_strength_that_is_no_vote_share_still_tells():
    rows = tasteful(
        600,
        turned=lambda i: i % 10 == 0,
        strength=lambda i: 0.9 if i % 10 == 0 else 0.1 + 0.1 * (i % 3),
    )
    assert "strength 0.9" in [
        place["what"] for place in inverted(comparisons(rows), QUIET).numbers["places"]
    ]


def test_where_nothing_predicts_the_labels_it_says_so():
    found = inverted(comparisons(plain_rows(300, seed=4)), QUIET)
    assert found.severity is Severity.INCONCLUSIVE and found.cannot


@pytest.mark.parametrize(
    "rows",
    [
        plain_rows(1),
        plain_rows(39),
        HOSTILE * 12,
        [{**row, "prompt": "same"} for row in plain_rows(60)],
    ],
)
def test_little_or_strange_data(rows, tmp_path):
    drawable(inverted(comparisons(rows, quarantine=tmp_path / "aside.jsonl"), QUIET))


def test_names_are_scored_too():
    rng = np.random.default_rng(0)
    rows = []
    for i in range(900):
        one, two = sorted(rng.choice(8, 2, replace=False))
        better = (rng.random() < 0.85) != (300 <= i < 450)
        rows.append({"winner": f"p{one if better else two}", "loser": f"p{two if better else one}"})
    (place,) = drawable(inverted(comparisons(rows), QUIET)).numbers["places"]
    assert abs(place["first"] - 300) < 25 and abs(place["last"] - 449) < 25


# ------------------------------------------------------------ the smaller party, uneven noise


def test_the_smaller_party_is_the_suspect():
    """One source of two is inverted: each contradicts the other, and the larger is not blamed."""
    rows = tasteful(800, turned=lambda i: i % 5 == 0, source=lambda i: "ab"[i % 5 == 0])
    found = inverted(comparisons(rows), QUIET)
    assert [place["what"] for place in found.numbers["places"]] == ["source b"], found.says
    assert "source a" not in found.says
    stretch = inverted(comparisons(tasteful(800, turned=lambda i: i >= 160)), QUIET)
    assert all(place["rows"] <= 400 for place in stretch.numbers["places"]), stretch.says


def test_random_labels_at_the_end_are_located():
    rng = np.random.default_rng(5)
    rows = tasteful(1200, turned=lambda i: i >= 1000 and rng.random() < 0.5)
    found = drawable(inverted(comparisons(rows), QUIET))
    assert found.severity is Severity.WARNING and not found.numbers["places"]
    (place,) = found.numbers["noisier"]
    assert abs(place["first"] - 1000) < 60 and place["last"] == 1199 and place["random"] > 0.6
    assert "Labels are noisier in some places" in found.says


def test_a_noisy_source_is_named_and_even_noise_is_not():
    rng = np.random.default_rng(6)
    rows = tasteful(
        1200,
        turned=lambda i: i % 5 == 2 and rng.random() < 0.5,
        source=lambda i: f"site {i % 5}",
    )
    found = inverted(comparisons(rows), QUIET)
    assert [place["what"] for place in found.numbers["noisier"]] == ["source site 2"]
    even = [tasteful(600, seed, source=lambda i: f"site {i % 5}") for seed in range(10, 16)]
    assert not any(inverted(comparisons(r), QUIET).numbers["noisier"] for r in even)


def test_a_stretch_of_close_calls_is_not_noisy():
    """Answers that do not differ in what matters: the model is not sure, and is right as often as
    where it is as little sure.
    """
    rows = tasteful(1200, seed=3)
    for row in rows[1000:]:
        row["chosen"] = row["chosen"].replace(" gold", "")
        row["rejected"] = row["rejected"].replace(" gold", "")
    for row in rows[:1000:4]:  # as little sure, elsewhere, too
        row["chosen"] = row["chosen"].replace(" gold", "")
        row["rejected"] = row["rejected"].replace(" gold", "")
    assert not inverted(comparisons(rows), QUIET).numbers["noisier"]
