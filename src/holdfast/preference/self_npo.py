"""Self-NPO: a weaker copy of a diffusion model, to guide away from."""

from __future__ import annotations

from math import inf

from torch import Tensor

from holdfast.card import AnswerMethod, Card, Paper, check, departures_of
from holdfast.reductions.averages import sequence_mean
from holdfast.reductions.mean import mean
from holdfast.types import Answers


def self_npo(answers: Answers, *, huber: float = 0.001) -> Tensor:
    """Train a model on its own generations, cut short after a few solver steps. What it loses that
    way is what guidance by a negative model then steers away from. No preference is needed.

    The frozen model takes a few deterministic steps down to x_t and estimates x_0 there; noise is
    added from x_t, not from the estimate, up to x_s, s > t; the copy is to give the same estimate:

        d = f_ref(x_t, t) - f_theta(x_s, s),  f(x, t) = (x - sigma_t eps(x, t)) / alpha_t
        cost = mean over dimensions of sqrt(d^2 + huber^2) - huber; of d^2 where huber is 0
               (Wang et al. 2025)

    Shape (N, T), T the dimensions of an image, averaged over them. The scorer gives -d^2 / 2 for
    each dimension (`holdfast.scorers.diffusion.truncated`). With an exact score and x_t from the
    true marginal the frozen model is the fixed point: what is learned comes from the errors of
    model and solver alone.

    Args:
        huber: where the cost turns from quadratic to linear, in units of the latents; 0.001 as
            released, 0 for the squared error

    Raises:
        OptionError: huber is negative or not finite.

    Departures:
        1. The teacher is the model before training, as in the paper; released code uses an
           exponential average of the copy, and starts from noised images of a data set.
        2. Of the paper only its abstract, its code and a description by others could be read.
    """
    check("huber", huber, 0 <= huber < inf, "be at least 0 and finite", hint="0.001 is usual")
    square_NT = (-2 * answers.answer.logp_NT).clamp(min=0)
    return (square_NT + huber**2).sqrt() - huber if huber else square_NT


METHOD = AnswerMethod(
    objective=self_npo,
    reduction=mean(),
    average=sequence_mean(),
    card=Card(
        says="a worse diffusion model to guide away from",
        paper=Paper(
            "Self-NPO: Data-Free Diffusion Model Enhancement via Truncated Diffusion Fine-Tuning",
            "Wang, Shui, Piao, Sun, Li",
            2025,
            "2505.11777",
            "AAAI 2026",
        ),
        equation="mean of sqrt(d^2 + huber^2) - huber, d = f_ref(x_t, t) - f_theta(x_s, s)",
        tokens="apart",
        departures=departures_of(self_npo),
        not_to_confuse_with=(
            "Diffusion-NPO, whose negative model is trained on preferences with labels swapped"
        ),
        status="meets a transcription of its formula",
    ),
)
