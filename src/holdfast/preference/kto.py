"""KTO: learning from thumbs up and thumbs down, without pairs."""

from __future__ import annotations

from math import inf

import torch
from torch import Tensor

from holdfast.card import AnswerMethod, Card, Paper, check, departures_of
from holdfast.inputs import label, mismatched, reference
from holdfast.reductions.mean import mean
from holdfast.types import Answers


def kto(
    answers: Answers, *, beta: float = 0.1, desirable: float = 1.0, undesirable: float = 1.0
) -> Tensor:
    """Score each answer by a saturating utility of its log-ratio, gains and losses counted from a
    point that moves with the policy.

        rho = log pi(y|x) - log pi_ref(y|x) z0  = max(0, mean over the batch of log pi(y'|x) - log
        pi_ref(y'|x)),  y' another row's answer; no gradient
        cost = desirable   (1 - sigma(beta (rho - z0)))   if the answer was judged desirable
               undesirable (1 - sigma(beta (z0 - rho)))   if not
                       (Ethayarajh et al. 2024, equation 7)

    Shape (N,), between 0 and the weight. Log-probabilities are sums over response tokens. z0
    estimates the KL to the reference and is one number for the whole batch, so a row's cost depends
    on the other rows: take batches as large as memory allows. At the reference z0 is 0 and every
    cost is half its weight.

    Args:
        beta: how fast the utility saturates, per nat; 0.01 to 1, usually 0.1
        desirable: weight of desirable answers; choose it so that desirable * n_desirable /
            (undesirable * n_undesirable) is in [1, 1.5]
        undesirable: weight of undesirable answers, likewise

    Raises:
        OptionError: beta is not above 0, or a weight is negative or not finite.
        NeedError: the answers carry no label, no reference, or no mismatched answers.

    Departures:
        1. The mismatched answers come from the whole data set (another prompt's answer, drawn once
           with a seed), not from the next row of the same batch, so that a batch of one is defined
           and the order of rows does not matter.
    """
    check("beta", beta, 0 < beta < inf, "be above 0 and finite", hint="0.1 is usual")
    check(
        "desirable", desirable, 0 <= desirable < inf, "be at least 0 and finite", hint="1 is usual"
    )
    check(
        "undesirable",
        undesirable,
        0 <= undesirable < inf,
        "be at least 0 and finite",
        hint="1 is usual",
    )
    good_N = label(answers).bool()
    other = mismatched(answers)
    z0 = other.log_ratio_N.detach().mean().clamp(min=0)
    gain_N = beta * (answers.answer.log_ratio_N - z0)
    return torch.where(
        good_N, desirable * torch.sigmoid(-gain_N), undesirable * torch.sigmoid(gain_N)
    )


METHOD = AnswerMethod(
    objective=kto,
    reduction=mean(),
    card=Card(
        says="single answers judged good or bad",
        paper=Paper(
            "KTO: Model Alignment as Prospect Theoretic Optimization",
            "Ethayarajh, Xu, Muennighoff, Jurafsky, Kiela",
            2024,
            "2402.01306",
            "ICML 2024",
        ),
        equation=(
            "desirable sigma(-beta (rho - z0)) if desirable, else undesirable sigma(beta (rho "
            "- z0))"
        ),
        tokens="sum",
        needs=(reference, label, mismatched),
        departures=departures_of(kto),
        batch_dependent=True,
        not_to_confuse_with="the unpaired zero form of APO, which has no z0",
        status=(
            "meets hand-worked values and TRL's `kto`; its optimum has no closed form because "
            "z0 moves"
        ),
    ),
)
