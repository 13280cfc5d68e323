"""HyPO: DPO on the pairs, and a KL penalty on what the policy itself says."""

from __future__ import annotations

from math import inf, log

import torch
import torch.nn.functional as F
from torch import Tensor

from holdfast.card import Card, Limit, PairMethod, Paper, check, departures_of
from holdfast.inputs import reference, samples
from holdfast.reductions.mean import mean
from holdfast.types import Pairs


def hypo(pairs: Pairs, *, beta: float = 0.1, weight: float = 0.01) -> Tensor:
    """Compare the given answers as `dpo` does, and hold the policy's own answers, new at every
    step, near the reference.

        cost = softplus(-beta h) + weight KL(pi(.|x) || pi_ref(.|x))          (Song et al. 2024)

    with h the log-ratio margin of `dpo`. Shape (N,), nats. Sums over response tokens. dpo sees no
    answer outside its pairs, so that probability may drift there unseen; the reverse KL sees it. It
    is estimated on k answers y_i drawn from the policy for the row's prompt: the value is the mean
    of kl_i = log pi(y_i|x) - log pi_ref(y_i|x), and the gradient is that of

        mean over i of (kl_i - mean of the other kl_j) log pi(y_i|x),          the bracket held
                                                                               fixed,

    which is the gradient of the KL without bias. Differentiating kl_i itself would give 0 on
    average. The penalty is bounded: driving one rejected answer to probability 0 costs no more than
    weight log[1 / (1 - pi_ref)], so it stops drift and not overfitting to labels.

    Args:
        beta: strength of dpo's own KL penalty, in reward per nat; 0.01 to 2, usually 0.1
        weight: of the KL on the policy's own answers (the paper's lambda); 0 is plain DPO; 0.0001
            to 0.1, to be tuned on the KL

    Raises:
        OptionError: beta is not above 0, or weight is negative or not finite.
        NeedError: the pairs were scored without a reference, or come with fewer than two answers of
            the policy's own.

    Departures:
        1. The paper's values of beta, lambda and k could not be confirmed: 0.1, 0.01, and two
           answers to a prompt are ours.
        2. A training run draws for the prompts of its pairs, at temperature 1, and cuts answers at
           the length of the longest one in the data.
    """
    check("beta", beta, 0 < beta < inf, "be above 0 and finite", hint="0.1 is usual")
    check(
        "weight",
        weight,
        0 <= weight < inf,
        "be at least 0 and finite",
        hint="0.01 is a start, 0 is plain DPO",
    )
    drawn = samples(pairs)
    logp_GN = torch.stack([part.logp_N for part in drawn])
    kl_GN = logp_GN.detach() - torch.stack([part.ref_logp_N for part in drawn])
    others_GN = (kl_GN.sum(0) - kl_GN) / (len(drawn) - 1)
    pull_N = ((kl_GN - others_GN) * logp_GN).mean(0)
    kl_N = kl_GN.mean(0) + pull_N - pull_N.detach()
    return F.softplus(-beta * pairs.margin_N) + weight * kl_N


METHOD = PairMethod(
    objective=hypo,
    reduction=mean(),
    card=Card(
        says="DPO with the KL of the policy's samples",
        paper=Paper(
            "The Importance of Online Data: Understanding Preference Fine-tuning via Coverage",
            "Song, Swamy, Singh, Bagnell, Sun",
            2024,
            "2406.01462",
            "NeurIPS 2024",
        ),
        equation="softplus(-beta h) + weight KL(pi || pi_ref), on the policy's own samples",
        tokens="sum",
        needs=(reference, samples),
        departures=departures_of(hypo),
        limits=(Limit(at={"weight": 0.0}, gives="dpo"),),
        at_reference=lambda **_: log(2),
        not_to_confuse_with=(
            "a DPO variant of 2026 with a conditional reference (arXiv 2602.11902), also "
            "called HyPO, and HPO (2405.17956)"
        ),
        status=(
            "meets hand-worked numbers; over all samples its gradient is the exact gradient "
            "of the KL"
        ),
    ),
)
