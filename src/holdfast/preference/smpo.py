"""SmPO: Diffusion-DPO whose labels are smoothed by a reward model."""

from __future__ import annotations

from math import inf, log

import torch
import torch.nn.functional as F
from torch import Tensor

from holdfast.card import Card, PairMethod, Paper, check, departures_of
from holdfast.inputs import reference, reward_gap
from holdfast.reductions.mean import mean
from holdfast.types import Pairs


def smpo(
    pairs: Pairs, *, beta: float = 2000.0, gamma: float = 10.0, reward_range: float = 1.0
) -> Tensor:
    """Push a pair as far as a reward model tells its images apart, whatever its label says.

    The label is smoothed: p = sigma(gap / reward_range) is the probability that the first image is
    the better one, and geometric averages of both images' likelihoods with weights gamma p and
    gamma (1 - p) take the place of winner and loser. In the loss that multiplies the margin:

        W = gamma (2 p - 1) = gamma tanh(gap / (2 reward_range))
        cost = softplus(-beta W h)          (Lu et al. 2025)

    with h the log-ratio margin of `dpo` and gap = r(chosen) - r(rejected). Shape (N,), nats. The
    cost of a pair is the same when its label is turned: labels are not read. At gap 0 it is log 2
    and has no gradient. |W| is at most gamma tanh(1/2) = 0.46 gamma where gaps are within the
    range. W rescales beta: **compare it with `diffusion_dpo` at equal drift**.

    Args:
        beta: strength of the KL penalty; 2000 for Stable Diffusion 1.5, 5000 for SDXL, 20 to 500
            for points in the plane
        gamma: how sensitive labels are to the reward; 1 to 20, usually 10
        reward_range: greatest reward less least reward over the data, which divides the gap; 1 for
            rewards scaled to [0, 1]

    Raises:
        OptionError: beta, gamma or reward_range is not above 0.
        NeedError: the pairs were scored without a reference, or carry no reward gap.

    Departures:
        1. Pairs are not sorted by the reward: the cost does not depend on the order.
        2. Latents by inversion are a choice of the scorer (`latents="inversion"`, the default of
           `holdfast train smpo`), not of the objective, so that each can be had without the other.
        3. Of the paper only its abstract, its code and a description by others could be read.
    """
    check("beta", beta, 0 < beta < inf, "be above 0 and finite", hint="2000 is usual")
    check("gamma", gamma, 0 < gamma < inf, "be above 0 and finite", hint="10 is usual")
    check(
        "reward_range",
        reward_range,
        0 < reward_range < inf,
        "be above 0 and finite",
        hint="greatest reward less least reward",
    )
    weight_N = gamma * torch.tanh(reward_gap(pairs) / (2 * reward_range))
    return F.softplus(-beta * weight_N * pairs.margin_N)


METHOD = PairMethod(
    objective=smpo,
    reduction=mean(),
    card=Card(
        says="diffusion DPO, labels smoothed by a reward model",
        paper=Paper(
            "Smoothed Preference Optimization via ReNoise Inversion for Aligning Diffusion Models "
            "with Varied Human Preferences",
            "Lu, Wang, Cao, Xu, Xu, Zhang",
            2025,
            "2506.02698",
            "ICML 2025",
        ),
        equation="softplus(-beta gamma tanh(gap / (2 reward_range)) h)",
        tokens="sum",
        needs=(reference, reward_gap),
        departures=departures_of(smpo),
        at_reference=lambda **_: log(2),
        not_to_confuse_with="`madpo`, which weighs the cost of a pair, not its margin",
        status="meets hand-worked values and a transcription of the released code's formula",
    ),
)
