"""The one table of kinds of reward models. A new kind is one file and one line here."""

from __future__ import annotations

from difflib import get_close_matches

from holdfast.errors import OptionError
from holdfast.reward.bradley_terry import METHOD as BRADLEY_TERRY
from holdfast.reward.general_preference import METHOD as GENERAL_PREFERENCE
from holdfast.reward.kind import RewardMethod

REWARDS: dict[str, RewardMethod] = {
    "bradley_terry": BRADLEY_TERRY,
    "general_preference": GENERAL_PREFERENCE,
}


def get(name: str) -> RewardMethod:
    """The kind of that name.

    Raises:
        OptionError: there is none; the hint gives the nearest name.
    """
    if name in REWARDS:
        return REWARDS[name]
    near = get_close_matches(name.lower(), REWARDS, n=1, cutoff=0.4)
    hint = f"did you mean {near[0]}?" if near else "`holdfast train-reward --help` lists them"
    raise OptionError(f"there is no kind of reward model {name!r}; there are {', '.join(REWARDS)}", hint=hint)
