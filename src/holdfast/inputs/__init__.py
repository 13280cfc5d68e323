"""What a method may ask for beside the answers that it compares: one object each (see
`holdfast.inputs.base`).
"""

from holdfast.inputs.base import Code, Column, ExtraPrompt, Input, Online, TokenValue
from holdfast.inputs.columns import (
    confidence,
    earlier_gap,
    earlier_win_rate,
    group,
    label,
    log_odds,
    margin,
    rater,
    reward_gap,
    weight,
    win_rate,
)
from holdfast.inputs.online import samples
from holdfast.inputs.prompts import copies, mismatched, rationale, revision
from holdfast.inputs.swap import swapped, swapped_row
from holdfast.inputs.tokens import activation, head, reference, token_kl

INPUTS: tuple[Input, ...] = (
    *(reference, label, group, rater, confidence, weight),
    *(margin, reward_gap, log_odds, win_rate, earlier_win_rate, earlier_gap),
    *(mismatched, revision, rationale, copies, samples),
    *(token_kl, activation, head),
)

__all__ = [
    "INPUTS",
    "Code",
    "Column",
    "ExtraPrompt",
    "Input",
    "Online",
    "TokenValue",
    "activation",
    "confidence",
    "copies",
    "earlier_gap",
    "earlier_win_rate",
    "group",
    "head",
    "label",
    "log_odds",
    "margin",
    "mismatched",
    "rater",
    "rationale",
    "reference",
    "revision",
    "reward_gap",
    "samples",
    "swapped",
    "swapped_row",
    "token_kl",
    "weight",
    "win_rate",
]
