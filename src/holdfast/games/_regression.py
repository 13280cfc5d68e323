"""What the policy objectives of mirror steps share: a target for log pi(chosen) - log
pi(rejected).
"""

from __future__ import annotations

from math import inf

from torch import Tensor

from holdfast.card import check
from holdfast.inputs import earlier_gap
from holdfast.types import Pairs

ROUNDING = 1e-12  # of eta * beta where eta is itself 1 / beta


def miss(pairs: Pairs, gain_N: Tensor, *, anchor: float) -> Tensor:
    """log pi(w) - log pi(l), less (1 - anchor) times the earlier policy's, less anchor times the
    reference's, less `gain_N`.

    The normalizers of all policies cancel in such gaps, which is why pairs can do what a table does
    with partition functions.
    """
    earlier_N = earlier_gap(pairs)
    margin_N = pairs.margin_N  # asks for the reference
    earlier_margin_N = earlier_N.detach().to(margin_N) - (
        pairs.chosen.ref_logp_N - pairs.rejected.ref_logp_N
    )
    return margin_N - (1 - anchor) * earlier_margin_N - gain_N


def win_gap(win_N2: Tensor, like: Tensor) -> Tensor:
    """g(w) - g(l): how much oftener the chosen answer wins against the opponent. Never carries a
    gradient.
    """
    win_N2 = win_N2.detach().to(like)
    return win_N2[:, 0] - win_N2[:, 1]


def check_step(eta: float, beta: float) -> None:
    """Step and strength of the KL term; their product is the weight of the reference, which is at
    most 1.
    """
    check(
        "eta",
        eta,
        lambda: 0 < eta < inf,
        "be above 0 and finite",
        hint="10 is a start: win rates that differ by 0.5 are 5 nats apart",
    )
    check(
        "beta",
        beta,
        lambda: 0 <= beta < inf,
        "be at least 0 and finite",
        hint="0.01 is a start, 0 plays without a reference",
    )
    check(
        "beta",
        beta,
        lambda: eta * beta <= 1 + ROUNDING,
        f"be at most 1 / eta, which is {1 / eta:g}",
        hint="a smaller eta, or a smaller beta",
    )
