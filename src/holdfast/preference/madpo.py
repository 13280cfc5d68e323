"""MADPO: DPO with a weight on each pair, set by a reward model's margin."""

from __future__ import annotations

from math import inf, log

import torch
import torch.nn.functional as F
from torch import Tensor

from holdfast.card import Card, Limit, PairMethod, Paper, check, departures_of
from holdfast.inputs import reference, reward_gap
from holdfast.reductions.mean import mean
from holdfast.types import Pairs


def coefficient(
    gap_N: Tensor, *, c_min: float, c_max: float, tau: float, steepness: float
) -> Tensor:
    """c(m): near c_max for a small margin, 1 at |m| = tau, c_min for a large one; a logistic curve
    in |m|.
    """
    odds = (c_max - 1) / (1 - c_min)
    return c_min + (c_max - c_min) * torch.sigmoid(
        steepness * (tau - gap_N.abs()) - (log(odds) if odds > 0 else -inf)
    )


def pair_weight(
    gap_N: Tensor, *, c_min: float, c_max: float, tau: float, steepness: float
) -> Tensor:
    """w(m) = sigma(c(m) m) / sigma(m) for m > -tau, and 1 below, where the two meet."""
    c_N = coefficient(gap_N, c_min=c_min, c_max=c_max, tau=tau, steepness=steepness)
    weight_N = torch.exp(F.logsigmoid(c_N * gap_N) - F.logsigmoid(gap_N))
    return torch.where(gap_N > -tau, weight_N, 1.0)


def madpo(
    pairs: Pairs,
    *,
    beta: float = 0.1,
    c_min: float = 0.25,
    c_max: float = 4.0,
    tau: float = 7.0,
    steepness: float = 1.0,
) -> Tensor:
    """Fit pairs that a reward model finds close harder, and pairs that it finds easy less, one
    weight a pair.

        m = r(x, y_w) - r(x, y_l)
        c(m) = c_min + (c_max - c_min) / (1 + (c_max - 1) / (1 - c_min) exp(steepness (|m| - tau)))
        w(m) = sigma(c(m) m) / sigma(m) if m > -tau, else 1
        cost = w(m) softplus(-beta h)          (Rho 2025)

    with h the log-ratio margin of `dpo` and m a reward model's gap for the pair as it was labeled:
    negative where the model contradicts the label. Shape (N,), nats. The margin carries no
    gradient, so the direction of a pair is that of `dpo` and only its step changes. If labels
    follow Bradley-Terry with margin m, a pair seen both ways round is fitted to c(m) m below tau,
    and to about m above it: below tau the effective beta is about beta / c_max. **Compare it with
    dpo at beta / c_max, or at equal KL**, not at the same beta. A label that the reward model
    contradicts gets a weight near 0 (down to -tau): the method is a filter of labels too.

    Args:
        beta: strength of the KL penalty, in reward per nat; 0.01 to 2, usually 0.1
        c_min: what margins far above tau are multiplied by; above 0 and below 1, usually 1 / c_max
        c_max: what small margins are multiplied by; 1 (plain DPO) to 4
        tau: margin at which nothing is changed, in units of the reward model; a high quantile of
            |m|, usually 7
        steepness: how fast c falls around tau, per unit of reward; 0.5 to 4, usually 1

    Raises:
        OptionError: beta, tau or steepness is not above 0, c_max is below 1, or c_min is not
            between 0 and 1.
        NeedError: the pairs were scored without a reference, or carry no reward gap.

    Departures:
        1. The reward model is trained beforehand and elsewhere, on the same pairs and stopped
           early; its margins come with the data.
    """
    check("beta", beta, 0 < beta < inf, "be above 0 and finite", hint="0.1 is usual")
    check("c_min", c_min, 0 < c_min < 1, "be above 0 and below 1", hint="1 / c_max is usual")
    check(
        "c_max",
        c_max,
        1 <= c_max < inf,
        "be at least 1 and finite",
        hint="2 to 4 are usual, 1 is plain DPO",
    )
    check(
        "tau",
        tau,
        0 < tau < inf,
        "be above 0 and finite",
        hint="a high quantile of the reward gap's absolute value",
    )
    check("steepness", steepness, 0 < steepness < inf, "be above 0 and finite", hint="1 is usual")
    h_N = pairs.margin_N
    gap_N = reward_gap(pairs).detach().to(h_N)
    return pair_weight(gap_N, c_min=c_min, c_max=c_max, tau=tau, steepness=steepness) * F.softplus(
        -beta * h_N
    )


METHOD = PairMethod(
    objective=madpo,
    reduction=mean(),
    card=Card(
        says="weigh pairs by a reward model's gap",
        paper=Paper(
            "Margin Adaptive DPO: Leveraging Reward Model for Granular Control in "
            "Preference Optimization",
            "Rho",
            2025,
            "2510.05342",
        ),
        equation="w(m) softplus(-beta h), w(m) = sigma(c(m) m) / sigma(m) if m > -tau, else 1",
        tokens="sum",
        needs=(reference, reward_gap),
        departures=departures_of(madpo),
        limits=(Limit(at={"c_max": 1.0}, gives="dpo"),),
        not_to_confuse_with=(
            "`beta_dpo`, whose temperature is one for the whole batch and set by the policy's "
            "own margins"
        ),
        status=(
            "meets hand-worked weights and minimizers; at equal beta it travels as far as "
            "`dpo` at beta / c_max"
        ),
    ),
)
