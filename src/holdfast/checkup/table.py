"""The one table of findings, typed by hand, in the order of the report. A new finding is one file
and one line here.
"""

from __future__ import annotations

from holdfast.checkup import severity
from holdfast.checkup.findings.answer_models import FINDING as ANSWER_MODELS
from holdfast.checkup.findings.contradictions import FINDING as CONTRADICTIONS
from holdfast.checkup.findings.cycles import FINDING as CYCLES
from holdfast.checkup.findings.difficulty import FINDING as DIFFICULTY
from holdfast.checkup.findings.duplicates import FINDING as DUPLICATES
from holdfast.checkup.findings.empty_answers import empty_answers
from holdfast.checkup.findings.inverted import FINDING as INVERTED
from holdfast.checkup.findings.label_noise import FINDING as LABEL_NOISE
from holdfast.checkup.findings.leaks import FINDING as LEAKS
from holdfast.checkup.findings.length_bias import length_bias
from holdfast.checkup.findings.overview import FINDING as OVERVIEW
from holdfast.checkup.findings.position_bias import FINDING as POSITION_BIAS
from holdfast.checkup.findings.raters import FINDING as RATERS
from holdfast.checkup.findings.representation import FINDING as REPRESENTATION
from holdfast.checkup.findings.separability import FINDING as SEPARABILITY
from holdfast.checkup.findings.subgroups import FINDING as SUBGROUPS
from holdfast.checkup.present.empty_answers import empty_answers as present_empty_answers
from holdfast.checkup.present.length_bias import length_bias as present_length_bias
from holdfast.checkup.result import AnyFinding, TypedFinding

EMPTY_ANSWERS = TypedFinding(
    "Do answers say nothing, or both the same?",
    "Empty and identical answers",
    empty_answers,
    severity.empty_answers,
    present_empty_answers,
)
LENGTH_BIAS = TypedFinding(
    "Does the longer answer win?",
    "Length",
    length_bias,
    severity.length_bias,
    present_length_bias,
)

FINDINGS: tuple[AnyFinding, ...] = (
    # what is there
    OVERVIEW,
    EMPTY_ANSWERS,
    DUPLICATES,
    LEAKS,
    CONTRADICTIONS,
    INVERTED,
    # whether the labels can be believed
    LABEL_NOISE,
    RATERS,
    SUBGROUPS,
    # who beats whom
    CYCLES,
    # shortcuts
    SEPARABILITY,
    LENGTH_BIAS,
    POSITION_BIAS,
    ANSWER_MODELS,
    # what a model makes of it
    DIFFICULTY,
    # whom it stands for
    REPRESENTATION,
)
