"""How much a finding matters: every threshold, in one place.

A function here reads a typed estimate and nothing else. WARNING and PROBLEM are for what a reader
should act on; where they rest on an interval, data without the flaw show them in at most 5% of
cases.
"""

from __future__ import annotations

from holdfast.checkup.findings.empty_answers import EmptyAnswers
from holdfast.checkup.findings.length_bias import LengthBias
from holdfast.checkup.result import Severity
from holdfast.stats.intervals import Estimate

# share of rows whose answers say nothing, or the same
SOME_EMPTY, MANY_EMPTY = 0.005, 0.05
# how far from one half the longer answer's share of wins surely lies
FAR_FROM_HALF, TOO_FAR_FROM_HALF = 0.1, 0.25
# what an alarm about length rests on: pairs that differ by 5% or more, their share of all, prompts
FEWEST_PAIRS, LEAST_SHARE, FEWEST_PROMPTS = 30, 0.05, 5


def graded(value: float, warning: float, problem: float) -> Severity:
    """PROBLEM above `problem`, WARNING above `warning`, else OK."""
    if value > problem:
        return Severity.PROBLEM
    return Severity.WARNING if value > warning else Severity.OK


def empty_answers(found: EmptyAnswers) -> Severity:
    """By a share of the rows that are there: a count, which needs no interval."""
    return graded(found.share_with_skipped, SOME_EMPTY, MANY_EMPTY)


def length_bias(found: LengthBias) -> Severity:
    """By how far the share of wins surely lies from one half, of all pairs of unequal length and of
    those that differ noticeably; OK where that rests on few pairs or prompts, or where the slope's
    own interval holds 0.
    """
    if found.longer_wins.value is None:
        return Severity.INCONCLUSIVE
    slope = found.slope
    flat = slope.low is not None and slope.high is not None and slope.low <= 0 <= slope.high
    few = (
        found.noticeable < max(FEWEST_PAIRS, LEAST_SHARE * found.pairs)
        or found.noticeable_prompts < FEWEST_PROMPTS
    )
    away = min(_from_half(found.longer_wins), _from_half(found.noticeable_longer_wins))
    return graded(0.0 if flat or few else away, FAR_FROM_HALF, TOO_FAR_FROM_HALF)


def _from_half(share: Estimate) -> float:
    """How far from one half a share surely lies."""
    return (
        0.0 if share.low is None or share.high is None else max(share.low - 0.5, 0.5 - share.high)
    )
