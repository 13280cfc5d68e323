"""Over-optimization: preferences labeled by a proxy that can be gamed.

World: the text world as an exact table, 24 prompts with 48 answers, of which six game the proxy at
2% of the reference's probability together; 400 comparisons of answers drawn from the reference,
labeled by Bradley-Terry on the proxy. The proxy is right about topic and tone, and pays for every
word and for a pet phrase without end; gold asks for 12 to 30 words, fresh ones, and an end. Each
method is fitted to its minimum over a grid of its own temperature. Its policy is read at the same
KL from the reference as every other's, by stretching the run that comes nearest, and where it has
earned a proxy reward of 8 (the reference has 5). Reported is gold, from 0 to 10.

Controls: DPO on labels by gold; DPO at the KL that gold itself would choose, which no one could do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from holdfast.inputs import samples
from holdfast.lab.claim import Claim, Measured
from holdfast.lab.fit import newton
from holdfast.lab.frontier import matched, stretched
from holdfast.lab.verdict import all_of, bounded, moves, separated
from holdfast.lab.worlds import gamed
from holdfast.lab.worlds.gamed import gamed as gamed_worlds
from holdfast.lab.worlds.gamed import gamed_W, judged_by
from holdfast.lab.worlds.loglinear import World, compare, cost_of, trained
from holdfast.lab.worlds.needs import further_for
from holdfast.methods import get

GOLD, PROXY, GAMED, EARNED = (
    "gold reward",
    "proxy reward",
    "probability of answers that game the proxy",
    "gold reward at proxy reward 8",
)
BETAS = (0.1, 0.2, 0.4, 0.8)
GRIDS: dict[str, tuple[str, list[dict[str, Any]]]] = {
    "dpo": ("dpo", [{"beta": b} for b in BETAS]),
    "ipo": ("ipo", [{"tau": t} for t in (0.03, 0.1, 0.3, 1.0)]),
    "kto": ("kto", [{"beta": b} for b in BETAS]),
    "rpo, eta 0.005": ("rpo", [{"beta": b, "eta": 0.005} for b in BETAS]),
    "rpo, eta 0.2": ("rpo", [{"beta": b, "eta": 0.2} for b in BETAS]),
    "hypo, weight 0.1": ("hypo", [{"beta": b, "weight": 0.1} for b in BETAS]),
    "simpo": ("simpo", [{"beta": b, "gamma": g} for b in (0.35, 0.7, 1.4) for g in (0.0, 1.0)]),
    "cpo": ("cpo", [{"beta": b, "alpha": a} for b in (0.25, 1.0) for a in (0.0, 1.0)]),
}
TRUE, CHOSEN = "dpo, labels by gold", "dpo, KL chosen by gold"
BUDGETS = (0.25, 0.5, 1.0, 2.0, 4.0)


@lru_cache(maxsize=2)
def fits(seeds: tuple[int, ...]) -> tuple[World, World, dict[str, list[Tensor]]]:
    """The worlds under gold and under the proxy, and every method's policies over its grid."""
    world, proxy_WSA = gamed_worlds(seeds)
    fooled = judged_by(world, proxy_WSA)
    drawn = world.reference_WSA.exp()
    data = compare(fooled, 400, sampling_WSA=drawn)
    runs = {
        arm: [_fit(world, data, name, settings) for settings in grid]
        for arm, (name, grid) in GRIDS.items()
    }
    honest = compare(world, 400, sampling_WSA=drawn)
    return (
        world,
        fooled,
        runs | {TRUE: [_fit(world, honest, "dpo", settings) for settings in GRIDS["dpo"][1]]},
    )


def _fit(world: World, data: Any, name: str, settings: dict[str, Any]) -> Tensor:
    method = get(name)
    if samples in method.card.needs:
        further = further_for(method, seed=world.seeds[0])
        return world.policy_WSA(
            trained(world, data, method, steps=250, rate=0.1, further=further, **settings)[0]
        )
    return world.policy_WSA(
        newton(cost_of(world, data, method, **settings), world.start_WD, steps=30).theta_WD
    )


def frontiers(seeds: Sequence[int], *, kl: float) -> Measured:
    world, fooled, runs = fits(tuple(seeds))
    found = {}
    for arm, policies in runs.items():
        at_kl = matched(world, policies, kl)
        quantities = {
            GOLD: world.reward_W(at_kl),
            PROXY: fooled.reward_W(at_kl),
            GAMED: gamed_W(at_kl),
            EARNED: _earned(world, fooled, at_kl),
        }
        found[arm] = {name: value_W.tolist() for name, value_W in quantities.items()}
    best_W = torch.stack(
        [world.reward_W(matched(world, runs["dpo"], budget)) for budget in BUDGETS]
    ).amax(0)
    return found | {CHOSEN: {GOLD: best_W.tolist()}}


