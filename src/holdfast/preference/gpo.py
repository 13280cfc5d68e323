"""General preference optimization: fit the policy to a step of self-play against a preference
model's log-odds.
"""

from __future__ import annotations

from math import inf

from torch import Tensor

from holdfast.card import Card, PairMethod, Paper, check, departures_of
from holdfast.inputs import log_odds, reference
from holdfast.reductions.mean import mean
from holdfast.types import Pairs


def gpo(pairs: Pairs, *, beta: float = 1.0) -> Tensor:
    """Move each answer's log-probability by how well it fares against what the policy itself says,
    and no further.

        cost = [d(y_w) - s(y_w) / beta]^2 + [d(y_l) - s(y_l) / beta]^2
                (Zhang et al. 2024, equation of GPO)

    with d(y) = log pi(y|x) - log pi_t(y|x) on sums over response tokens, pi_t the reference of the
    run: the policy that wrote the answers; and s(y) the mean log-odds, by a preference model, that
    y beats an answer of pi_t. Shape (N,), squared nats. It is the least squares form of the tabular
    step pi_(t+1)(y) ~ pi_t(y) exp(s(y) / beta) with log Z set to 0. Repeated (`holdfast selfplay`)
    it approaches, on average over rounds, the equilibrium of the game whose payoff is the log-odds:
    also where preferences are cyclic.

    `sppo` is the same with win rate minus 1/2 in the place of log-odds; they aim at different
    mixtures.

    Args:
        beta: inverse of the step, log-odds per nat: large is slow; 0.5 to 10 where log Z = 0 should
            nearly hold; the paper's 0.001 asks for hundreds of nats and works as a very large step

    Raises:
        OptionError: beta is not above 0.
        NeedError: the pairs were scored without a reference, or have no log-odds against the
            policy.

    Departures:
        1. The paper gives 0.001 for beta and leaves the fit unfinished after one epoch; ours is 1,
           whose targets a few epochs do reach.
    """
    check("beta", beta, 0 < beta < inf, "be above 0 and finite", hint="1 is a moderate step")
    score_N2 = log_odds(pairs)
    off_w = pairs.chosen.log_ratio_N - score_N2[:, 0].to(pairs.chosen.logp_NT) / beta
    off_l = pairs.rejected.log_ratio_N - score_N2[:, 1].to(pairs.chosen.logp_NT) / beta
    return off_w**2 + off_l**2


METHOD = PairMethod(
    objective=gpo,
    reduction=mean(),
    card=Card(
        says="regress log-ratios on a preference score",
        paper=Paper(
            "Beyond Bradley-Terry Models: A General Preference Model for Language Model Alignment",
            "Zhang, Zhang, Wu, Xu, Gu",
            2024,
            "2410.02197",
            "ICML 2025",
        ),
        equation="[d(y_w) - s(y_w) / beta]^2 + [d(y_l) - s(y_l) / beta]^2",
        tokens="sum",
        needs=(reference, log_odds),
        departures=departures_of(gpo),
        not_to_confuse_with=(
            "generalized preference optimization (Tang et al. 2024), also called GPO: convex "
            "losses of the margin"
        ),
        status=(
            "meets hand-worked values; its minimizer over all answers is the tabular step, up "
            "to log Z"
        ),
    ),
)
