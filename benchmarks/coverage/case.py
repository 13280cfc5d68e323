"""A case: a planted truth, and a finding that must find it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from holdfast.checkup.result import Finding, Severity
from holdfast.stats.intervals import Estimate


@dataclass(frozen=True)
class Trial:
    """What one seed gave. `covered` is None where there is no interval, or no single truth to
    cover.
    """

    covered: bool | None
    flagged: bool
    inconclusive: bool
    width: float | None = None


@dataclass(frozen=True)
class Case:
    """`trial(seed)` must be a function of a module, so that it reaches another process."""

    finding: str
    planted: str
    truth: str
    trial: Callable[[int], Trial]


def judged(finding: Finding, truth: float | None, estimate: Estimate | None = None) -> Trial:
    """The finding's own estimate, or another interval of its, against the truth."""
    interval = finding.estimate if estimate is None else estimate
    has = interval.low is not None and interval.high is not None
    covered = None if truth is None or not has else bool(interval.low <= truth <= interval.high)  # type: ignore[operator]
    width = interval.high - interval.low if has else None  # type: ignore[operator]
    return Trial(
        covered,
        finding.severity in (Severity.WARNING, Severity.PROBLEM),
        finding.severity is Severity.INCONCLUSIVE,
        width,
    )
