"""What a user asks of a check-up beyond the rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class CheckRequest:
    """What a user asked of a check-up beyond the rows. `None` where nothing was."""

    seed: int = 0
    level: float = 0.95
    against: Sequence[str] | None = None  # prompts that must not be in the data: a test set's
    model: Any = None  # a path, a name, or a loaded model: for the findings that need one
    reference: Any = None
    tokenizer: Any = None
    template: str | None = (
        None  # how rows become text for the model; as it was trained, unless given
    )
    accept_loss: Sequence[str] = ()  # what the chat template may drop of a row
    beta: float = 0.1  # of the objective to be trained: how hard a pair is depends on it
    population: Mapping[str, float] | None = (
        None  # the raters' groups as they should be: name -> share
    )
    epsilon: float = 0.05  # how well each group is to be known
    trust_remote_code: bool = False
    quiet: bool = False  # no progress
