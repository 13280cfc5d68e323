"""What a check-up says of one thing: a number with its interval, a plain sentence, the rows that
show it best, and a picture.

One finding is one file, `checkup/findings/NAME.py`: a function `NAME(data, request) -> Finding`,
and below it `FINDING = FindingSpec(question, NAME)`. The table of them is `checkup/table.py`. What
a finding found is in `numbers`, in JSON's own types: advice reads that, and nothing else does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

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


@dataclass(frozen=True)
class FindingSpec:
    """A question, and who answers it."""

    question: str  # in plain words, ends in a question mark
    run: Callable[[Comparisons, CheckRequest], Finding]
    # it counts over the whole source, and says where it does not; the others count what was
    # examined
    whole: bool = False

    @property
    def name(self) -> str:
        return self.run.__name__
