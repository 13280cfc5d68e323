"""What held-out rows say of a reward model or an ensemble of them, from their log-odds alone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from holdfast.evaluation.calibration import calibration
from holdfast.stats.arrays import Floats
from holdfast.stats.intervals import mean_interval
from holdfast.training.examples import Examples
from holdfast.training.prepare import prompt_key

HELD_OUT = "held_out.npz"  # beside the weights of a member, until the ensemble has read it


@dataclass(frozen=True)
class HeldOut:
    """N held-out pairs.

    Attributes:
        logit_N: log-odds that the chosen answer wins.
        prompt_N: which prompt each pair is of.
        longer_N: the sign of the chosen answer's tokens minus the rejected one's.
        group_N: its group, "" for none.
    """

    logit_N: Floats
    prompt_N: np.ndarray
    longer_N: np.ndarray
    group_N: np.ndarray

    @classmethod
    def of(cls, logit_N: Floats, examples: Examples) -> HeldOut:
        keys = [prompt_key(row) for row in examples.rows]
        number = {key: n for n, key in enumerate(dict.fromkeys(keys))}
        pairs = [item.branches for item in examples.items]
        return cls(
            logit_N,
            np.array([number[key] for key in keys]),
            np.sign([len(pair["chosen"]) - len(pair["rejected"]) for pair in pairs]),
            np.array([row.group or "" for row in examples.rows]),
        )

    def write(self, path: Path) -> None:
        np.savez(path, **vars(self))

    @classmethod
    def read(cls, path: Path) -> HeldOut:
        with np.load(path, allow_pickle=False) as found:
            return cls(**{name: found[name] for name in cls.__dataclass_fields__})

    def at(self, logit_N: Floats) -> HeldOut:
        return replace(self, logit_N=logit_N)

    def found(self) -> dict[str, Any]:
        """Accuracy and calibration, by group, and how often the longer answer is preferred: by the
        model, by the labels.
        """
        clusters = self.prompt_N.tolist()
        found: dict[str, Any] = calibration(self.logit_N, clusters).to_dict()
        unequal = np.flatnonzero(self.longer_N)
        there = [clusters[i] for i in unequal]
        longer_n = self.longer_N[unequal]
        found["prefers_longer"] = {
            "labels": mean_interval(longer_n > 0, there).to_dict(),
            "model": mean_interval(
                np.sign(self.logit_N[unequal]) * longer_n / 2 + 0.5, there
            ).to_dict(),
        }
        names = sorted({str(name) for name in self.group_N} - {""})
        right_N = np.sign(self.logit_N) / 2 + 0.5
        found["groups"] = {}
        for name in names if len(names) > 1 else ():
            at = np.flatnonzero(self.group_N == name)
            found["groups"][name] = mean_interval(right_N[at], [clusters[i] for i in at]).to_dict()
        return found


def spread_of(logit_MN: Floats, held: HeldOut) -> dict[str, Any]:
    """What the members say apart: each one's accuracy, and how far they disagree where their mean
    is right and where it is wrong.
    """
    clusters = held.prompt_N.tolist()
    sd_N, right_N = logit_MN.std(0, ddof=1), logit_MN.mean(0) > 0
    parts = {}
    for name, at in (("right", np.flatnonzero(right_N)), ("wrong", np.flatnonzero(~right_N))):
        parts[name] = mean_interval(sd_N[at], [clusters[i] for i in at]).to_dict()
    alike = np.sign(logit_MN) == np.sign(logit_MN.mean(0))
    return {
        "accuracy": [mean_interval(one > 0, clusters).to_dict() for one in logit_MN],
        "disagreement": parts,
        "unanimous": mean_interval(alike.all(0), clusters).to_dict(),
    }
