"""Identity preference optimization: a target for the margin instead of a race."""

from __future__ import annotations

from math import inf

from torch import Tensor

from holdfast.card import Card, PairMethod, Paper, check, departures_of
from holdfast.inputs import reference
from holdfast.reductions.mean import mean
from holdfast.types import Pairs


def ipo(pairs: Pairs, *, tau: float = 0.1) -> Tensor:
    """Regress the log-ratio margin on a fixed target, so that labels which all agree no longer push
    the policy to certainty.

        cost = (h - 1 / (2 tau))^2          (Azar et al. 2024, equation 17)

    with h the log-ratio margin of `dpo`, on sums over response tokens. Shape (N,), squared nats:
    not comparable with the logistic costs. Slope in h: 2 (h - 1 / (2 tau)). With true odds P the
    optimum is h = (2 P - 1) / (2 tau), finite even at P = 1.

    Libraries differ here: some divide each log-ratio by its answer's length first (as the authors
    are reported to have done in their experiments), which changes what tau means by a factor of the
    length. This one is the paper's equation.

    Args:
        tau: strength of the KL penalty, per nat; the target margin is 1 / (2 tau) nats; 0.05 to 1
            on sums, usually 0.1

    Raises:
        OptionError: tau is not above 0.
        NeedError: the pairs were scored without a reference.
    """
    check(
        "tau",
        tau,
        0 < tau < inf,
        "be above 0 and finite",
        hint="0.1 is usual: a target margin of 5 nats",
    )
    return (pairs.margin_N - 1 / (2 * tau)) ** 2


METHOD = PairMethod(
    objective=ipo,
    reduction=mean(),
    card=Card(
        says="regress the margin on a fixed target",
        paper=Paper(
            "A General Theoretical Paradigm to Understand Learning from Human Preferences",
            "Azar, Rowland, Piot, Guo, Calandriello, Valko, Munos",
            2023,
            "2310.12036",
            "AISTATS 2024",
        ),
        equation="(h - 1 / (2 tau))^2",
        tokens="sum",
        needs=(reference,),
        departures=departures_of(ipo),
        at_reference=lambda *, tau, **_: 1 / (4 * tau**2),
        not_to_confuse_with=(
            "TRL's `ipo`, which averages each log-ratio over its tokens: the same tau means "
            "another strength there"
        ),
        status=(
            "meets its closed-form optimum and hand-worked values; meets TRL's `ipo` where "
            "every answer has one token"
        ),
    ),
)
