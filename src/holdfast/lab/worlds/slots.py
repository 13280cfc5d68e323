"""Texts of which only a few tokens matter, and it is known which: bigram policies over twelve
tokens, answers of sixteen.

A marker is followed by a slot, where the reference says a polite or a toxic token with equal
chance; nowhere else can it say either. Gold is the number of polite tokens less that of toxic ones.
A policy is a table of logits, a row for each previous token (and one for the beginning); a mask of
tokens has one number for each previous token, so the right mask is 1 after the marker and 0
elsewhere.

Axes: W worlds, P previous tokens, V tokens, N pairs, T places.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from scipy.special import expit
from torch import Tensor

from holdfast.types import Pairs, Scored

TOKENS, LENGTH = 12, 16
MARKER, POLITE, TOXIC, START = 9, 10, 11, 12
NEVER = -30.0  # logit of what the reference does not say


@dataclass(frozen=True)
class World:
    """W worlds: their references, and N pairs of answers each."""

    reference_WPV: Tensor  # log-probabilities
    chosen_WNT: Tensor
    rejected_WNT: Tensor

    @property
    def start_WD(self) -> Tensor:
        """Offsets of the reference's logits, all 0."""
        return torch.zeros(len(self.reference_WPV), (TOKENS + 1) * TOKENS, dtype=torch.float64)

    def policy_WPV(self, theta_WD: Tensor) -> Tensor:
        return (self.reference_WPV + theta_WD.view(len(theta_WD), TOKENS + 1, TOKENS)).log_softmax(
            -1
        )

    def divergence_WP(self, logp_WPV: Tensor) -> Tensor:
        """KL(pi_ref || pi) after each previous token."""
        return (self.reference_WPV.exp() * (self.reference_WPV - logp_WPV)).sum(-1)

    def pairs(self, theta_WD: Tensor, mask_WPK: Tensor) -> Pairs:
        """All worlds' pairs in one batch, world by world, with the divergence and the masks at
        every token.
        """
        logp_WPV = self.policy_WPV(theta_WD)
        kl_WP = self.divergence_WP(logp_WPV)
        chosen, rejected = (self._scored(side, logp_WPV, kl_WP, mask_WPK) for side in self.places)
        return Pairs(chosen, rejected)

    @cached_property
    def places(self) -> list[tuple[Tensor, Tensor, Tensor]]:
        """Of chosen and rejected: the token before each token, both as one index into a table, and
        what the reference says of it.
        """
        found = []
        for ids_WNT in (self.chosen_WNT, self.rejected_WNT):
            before_WNT = torch.cat(
                [torch.full_like(ids_WNT[..., :1], START), ids_WNT[..., :-1]], -1
            )
            both = (before_WNT * TOKENS + ids_WNT).flatten(1)
            found.append(
                (
                    before_WNT.flatten(1),
                    both,
                    self.reference_WPV.flatten(1).gather(1, both).view(-1, LENGTH),
                )
            )
        return found

    def _scored(
        self, side: tuple[Tensor, Tensor, Tensor], logp_WPV: Tensor, kl_WP: Tensor, mask_WPK: Tensor
    ) -> Scored:
        before, both, reference_NT = side
        logp_NT, kl_NT = (
            logp_WPV.flatten(1).gather(1, both).view(-1, LENGTH),
            kl_WP.gather(1, before).view(-1, LENGTH),
        )
        masks = [mask_WP.gather(1, before).view(-1, LENGTH) for mask_WP in mask_WPK.unbind(-1)]
        return Scored(
            logp_NT,
            torch.ones_like(reference_NT),
            reference_NT,
            kl_NT,
            head_NTK=torch.stack(masks, -1),
        )

    def visits_WP(self, logp_WPV: Tensor) -> Tensor:
        """How often each previous token is expected in an answer of the policy."""
        at_WP = torch.zeros(logp_WPV.shape[:2], dtype=torch.float64)
        at_WP[:, START] = 1
        visits_WP = torch.zeros_like(at_WP)
        for _ in range(LENGTH):
            visits_WP = visits_WP + at_WP
            at_WP = torch.nn.functional.pad(
                torch.einsum("wp,wpv->wv", at_WP, logp_WPV.exp()), (0, 1)
            )
        return visits_WP

    def gold_W(self, logp_WPV: Tensor) -> Tensor:
        """Expected polite tokens less toxic ones, exact."""
        said_WV = torch.einsum("wp,wpv->wv", self.visits_WP(logp_WPV), logp_WPV.exp())
        return said_WV[:, POLITE] - said_WV[:, TOXIC]

    def kl_outside_W(self, logp_WPV: Tensor) -> Tensor:
        """KL(pi || pi_ref) of whole answers that is spent anywhere but in slots, exact, nats."""
        spent_WP = (logp_WPV.exp() * (logp_WPV - self.reference_WPV)).sum(-1) * self.visits_WP(
            logp_WPV
        )
        return spent_WP.sum(-1) - spent_WP[:, MARKER]


def slots(seeds: Sequence[int], n: int) -> World:
    """References with logits N(0, 1/4), and n pairs of their answers each; the winner by
    Bradley-Terry on gold.
    """
    references, chosen, rejected = [], [], []
    for seed in seeds:
        rng = np.random.default_rng([seed, 41])
        logits_PV = 0.5 * rng.standard_normal((TOKENS + 1, TOKENS))
        logits_PV[:, [POLITE, TOXIC]] = NEVER
        logits_PV[MARKER] = NEVER
        logits_PV[MARKER, [POLITE, TOXIC]] = 0.0
        reference_PV = torch.from_numpy(logits_PV).log_softmax(-1)
        first_NT, second_NT = (_answers(rng, reference_PV.exp().numpy(), n) for _ in range(2))
        won_N = rng.random(n) < expit(_gold(first_NT) - _gold(second_NT))
        references.append(reference_PV)
        chosen.append(np.where(won_N[:, None], first_NT, second_NT))
        rejected.append(np.where(won_N[:, None], second_NT, first_NT))
    return World(
        torch.stack(references),
        torch.from_numpy(np.stack(chosen)),
        torch.from_numpy(np.stack(rejected)),
    )


def _answers(rng: np.random.Generator, p_PV: np.ndarray, n: int) -> np.ndarray:
    edges_PV = p_PV.cumsum(-1)
    edges_PV[:, -1] = 1.0
    before_N, said = np.full(n, START), []
    for _ in range(LENGTH):
        before_N = (rng.random(n)[:, None] >= edges_PV[before_N]).sum(-1)
        said.append(before_N)
    return np.stack(said, -1)


def _gold(ids_NT: np.ndarray) -> np.ndarray:
    return (ids_NT == POLITE).sum(-1) - (ids_NT == TOXIC).sum(-1)
