"""The worst group, when tastes are opposed: group-robust averaging of DPO's costs against the plain
mean.

World: 64 prompts with 10 answers, features in R^8; two groups whose linear rewards share one
direction of length 1 and dispute another of length 1; the majority gives 80% of 2,000 labels.
Uniform reference, beta 1. A group's regret is its own E r - KL at its own best policy minus that
under the one policy both must live with: exact.

Arms: the plain mean; the reduction `groups` (online group DRO) run for 400 steps of full batches;
and the control that a skeptic asks for, each group weighed the same by hand (`groups` at step 0).
In the second world the groups agree, and 30% of the minority's labels are flipped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from holdfast.lab.claim import Claim, Measured
from holdfast.lab.fit import newton
from holdfast.lab.verdict import equivalent, separated
from holdfast.lab.worlds import opposed_groups as tastes
from holdfast.lab.worlds.loglinear import Labels, World, compare, cost_of, flip_uniform, trained
from holdfast.lab.worlds.opposed_groups import polled, regrets_W, two_tastes
from holdfast.methods import get
from holdfast.reductions import groups

WORST, MEAN, GAP = "regret of the worse-off group", "mean regret over people", "gap to the optimum"
SHARE = 0.8


def robust(world: World, data: Labels, step: float, steps: int) -> torch.Tensor:
    """theta of DPO under the groups reduction."""
    return trained(
        world,
        data,
        get("dpo"),
        reduction=groups(k=2, step=step),
        steps=steps,
        rate=0.05,
        beta=world.beta,
    )[0]


def opposed(seeds: Sequence[int]) -> Measured:
    worlds = two_tastes(seeds)
    data = polled(worlds, 2000, SHARE)
    plain_WD = newton(cost_of(worlds[0], data, get("dpo"), beta=1.0), worlds[0].start_WD).theta_WD
    found = {}
    for arm, theta_WD in (
        ("mean", plain_WD),
        ("groups", robust(worlds[0], data, 0.5, 400)),
        ("groups of equal weight", robust(worlds[0], data, 0.0, 150)),
    ):
        regret = regrets_W(worlds, worlds[0].policy_WSA(theta_WD))
        mean_W = SHARE * regret[0] + (1 - SHARE) * regret[1]
        found[arm] = {WORST: torch.maximum(*regret).tolist(), MEAN: mean_W.tolist()}
    return found


def noisy(seeds: Sequence[int]) -> Measured:
    world = two_tastes(seeds, dispute=0.0)[0]
    cut = round(2000 * SHARE)
    clean = compare(world, 2000)
    turned = flip_uniform(world, clean, 0.3)
    minority_N = torch.arange(2000) >= cut
    data = replace(
        clean.turned((turned.wrong_WN) & minority_N),
        group_WN=minority_N.long().expand(len(seeds), 2000),
    )
    plain_WD = newton(cost_of(world, data, get("dpo"), beta=1.0), world.start_WD).theta_WD
    arms = {"mean": plain_WD, "groups": robust(world, data, 0.5, 400)}
    return {
        arm: {GAP: world.gap_W(world.policy_WSA(theta_WD)).tolist()}
        for arm, theta_WD in arms.items()
    }


SHARED: dict[str, Any] = {"methods": ("dpo",), "world": tastes, "seeds": range(12), "chunk": 6}
PAPER = (
    "group-robust preference optimization lowers the worst group's loss and its gaps "
    "between groups on opinion data"
)

CLAIMS = (
    Claim(
        says=(
            "With opposed tastes the `groups` reduction leaves the worse-off group less "
            "regret than the plain mean."
        ),
        measure=opposed,
        of=WORST,
        verdict=separated("groups", "mean", WORST, lower=True),
        paper_number=PAPER,
        **SHARED,
    ),
    Claim(
        says=(
            "People on average pay for it: the mean regret under `groups` is higher than "
            "under the plain mean."
        ),
        measure=opposed,
        of=MEAN,
        verdict=separated("mean", "groups", MEAN, lower=True),
        **SHARED,
    ),
    Claim(
        says=(
            "The adversary earns its keep: the worse-off group has less regret than if both "
            "groups are weighed the same by hand."
        ),
        measure=opposed,
        of=WORST,
        verdict=separated("groups", "groups of equal weight", WORST, lower=True),
        **SHARED,
    ),
    Claim(
        says=(
            "`groups` is harmless where the groups agree and 30% of the minority's labels are "
            "flipped: within 0.01 of the plain "
            "mean's gap."
        ),
        measure=noisy,
        of=GAP,
        verdict=equivalent("groups", "mean", GAP, within=0.01),
        notes=(
            "The adversary cannot tell a group that is served badly from one that is labeled badly."
        ),
        **SHARED,
    ),
)
