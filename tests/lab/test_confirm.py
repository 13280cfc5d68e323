"""Confirmation: what is planted is what the advice is about; folds judge what others taught;
intervals by hand; runs from end to end.
"""

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

import holdfast
from holdfast.checkup.advice import advise
from holdfast.checkup.comparisons import Comparisons
from holdfast.checkup.result import Finding, Severity
from holdfast.errors import DataError
from holdfast.lab import confirm as module
from holdfast.lab.confirm import (
    Untried,
    arms_of,
    compared,
    dealt,
    jackknife,
    train_and_compare,
    tried,
)
from holdfast.lab.stress.text import world_rows
from tests.worded import worded

ABOUT = {
    "flaw": "uniform",
    "rates": (0.2, 0.2),
    "measure": "score",
    "rows": 10,
    "prompts": 400,
    "model": "policies",
}


def noise(value, low, high, **numbers):
    found = None if value is None else {"value": value, "low": low, "high": high}
    return {
        "label_noise": Finding(
            "Noise",
            Severity.WARNING,
            "Noise.",
            numbers={"flip_rate": found, "identified": value is not None, **numbers},
        )
    }


def noisy(value=0.1):
    return noise(value, value - 0.02, value + 0.02)


# ------------------------------------------------------------ what is planted


def test_a_method_that_reads_a_flip_rate_is_told_what_is_planted():
    advice = advise(noisy(0.1))
    assert advice.best.rates == (0.2, 0.2)
    assert arms_of(advice) == {"rdpo --flip-rate 0.2": "rdpo:flip_rate=0.2", "dpo": "dpo"}


def test_for_clean_labels_planted_is_what_their_interval_still_allows():
    rate, same = advise(noise(0.01, 0.0, 0.08)).best.rates
    assert rate == same and rate + 0.01 - 2 * rate * 0.01 == pytest.approx(
        0.08, abs=1e-3
    )  # planted on top of what is there
    assert (
        arms_of(advise(noise(0.01, 0.0, 0.08)))[f"rdpo --flip-rate {rate:.3g}"]
        == f"rdpo:flip_rate={rate:.3g}"
    )


def test_for_labels_that_are_surely_clean_planted_is_the_rate_up_to_which_the_advice_is_given():
    assert advise(noise(0.0, 0.0, 0.01)).best.rates == (0.05, 0.05)


def test_where_the_rate_cannot_be_told_planted_is_anything_up_to_the_most_that_there_may_be():
    advice = advise(noise(None, None, None, model={"high": 0.31, "bound": 0.24}))
    assert advice.best.rates == (0.0, 0.24)
    assert arms_of(advice) == {"dpo": "dpo", "rdpo --flip-rate 0.12": "rdpo:flip_rate=0.12"}
    assert advise({}).best.rates == (0.0, 0.4)


def test_a_reduction_is_an_arm_of_its_own_and_nothing_is_planted():
    subgroups = {
        "subgroups": Finding(
            "Subgroups",
            Severity.PROBLEM,
            "Two.",
            numbers={"subgroups": 2, "opposed_column": "group"},
        )
    }
    advice = advise(subgroups)
    assert arms_of(advice) == {"dpo --reduction groups": "dpo:reduction=groups", "dpo": "dpo"}
    assert advice.best.rates == (0.0, 0.0) and advice.best.flaw is None


# ------------------------------------------------------------ folds and intervals


def test_folds_keep_prompts_whole_and_have_one_size():
    cluster = np.repeat(np.arange(40), np.random.default_rng(0).integers(1, 9, 40))
    fold = dealt(cluster, 10, seed=3)
    assert all(len(set(fold[cluster == c])) == 1 for c in range(40))
    sizes = np.bincount(fold)
    assert len(sizes) == 10 and sizes.max() - sizes.min() <= 8
    assert (fold != dealt(cluster, 10, seed=4)).any()


def test_of_a_plain_mean_the_jackknife_is_students_interval_of_the_folds_means():
    fold = np.repeat(np.arange(8), 25)
    score = np.random.default_rng(1).normal(size=200)
    found = jackknife(score.mean(), np.array([score[fold != k].mean() for k in range(8)]))
    by_hand = stats.t.interval(
        0.95,
        7,
        *stats.norm.fit(score)[:1],
        scale=stats.sem([score[fold == k].mean() for k in range(8)]),
    )
    assert (found.low, found.high) == pytest.approx(by_hand)


