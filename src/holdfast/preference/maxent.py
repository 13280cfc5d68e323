"""Maximum-entropy preference learning at a constant temperature: DPO whose reference is uniform
over all strings.
"""

from __future__ import annotations

from math import inf

import torch.nn.functional as F
from torch import Tensor

from holdfast.card import Card, Limit, PairMethod, Paper, check, departures_of
from holdfast.reductions.mean import mean
from holdfast.types import Pairs


def maxent(pairs: Pairs, *, temperature: float = 0.1) -> Tensor:
    """Learn the policy whose log-probabilities are the reward itself, as if entropy alone had been
    asked for and no reference.

    The best policy for E[r] + t H(pi), with H the entropy, is pi* = exp(r / t) / Z. Solved for r
    and put into the Bradley-Terry likelihood, Z cancels:

        cost = softplus(-t [log pi(y_w|x) - log pi(y_l|x)])          (Cagatan, Akgun 2025)

    Shape (N,), nats. Log-probabilities are sums over response tokens. It is the baseline that tells
    what length averaging does in `simpo`: **over strings of unbounded length this problem is
    ill-posed**, since entropy grows with length; trained long, answers stop ending. Cap lengths and
    report how many answers were cut.

    Args:
        temperature: price of one nat of entropy, in reward per nat; 0.01 to 2, usually 0.1

    Raises:
        OptionError: temperature is not above 0.
    """
    check(
        "temperature",
        temperature,
        0 < temperature < inf,
        "be above 0 and finite",
        hint="0.1 is usual",
    )
    return F.softplus(-temperature * (pairs.chosen.logp_N - pairs.rejected.logp_N))


METHOD = PairMethod(
    objective=maxent,
    reduction=mean(),
    card=Card(
        says="entropy in place of the reference",
        paper=Paper("Failure Modes of Maximum Entropy RLHF", "Cagatan, Akgun", 2025, "2509.20265"),
        equation="softplus(-t [log pi(y_w) - log pi(y_l)])",
        tokens="sum",
        departures=departures_of(maxent),
        limits=(
            Limit(at={"temperature": 0.37}, gives="cpo", other_at={"beta": 0.37, "alpha": 0.0}),
        ),
        not_to_confuse_with=(
            "`maxent_length`, whose temperature depends on the length of the answer"
        ),
        status=(
            "meets hand-worked values, `dpo` with a uniform reference, and `simpo` without a "
            "margin at equal lengths"
        ),
    ),
)
