"""How the model that a run left is loaded, by the task that trained it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from holdfast.models.judges import load_judge
from holdfast.models.load import load_policy

POLICY, REWARD_MODEL = "policy", "reward_model"  # `task` in a run's record

LOADERS: Mapping[str, Callable[..., Any]] = {POLICY: load_policy, REWARD_MODEL: load_judge}
