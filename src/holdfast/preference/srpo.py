"""SRPO: a policy that is hard to improve upon, learned together with the reviser who tries."""

from __future__ import annotations

from math import inf

from torch import Tensor

from holdfast.card import Card, PairMethod, Paper, check, departures_of
from holdfast.inputs import reference, revision
from holdfast.inputs.prompts import revised
from holdfast.reductions.mean import mean
from holdfast.types import Pairs


def srpo(pairs: Pairs, *, beta: float = 0.01, alpha: float = 0.8) -> Tensor:
    """Train one model to answer and to improve a shown answer, so that what it answers does not
    depend on which pairs were collected.

    A reviser pi'(.|a, x) sees an answer a and writes one that beats it; the policy pi(.|x) writes
    answers whose best revision gains least; each pays beta per nat of KL to the reference. No
    Bradley-Terry model is assumed. Write r(b|a) for the log-ratio of b after the prompt that shows
    a, and r(b) for that of b after the plain prompt, both sums over response tokens. At the saddle
    point P(b beats a) - 1/2 = beta [r(b|a) - r(a|a)] and 2 P(b beats a) - 1 = beta [r(b|a) + r(b) -
    r(a|b) - r(a)], whatever the pairs. Regressed on labels:

        improve = (1/2 - beta [r(w|l) - r(l|l)])^2 + (1/2 - beta [r(w|w) - r(l|w)])^2
        answer  = (1 - beta [r(w|l) + r(w) - r(l|w) - r(l)])^2
        cost    = (1 - alpha) answer + alpha improve          (Choi et al. 2024)

    Shape (N,), dimensionless. The answers copied, r(w|w) and r(l|l), carry the unknown normalizer
    and cannot be left out. Six sequences a pair instead of two. The optimum is pi = pi_ref / Z up
    to a constant with Z(a) = E over b ~ pi_ref of exp(P(b beats a) / beta), and pi'(b|a) =
    pi_ref(b|a) exp(P(b beats a) / beta) / Z(a). To answer with revisions:
    `holdfast.generation.revise`. At the exact optimum a revision gains nothing, for the policy is
    already the one that is hard to improve.

    Args:
        beta: strength of the KL penalty of both, per nat; 0.01 to 1, usually 0.01, larger for short
            answers
        alpha: share of the reviser's cost, between 0 (answering alone) and 1 (revising alone); 0.2
            to 0.9, usually 0.8

    Raises:
        OptionError: beta is not above 0, or alpha is outside [0, 1].
        NeedError: the pairs were scored without a reference, or without revisions.

    Departures:
        1. The paper's beta and alpha could not be confirmed: 0.01 and 0.8 are those of a
           third-party port.
        2. The wording of the prompt that shows an answer is ours.
    """
    check("beta", beta, 0 < beta < inf, "be above 0 and finite", hint="0.01 is usual")
    check("alpha", alpha, 0 <= alpha <= 1, "be between 0 and 1", hint="0.8 is usual")

    def ratio_N(answer: str, shown: str) -> Tensor:
        return revision(pairs, revised(answer, shown)).log_ratio_N

    w_l_N, l_l_N, w_w_N, l_w_N = (
        ratio_N(a, s) for s in ("rejected", "chosen") for a in ("chosen", "rejected")
    )
    improve_N = (0.5 - beta * (w_l_N - l_l_N)) ** 2 + (0.5 - beta * (w_w_N - l_w_N)) ** 2
    answer_N = (
        1 - beta * (w_l_N + pairs.chosen.log_ratio_N - l_w_N - pairs.rejected.log_ratio_N)
    ) ** 2
    return (1 - alpha) * answer_N + alpha * improve_N


METHOD = PairMethod(
    objective=srpo,
    reduction=mean(),
    card=Card(
        says="answer and revise, whatever policy wrote the data",
        paper=Paper(
            "Self-Improving Robust Preference Optimization",
            "Choi, Ahmadian, Geist, Pietquin, Azar",
            2024,
            "2406.01660",
            "ICLR 2025",
        ),
        equation=(
            "(1 - alpha) (1 - beta [r(w|l) + r(w) - r(l|w) - r(l)])^2 "
            "+ alpha {(1/2 - beta [r(w|l) - r(l|l)])^2 + (1/2 - beta [r(w|w) - r(l|w)])^2}"
        ),
        tokens="sum",
        needs=(reference, revision),
        departures=departures_of(srpo),
        at_reference=lambda *, alpha, **_: 1 - alpha / 2,
        not_to_confuse_with=(
            "other SRPOs, of diffusion models, of verifiable rewards and of self-critique, "
            "whose losses are unrelated"
        ),
        status=(
            "meets hand-worked values and the saddle point on a table, from any distribution "
            "of pairs"
        ),
    ),
)
