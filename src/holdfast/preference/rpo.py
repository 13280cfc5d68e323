"""RPO: DPO with a likelihood term that stands for a pessimist's choice of reward."""

from __future__ import annotations

from math import inf

import torch.nn.functional as F
from torch import Tensor

from holdfast.card import Card, Limit, PairMethod, Paper, check, departures_of
from holdfast.inputs import reference
from holdfast.reductions.mean import mean
from holdfast.types import Pairs


def rpo(pairs: Pairs, *, beta: float = 0.1, eta: float = 0.005) -> Tensor:
    """Keep the chosen answers likely while comparing, so that probability does not leak to answers
    which no comparison ever tried.

        cost = softplus(-beta h) - eta beta log pi(y_w|x)          (Liu et al. 2024)

    with h the log-ratio margin of `dpo`. Shape (N,), nats. Both terms sum log-probabilities over
    response tokens, and the second carries the product eta beta. It comes from a max-min problem:
    the best policy against the reward that fits the comparisons nearly as well and values the
    policy least, relative to a baseline; the baseline here is the chosen answers. The gradient on
    the logits of a table is -beta sigma(-beta h) (e_w - e_l) - eta beta (e_w - pi): an answer that
    was never compared is pushed down by eta beta pi, where `dpo` leaves it alone.

    Three scales go by this name. This one is the paper's, eta beta times a sum. The authors' second
    code base takes 0.2 times a mean over tokens, with no beta. TRL's `sigmoid` with `sft` at weight
    0.005 is a mean over the tokens of a batch, with no beta: for answers of T tokens its weight
    counts 1 / (beta T) times what the same eta counts here.

    Args:
        beta: strength of the KL penalty, in reward per nat; 0.01 to 0.5, usually 0.1 on small
            models and 0.01 in the paper
        eta: how much the likelihood term counts, times beta; 0.001 to 0.5, usually 0.005; much
            above, it is supervised fine-tuning

    Raises:
        OptionError: beta is not above 0, or eta is negative or not finite.
        NeedError: the pairs were scored without a reference.

    Departures:
        1. beta is 0.1 by default, as in `dpo`, to make the two comparable; the paper's runs use
           0.01 and 0.05.
    """
    check("beta", beta, 0 < beta < inf, "be above 0 and finite", hint="0.1 is usual")
    check(
        "eta",
        eta,
        0 <= eta < inf,
        "be at least 0 and finite",
        hint="0.005 is usual, 0 is plain DPO",
    )
    return F.softplus(-beta * pairs.margin_N) - eta * beta * pairs.chosen.logp_N


METHOD = PairMethod(
    objective=rpo,
    reduction=mean(),
    card=Card(
        says="DPO that keeps chosen answers likely",
        paper=Paper(
            "Provably Mitigating Overoptimization in RLHF: Your SFT Loss is Implicitly an "
            "Adversarial Regularizer",
            "Liu, Lu, Zhang, Liu, Guo, Yang, Blanchet, Wang",
            2024,
            "2405.16436",
            "NeurIPS 2024",
        ),
        equation="softplus(-beta h) - eta beta log pi(y_w)",
        tokens="sum",
        needs=(reference,),
        departures=departures_of(rpo),
        limits=(Limit(at={"eta": 0.0}, gives="dpo"),),
        not_to_confuse_with=(
            "the other RPOs: reward-aware preference optimization (a reward gap as the "
            "target), relative preference optimization "
            "(contrasts across prompts), and the likelihood term of iterative reasoning "
            "preference optimization, once TRL's `rpo_alpha`"
        ),
        status=(
            "meets hand-worked values and its gradient on a table; a set of answers compared "
            "only among itself keeps its share of wins"
        ),
    ),
)
