"""The one table of kinds of reward models. A new kind is one file and one line here."""

from __future__ import annotations

from holdfast.lookup import named
from holdfast.rewards.active_passive import METHOD as ACTIVE_PASSIVE
from holdfast.rewards.aldr import METHOD as ALDR
from holdfast.rewards.bradley_terry import METHOD as BRADLEY_TERRY
from holdfast.rewards.gaussian_reward import METHOD as GAUSSIAN
from holdfast.rewards.gce import METHOD as GCE
from holdfast.rewards.general_preference import METHOD as GENERAL_PREFERENCE
from holdfast.rewards.hinge import METHOD as HINGE
from holdfast.rewards.jensen_shannon import METHOD as JENSEN_SHANNON
from holdfast.rewards.kind import RewardMethod
from holdfast.rewards.ldr import METHOD as LDR
from holdfast.rewards.mae import METHOD as MAE
from holdfast.rewards.margin_bradley_terry import METHOD as MARGIN
from holdfast.rewards.sce import METHOD as SCE
from holdfast.rewards.smoothed_bradley_terry import METHOD as SMOOTHED

REWARDS: dict[str, RewardMethod] = {
    method.name: method
    for method in (
        BRADLEY_TERRY,
        GENERAL_PREFERENCE,
        MARGIN,
        SMOOTHED,
        LDR,
        ALDR,
        MAE,
        GCE,
        SCE,
        ACTIVE_PASSIVE,
        JENSEN_SHANNON,
        HINGE,
        GAUSSIAN,
    )
}


def get(name: str) -> RewardMethod:
    """The kind of that name.

    Raises:
        OptionError: there is none; the hint gives the nearest name.
    """
    return named(name, REWARDS, "kind of reward model", lists="holdfast train-reward --help")