def test_intervals_hold_the_truth_where_rows_prompts_and_trainings_all_vary():
    rng = np.random.default_rng(5)
    fold, prompt = np.repeat(np.arange(10), 40), np.repeat(np.arange(100), 4)
    held = 0
    for _ in range(400):
        gap = (
            0.03
            + 0.05 * rng.normal(size=10)[fold]
            + 0.1 * rng.normal(size=100)[prompt]
            + 0.3 * rng.normal(size=400)
        )
        found = compared(
            {"rdpo": gap, "dpo": 0 * gap},
            {"rdpo": gap, "dpo": gap},
            fold,
            0 * fold,
            worst=False,
            advised="rdpo",
            **ABOUT,
        )
        held += found.gains["dpo"].low <= 0.03 <= found.gains["dpo"].high
    assert 0.92 <= held / 400 <= 0.98


def scores(mean, seed=0, n=400, spread=0.5):
    return mean + spread * np.random.default_rng(seed).normal(size=n)


FOLD = np.arange(400) % 10


def of(advised, **arms):
    return compared(arms, arms, FOLD, 0 * FOLD, worst=False, advised=advised, **ABOUT)


@pytest.mark.parametrize(
    "a, b, verdict", [(0.6, 0.3, "held"), (0.3, 0.6, "contradicted"), (0.5, 0.5, "undecided")]
)
def test_the_verdict_follows_the_interval_of_the_paired_difference(a, b, verdict):
    found = of("rdpo", rdpo=scores(a), dpo=scores(b, seed=1))
    assert found.verdict == verdict
    assert found.gains["dpo"].value == pytest.approx(
        found.scores["rdpo"].value - found.scores["dpo"].value
    )


def test_a_difference_that_is_surely_small_is_said_to_be_none_that_matters():
    same = scores(0.5)
    assert (
        of("rdpo", rdpo=same + 0.01, dpo=same).verdict
        == of("rdpo", rdpo=same - 0.01, dpo=same).verdict
        == "alike"
    )


@pytest.mark.parametrize(
    "gain, verdict", [(0.01, "held"), (-0.01, "held"), (-0.04, "contradicted"), (0.2, "held")]
)
def test_plain_dpo_as_advice_holds_where_nothing_worth_having_is_gained_by_another(gain, verdict):
    same = scores(0.5)
    assert of("dpo", dpo=same + gain, rdpo=same).verdict == verdict


def test_where_nothing_was_learned_nothing_is_decided():
    nothing = scores(0.0)
    found = of("rdpo", rdpo=nothing, dpo=nothing - 0.3)
    assert (
        found.verdict == "undecided"
        and "better than chance" in found.says
        and "--model" in found.says
    )


def test_what_is_undecided_says_what_would_tell():
    close = of("rdpo", rdpo=scores(0.5), dpo=scores(0.5, seed=1))
    width = (close.gains["dpo"].high - close.gains["dpo"].low) / 2
    assert f"below about {100 * width:.1f} points" in close.says
    assert of("rdpo", rdpo=scores(0.9), dpo=scores(0.2, seed=1)).open == ""


def test_what_was_planted_is_said_in_words():
    found = of("dpo", dpo=scores(0.5), rdpo=scores(0.5))
    assert "flipped at random in 20% of the training rows" in found.says
    assert "0% to 24% of the training rows" in replace(found, rates=(0.0, 0.24)).says
    assert "4.5% of the training rows" in replace(found, rates=(0.045, 0.045)).says
    assert "nothing planted" in replace(found, flaw=None).says


def test_the_worst_kind_of_rows_and_the_mean_of_kinds_by_hand():
    score, fold, kind = (
        np.array([1.0, 1, 0, 0, 1, 1]),
        np.array([0, 1, 0, 1, 0, 1]),
        np.array([0, 0, 0, 1, 1, -1]),
    )
    worst, mean = (
        compared(
            {"dpo": score, "b": score},
            {"dpo": score, "b": score},
            fold,
            kind,
            worst=w,
            advised="b",
            **ABOUT,
        )
        .scores["dpo"]
        .value
        for w in (True, False)
    )
    assert (worst, mean) == pytest.approx(
        (1 / 2, (2 / 3 + 1 / 2) / 2)
    )  # kind 0 has 2/3, kind 1 has 1/2, the last row is of none


