"""Advice: each rule applies when its finding speaks, passes the measured number on, and says why
when it does not.
"""

import shlex

import pytest

from holdfast.checkup.advice import NEVER, RULES, advise
from holdfast.checkup.result import Finding, Severity
from holdfast.methods import get


def found(severity=Severity.PROBLEM, says="It is so.", **numbers):
    return Finding(
        "A title", severity, says, numbers=numbers, remedy="Mend it.", cannot="Who knows."
    )


def noise(value, low, high, identified=True):
    return {
        "label_noise": found(
            Severity.WARNING,
            flip_rate={"value": value, "low": low, "high": high},
            identified=identified,
        )
    }


def test_with_nothing_found_it_is_plain_dpo_and_every_other_rule_says_why_not():
    advice = advise({})
    assert advice.best.method == "dpo" and advice.best.reduction is None and not advice.choices[1:]
    assert len(advice.ruled_out) == len(RULES) - 1 + len(NEVER)
    assert all(why for _, why in advice.ruled_out)


def test_a_narrow_flip_rate_is_passed_on_as_it_was_measured():
    advice = advise(noise(0.23, 0.20, 0.26))
    assert advice.best.method == "rdpo" and advice.best.settings == {"flip_rate": 0.23}
    assert "--flip-rate 0.23" in advice.command
    assert [choice.method for choice in advice.choices] == ["rdpo", "dpo"]


def test_of_a_wide_flip_rate_the_lower_end_is_told_since_too_much_does_harm():
    assert advise(noise(0.25, 0.12, 0.38)).best.settings == {"flip_rate": 0.12}


@pytest.mark.parametrize(
    "findings, word",
    [
        (noise(0.3, 0.28, 0.32, identified=False), "could not be identified"),
        (noise(0.02, 0.01, 0.03), "too few for the rate to help"),
        (noise(0.06, 0.0, 0.18), "0% to 18% of the labels may be flipped"),
        ({**noise(0.3, 0.28, 0.32), "length_bias": found(Severity.WARNING)}, "favor length"),
    ],
)
def test_no_flip_rate_is_told_where_it_is_unknown_small_or_tied_to_the_row(findings, word):
    advice = advise(findings)
    assert "rdpo" not in [choice.method for choice in advice.choices]
    assert word in dict(advice.ruled_out)["rdpo"]


@pytest.mark.parametrize(
    "findings, label",
    [
        ({"subgroups": found(subgroups=2, opposed_column="group")}, "dpo --reduction groups"),
        ({"raters": found(differ=True)}, "lcpo_dpo"),
        ({"cycles": found()}, "srpo"),
        ({"length_bias": found()}, "ln_dpo"),
    ],
)
def test_each_finding_has_its_method_and_its_reason(findings, label):
    advice = advise(findings)
    assert advice.best.label == label and advice.best.reason == "It is so."
    assert advice.first == ("A title: Mend it.",)


def test_camps_without_a_known_column_do_not_ask_for_a_reduction_over_groups():
    advice = advise({"subgroups": found(subgroups=2, opposed_column=None)})
    assert advice.best.method == "dpo" and advice.best.reduction is None
    assert "no `group` column" in dict(advice.ruled_out)["dpo --reduction groups"]


def test_few_circles_do_not_decide_the_method():
    advice = advise({"cycles": found(Severity.WARNING)})
    assert advice.best.method == "dpo" and "small part" in dict(advice.ruled_out)["srpo"]


def test_a_quiet_light_changes_nothing_and_an_unknown_one_is_an_open_question():
    advice = advise(
        {
            "cycles": found(Severity.OK),
            "label_noise": found(Severity.INCONCLUSIVE, flip_rate=None, identified=False),
        }
    )
    assert advice.best.method == "dpo" and advice.first == ()
    assert advice.open_questions == ("A title: Who knows.",)


def test_every_rule_names_a_method_of_the_table_and_settings_that_it_reads():
    for rule in RULES:
        assert get(rule.method).name == rule.method


def test_every_rule_rests_on_a_claim_that_is_there():
    from holdfast.lab.claim import papers

    assert {paper.name for paper in papers()} >= {rule.claim for rule in RULES}


def test_a_hostile_file_name_stays_one_word_of_the_command():
    words = shlex.split(
        advise({}, data="a b; rm -rf $HOME.jsonl", reading=("--split", "x y")).command
    )
    assert words[words.index("--data") + 1] == "a b; rm -rf $HOME.jsonl" and words[-1] == "x y"


def test_names_without_texts_are_no_data_to_train_on():
    advice = advise({"cycles": found()}, data="battles.csv", named=True)
    assert advice.command == "holdfast lab games battles.csv" and advice.best.verb == "run"
