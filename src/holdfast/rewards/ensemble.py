"""An ensemble of reward models at work: what each member says, pooled, and how far apart they are.

    ensemble = RewardEnsemble.load("runs/rewards", pool="worst_case")
    ensemble.members(prompts, answers)              # (M, N), each member on its own scale
    ensemble.reward(prompts, answers)               # (N,), pooled
    ensemble.interval(prompts, answers)             # (low_N, high_N): epistemic, 95%

Wherever a reward is named, "runs/rewards@worst_case" names the pool with it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from holdfast.errors import ModelError, OptionError
from holdfast.models.judges import KEY
from holdfast.models.members import about_ensemble, members_of
from holdfast.rewards.model import RewardModel
from holdfast.rewards.pool import POOLS, Scale, epistemic, parse_pool
from holdfast.scorers.padded import causal_model
from holdfast.stats.arrays import Floats
from holdfast.types import Text


@dataclass
class RewardEnsemble:
    """Loaded members, the scale of each, and how they are pooled."""

    name: str
    models: list[RewardModel]
    scale: Scale
    pool: str

    @classmethod
    def load(
        cls,
        source: str | os.PathLike[str],
        *,
        pool: str | None = None,
        device: torch.device | str = "cpu",
        trust_remote_code: bool = False,
        accept_loss: Sequence[str] = (),
    ) -> RewardEnsemble:
        """From the run's folder, or the model folder in it; pooled as it was trained for unless
        `pool` is given.

        Raises:
            ModelError: no ensemble there, or a member that is missing or damaged.
            OptionError: no such pool.
        """
        places = members_of(source)
        if places is None:
            raise ModelError(
                f"{source} is no ensemble of reward models",
                hint="`holdfast train-reward KIND --members 4` trains one",
            )
        told = about_ensemble(places[0].parent.parent) or {}
        chosen = pool or str(told.get("pool", "mean"))
        parse_pool(chosen)
        models = [
            RewardModel.load(
                place,
                device=device,
                trust_remote_code=trust_remote_code,
                accept_loss=accept_loss,
            )
            for place in places
        ]
        marks = [_mark(model) for model in models]
        scale = Scale(
            np.array([mark.get("center", [0.0])[0] for mark in marks], dtype=float),
            np.array([mark.get("spread", [1.0])[0] for mark in marks], dtype=float),
        )
        return cls(str(source), models, scale, chosen)

    def members(self, prompts: Sequence[Text], answers: Sequence[str]) -> Floats:
        """(M, N): each member's score, its mean and spread on held-out answers taken out."""
        return self.scale(np.stack([model.reward(prompts, answers) for model in self.models]))

    def reward(self, prompts: Sequence[Text], answers: Sequence[str]) -> Floats:
        """(N,): the members' scores, pooled."""
        return parse_pool(self.pool)(self.members(prompts, answers))

    def interval(
        self, prompts: Sequence[Text], answers: Sequence[str], level: float = 0.95
    ) -> tuple[Floats, Floats]:
        """(low_N, high_N): where one more member would put its score."""
        return epistemic(self.members(prompts, answers), level)

    def prefer(
        self, prompts: Sequence[Text], first: Sequence[str], second: Sequence[str]
    ) -> Floats:
        """P(first is better), shape (N,): the members' mean probability."""
        each = [model.prefer(prompts, first, second) for model in self.models]
        made: Floats = np.mean(each, axis=0)
        return made


def ensemble_named(source: object) -> tuple[Path, str | None] | None:
    """(folder, pool or None) of "folder" or "folder@pool"; None where it is no ensemble.

    Raises:
        OptionError: a pool is named for something that is no ensemble.
    """
    text = str(source)
    if members_of(text) is not None:
        return Path(text).expanduser(), None
    folder, at, pool = text.rpartition("@")
    if not at or pool.partition(":")[0] not in POOLS:
        return None
    if members_of(folder) is None:
        raise OptionError(
            f"{folder} is no ensemble, so there is nothing to pool by {pool}",
            hint="name the folder alone",
        )
    return Path(folder).expanduser(), pool


def _mark(model: RewardModel) -> dict[str, Any]:
    return dict(getattr(causal_model(model.scorer.model).config, KEY))
