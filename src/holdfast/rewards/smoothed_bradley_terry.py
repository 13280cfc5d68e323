"""Bradley-Terry on smoothed labels: every label is taken to be wrong with one probability."""

from __future__ import annotations

from math import log

from torch import Tensor

from holdfast.card import Card, Paper, check
from holdfast.inputs import confidence
from holdfast.rewards.kind import log_loss
from holdfast.rewards.scalar import margin_of, scalar_kind
from holdfast.types import Pairs


def smoothed_bradley_terry(pairs: Pairs, *, label_smoothing: float = 0.1) -> Tensor:
    """Bound the margin that a label can ask for: of each label, a share e speaks for the other
    answer.

        cost = -(1 - e) log sigma(r_w - r_l) - e log sigma(r_l - r_w)
                (Szegedy et al. 2016, section 7, for two classes; as a reward's loss, Wang et al.
                2024, "Secrets of RLHF part II")

    Shape (N,), nats. It is Bradley-Terry at a `confidence` of 1 - e: minimal at r_w - r_l =
    log((1 - e) / e), which is 2.2 at e = 0.1. A row's own `confidence` p becomes p + e (1 - 2p).

    Args:
        label_smoothing: e, the share of labels that are taken to be wrong; 0 is bradley_terry

    Raises:
        OptionError: it is not in [0, 0.5).
    """
    check(
        "label_smoothing",
        label_smoothing,
        lambda: 0 <= label_smoothing < 0.5,
        "be at least 0 and below 0.5",
        hint="0.1 is usual; 0.5 says that labels carry nothing",
    )
    margin_N = margin_of(pairs)
    given_N = confidence.of(pairs)
    right_N = margin_N.new_ones(len(margin_N)) if given_N is None else given_N
    return log_loss(margin_N, right_N + label_smoothing * (1 - 2 * right_N))


METHOD = scalar_kind(
    smoothed_bradley_terry,
    Card(
        says="one score an answer, from smoothed labels",
        paper=Paper(
            "Secrets of RLHF in Large Language Models Part II: Reward Modeling",
            "Wang et al.",
            2024,
            "2401.06080",
        ),
        equation="(1 - e) softplus(-(r_w - r_l)) + e softplus(r_w - r_l)",
        tokens="none",
        at_reference=lambda **_: log(2),
        status="meets hand-worked numbers; e = 0 is bradley_terry",
    ),
)
