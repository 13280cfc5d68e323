"""The one table of findings, typed by hand, in the order of the report. A new finding is one file and one line here."""

from __future__ import annotations

from holdfast.check.finding import Probe
from holdfast.check.lengths import PROBE as LENGTHS

PROBES: tuple[Probe, ...] = (
    # what is there
    LENGTHS,
)
