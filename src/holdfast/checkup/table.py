"""The one table of findings, typed by hand, in the order of the report. A new finding is one file and one line here."""

from __future__ import annotations

from holdfast.checkup.finding import Probe
from holdfast.checkup.lengths import PROBE as LENGTHS

PROBES: tuple[Probe, ...] = (
    # what is there
    LENGTHS,
)
