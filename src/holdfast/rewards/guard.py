"""A reward that may fail on a row: the other rows keep their scores, and each failure is named with
its row and its cure.

    guarded = Guarded(reward)
    score_N = guarded(prompts, answers)          # NaN where there is no score
    guarded.faults                               # what went wrong, and where
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from holdfast.stats.arrays import Floats
from holdfast.types import Text

CURES = {
    "raises": "catch the exception in the reward and return None for an answer it cannot score",
    "none": "None abstains: such rows are left out; return a number for an answer it can score",
    "not finite": "a sum of logs, a division by a length of 0 or an overflow; return None instead",
    "count": "return one number for each answer, in their order",
    "shape": "return one number for each answer: a list of N, or an array of shape (N,)",
    "no number": "return float(...) for each answer",
}


@dataclass
class Fault:
    """One way in which a reward failed: `rows` are the first answers it failed on, `count` all."""

    kind: str
    says: str
    rows: list[int] = field(default_factory=list)
    count: int = 0

    @property
    def cure(self) -> str:
        return CURES[self.kind]


class Guarded:
    """A reward whose failures stay where they are."""

    def __init__(self, reward: Callable[..., Any], batch: int = 64):
        self.reward, self.batch = reward, batch
        self.faults: dict[str, Fault] = {}

    def __call__(self, prompts: Sequence[Text], answers: Sequence[str]) -> Floats:
        out = np.full(len(prompts), np.nan)
        for at in range(0, len(prompts), self.batch):
            some = list(range(at, min(at + self.batch, len(prompts))))
            out[some] = self._batch(prompts, answers, some)
        return out

    def _batch(self, prompts: Sequence[Text], answers: Sequence[str], rows: list[int]) -> Floats:
        """The batch in one call; row by row where that fails."""
        try:
            values = self.reward([prompts[i] for i in rows], [answers[i] for i in rows])
        except Exception as error:
            if len(rows) == 1:
                self._note("raises", f"raised {type(error).__name__}: {error}", rows[0])
                return np.array([np.nan])
            return self._alone(prompts, answers, rows)
        listed = _listed(values)
        if listed is None or len(listed) != len(rows):
            got = f"{len(listed)} scores" if listed is not None else type(values).__name__
            if len(rows) > 1 and listed is not None:
                self._note("count", f"returned {got} for {len(rows)} answers", rows[0])
                return self._alone(prompts, answers, rows)
            if listed is None or len(listed) != 1:
                self._note("shape", f"returned {got} for {len(rows)} answers", rows[0])
                return np.full(len(rows), np.nan)
        assert listed is not None
        return np.array([self._number(value, i) for value, i in zip(listed, rows, strict=True)])

    def _alone(self, prompts: Sequence[Text], answers: Sequence[str], rows: list[int]) -> Floats:
        return np.concatenate([self._batch(prompts, answers, [i]) for i in rows])

    def _number(self, value: Any, row: int) -> float:
        if value is None:
            self._note("none", "returned None", row)
            return float("nan")
        if np.ndim(value) > 0:
            what = f"shape {np.shape(value)} instead of one number"
            self._note("shape", f"returned an array of {what} for an answer", row)
            return float("nan")
        try:
            number = float(value)
        except (TypeError, ValueError):
            self._note("no number", f"returned {type(value).__name__} {str(value)[:40]!r}", row)
            return float("nan")
        if not np.isfinite(number):
            self._note("not finite", f"returned {number}", row)
            return float("nan")
        return number

    def _note(self, kind: str, says: str, row: int) -> None:
        fault = self.faults.setdefault(kind, Fault(kind, says))
        fault.count += 1
        if len(fault.rows) < 5:
            fault.rows.append(row)


def _listed(values: Any) -> list[Any] | None:
    """What a reward returned, as a list with an entry for each answer; None for what is no list."""
    if hasattr(values, "detach"):
        values = values.detach().float().cpu().numpy()
    if isinstance(values, str | bytes | dict) or values is None:
        return None
    try:
        return list(values)
    except TypeError:
        return None
