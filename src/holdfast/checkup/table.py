"""The one table of findings, typed by hand, in the order of the report. A new finding is one file
and one line here.
"""

from __future__ import annotations

from holdfast.checkup.findings.answer_models import PROBE as SOURCES
from holdfast.checkup.findings.contradictions import PROBE as CONTRADICTIONS
from holdfast.checkup.findings.cycles import PROBE as CIRCLES
from holdfast.checkup.findings.difficulty import PROBE as DIFFICULTY
from holdfast.checkup.findings.duplicates import PROBE as DUPLICATES
from holdfast.checkup.findings.empty_answers import PROBE as EMPTIES
from holdfast.checkup.findings.inverted import PROBE as INVERTED
from holdfast.checkup.findings.label_noise import PROBE as LABEL_NOISE
from holdfast.checkup.findings.leaks import PROBE as LEAKS
from holdfast.checkup.findings.length_bias import PROBE as LENGTH_BIAS
from holdfast.checkup.findings.overview import PROBE as CONTENTS
from holdfast.checkup.findings.position_bias import PROBE as POSITION_BIAS
from holdfast.checkup.findings.raters import PROBE as RATERS
from holdfast.checkup.findings.representation import PROBE as REPRESENTATION
from holdfast.checkup.findings.separability import PROBE as SEPARABILITY
from holdfast.checkup.findings.subgroups import PROBE as CAMPS
from holdfast.checkup.result import Probe

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
