"""ORPO: supervised fine-tuning with an odds-ratio penalty."""

from __future__ import annotations

from math import inf

import torch
import torch.nn.functional as F
from torch import Tensor

from holdfast.card import Card, PairMethod, Paper, check, departures_of
from holdfast.reductions.mean import mean
from holdfast.types import Pairs


def log_odds(a_N: Tensor) -> Tensor:
    """log(e^a / (1 - e^a)) = a - log(1 - e^a) for log-probabilities a <= 0, accurate at both ends.

    1 - e^a is taken through expm1, which keeps its digits near a = 0. There the odds are infinite:
    a is held at minus the machine epsilon of its type, beyond which the value stays put and the
    slope is 0.
    """
    a_N = a_N.clamp(max=-torch.finfo(a_N.dtype).eps)
    return a_N - torch.log(-torch.expm1(a_N))


def orpo(pairs: Pairs, *, weight: float = 0.1) -> Tensor:
    """Learn the chosen answer as in supervised fine-tuning, and in the same stage push the odds of
    the rejected answer below its odds.

        a = log pi(y|x) / |y|,   lo(a) = a - log(1 - e^a)
        cost = -a_w + weight softplus(-[lo(a_w) - lo(a_l)])
                (Hong, Lee, Thorne 2024, equations 6 and 7)

    Shape (N,), nats per token. Log-probabilities are means over response tokens, and no reference
    enters. For small probabilities lo(a) is a, and the penalty is that of simpo at beta 1 and gamma
    0.

    Args:
        weight: how much the odds-ratio penalty counts (the paper's lambda); 0.1 to 2, usually 0.1

    Raises:
        OptionError: weight is negative or not finite.

    Departures:
        1. The likelihood term reads response tokens only. The authors' code (by default) and TRL
           let it read the prompt too.
        2. An answer of probability 1 has infinite odds; its log-odds are held at those of one
           machine epsilon below 1.
    """
    check("weight", weight, 0 <= weight < inf, "be at least 0 and finite", hint="0.1 is usual")
    chosen_N, rejected_N = pairs.chosen.mean_logp_N, pairs.rejected.mean_logp_N
    return -chosen_N + weight * F.softplus(log_odds(rejected_N) - log_odds(chosen_N))


METHOD = PairMethod(
    objective=orpo,
    reduction=mean(),
    card=Card(
        says="fine-tuning and an odds ratio in one",
        paper=Paper(
            "ORPO: Monolithic Preference Optimization without Reference Model",
            "Hong, Lee, Thorne",
            2024,
            "2403.07691",
            "EMNLP 2024",
        ),
        equation=(
            "-a_w + weight softplus(lo(a_l) - lo(a_w)), lo(a) = a - log(1 - e^a), a = log "
            "pi(y) / |y|"
        ),
        tokens="mean",
        departures=departures_of(orpo),
        not_to_confuse_with=(
            "`cpo`, whose comparison is of probabilities summed over tokens, not of odds"
        ),
        status="meets hand-worked values and TRL's odds-ratio loss",
    ),
)
