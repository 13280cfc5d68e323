"""Supervised fine-tuning: the step before preferences, and the baseline they must beat."""

from __future__ import annotations

from torch import Tensor

from holdfast.card import AnswerMethod, Card, Paper, departures_of
from holdfast.reductions.mean import mean
from holdfast.types import Answers


def sft(answers: Answers) -> Tensor:
    """Make the given answers likely.

        cost = -log pi(y|x) / |y|          (maximum likelihood; as a first stage: Ouyang et al. 2022)

    Shape (N,), nats per token: exp of the mean cost is a perplexity in which every answer counts
    the same. Of comparisons, only the chosen answer is read.

    Departures:
        1. The average is taken within each answer and then over answers. Most trainers average over
           all response tokens of the batch together, which is this one with each row weighted by
           its length: long answers then count more.
    """
    return -answers.answer.mean_logp_N


METHOD = AnswerMethod(
    objective=sft,
    reduction=mean(),
    card=Card(
        paper=Paper(
            "Training language models to follow instructions with human feedback",
            "Ouyang, Wu, Jiang, Almeida, Wainwright, Mishkin, and others",
            2022,
            "2203.02155",
            "NeurIPS 2022",
        ),
        equation="-log pi(y) / |y|",
        tokens="mean",
        departures=departures_of(sft),
        status="meets its closed-form optimum (the share of each answer in the data)",
    ),
)
