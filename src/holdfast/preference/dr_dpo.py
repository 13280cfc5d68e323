"""Dr. DPO: the DPO cost, with the rows that the policy contradicts weighed down."""

from __future__ import annotations

from math import log

from torch import Tensor

from holdfast.card import Card, Limit, PairMethod, Paper, departures_of
from holdfast.inputs import reference
from holdfast.preference.dpo import dpo
from holdfast.reductions.kl_best_case import kl_best_case
from holdfast.types import Pairs


def dr_dpo(pairs: Pairs, *, beta: float = 0.1) -> Tensor:
    """Average the costs of `dpo` so that costly rows count less, since under flipped labels the
    costly rows are the flipped ones.

        cost = softplus(-beta h), and the batch is worth
        -t log mean exp(-cost / t)                             (Wu et al. 2024; their beta' is t)

    with h the log-ratio margin of `dpo`. Shape (N,), nats. All that differs from `dpo` is the
    reduction, `kl_best_case`, at temperature t = 1: it minimizes the costs of the friendliest
    reweighting q of the rows, mean of q cost + t KL(q || uniform). A row weighs sigma(beta h)^(1/t)
    up to a factor, so at t = 1 its pull sigma(-beta h) becomes sigma(beta h) sigma(-beta h),
    largest where the policy is undecided, and none on a row that it firmly contradicts. Another t:
    `--reduction kl_best_case:temperature=0.5`.

    The weights are taken over a batch: take batches as large as memory allows.

    Args:
        beta: strength of the KL penalty, in reward per nat; 0.01 (far from the reference) to 2
            (close to it), usually 0.1

    Raises:
        OptionError: beta is not above 0.
        NeedError: the pairs were scored without a reference.

    Departures:
        1. The paper speaks of a worst case over the pairs. Its equation and its code lower the
           weight of costly rows, which is the best case: a minimum over reweightings. We follow the
           equation. The worst case over the same ball is `dpo` with the reduction `kl`.
    """
    return dpo(pairs, beta=beta)


METHOD = PairMethod(
    objective=dr_dpo,
    reduction=kl_best_case(temperature=1.0),
    card=Card(
        says="DPO that counts costly rows less",
        paper=Paper(
            "Towards Robust Alignment of Language Models: Distributionally Robustifying "
            "Direct Preference Optimization",
            "Wu, Xie, Yang, Wu, Chen, Gao, Ding, Wang, He",
            2024,
            "2407.07880",
            "ICLR 2025",
        ),
        equation="softplus(-beta h), reduced by -t log mean exp(-cost / t)",
        tokens="sum",
        needs=(reference,),
        departures=departures_of(dr_dpo),
        limits=(Limit(at={}, gives="dpo"),),
        at_reference=lambda **_: log(2),
        not_to_confuse_with=(
            "`dpo` with the reduction `kl`, which weighs costly rows up and so leans on "
            "flipped labels"
        ),
        status="meets the authors' expression, its variational form and its weights",
    ),
)
