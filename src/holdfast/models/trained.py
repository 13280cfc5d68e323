"""How the model that a run left is loaded, by the task that trained it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from holdfast.models.judges import load_judge
from holdfast.models.load import load_policy
from holdfast.models.members import members_of

# `task` in a run's record
POLICY, REWARD_MODEL, REWARD_ENSEMBLE = "policy", "reward_model", "reward_ensemble"
DIFFUSION = "diffusion"
TOKENIZED = (POLICY, REWARD_MODEL, REWARD_ENSEMBLE)  # with a tokenizer of their own beside them


def load_members(folder: str | os.PathLike[str]) -> nn.ModuleList:
    """The members of an ensemble, each a sequence classifier of its own."""
    return nn.ModuleList(load_judge(place) for place in members_of(folder) or ())


def load_diffusion(source: Any, **_: Any) -> Any:
    """A pipeline of diffusers; imported where there is one."""
    from holdfast.scorers.diffusion.pipeline import load_pipeline

    return load_pipeline(source)


LOADERS: Mapping[str, Callable[..., Any]] = {
    POLICY: load_policy,
    REWARD_MODEL: load_judge,
    REWARD_ENSEMBLE: load_members,
    DIFFUSION: load_diffusion,
}
