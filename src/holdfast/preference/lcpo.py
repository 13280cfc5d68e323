"""LCPO (later named RE-PO): any pairwise objective, with each rater's reliability learned while
training.
"""

from __future__ import annotations

import inspect
from inspect import Parameter
from math import log, nan
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from holdfast.card import (
    Card,
    Limit,
    PairMethod,
    Paper,
    State,
    check,
    departures_of,
    section_of,
    settings_of,
)
from holdfast.inputs import rater, swapped
from holdfast.preference.cpo import METHOD as CPO
from holdfast.preference.dpo import METHOD as DPO
from holdfast.preference.ipo import METHOD as IPO
from holdfast.preference.simpo import METHOD as SIMPO
from holdfast.reductions.mean import mean
from holdfast.types import Pairs

DOC = """Train {name} on labels that may be wrong, and learn from the policy itself how often each
    rater is right.

        l = {name}(the swapped pair) - {name}(the pair)
        w = sigma(l + logit eta_k)                              the belief that the label is right
        cost = w softplus(-l) + (1 - w) softplus(l)                     (Cao et al. 2025)
        eta_k <- (1 - rate) eta_k + rate (mean of w over the batch's labels by rater k)

    with {name} = {equation}. Shape (N,), nats. The difference l of the costs of the two orders is
    the log-odds that the label names the better answer. This is expectation-maximization: w carries
    no gradient, and the slope in l is then -(w - sigma(l)), that of the likelihood -log[eta p + (1
    - eta) (1 - p)] with p = sigma(l). Each row has a smoothing of its own, 1 - w, where `cdpo` has
    one for all; a label that the policy firmly contradicts is let go. The reliabilities eta_k are
    remembered from batch to batch, one for each rater in the rows' `rater` column, one for all rows
    without it; w uses eta_k as it was before the batch.

    Odds of tens of nats settle every belief at the first batch: where l is that large at once (sums
    over long answers without a reference, or a small tau), take a smaller beta or a larger tau.

    **A policy that memorizes confirms itself**: with enough freedom to fit every label, eta rises
    to 1 whatever the truth. Read the reliabilities early, while pairs still teach each other, and
    stop early.

    Args:
    {args}
        reliability: eta before a rater's first batch, the share of labels that are right; above 0.5
            to 1, usually 0.9
        rate: how fast eta follows the batches; 0 (never) to 1, usually 0.1; lower where raters are
            seen rarely

    Raises:
        OptionError: reliability is outside (0.5, 1], rate is outside [0, 1], or a setting of {name}
            is impossible.
        NeedError: the pairs lack what {name} needs.

    Departures:
        1. Row weights enter the average of the costs and not that of eta.
    {departures}
    """


def lcpo(base: PairMethod, *limits: Limit) -> PairMethod:
    """The method named `lcpo_BASE`: `base`, with the reliability of each rater learned along the
    way.

    Args:
        base: an objective without a state, whose cost can be computed for a swapped pair
        limits: settings at which the result is a known method
    """

    def objective(
        pairs: Pairs, state: State, *, reliability: float = 0.9, rate: float = 0.1, **settings: Any
    ) -> tuple[Tensor, State]:
        check(
            "reliability",
            reliability,
            0.5 < reliability <= 1,
            "be above 0.5 and at most 1",
            hint="0.9 is usual",
        )
        check("rate", rate, 0 <= rate <= 1, "be between 0 and 1", hint="0.1 is usual")
        logit_N = base.objective(swapped(pairs), **settings) - base.objective(pairs, **settings)
        known_N = rater.of(pairs)
        rater_N = torch.zeros_like(logit_N, dtype=torch.long) if known_N is None else known_N
        eta_R = state["reliability_R"].to(logit_N).nan_to_num(nan=reliability)
        right_N = torch.sigmoid(logit_N.detach() + torch.logit(eta_R[rater_N]))
        cost_N = right_N * F.softplus(-logit_N) + (1 - right_N) * F.softplus(logit_N)
        count_R = torch.zeros_like(eta_R).index_add(0, rater_N, torch.ones_like(right_N))
        share_R = torch.zeros_like(eta_R).index_add(0, rater_N, right_N) / count_R
        learned_R = torch.where(
            count_R > 0, (1 - rate) * eta_R + rate * share_R, state["reliability_R"].to(logit_N)
        )
        return cost_N, {"reliability_R": learned_R}

    about = base.card
    _dress(objective, base)
    return PairMethod(
        objective=objective,
        reduction=mean(),
        state=lambda raters: {
            "reliability_R": torch.full((raters,), nan)
        },  # not a number: nothing seen of that rater yet
        card=Card(
            says=f"{base.name}, learning how reliable each rater is",
            paper=Paper(
                "RE-PO: Robust Enhanced Policy Optimization as a General Framework for "
                "LLM Alignment",
                "Cao, Xu, Guang, Long, Bakker, Wang, Yu",
                2025,
                "2509.24159",
                "ICLR 2026",
            ),
            equation=(
                "w softplus(-l) + (1 - w) softplus(l), w = sigma(l + logit eta), l the "
                f"log-odds of {base.name}: {about.equation}"
            ),
            tokens=about.tokens,
            needs=about.needs,
            departures=departures_of(objective),
            limits=limits,
            at_reference=None
            if about.at_reference is None
            else lambda **_: log(2),  # both orders cost the same there: l = 0
            batch_dependent=about.batch_dependent,
            stop_gradient="the belief w that a label is right, which the policy's own log-odds set",
            not_to_confuse_with=(
                "`rdpo`, which is told one flip rate for all and learns nothing; the paper's "
                "later versions call it RE-PO"
            ),
            status=(
                "meets hand-worked numbers and the likelihood's gradient; recovers planted "
                "reliabilities; memorizing defeats it"
            ),
        ),
    )


def _dress(objective: Any, base: PairMethod) -> None:
    """The name, signature and docstring that the objective would have if it were written out for
    this base.
    """
    own = [*settings_of(base.objective).values(), *(p for p in settings_of(objective).values())]
    first = [Parameter(name, Parameter.POSITIONAL_OR_KEYWORD) for name in ("pairs", "state")]
    objective.__signature__ = inspect.Signature([*first, *own])
    objective.__name__ = objective.__qualname__ = f"lcpo_{base.name}"
    departures = [f"{i}. Of {base.name}: {line}" for i, line in enumerate(base.card.departures, 2)]
    objective.__doc__ = DOC.format(
        name=base.name,
        equation=base.card.equation,
        args="    " + section_of(base.objective, "Args").replace("\n", "\n        "),
        departures="    " + "\n        ".join(departures),
    )


LCPO_DPO = lcpo(DPO, Limit(at={"reliability": 1.0}, gives="dpo"))
LCPO_IPO = lcpo(
    IPO, Limit(at={"reliability": 1.0, "tau": 0.5}, gives="dpo", other_at={"beta": 4.0})
)
LCPO_SIMPO = lcpo(
    SIMPO, Limit(at={"reliability": 1.0, "gamma": 0.0}, gives="simpo", other_at={"gamma": 0.0})
)
LCPO_CPO = lcpo(
    CPO, Limit(at={"reliability": 1.0, "alpha": 0.0}, gives="cpo", other_at={"alpha": 0.0})
)

lcpo_dpo, lcpo_ipo, lcpo_simpo, lcpo_cpo = (
    method.objective for method in (LCPO_DPO, LCPO_IPO, LCPO_SIMPO, LCPO_CPO)
)
