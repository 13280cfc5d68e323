"""What a check-up says of one thing: a number with its interval, a plain sentence, the rows that
show it best, and a picture.

One finding is one file, `checkup/findings/NAME.py`: a function `NAME(data, asked) -> Finding`, and
below it `PROBE = Probe(question, NAME)`. The table of probes is `checkup/table.py`. What a finding
found is in `numbers`, in JSON's own types: advice reads that, and nothing else does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from holdfast.checkup.comparisons import Comparisons
from holdfast.report import Chart, Table
from holdfast.stats.intervals import NOTHING, Estimate


class Status(StrEnum):
    """How loud a finding speaks. `UNKNOWN` says that these data cannot tell; `ABSENT` that there is
    nothing to look at.
    """

    GOOD = "good"
    WARN = "warn"
    BAD = "bad"
    UNKNOWN = "unknown"
    ABSENT = "absent"


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
        status: the traffic light. WARN and BAD rest on an interval: data without the flaw show them
            in at most 5% of cases
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
    status: Status
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
class Asked:
    """What a user asked of a check-up beyond the rows. `None` where nothing was."""

    seed: int = 0
    level: float = 0.95
    against: Sequence[str] | None = None  # prompts that must not be in the data: a test set's
    model: Any = None  # a path, a name, or a loaded model: for the findings that need one
    reference: Any = None
    tokenizer: Any = None
    template: str | None = (
        None  # how rows become text for the model; as it was trained, unless given
    )
    accept_loss: Sequence[str] = ()  # what the chat template may drop of a row
    beta: float = 0.1  # of the objective to be trained: how hard a pair is depends on it
    population: Mapping[str, float] | None = (
        None  # the raters' groups as they should be: name -> share
    )
    epsilon: float = 0.05  # how well each group is to be known
    trust_remote_code: bool = False
    quiet: bool = False  # no progress


@dataclass(frozen=True)
class Probe:
    """A question, and who answers it."""

    asks: str  # in plain words, ends in a question mark
    run: Callable[[Comparisons, Asked], Finding]
    # it counts over the whole source, and says where it does not; the others count what was
    # examined
    whole: bool = False

    @property
    def name(self) -> str:
        return self.run.__name__
