"""VPO, offline: DPO made pessimistic by the value of its own reward."""

from __future__ import annotations

from math import inf, log

import torch.nn.functional as F
from torch import Tensor

from holdfast.card import Card, Limit, PairMethod, Paper, check, departures_of
from holdfast.inputs import reference
from holdfast.reductions.mean import mean
from holdfast.types import Pairs


def vpo(pairs: Pairs, *, beta: float = 0.1, alpha: float = 0.005) -> Tensor:
    """Among the rewards that explain the comparisons, prefer one that promises little: the value of
    the best policy for it is a penalty.

        J*(r) = max over pi of E[r] - beta KL(pi || pi_ref) = -beta E over y ~ pi_cal of log
        pi_r(y|x) - log pi_ref(y|x)
        cost = softplus(-beta h) - alpha beta [log pi(y_w|x) - log pi_ref(y_w|x)]
                (Cen et al. 2024, offline form)

    with h the log-ratio margin of `dpo`. Shape (N,), nats. Log-probabilities are sums over response
    tokens. J* is an average over a calibration distribution pi_cal because comparisons leave a
    shift of the reward free for each prompt: only a reward of mean 0 under pi_cal has a definite
    value. Online, an optimist subtracts J* and explores; with only the data, a pessimist adds it.
    Only the pessimist is here: the optimist's loss has no minimum. With pi_cal the chosen answers
    it is `rpo` at eta = alpha up to the constant alpha beta log pi_ref(y_w), so their gradients are
    the same: two derivations of one method.

    Args:
        beta: strength of the KL penalty, in reward per nat; 0.05 to 0.5, usually 0.1
        alpha: weight of the value, for one comparison; 0 is plain DPO; 0.001 to 0.5. A weight
            against the sum over n comparisons, as in the paper, is n times this one

    Raises:
        OptionError: beta is not above 0, or alpha is negative or not finite.
        NeedError: the pairs were scored without a reference.

    Departures:
        1. pi_cal is the distribution of the chosen answers, which every file of pairs carries. The
           paper leaves the choice open.
        2. The paper sums over comparisons; here the value is weighed for each comparison, so that
           alpha does not depend on their number.
        3. No value of alpha in the paper could be confirmed: 0.005 is that of `rpo`.
    """
    check("beta", beta, 0 < beta < inf, "be above 0 and finite", hint="0.1 is usual")
    check(
        "alpha",
        alpha,
        0 <= alpha < inf,
        "be at least 0 and finite",
        hint="0.005 is a start, 0 is plain DPO",
    )
    return F.softplus(-beta * pairs.margin_N) - alpha * beta * pairs.chosen.log_ratio_N


METHOD = PairMethod(
    objective=vpo,
    reduction=mean(),
    card=Card(
        says="DPO with a pessimistic value penalty",
        paper=Paper(
            "Value-Incentivized Preference Optimization: A Unified Approach to Online and "
            "Offline RLHF",
            "Cen, Mei, Goshvadi, Dai, Yang, Yang, Schuurmans, Chi, Dai",
            2024,
            "2405.19320",
            "ICLR 2025",
        ),
        equation="softplus(-beta h) - alpha beta [log pi(y_w) - log pi_ref(y_w)]",
        tokens="sum",
        needs=(reference,),
        departures=departures_of(vpo),
        limits=(Limit(at={"alpha": 0.0}, gives="dpo"),),
        at_reference=lambda **_: log(2),
        not_to_confuse_with=(
            "the other methods called VPO; the online form of the same paper, whose sign "
            "is the opposite; and XPO, which is that online "
            "form with the reference as calibration"
        ),
        status="meets hand-worked values, the two expressions of J*, and the gradient of `rpo`",
    ),
)
