"""How the log-linear world meets what a method asks for beside two answers: exactly, since it knows
its own reward and its own policy.

    reward_gap   the gold reward's own difference, r(chosen) - r(rejected), after any flip: negative
                 where the label is wrong
    group        prompts belong to four groups
    samples      two answers a row, drawn from the policy as it is at that step
    revision     a reviser beside the policy, log-linear in the answer it writes and in its products
                 with the answer it is shown

What is left no table can give: reasons in words, anything of single tokens, or what an earlier
policy or an opponent said.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from holdfast.card import Method
from holdfast.errors import NeedError
from holdfast.inputs import group, label, mismatched, reference, revision, reward_gap, samples
from holdfast.inputs.base import Input
from holdfast.inputs.prompts import revised
from holdfast.lab.worlds.loglinear import Further, Labels, World, at, scored
from holdfast.types import Scored

GROUPS = 4
ALWAYS = (reference, label, mismatched, group, reward_gap)


def told(world: World, labels: Labels) -> Labels:
    """The labels with everything that the world knows of a comparison: gold reward gap and
    group.
    """
    reward_WN = [
        at(world.reward_WSA, labels.prompt_WN, answer_WN)
        for answer_WN in (labels.chosen_WN, labels.rejected_WN)
    ]
    return replace(
        labels, reward_gap_WN=reward_WN[0] - reward_WN[1], group_WN=labels.prompt_WN % GROUPS
    )


def further_for(method: Method, seed: int) -> Further | None:
    """Whoever scores what the method asks for beside the answers compared; None where it asks for
    nothing.

    Raises:
        NeedError: a table cannot have it.
    """
    asked = [need for need in method.card.needs if need not in ALWAYS]
    for need in asked:
        if need not in FURTHER:
            raise NeedError(
                need.name,
                f"{method.name} needs {need.name}: {need.says}; the log-linear world has "
                "none: its answers are symbols, not words",
                hint=(
                    "stress it on rows that have it: your own, or --data text-world for "
                    "reasons in words"
                ),
            )
    return FURTHER[asked[0]](seed) if asked else None


@dataclass
class Samples:
    """Two answers of the policy's own for each row, new at every step."""

    seed: int
    dice: torch.Generator = field(init=False)

    def __post_init__(self) -> None:
        self.dice = torch.Generator().manual_seed(self.seed)

    def parameters(self, features: int) -> int:
        return 0

    def score(
        self, world: World, labels: Labels, logp_1SA: Tensor, theta_1E: Tensor
    ) -> Mapping[str, Scored]:
        chance_NA = logp_1SA[0].detach().exp()[labels.prompt_WN[0]]
        drawn_N2 = torch.multinomial(chance_NA, 2, replacement=True, generator=self.dice)
        return {
            name: scored(world, logp_1SA, labels.prompt_WN, drawn_N2[None, :, i])
            for i, name in enumerate(samples.branches)
        }


@dataclass
class Revisions:
    """log pi'(b | a, s) = log pi_ref(b | s) + u . phi(s, b) + phi(s, b) M phi(s, a) - log Z: D + D
    D parameters.
    """

    seed: int

    def parameters(self, features: int) -> int:
        return features + features**2

    def score(
        self, world: World, labels: Labels, logp_1SA: Tensor, theta_1E: Tensor
    ) -> Mapping[str, Scored]:
        phi_SAD, prompt_N = world.features_WSAD[0], labels.prompt_WN[0]
        d = phi_SAD.shape[-1]
        u_D, m_DD = theta_1E[0, :d], theta_1E[0, d:].view(d, d)
        bend_SAD = (
            u_D + phi_SAD @ m_DD.T
        )  # of each shown answer: what it makes of the features of the next
        logp_SAA = (world.reference_WSA[0][:, None] + bend_SAD @ phi_SAD.mT).log_softmax(
            -1
        )  # [s, shown, written]
        sides = {"chosen": labels.chosen_WN[0], "rejected": labels.rejected_WN[0]}

        def one(shown: str, written: str) -> Scored:
            logp_N1 = logp_SAA[prompt_N, sides[shown], sides[written]][:, None]
            return Scored(
                logp_N1,
                torch.ones_like(logp_N1).detach(),
                world.reference_WSA[0][prompt_N, sides[written]][:, None],
            )

        return {
            revised(written, shown): one(shown, written) for shown in sides for written in sides
        }


FURTHER: Mapping[Input, Callable[[int], Further]] = {samples: Samples, revision: Revisions}
