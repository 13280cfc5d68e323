"""The one table of kinds of reward models. A new kind is one file and one line here."""

from __future__ import annotations

from holdfast.lookup import named
from holdfast.rewards.bradley_terry import METHOD as BRADLEY_TERRY
from holdfast.rewards.general_preference import METHOD as GENERAL_PREFERENCE
from holdfast.rewards.kind import RewardMethod

REWARDS: dict[str, RewardMethod] = {
    "bradley_terry": BRADLEY_TERRY,
    "general_preference": GENERAL_PREFERENCE,
}


def get(name: str) -> RewardMethod:
    """The kind of that name.

    Raises:
        OptionError: there is none; the hint gives the nearest name.
    """
    return named(name, REWARDS, "kind of reward model", lists="holdfast train-reward --help")
