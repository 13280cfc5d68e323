"""LN-DPO: dividing log-ratios by length.

World: answers of tokens drawn alike, six types of known quality, mean length 10, 1,500 pairs; the
rater prefers by Bradley-Terry on 4 times the mean quality plus kappa times the length; gold is the
mean quality alone. Each method is trained for 150 steps of Adam at 0.04 over a grid of its
temperature, answers cut at 60 tokens. Compared are gold and length at a sequence KL of 2.5 nats,
read between the grid's runs, and the spread of gold over the whole grid.

Control: LN-DPO with each pair's lengths taken from another pair.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from holdfast.lab.claim import Claim, Measured
from holdfast.lab.fit import adam
from holdfast.lab.frontier import at_kl
from holdfast.lab.verdict import all_of, multiple, separated
from holdfast.lab.worlds import unigram
from holdfast.lab.worlds.unigram import comparisons, gold_W, kl_W, length_W, pairs, start_WD
from holdfast.methods import get
from holdfast.types import Pairs, Scored

GOLD, LENGTH, WORST = "gold at KL 2.5", "length at KL 2.5", "gold in the worst quarter of the grid"
BUDGET = 2.5
GRIDS: dict[str, list[dict[str, float]]] = {
    "dpo": [{"beta": b} for b in (0.05, 0.1, 0.2, 0.4, 0.7, 1.0, 2.0)],
    "ln_dpo": [{"beta": b} for b in (1.0, 2.0, 3.5, 5.0, 7.0, 10.0, 20.0)],
    "simpo": [{"beta": b, "gamma": g * b} for b in (2.5, 5.0, 10.0) for g in (0.0, 0.25, 0.5)],
}


def shuffled(batch: Pairs) -> Pairs:
    """Each answer's length taken from the next row: sums stay, only what they are divided by
    changes.
    """

    def other(s: Scored) -> Scored:
        return Scored(s.logp_NT, s.mask_NT.roll(1, 0), s.ref_logp_NT)

    return replace(batch, chosen=other(batch.chosen), rejected=other(batch.rejected))


def frontiers(seeds: Sequence[int], *, kappa: float) -> Measured:
    chosen, rejected = comparisons(seeds, 1500, kappa=kappa)
    start = start_WD(len(seeds))
    found = {}
    for arm, name in (
        ("dpo", "dpo"),
        ("ln_dpo", "ln_dpo"),
        ("ln_dpo, lengths shuffled", "ln_dpo"),
        ("simpo", "simpo"),
    ):
        runs = []
        for settings in GRIDS[name]:

            def cost(
                theta_WD: torch.Tensor,
                name: str = name,
                arm: str = arm,
                settings: dict[str, float] = settings,
            ) -> torch.Tensor:
                batch = pairs(chosen, rejected, theta_WD)
                batch = shuffled(batch) if "shuffled" in arm else batch
                return get(name).objective(batch, **settings).view(len(theta_WD), -1).mean(-1)

            runs.append(adam(cost, start, steps=150, rate=0.04, fade=False).theta_WD)
        kl_GW, gold_GW, long_GW = (
            np.stack([of(run).numpy() for run in runs]) for of in (kl_W, gold_W, length_W)
        )
        begin = float(gold_W(start)[0]), float(length_W(start)[0])
        worst_W = np.quantile(gold_GW, 0.25, axis=0)
        found[arm] = {
            GOLD: [
                at_kl(kl, gold, BUDGET, at_reference=begin[0])
                for kl, gold in zip(kl_GW.T, gold_GW.T, strict=True)
            ],
            LENGTH: [
                at_kl(kl, long, BUDGET, at_reference=begin[1])
                for kl, long in zip(kl_GW.T, long_GW.T, strict=True)
            ],
            WORST: worst_W.tolist(),
        }
    return found


SHARED: dict[str, Any] = {
    "methods": ("dpo", "ln_dpo", "simpo"),
    "world": unigram,
    "measure": frontiers,
    "sweep": {"kappa": (0.0, 0.1)},
    "seeds": range(8),
    "chunk": 4,
}

CLAIMS = (
    Claim(
        says=(
            "At the same KL LN-DPO has more than twice the gold of DPO when the rater likes "
            "length, and more without such a rater."
        ),
        of=GOLD,
        verdict=all_of(
            separated("ln_dpo", "dpo", GOLD, at={"kappa": 0.0}),
            multiple("ln_dpo", "dpo", GOLD, times=2, at={"kappa": 0.1}),
        ),
        paper_number=(
            "LN-DPO gives shorter answers, lower KL and less variance than DPO; at their best "
            "settings methods are close"
        ),
        **SHARED,
    ),
    Claim(
        says="At the same KL LN-DPO's answers are shorter than DPO's.",
        of=LENGTH,
        verdict=separated("ln_dpo", "dpo", LENGTH, lower=True),
        paper_number="shorter answers than DPO",
        **SHARED,
    ),
    Claim(
        says=(
            "It is the lengths that do it: with lengths of other pairs LN-DPO has less gold "
            "at the same KL."
        ),
        of=GOLD,
        verdict=separated("ln_dpo", "ln_dpo, lengths shuffled", GOLD),
        **SHARED,
    ),
    Claim(
        says=(
            "LN-DPO forgives a wrong setting more than DPO does: more gold in the worst "
            "quarter of its grid."
        ),
        of=WORST,
        verdict=separated("ln_dpo", "dpo", WORST),
        paper_number="away from the best setting methods differ widely, and LN-DPO varies less",
        notes="Grids are of equal size and span, but whose grid is fairer is a matter of taste.",
        **SHARED,
    ),
    Claim(
        says="At the same KL SimPO has no more gold than LN-DPO.",
        of=GOLD,
        verdict=separated("ln_dpo", "simpo", GOLD, by=-0.02),
        paper_number="SimPO is a strong default",
        notes=(
            "The reference is uniform over token types, where SimPO without a margin nearly "
            "is LN-DPO. A lead of up to 0.02 counts "
            "as none."
        ),
        **SHARED,
    ),
)
