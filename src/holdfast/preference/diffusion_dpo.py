"""Diffusion-DPO: direct preference optimization of a diffusion model, on its denoising errors."""

from __future__ import annotations

from math import inf, log

import torch.nn.functional as F
from torch import Tensor

from holdfast.card import Card, Limit, PairMethod, Paper, check, departures_of
from holdfast.inputs import reference
from holdfast.reductions.mean import mean
from holdfast.types import Pairs


def diffusion_dpo(pairs: Pairs, *, beta: float = 5000.0) -> Tensor:
    """Denoise the preferred image better than the reference does, and the other one worse.

    The likelihood of an image is not to be had; its bound is a sum of denoising errors over noise
    levels, of which each step draws one. With m the squared error of the predicted noise, averaged
    over all dimensions of the image, at a timestep t and a noise that both images and both models
    share:

        D = (m_w - m_ref_w) - (m_l - m_ref_l)
        cost = softplus(beta / 2 D)          (Wallace et al. 2023, equation 14)

    Shape (N,), nats. An image's score is log p = -m / 2, the log-likelihood of the noise under a
    unit Gaussian, averaged over dimensions (`holdfast.scorers.diffusion`). So D / 2 = -h with h
    the log-ratio margin of `dpo`, and this is `dpo` at another scale of beta: every objective over
    pairs applies to images, at a beta some thousand times that of text.

    Args:
        beta: strength of the KL penalty; 2000 to 5000 for latents of Stable Diffusion, 20 to 500
            for points in the plane

    Raises:
        OptionError: beta is not above 0.
        NeedError: the pairs were scored without a reference.

    Departures:
        1. As in the released code and not as derived, timesteps are uniform, no weight depends on
           them, and errors are means over dimensions; beta absorbs the constants.
    """
    check("beta", beta, 0 < beta < inf, "be above 0 and finite", hint="5000 is usual")
    return F.softplus(-beta * pairs.margin_N)


METHOD = PairMethod(
    objective=diffusion_dpo,
    reduction=mean(),
    card=Card(
        says="DPO for diffusion models, on denoising errors",
        paper=Paper(
            "Diffusion Model Alignment Using Direct Preference Optimization",
            "Wallace, Dang, Rafailov, Zhou, Lou, Purushwalkam, Ermon, Xiong, Joty, Naik",
            2023,
            "2311.12908",
            "CVPR 2024",
        ),
        equation="softplus(beta / 2 [(m_w - m_ref_w) - (m_l - m_ref_l)]) = softplus(-beta h)",
        tokens="sum",
        needs=(reference,),
        departures=departures_of(diffusion_dpo),
        limits=(Limit(at={"beta": 0.1}, gives="dpo", other_at={"beta": 0.1}),),
        at_reference=lambda **_: log(2),
        not_to_confuse_with=("the loss of Diffusion-NPO, which has beta in the place of beta / 2"),
        status="meets the formula of diffusers' example script, loss and gradient",
    ),
)
