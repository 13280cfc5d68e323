"""Reward and preference models: one kind a file, one table; ensembles of them.

Text is judged by `holdfast.train_reward`; items that met more than once, such as players, need no
text:

    found = holdfast.rewards.fit_items(winners, losers)      # who beats whom, also in cycles
    found.pref_AA                                           # P(a beats b), a Game's matrix
"""

from holdfast.rewards.bradley_terry import bradley_terry
from holdfast.rewards.general_preference import general_preference, skew_score
from holdfast.rewards.items import ItemModel, cross_validate, fit_items
from holdfast.rewards.kind import RewardMethod
from holdfast.rewards.table import REWARDS, get

__all__ = [
    "REWARDS",
    "ItemModel",
    "RewardMethod",
    "bradley_terry",
    "cross_validate",
    "fit_items",
    "general_preference",
    "get",
    "skew_score",
]
