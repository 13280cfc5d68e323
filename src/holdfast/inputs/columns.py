"""Inputs that are read from rows, and what each becomes when a label is turned."""

from __future__ import annotations

import torch
from torch import Tensor

from holdfast.inputs.base import Code, Column, complement, flip_sides, negate


def _halves(n: int) -> Tensor:
    return torch.full((n, 2), 0.5)


MADE_BY_SELFPLAY = "`holdfast selfplay` makes such rows: columns "

weight = Column(
    "weight",
    "how much each row counts in the average",
    hint="add a `weight` column with values of at least 0",
    columns=("weight",),
    default=1.0,
)
label = Column(
    "label",
    "unpaired answers with a boolean label, or comparisons (each gives one desirable and "
    "one undesirable answer)",
    hint="add a boolean `label` column",
    columns=("desirable",),
    example=lambda n: torch.arange(n) % 2 == 0,
)
group = Code("group", "whose label it is", hint="add a `group` column", columns=("group",))
rater = Code("rater", "who labeled", hint="add a `rater` column", columns=("rater",))
confidence = Column(
    "confidence",
    "how sure each label is",  # of the label as it was given: it stays with a label that is turned
    hint="add a `confidence` column with values from 0 to 1",
    columns=("confidence",),
)
margin = Column(
    "margin",
    "how much better raters found the chosen answer",  # stays with a label that is turned
    hint="add a `margin` column with values of at least 0, as TRL's RewardTrainer reads it",
    columns=("margin",),
)
reward_gap = Column(
    "reward_gap",
    "a reward model's opinion of each pair",
    hint="add a `reward_gap` column, r(chosen) - r(rejected)",
    columns=("reward_gap",),
    swap=negate,
)
log_odds = Column(
    "log_odds",
    "log-odds that each answer beats a fresh sample of the policy that generated it",
    hint=MADE_BY_SELFPLAY + "chosen_log_odds and rejected_log_odds",
    columns=("chosen_log_odds", "rejected_log_odds"),
    swap=flip_sides,
    example=_halves,
)
win_rate = Column(
    "win_rate",
    "the probability that each answer beats an opponent's answer",
    hint=MADE_BY_SELFPLAY + "chosen_win_rate and rejected_win_rate",
    columns=("chosen_win_rate", "rejected_win_rate"),
    swap=flip_sides,
    example=_halves,
)
earlier_win_rate = Column(
    "earlier_win_rate",
    "the probability that each answer beats an answer of the policy of the round before",
    hint=MADE_BY_SELFPLAY + "chosen_earlier_win_rate and rejected_earlier_win_rate",
    columns=("chosen_earlier_win_rate", "rejected_earlier_win_rate"),
    swap=flip_sides,
    example=_halves,
)
earlier_gap = Column(
    "earlier_gap",
    "log pi(chosen) - log pi(rejected) of each pair under an earlier policy, in nats",
    hint=MADE_BY_SELFPLAY + "earlier_gap",
    columns=("earlier_gap",),
    swap=negate,
)

# Columns that no method reads and the check-up does: they too are of the answers, and not of the
# label.
SHOWN_FIRST = (
    "chosen_first",
    "first_shown",
    "shown_first",
)  # whether the chosen answer was shown first; 1 is yes
shown_first = Column(
    "chosen_first",
    "whether the chosen answer was shown first",
    columns=SHOWN_FIRST,
    swap=complement,
)

PAIR_COLUMNS = (
    *(weight, confidence, margin, reward_gap),
    *(log_odds, win_rate, earlier_win_rate, earlier_gap),
)
ANSWER_COLUMNS = (weight, label)
