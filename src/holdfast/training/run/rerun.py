"""A recorded run, done again."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from holdfast.errors import RunError, shown
from holdfast.models.run_record import read_record
from holdfast.models.trained import DIFFUSION, POLICY, REWARD_ENSEMBLE, REWARD_MODEL
from holdfast.training.policy import train
from holdfast.training.reward_model import train_reward
from holdfast.training.run.folder import Run
from holdfast.training.run.record import repeatable_call
from holdfast.training.selfplay.selfplay import selfplay

FUNCTIONS: Mapping[tuple[str, str], Callable[..., Run]] = {  # (task, source) of a record
    (POLICY, "dataset"): train,
    (DIFFUSION, "dataset"): train,
    (REWARD_MODEL, "dataset"): train_reward,
    (REWARD_ENSEMBLE, "dataset"): train_reward,
    (REWARD_ENSEMBLE, "members"): train_reward,
    (POLICY, "rounds"): selfplay,
}


def rerun(record: str | os.PathLike[str], *, out: str | os.PathLike[str], **changes: Any) -> Run:
    """Do a recorded run again, in another folder. `changes` replaces keywords, and stands in for
    what a record cannot hold.
    """
    path = Path(record)
    path = path / "run.json" if path.is_dir() else path
    before = read_record(path.parent)
    if before is None:
        raise RunError(f"{path} is not a run record")
    before["call"] |= changes
    call = repeatable_call(before, path)
    kind = before["task"], before["source"]
    if kind not in FUNCTIONS:
        raise RunError(
            f"{path} is of another task ({shown(before['task'])}) than can be done again"
        )
    function: Callable[..., Run] = FUNCTIONS[kind]
    return function(call.pop("method"), out=out, **call)
