"""Supervised fine-tuning: the step before preferences, and the baseline they must beat."""

from __future__ import annotations

import torch
from torch import Tensor

from holdfast.card import AnswerMethod, Card, Paper, departures_of
from holdfast.reductions.averages import sequence_mean
from holdfast.reductions.mean import mean
from holdfast.types import Answers


def sft(answers: Answers) -> Tensor:
    """Make the given answers likely.

        cost of token t = -log pi(y_t | x, y_<t)       (maximum likelihood; Ouyang et al. 2022)

    Shape (N, T), nats; tokens outside the answer cost 0. The average over tokens is `sequence_mean`
    unless another is chosen: exp of the mean cost is then a perplexity in which every answer counts
    the same. Of comparisons, only the chosen answer is read.

    Departures:
        1. The average is taken within each answer and then over answers. Most trainers average over
           all response tokens of the batch together, so that long answers count more: that is
           `average="token_mean"`, exact however the batch is split.
    """
    part = answers.answer
    return torch.where(part.mask_NT.bool(), -part.logp_NT, 0.0)


METHOD = AnswerMethod(
    objective=sft,
    reduction=mean(),
    average=sequence_mean(),
    card=Card(
        says="imitate the given answers",
        paper=Paper(
            "Training language models to follow instructions with human feedback",
            "Ouyang, Wu, Jiang, Almeida, Wainwright, Mishkin, and others",
            2022,
            "2203.02155",
            "NeurIPS 2022",
        ),
        equation="-log pi(y_t)",
        tokens="apart",
        departures=departures_of(sft),
        status="meets its closed-form optimum (the share of each answer in the data)",
    ),
)
