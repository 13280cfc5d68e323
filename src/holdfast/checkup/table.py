"""The one table of findings, typed by hand, in the order of the report. A new finding is one file
and one line here.
"""

from __future__ import annotations

from holdfast.checkup.camps import PROBE as CAMPS
from holdfast.checkup.circles import PROBE as CIRCLES
from holdfast.checkup.contents import PROBE as CONTENTS
from holdfast.checkup.contradictions import PROBE as CONTRADICTIONS
from holdfast.checkup.difficulty import PROBE as DIFFICULTY
from holdfast.checkup.duplicates import PROBE as DUPLICATES
from holdfast.checkup.empties import PROBE as EMPTIES
from holdfast.checkup.finding import Probe
from holdfast.checkup.inverted import PROBE as INVERTED
from holdfast.checkup.label_noise import PROBE as LABEL_NOISE
from holdfast.checkup.leaks import PROBE as LEAKS
from holdfast.checkup.length_bias import PROBE as LENGTH_BIAS
from holdfast.checkup.position_bias import PROBE as POSITION_BIAS
from holdfast.checkup.raters import PROBE as RATERS
from holdfast.checkup.representation import PROBE as REPRESENTATION
from holdfast.checkup.separability import PROBE as SEPARABILITY
from holdfast.checkup.sources import PROBE as SOURCES

PROBES: tuple[Probe, ...] = (
    # what is there
    CONTENTS,
    EMPTIES,
    DUPLICATES,
    LEAKS,
    CONTRADICTIONS,
    INVERTED,
    # whether the labels can be believed
    LABEL_NOISE,
    RATERS,
    CAMPS,
    # who beats whom
    CIRCLES,
    # shortcuts
    SEPARABILITY,
    LENGTH_BIAS,
    POSITION_BIAS,
    SOURCES,
    # what a model makes of it
    DIFFICULTY,
    # whom it stands for
    REPRESENTATION,
)