def _earned(world: World, fooled: World, logp_WSA: Tensor, *, proxy: float = 8.0) -> Tensor:
    """Gold where the same direction has earned this much of the proxy. A policy that never does
    gives what it has at its farthest.
    """
    low_W = torch.full((len(world.seeds),), 0.0, dtype=torch.float64)
    high_W = torch.full_like(low_W, 12.0)
    for _ in range(24):
        middle_W = (low_W + high_W) / 2
        short_W = _each(world, logp_WSA, middle_W, fooled.reward_W) < proxy
        low_W, high_W = (
            torch.where(short_W, middle_W, low_W),
            torch.where(short_W, high_W, middle_W),
        )
    return _each(world, logp_WSA, low_W, world.reward_W)


def _each(
    world: World, logp_WSA: Tensor, budget_W: Tensor, value: Callable[[Tensor], Tensor]
) -> Tensor:
    parts = [
        stretched(world.only(w), logp_WSA[w : w + 1], float(budget_W[w]), halvings=40)
        for w in range(len(budget_W))
    ]
    return value(torch.cat(parts))


SHARED: dict[str, Any] = {
    "methods": ("dpo", "ipo", "kto", "rpo", "hypo", "simpo", "cpo"),
    "world": gamed,
    "measure": frontiers,
    "sweep": {"kl": (0.5, 1.0, 2.0, 4.0)},
    "seeds": range(12),
    "chunk": 12,
}
FAR = {"kl": (2.0, 4.0)}

CLAIMS = (
    Claim(
        says=(
            "As DPO moves from KL 0.5 to 1, 2 and 4 on labels by the proxy, the proxy rises "
            "at each step and gold falls at each step."
        ),
        of=GOLD,
        verdict=all_of(
            moves("dpo", PROXY, along="kl", up=True), moves("dpo", GOLD, along="kl", up=False)
        ),
        paper_number=(
            "of reward models, Gao et al. 2023 fit gold to d (a - b log d) at d = sqrt(KL): "
            "it rises, then falls"
        ),
        **SHARED,
    ),
    Claim(
        says="The control: on as many labels by gold, gold rises at each step.",
        of=GOLD,
        verdict=moves(TRUE, GOLD, along="kl", up=True),
        **SHARED,
    ),
    Claim(
        says="KTO resists: at KL 2 and 4 it has at least 0.5 more gold than DPO.",
        of=GOLD,
        verdict=separated("kto", "dpo", GOLD, by=0.5, at=FAR),
        notes=(
            "KTO's cost is not convex: fits start at the reference and may end in a local minimum."
        ),
        **SHARED,
    ),
    Claim(
        says=(
            "RPO with a strong pull to the chosen answers (eta 0.2) resists: at KL 2 and 4 it "
            "has at least 0.5 more gold than DPO."
        ),
        of=GOLD,
        verdict=separated("rpo, eta 0.2", "dpo", GOLD, by=0.5, at=FAR),
        **SHARED,
    ),
    Claim(
        says=(
            "RPO's usual pull (eta 0.005) is enough for that: at least 0.5 more gold than DPO "
            "at KL 2 and 4."
        ),
        of=GOLD,
        verdict=separated("rpo, eta 0.005", "dpo", GOLD, by=0.5, at=FAR),
        **SHARED,
    ),
    Claim(
        says=(
            "HyPO's penalty on the policy's own answers (weight 0.1) resists: at least 0.5 "
            "more gold than DPO at KL 2 and 4."
        ),
        of=GOLD,
        verdict=separated("hypo, weight 0.1", "dpo", GOLD, by=0.5, at=FAR),
        notes=(
            "At the same KL, so that its smaller distance at the same beta does not count for it."
        ),
        **SHARED,
    ),
    Claim(
        says=(
            "It is no matter of going less far: KTO and RPO (eta 0.2) at KL 2 have more gold "
            "than DPO at the KL that gold would choose."
        ),
        of=GOLD,
        verdict=all_of(
            *(separated(arm, CHOSEN, GOLD, at={"kl": 2.0}) for arm in ("kto", "rpo, eta 0.2"))
        ),
        **SHARED,
    ),
    Claim(
        says=(
            "Nor of earning less: where each has earned a proxy reward of 8, KTO and RPO (eta "
            "0.2) have at least 0.5 more gold than DPO."
        ),
        of=EARNED,
        verdict=all_of(
            *(
                separated(arm, "dpo", EARNED, by=0.5, at={"kl": 2.0})
                for arm in ("kto", "rpo, eta 0.2")
            )
        ),
        **SHARED,
    ),
    Claim(
        says="Objectives without a reference (SimPO, CPO) have less gold than DPO at KL 2.",
        of=GOLD,
        verdict=all_of(*(separated("dpo", arm, GOLD, at={"kl": 2.0}) for arm in ("simpo", "cpo"))),
        **SHARED,
    ),
    Claim(
        says="At KL 4 DPO gives more than 80% of its answers to the 2% that game the proxy.",
        of=GAMED,
        verdict=bounded("dpo", GAMED, low=0.8, at={"kl": 4.0}),
        **SHARED,
    ),
)
