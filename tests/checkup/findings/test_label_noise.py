"""Label noise: each route on rows whose truth is planted, the words that go with each case, and the
rows that are shown.
"""

import numpy as np
import pytest
from scipy.special import expit

from holdfast.checkup.comparisons import Comparisons
from holdfast.checkup.estimators.flip_rate import by_models
from holdfast.checkup.findings.contradictions import contradictions
from holdfast.checkup.findings.label_noise import (
    CLEAREST,
    COUNT,
    MODEL,
    RATERS,
    REPEATED,
    label_noise,
)
from holdfast.checkup.request import CheckRequest
from holdfast.checkup.result import Severity
from holdfast.types import Row, Where

GOOD = ["clear", "correct", "helpful", "careful", "right", "sound", "true", "kind"]
BAD = ["vague", "wrong", "useless", "sloppy", "false", "odd", "rude", "broken"]
PLAIN = ["the", "a", "of", "to", "in", "and", "it", "is", "on", "that", "this", "with", "for", "as"]


def texts(rng, n, strength):
    """Answers of 12 words, and what each is worth."""
    counts = rng.integers(0, 4, (n, 2))
    words = [
        [*rng.choice(GOOD, g), *rng.choice(BAD, b), *rng.choice(PLAIN, 12 - g - b)]
        for g, b in counts
    ]
    return [" ".join(rng.permutation(w)) for w in words], strength * (counts[:, 0] - counts[:, 1])


def rows_of(seed, n=1500, flip=0.2, strength=2.0, raters=0):
    """Comparisons by Bradley-Terry, then flipped; with raters, each pair is judged by three of them
    against its true order.
    """
    rng = np.random.default_rng(seed)
    (a, worth_a), (b, worth_b) = texts(rng, n, strength), texts(rng, n, strength)
    out, wrong = [], []
    for i in range(n):
        first = worth_a[i] > worth_b[i] if raters else rng.random() < expit(worth_a[i] - worth_b[i])
        for rater in rng.choice(raters, 3, replace=False) if raters else [None]:
            flipped = rng.random() < flip
            win, lose = (a[i], b[i]) if first != flipped else (b[i], a[i])
            out.append(
                Row(
                    Where("made", len(out) + 1),
                    f"question {i}",
                    win,
                    lose,
                    rater=None if rater is None else f"r{rater}",
                )
            )
            wrong.append(flipped)
    return Comparisons.of(out), np.array(wrong)


@pytest.mark.parametrize("flip, severity", [(0.0, Severity.OK), (0.1, Severity.WARNING)])
def test_without_raters_the_model_finds_the_rate(flip, severity):
    found = [label_noise(rows_of(seed, n=2500, flip=flip)[0], CheckRequest()) for seed in range(5)]
    assert all(
        f.numbers["identified"]
        and f.severity is severity
        and set(f.numbers["routes"]) == {MODEL, COUNT}
        for f in found
    )
    assert sum(f.estimate.low <= flip <= f.estimate.high for f in found) >= 4
    assert all(
        f.numbers["routes"][COUNT]["value"] > f.estimate.value for f in found
    )  # it counts chance verdicts, too


def test_a_worth_that_is_in_many_single_words_is_seen_by_the_model_of_words():
    """200 words, each worth something of its own: more than the topics hold, which alone would
    leave the rate open.
    """
    rng = np.random.default_rng(0)
    worth, words = rng.normal(size=200) * 2, np.array([f"w{i}" for i in range(200)])
    rows = []
    for i in range(3000):
        a, b = rng.integers(0, 200, (2, 12))
        first = (rng.random() < expit(worth[a].sum() - worth[b].sum())) != (rng.random() < 0.1)
        sides = [" ".join(words[side]) for side in ((a, b) if first else (b, a))]
        rows.append(Row(Where("made", i + 1), f"question {i}", *sides))
    found = by_models(Comparisons.of(rows))
    assert found.model == 1 and found.identified and found.rate.holds(0.1)


def test_a_lot_of_noise_is_covered_whether_or_not_it_is_called_identified():
    found = label_noise(rows_of(0, flip=0.3)[0], CheckRequest()).numbers["routes"][MODEL]
    assert found["low"] <= 0.3 <= found["high"] < 0.42


def test_raters_of_one_pair_find_it_without_any_model():
    data, _ = rows_of(1, n=300, flip=0.15, raters=6)
    found = label_noise(data, CheckRequest())
    agreed = found.numbers["routes"][RATERS]
    assert agreed["low"] <= 0.15 <= agreed["high"] and found.numbers["agree"] in (True, False)


def test_the_suspects_are_mostly_the_flipped_rows():
    data, wrong = rows_of(2, flip=0.1)
    shown = [example.place for example in label_noise(data, CheckRequest()).examples]
    assert len(shown) == 25 and wrong[shown].mean() > 0.8


