"""LN-DPO: DPO on log-ratios per token."""

from __future__ import annotations

from math import inf, log

import torch.nn.functional as F
from torch import Tensor

from holdfast.card import Card, PairMethod, Paper, check, departures_of
from holdfast.inputs import reference
from holdfast.reductions.mean import mean
from holdfast.types import Pairs


def ln_dpo(pairs: Pairs, *, beta: float = 5.0) -> Tensor:
    """Divide each answer's log-ratio by its length, so that a long answer gains no larger margin
    from the same shift a token.

        rho = [log pi(y|x) - log pi_ref(y|x)] / |y|
        cost = softplus(-beta (rho_w - rho_l))          (Ahrabian et al. 2024)

    Shape (N,), nats. Slopes: -beta sigma(-z) / |y_w| in log pi(y_w) and +beta sigma(-z) / |y_l| in
    log pi(y_l), with z = beta (rho_w - rho_l): the shorter answer is pushed harder. Where all
    answers have T tokens it is `dpo` at beta / T; where the reference gives every token the same
    probability it is `simpo` without a margin. What it removes is the length as a factor of the
    margin, not a rater's taste for length: with such raters answers still grow.

    Args:
        beta: scale of the log-ratio a token; about a typical length times the beta of dpo; 1 to 10,
            usually 5

    Raises:
        OptionError: beta is not above 0.
        NeedError: the pairs were scored without a reference.

    Departures:
        1. An empty answer has log-ratio 0 a token here; the paper leaves it undefined.
    """
    check(
        "beta",
        beta,
        0 < beta < inf,
        "be above 0 and finite",
        hint="5 is usual: beta multiplies averages, not sums",
    )
    chosen, rejected = pairs.chosen, pairs.rejected
    rho_w_N = chosen.log_ratio_N / chosen.length_N.clamp(min=1)
    rho_l_N = rejected.log_ratio_N / rejected.length_N.clamp(min=1)
    return F.softplus(-beta * (rho_w_N - rho_l_N))


METHOD = PairMethod(
    objective=ln_dpo,
    reduction=mean(),
    card=Card(
        says="DPO with log-ratios divided by length",
        paper=Paper(
            "The Hitchhiker's Guide to Human Alignment with *PO",
            "Ahrabian, Lin, Patra, Chaudhary, Benhaim, Pujara, Song",
            2024,
            "2407.15229",
            "Findings of NAACL 2025",
        ),
        equation="softplus(-beta (rho_w - rho_l)), rho = [log pi(y) - log pi_ref(y)] / |y|",
        tokens="mean",
        needs=(reference,),
        departures=departures_of(ln_dpo),
        at_reference=lambda **_: log(2),
        not_to_confuse_with=(
            "the token-mean form of `ipo` in some libraries, a squared error of the same log-ratios"
        ),
        status=(
            "meets hand-worked values, `dpo` at equal lengths, `simpo` under a constant "
            "reference and TRL's `sigmoid_norm`"
        ),
    ),
)
