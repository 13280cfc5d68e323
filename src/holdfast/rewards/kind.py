"""What a kind of reward model is: how wide its head is, what two outputs say of a pair, and what a
pair costs.

A reward model reads a prompt with an answer and puts out H numbers. They flow as a `Scored` does,
so that the training loop need not know: `logp_NT` holds the outputs, T = H, in the unit of the
head, and the mask is all ones. A kind that also looks at the prompt alone (a gate) finds the
outputs at the prompt's end under `extra["prompt"]`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from holdfast.card import PairMethod
from holdfast.types import Pairs

PROMPT = "prompt"  # the branch that ends where the prompt does


@dataclass(frozen=True)
class OfItems:
    """A kind of items that meet more than once and have no text.

    Attributes:
        score: `score(first_NH, second_NH) -> logit_N`, the log-odds that the first item is
            preferred.
        width: `width(dim)`, how many free numbers an item has; the first is a strength.
        outputs: `outputs(free_AF) -> output_AH`, what `score` takes.
    """

    score: Callable[[Tensor, Tensor], Tensor]
    width: Callable[[int], int]
    outputs: Callable[[Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class RewardMethod(PairMethod):
    """A kind of reward model. Its objective, reduction and card are those of any pairwise method;
    the rest is what makes it a model.

    Attributes:
        width: `width(**settings)`, how many outputs the head has.
        score: `score(first_NH, second_NH, prompt_NH, **settings) -> logit_N`, the log-odds that the
            first answer is preferred.
        items: the same of items that have no text; None for a kind that differs from another one
            in its cost alone, which `fit_items` does not read.
        reads_prompt: whether `score` wants the outputs at the prompt's end; None is passed
            otherwise.
        scalar: whether one number an answer says it all, so that the model is a reward and not only
            a judge of pairs.
    """

    width: Callable[..., int]
    score: Callable[..., Tensor]
    items: OfItems | None = None
    reads_prompt: bool = False
    scalar: bool = False


def heads(pairs: Pairs) -> tuple[Tensor, Tensor, Tensor | None]:
    """(chosen_NH, rejected_NH, prompt_NH or None) of pairs that a reward model scored."""
    prompt = pairs.extra.get(PROMPT)
    return pairs.chosen.logp_NT, pairs.rejected.logp_NT, None if prompt is None else prompt.logp_NT


def log_loss(logit_N: Tensor, confidence_N: Tensor | None) -> Tensor:
    """-[p log sigma(s) + (1 - p) log sigma(-s)] with p the confidence that the label is right, 1
    where rows have none. Shape (N,), nats.
    """
    cost_N = F.softplus(-logit_N)
    return cost_N if confidence_N is None else cost_N + (1 - confidence_N) * logit_N
