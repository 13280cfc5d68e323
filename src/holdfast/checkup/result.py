"""What a check-up says of one thing: a number with its interval, a plain sentence, the rows that
show it best, and a picture.

How a finding is written stands in `checkup/findings/__init__.py`; the table of all findings is
`checkup/table.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Generic, Protocol, TypeVar

from holdfast.checkup.comparisons import Comparisons
from holdfast.checkup.request import CheckRequest
from holdfast.report import Chart, Table
from holdfast.stats.intervals import NOTHING, Estimate


class Severity(StrEnum):
    """How much a finding matters. `INCONCLUSIVE`: these data cannot tell. `NOT_APPLICABLE`: there
    is nothing to look at.
    """

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"
    INCONCLUSIVE = "inconclusive"
    NOT_APPLICABLE = "not_applicable"


FLAGGED = (Severity.WARNING, Severity.PROBLEM)


@dataclass(frozen=True)
class Example:
    """A row that shows a finding: its place among the comparisons, how strongly it shows it (larger
    first), and why in a few words.
    """

    place: int
    score: float
    why: str


@dataclass(frozen=True)
class Finding:
    """What was found.

    Attributes:
        title: a few words: "Label noise"
        severity: WARNING and PROBLEM rest on an interval: data without the flaw show them in at
            most 5% of cases
        says: one to three plain sentences with the numbers in them, for a reader who knows no
            statistics
        estimate: the number that matters most, with its interval
        of: what that number is, in words: "share of labels that are flipped"
        percent: whether it is a share, to be printed in percent
        remedy: what to do about it in the data, before anything is trained, in one sentence; empty
            if nothing is to be done there
        cannot: what these data cannot tell, and what would; empty if nothing is left open
        numbers: everything found, in JSON's own types
        result: the typed estimate that all of it was made from; None of a finding that has none yet
        charts: pictures, best first
        tables: numbers to read
        examples: the rows that show it best, best first
    """

    title: str
    severity: Severity
    says: str
    estimate: Estimate = NOTHING
    of: str = ""
    percent: bool = True
    remedy: str = ""
    cannot: str = ""
    numbers: Mapping[str, Any] = field(default_factory=dict)
    charts: Sequence[Chart] = ()
    tables: Sequence[Table] = ()
    examples: Sequence[Example] = ()
    result: Result | None = None


class Result(Protocol):
    """A typed estimate: a frozen dataclass of `Estimate`s and counts."""

    def to_dict(self) -> dict[str, Any]:
        """Everything found, in JSON's own types; keys are snake_case."""
        ...


R = TypeVar("R", bound=Result)


@dataclass(frozen=True)
class NotApplicable:
    """What an estimate is where there is nothing to look at, and why, in a sentence."""

    says: str


class AnyFinding(Protocol):
    """What the table holds: a `TypedFinding`, or a `FindingSpec` that is still one function."""

    @property
    def name(self) -> str: ...

    @property
    def question(self) -> str: ...

    @property
    def whole(self) -> bool: ...

    @property
    def run(self) -> Callable[[Comparisons, CheckRequest], Finding]: ...


@dataclass(frozen=True)
class TypedFinding(Generic[R]):
    """A finding in its three parts: estimate, severity, presentation.

    Attributes:
        question: in plain words, ends in a question mark
        title: a few words: "Label noise"
        estimate: numbers with intervals; no sentences and no charts. Its name is the finding's
        severity: by the thresholds of `checkup/severity.py`
        present: the sentence, charts and rows, from the estimate and its severity
        whole: as of `FindingSpec`
    """

    question: str
    title: str
    estimate: Callable[[Comparisons, CheckRequest], R | NotApplicable]
    severity: Callable[[R], Severity]
    present: Callable[[R, Severity, Comparisons, CheckRequest], Finding]
    whole: bool = False

    @property
    def name(self) -> str:
        return self.estimate.__name__

    def run(self, data: Comparisons, request: CheckRequest) -> Finding:
        """All three; title, severity, result and numbers are filled in here, once for all."""
        result = self.estimate(data, request)
        if isinstance(result, NotApplicable):
            return Finding(self.title, Severity.NOT_APPLICABLE, result.says)
        severity = self.severity(result)
        return replace(
            self.present(result, severity, data, request),
            title=self.title,
            severity=severity,
            numbers=result.to_dict(),
            result=result,
        )


@dataclass(frozen=True)
class FindingSpec:
    """A question, and the one function that answers it."""

    question: str  # in plain words, ends in a question mark
    run: Callable[[Comparisons, CheckRequest], Finding]
    # it counts over the whole source, and says where it does not; the others count what was
    # examined
    whole: bool = False

    @property
    def name(self) -> str:
        return self.run.__name__
