"""Severities follow from typed estimates alone, at thresholds that are named once; where a finding
is not applicable there is no estimate.
"""

from dataclasses import fields, replace

import pytest

from holdfast.checkup import severity
from holdfast.checkup.findings.empty_answers import READING, VOID, EmptyAnswers
from holdfast.checkup.findings.length_bias import LengthBias
from holdfast.checkup.result import NotApplicable, Severity, TypedFinding
from holdfast.checkup.table import EMPTY_ANSWERS, FINDINGS, LENGTH_BIAS
from holdfast.stats.intervals import NOTHING, Estimate
from tests.checkup.rows import QUIET, comparisons, plain_rows

FAR = Estimate(0.9, 0.8, 0.95)  # surely 0.3 from one half
STEEP = Estimate(1.0, 0.5, 1.5)
LONG = LengthBias(FAR, FAR, STEEP, 400, 0, 300, 50, 40.0, {}, ())


@pytest.mark.parametrize(
    "change, expected",
    [
        ({}, Severity.PROBLEM),
        ({"longer_wins": Estimate(0.7, 0.65, 0.75)}, Severity.WARNING),
        ({"longer_wins": Estimate(0.3, 0.25, 0.35)}, Severity.WARNING),  # the shorter wins
        ({"noticeable_longer_wins": Estimate(0.6, 0.55, 0.65)}, Severity.OK),
        ({"longer_wins": Estimate(0.9)}, Severity.OK),  # no interval, no alarm
        ({"longer_wins": NOTHING}, Severity.INCONCLUSIVE),
        ({"slope": Estimate(1.0, -0.5, 2.5)}, Severity.OK),
        ({"slope": NOTHING}, Severity.PROBLEM),  # length decides all
        ({"noticeable": 29, "pairs": 100}, Severity.OK),
        ({"noticeable": 30, "pairs": 100}, Severity.PROBLEM),
        ({"noticeable": 40, "pairs": 1000}, Severity.OK),  # under 5% of all
        ({"noticeable_prompts": 4}, Severity.OK),
        ({"noticeable_prompts": 5}, Severity.PROBLEM),
    ],
)
def test_an_alarm_about_length_needs_distance_pairs_prompts_and_a_slope(change, expected):
    assert severity.length_bias(replace(LONG, **change)) is expected


@pytest.mark.parametrize(
    "letterless, skipped, sampled, expected",
    [
        (5, 0, False, Severity.OK),  # 0.5% is the threshold
        (6, 0, False, Severity.WARNING),
        (51, 0, False, Severity.PROBLEM),
        (0, 60, False, Severity.PROBLEM),  # 60 of 1,060
        (0, 60, True, Severity.OK),  # counted over another set of rows
    ],
)
def test_empty_answers_are_graded_by_their_share_of_the_same_rows(
    letterless, skipped, sampled, expected
):
    counts = dict.fromkeys((*READING, *VOID, "marks", "nearly"), 0)
    counts |= {"letterless": letterless, "skipped": skipped, "marks": 900, "nearly": 40}
    found = EmptyAnswers(counts, NOTHING, 1000, sampled, {})
    assert severity.empty_answers(found) is expected


def test_a_finding_carries_its_estimate_and_numbers_are_made_from_it():
    data = comparisons(plain_rows(60))
    for spec, kind in ((LENGTH_BIAS, LengthBias), (EMPTY_ANSWERS, EmptyAnswers)):
        found = spec.run(data, QUIET)
        assert isinstance(found.result, kind)
        assert found.result == spec.estimate(data, QUIET)
        assert found.numbers == found.result.to_dict()
        assert found.severity is spec.severity(found.result) and found.title == spec.title


def test_where_there_is_nothing_to_look_at_there_is_no_estimate():
    data = comparisons([{"winner": "a", "loser": "b"}, {"winner": "b", "loser": "a"}])
    found = LENGTH_BIAS.run(data, QUIET)
    assert isinstance(LENGTH_BIAS.estimate(data, QUIET), NotApplicable)
    assert found.severity is Severity.NOT_APPLICABLE and found.result is None and not found.numbers


def test_estimates_hold_no_sentences_charts_or_severities():
    data = comparisons(plain_rows(60))
    for spec in FINDINGS:
        if isinstance(spec, TypedFinding):
            found = spec.estimate(data, QUIET)
            kinds = {type(getattr(found, one.name)).__name__ for one in fields(found)}
            assert not kinds & {"str", "Chart", "Table", "Severity"}, (spec.name, kinds)
