"""The stress test on exact tables: the log-linear world, where every fitted policy has an exact gap
to the optimum.

Each method is shown twice: at the world's beta, and with the best beta there is. What falls only at
the world's beta went a wrong distance; what falls with the best beta too went in a wrong direction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from holdfast.card import settings_of
from holdfast.errors import DataError
from holdfast.lab.fit import newton
from holdfast.lab.stress.arms import Arm
from holdfast.lab.stress.result import Score
from holdfast.lab.worlds.loglinear import (
    FLIPS,
    Labels,
    World,
    compare,
    cost_of,
    flip_by_rater,
    generators,
    log_linear,
    trained,
)
from holdfast.lab.worlds.needs import GROUPS, further_for, told
from holdfast.parallel import Work
from holdfast.stats.seeds import over_seeds
from holdfast.training.settings import read_reduction

LABELS, RATERS = 2000, 4
MEASURE = "minus the gap to the optimum, nats"
# Of the arm whose log-ratios are stretched by the best constant, chosen by the gap itself: the most
# that tuning could give.
STRETCHED = ", best beta"
SCALES = torch.logspace(-1, 1, 81, dtype=torch.float64)
KINKED = (
    "slic",
    # its cost has no curvature that Newton could use; nor have averages other than the mean, or not
    # everywhere
)


@dataclass(frozen=True)
class WorldPlan:
    """64 prompts with 10 answers, features in R^8, a linear reward of norm 1.5, a uniform
    reference, 2,000 Bradley-Terry labels. What else a method asks for the world gives exactly, as
    `worlds.needs` says."""

    seeds: int
    beta: float | None = None
    measure: str = MEASURE

    def work(self, flaw: str, rate: float, arm: Arm) -> list[Work]:
        further_for(arm.method, seed=0)  # refused before anything runs
        return [
            Work(
                f"{arm.label}, {flaw} {rate:g}",
                gaps,
                {
                    "flaw": flaw,
                    "rate": rate,
                    "arm": arm,
                    "seeds": self.seeds,
                    "beta": self.beta or 1.0,
                },
            )
        ]

    def scores(self, work: Sequence[Work], results: Sequence[Mapping[str, Any]]) -> list[Score]:
        out = []
        for piece, found in zip(work, results, strict=True):
            k = piece.keywords
            for name, label in (("gap", k["arm"].label), ("best", f"{k['arm'].label}{STRETCHED}")):
                values = tuple(-gap for gap in found[name])
                seeds = over_seeds(values) if len(values) > 1 else None
                chance = -sum(found["start"]) / len(found["start"])
                out.append(
                    Score(
                        k["flaw"],
                        k["rate"],
                        label,
                        values,
                        seeds,
                        None,
                        realized=found["realized"],
                        chance=chance,
                    )
                )
        return out

    def facts(self) -> dict[str, Any]:
        told = (
            "what the world knows: the gold reward gap, groups of prompts, and fresh answers "
            "of the policy"
        )
        return {
            "data": "the log-linear world",
            "labels": LABELS,
            "seeds": self.seeds,
            "beta": self.beta or 1.0,
            "needs are met by": told,
        }


def gaps(*, flaw: str, rate: float, arm: Arm, seeds: int, beta: float) -> dict[str, Any]:
    """The gap of one method in `seeds` worlds."""
    world = log_linear(range(seeds))
    data = told(world, plant(world, compare(world, LABELS), flaw, rate))
    own = settings_of(arm.method.objective)
    settings: dict[str, Any] = {**({"beta": beta} if "beta" in own else {}), **arm.told(rate)}
    raters = 1 if data.rater_WN is None else RATERS
    reduction, further = (
        read_reduction(arm.reduction, arm.method, GROUPS),
        further_for(arm.method, seed=0),
    )
    if (
        further is not None
        or arm.method.state is not None
        or not reduction.linear
        or arm.name in KINKED
    ):
        theta_WD, _ = trained(
            world,
            data,
            arm.method,
            steps=300,
            rate=0.1,
            raters=raters,
            reduction=reduction,
            further=further,
            **settings,
        )
    else:
        theta_WD = newton(cost_of(world, data, arm.method, **settings), world.start_WD).theta_WD
    logp_WSA = world.policy_WSA(theta_WD)
    ratio_WSA = logp_WSA - world.reference_WSA
    stretched_CW = torch.stack(
        [world.gap_W((world.reference_WSA + c * ratio_WSA).log_softmax(-1)) for c in SCALES]
    )
    realized = float(data.wrong_WN.double().mean())
    start = world.gap_W(world.reference_WSA).tolist()
    return {
        "gap": world.gap_W(logp_WSA).tolist(),
        "start": start,
        "best": stretched_CW.amin(0).tolist(),
        "realized": realized,
    }


def plant(world: World, labels: Labels, flaw: str, rate: float) -> Labels:
    if flaw in FLIPS:
        return FLIPS[flaw](world, labels, rate)
    if (
        flaw == "rater"
    ):  # four raters, from one who never errs to one who errs twice as often as the mean
        return flip_by_rater(
            world, labels, [min(1.0, 2 * rate * k / (RATERS - 1)) for k in range(RATERS)]
        )
    if flaw == "cycles":
        return cyclic(world, labels, rate)
    raise DataError(
        f"the world cannot plant {flaw!r}", hint="uniform, length, group, rater or cycles"
    )


def cyclic(world: World, labels: Labels, rate: float) -> Labels:
    """In a share `rate` of the prompts preferences are cyclic: an answer beats the half of the
    others that follow it, nine times in ten."""
    prompts, answers = world.reward_WSA.shape[1:]
    rngs = generators(world.seeds, "cycles")
    struck_WS = torch.stack([torch.from_numpy(rng.random(prompts) < rate) for rng in rngs])
    noise_WN = torch.stack(
        [torch.from_numpy(rng.random(labels.prompt_WN.shape[1]) < 0.1) for rng in rngs]
    )
    ahead_WN = (labels.rejected_WN - labels.chosen_WN) % answers <= answers // 2
    turn_WN = struck_WS.gather(1, labels.prompt_WN) & (ahead_WN == noise_WN)
    return labels.turned(turn_WN)