def test_texts_that_say_nothing_leave_it_open_and_say_so():
    rng = np.random.default_rng(0)
    made = [" ".join(rng.choice(PLAIN, 12)) for _ in range(1200)]
    data = Comparisons.of(
        [Row(Where("made", i + 1), f"q {i}", made[2 * i], made[2 * i + 1]) for i in range(600)]
    )
    found = label_noise(data, CheckRequest())
    assert (
        found.severity is Severity.INCONCLUSIVE
        and found.numbers["flip_rate"] is None
        and not found.numbers["identified"]
    )
    assert "cannot be told" in found.says and "second rater" in found.cannot


@pytest.mark.parametrize("n", [1, 2, 5, 60])
def test_a_handful_of_rows_is_no_crash(n):
    data, _ = rows_of(0, n=n)
    assert label_noise(data, CheckRequest()).severity in (
        Severity.INCONCLUSIVE,
        Severity.OK,
        Severity.WARNING,
        Severity.PROBLEM,
    )


def test_a_rater_who_repeats_himself_is_counted_once():
    rows = [Row(Where("made", i), "q", "a", "b", rater="same") for i in range(200)]
    assert RATERS not in label_noise(Comparisons.of(rows), CheckRequest()).numbers["routes"]


def test_raters_who_never_disagree_are_a_green_light():
    """Three raters, 200 pairs, one voice: drawing three raters again adds no doubt, for they do not
    vary.
    """
    rows = [
        Row(Where("made", i + 1), f"q {i // 3}", f"a {i // 3}", f"b {i // 3}", rater="xyz"[i % 3])
        for i in range(600)
    ]
    found = label_noise(Comparisons.of(rows), CheckRequest())
    assert found.severity is Severity.OK and found.estimate.high < 0.02


# ------------------------------------------------------------ close calls, opinions, both ways


def judged(n, wrong, strength=None, raters=3, named=True):
    """n pairs judged by raters who are wrong with chance wrong(margin), margins uniform."""
    rng, rows = np.random.default_rng(0), []
    for i in range(n):
        margin = rng.random()
        for k in range(raters):
            win, lose = (f"a {i}", f"b {i}")
            if rng.random() < wrong(margin):
                win, lose = lose, win
            rows.append(
                Row(
                    Where("made", len(rows) + 1),
                    f"q{i}",
                    win,
                    lose,
                    rater=f"r{k}" if named else None,
                    strength=None if strength is None else strength(margin),
                )
            )
    return Comparisons.of(rows)


def test_close_calls_are_no_flips_where_strength_says_how_close():
    def close(margin):
        return 0.5 * (1 - margin) ** 2

    blind = label_noise(judged(400, close), CheckRequest())
    assert blind.severity is Severity.PROBLEM or blind.severity is Severity.WARNING
    seen = label_noise(judged(400, close, strength=lambda margin: 5 * margin), CheckRequest())
    assert seen.severity is Severity.OK and "mostly on close calls" in seen.says
    assert seen.estimate.high < 0.05 < seen.numbers["routes"][RATERS]["low"]


def test_flips_that_do_not_depend_on_strength_are_still_flips():
    found = label_noise(judged(400, lambda _: 0.15, strength=lambda m: 5 * m), CheckRequest())
    assert CLEAREST not in found.numbers["routes"]
    assert found.estimate.low < 0.15 < found.estimate.high


def test_opinions_are_no_noise():
    rng, rows = np.random.default_rng(0), []
    for person in range(60):
        for a, b in ((0, 1), (0, 2), (1, 2)):
            win, lose = (a, b) if rng.random() < 0.6 else (b, a)
            sides = (f"film {win}", f"film {lose}")
            rows.append(Row(Where("made", len(rows) + 1), "Which?", *sides, rater=f"p{person}"))
    found = label_noise(Comparisons.of(rows), CheckRequest())
    assert found.severity is Severity.NOT_APPLICABLE and not found.remedy
    assert found.numbers["flip_rate"] is None and "60 people answered 1 prompt" in found.says
    assert contradictions(Comparisons.of(rows), CheckRequest()).severity is Severity.OK
    few = [row for row in rows if row.rater in ("p0", "p1", "p2")] * 8
    assert label_noise(Comparisons.of(few), CheckRequest()).numbers.get("opinions") is None


def test_pairs_that_stand_both_ways_are_a_problem_and_no_rate():
    once = judged(60, lambda _: 0.0, raters=1, named=False).rows
    rows = [r for row in once for r in (row, Row(row.where, row.prompt, row.rejected, row.chosen))]
    found = label_noise(Comparisons.of(rows), CheckRequest())
    assert found.severity is Severity.PROBLEM and found.numbers["flip_rate"] is None
    assert "60 pairs are labeled against themselves" in found.says


def test_verdicts_repeated_without_a_rater_are_used_and_copies_prove_nothing():
    found = label_noise(judged(300, lambda _: 0.2, named=False), CheckRequest())
    assert found.estimate.low < 0.2 < found.estimate.high and REPEATED in found.numbers["routes"]
    copies = label_noise(judged(300, lambda _: 0.0, named=False), CheckRequest())
    assert copies.severity is not Severity.OK or REPEATED not in copies.numbers["routes"]
