"""Many people: mixtures of rewards, max-min policies, regret on every group at once, fair subsets,
and how representative raters are.

# subgroups among raters, from differences of features
found = mixture(x_ND, rater_N, k=2)
best = maxmin(reward_KSA, log_ref_SA, beta=0.1)     # the policy whose worst group is served best
"""

from holdfast.pluralism.groupwise import Groupwise, OnlineRidge, Stream, groupwise
from holdfast.pluralism.maxmin import MaxMin, gains, maxmin, policy_for, pool_toward_worst, regrets
from holdfast.pluralism.mixture import Mixture, hard, held_out, mixture, soft
from holdfast.pluralism.representativeness import (
    Representativeness,
    labels_for,
    radius,
    representativeness,
)
from holdfast.pluralism.subsets import (
    RULES,
    Rule,
    Selected,
    positions,
    proportional,
    quality,
    select,
)
from holdfast.pluralism.trilemma import Trilemma, growth, robustness, trials_for, trilemma, typos

__all__ = [
    "RULES",
    "Groupwise",
    "MaxMin",
    "Mixture",
    "OnlineRidge",
    "Representativeness",
    "Rule",
    "Selected",
    "Stream",
    "Trilemma",
    "gains",
    "groupwise",
    "growth",
    "hard",
    "held_out",
    "labels_for",
    "maxmin",
    "mixture",
    "policy_for",
    "pool_toward_worst",
    "positions",
    "proportional",
    "quality",
    "radius",
    "regrets",
    "representativeness",
    "robustness",
    "select",
    "soft",
    "trials_for",
    "trilemma",
    "typos",
]