def test_identical_arms_differ_by_nothing_at_all():
    found = of("rdpo", rdpo=scores(0.5), dpo=scores(0.5))
    gain = found.gains["dpo"]
    assert (gain.value, gain.low, gain.high, gain.n) == (
        0.0,
        0.0,
        0.0,
        10,
    ) and found.verdict == "alike"


# ------------------------------------------------------------ from end to end


def test_it_runs_to_the_end_on_rows_and_says_what_was_planted(tmp_path):
    data = Comparisons.of(worded(300))
    found = train_and_compare(data, advise(noisy()), tmp_path, quiet=True)
    assert (
        list(found.scores) == ["rdpo --flip-rate 0.2", "dpo"]
        and found.held_out == len(data)
        and found.folds == 10
    )
    assert "20% of the training rows" in found.says and found.right["dpo"].low > 0.5
    assert found.section().title == "Did the advice hold?"
    assert found == train_and_compare(
        data, advise(noisy()), tmp_path, quiet=True
    )  # nothing in it is left to chance


def test_a_method_that_words_cannot_serve_is_tried_with_small_language_models(tmp_path):
    cycles = {"cycles": Finding("Cycles", Severity.PROBLEM, "Round and round.")}
    data = Comparisons.of(world_rows(60).rows)
    found = train_and_compare(
        data, advise(cycles), tmp_path, rows=52, folds=2, workers=1, quiet=True
    )
    assert (
        list(found.scores) == ["srpo", "dpo"]
        and found.model == "small language models"
        and found.held_out == 52
    )
    assert all(0 <= score.value <= 1 for score in found.scores.values())


def test_progress_and_the_number_of_trainings_are_told_before_they_start(tmp_path, capsys):
    train_and_compare(Comparisons.of(world_rows(60).rows), advise(noisy()), tmp_path, folds=2)
    said = " ".join(capsys.readouterr().err.split())
    assert "4 small policies of words: rdpo --flip-rate 0.2, dpo on 2 folds of" in said


def test_too_few_rows_are_a_result_that_says_so(tmp_path):
    data = Comparisons.of(world_rows(100).rows[:20])
    with pytest.raises(DataError, match=r"20 comparisons to .* too few") as caught:
        train_and_compare(data, advise(noisy()), tmp_path, quiet=True)
    assert "at least 50 comparisons and 5 prompts" in str(caught.value)
    found = tried(data, advise(noisy()), tmp_path, quiet=True)
    assert (
        isinstance(found, Untried)
        and "not tried: 20 comparisons" in found.says
        and "at least 50" in found.section().text
    )


def pairs(tmp_path, n):
    path = tmp_path / "prefs.jsonl"
    rows = [
        {"prompt": row.prompt, "chosen": row.chosen, "rejected": row.rejected}
        for row in world_rows(n).rows[:n]
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_check_up_of_few_rows_ends_with_its_report_and_the_reason(tmp_path):
    out = tmp_path / "out"
    found = holdfast.confirm(
        holdfast.check(pairs(tmp_path, 12), out=out, quiet=True), out=out, quiet=True
    )
    assert "not tried" in found.confirmation.says
    assert "was not tried: 12 comparisons" in (tmp_path / "out" / "report.html").read_text()
    assert (
        json.loads((tmp_path / "out" / "check.json").read_text())["confirmation"]["verdict"]
        == "not tried"
    )


def test_broken_off_it_leaves_the_whole_report_of_what_was_found_before(tmp_path, monkeypatch):
    def stopped(*args, **keywords):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "run_all", stopped)
    found = holdfast.check(pairs(tmp_path, 60), out=tmp_path / "out", quiet=True)
    with pytest.raises(KeyboardInterrupt):
        holdfast.confirm(found, out=tmp_path / "out", quiet=True)
    assert json.loads((tmp_path / "out" / "check.json").read_text())["confirmation"] is None
    assert (tmp_path / "out" / "report.html").read_text().rstrip().endswith("</html>")
    assert not list((tmp_path / "out").glob("*.tmp"))


def test_workers_without_confirmation_are_refused(tmp_path, monkeypatch, capfd):
    from holdfast.cli import main

    out = str(tmp_path / "out")
    args = ["holdfast", "check", str(pairs(tmp_path, 12)), "--workers", "2", "--out", out]
    monkeypatch.setattr("sys.argv", args)
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 2 and "--workers is read with --confirm" in capfd.readouterr().err
