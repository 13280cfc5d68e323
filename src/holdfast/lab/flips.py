"""The question of the demo: labels were flipped at a known rate. What did each method make of them?

`Arm` is what one training left behind, `story` the page that tells it. Every sentence is chosen by
the numbers and their intervals.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from holdfast.checkup.check import Checkup
from holdfast.checkup.result import FLAGGED, Severity
from holdfast.evaluation.winrate import under_reward
from holdfast.stats.arrays import Floats
from holdfast.stats.intervals import Estimate, mean_interval

PLAIN, ROBUST, YARDSTICK = "DPO", "rDPO", "DPO, no flips"  # the three arms


@dataclass(frozen=True)
class Arm:
    """One training on one draw of the data.

    `gold_PS` and `start_gold_PS` are the gold rewards of S answers to each of P held-out prompts,
    the arm's own and the starting model's. `kept_flipped` and `kept_honest` are 1, 1/2 or 0 for
    each training pair of the kind: whether the implicit reward ranks it as its label in the noisy
    file says, which for a flipped pair is mostly the wrong way.
    """

    name: str
    seed: int
    gold_PS: Floats
    start_gold_PS: Floats
    accuracy_N: Floats  # held-out pairs with honest labels, ranked by the implicit reward
    kept_flipped: Floats
    kept_honest: Floats
    kl: float | None
    tokens: float
    curves: Sequence[Mapping[str, Any]] = field(default_factory=tuple)  # lines of metrics.jsonl
    answers: Sequence[Mapping[str, Any]] = field(
        default_factory=tuple
    )  # as `Evaluation.texts` has them


@dataclass(frozen=True)
class Checked:
    """What a check-up said of the pairs before anything was trained on them."""

    says: str
    flip_rate: Estimate  # the flip rate; no value where it cannot tell
    limit: float | None  # the most that it holds possible
    advice: str
    questions: int  # that were answered
    flagged: Sequence[str]  # titles of the findings that raised their light

    @classmethod
    def of(cls, checkup: Checkup) -> Checked:
        noise, model = (
            checkup.findings["label_noise"],
            checkup.findings["label_noise"].numbers["model"],
        )
        limit = noise.estimate.high if noise.estimate.value is not None else model and model["high"]
        flagged = [
            finding.title for finding in checkup.findings.values() if finding.severity in FLAGGED
        ]
        told = sum(
            finding.severity not in (Severity.NOT_APPLICABLE, Severity.INCONCLUSIVE)
            for finding in checkup.findings.values()
        )
        best = checkup.advice.best
        return cls(noise.says, noise.estimate, limit, f"{best.verb} {best.label}", told, flagged)

    def to_dict(self) -> dict[str, Any]:
        """JSON's own types."""
        return {**vars(self), "flip_rate": self.flip_rate.to_dict(), "flagged": list(self.flagged)}


@dataclass(frozen=True)
class Verdict:
    """How two arms compare: `side` is +1 for the first, -1 for the second, 0 for undecided."""

    estimate: Estimate
    side: int
    seeds_agree: bool


def of_arm(arms: Sequence[Arm], name: str) -> list[Arm]:
    return [arm for arm in arms if arm.name == name]


def pooled(values: Sequence[Floats], *, same_rows: bool = True) -> Estimate:
    """The mean over all seeds, one array each.

    With `same_rows`, row i is the same held-out row under every seed, and one cluster. The interval
    then speaks of rows and of sampling; the luck of a training is only seen by comparing seeds.
    """
    labels = [
        i if same_rows else (seed, i)
        for seed, array in enumerate(values)
        for i in range(len(array))
    ]
    return mean_interval(np.concatenate(list(values)), labels)


def win_rate(arms: Sequence[Arm]) -> Estimate:
    """Gold win rate against the starting model."""
    return pooled([under_reward(arm.gold_PS, arm.start_gold_PS) for arm in arms])


def head_to_head(first: Sequence[Arm], second: Sequence[Arm]) -> Verdict:
    """Gold win rate of the first against the second on the same prompts, seed by seed.

    Decided only if the pooled interval leaves out one half, and each seed by itself falls on the
    same side of it.
    """
    values = [under_reward(a.gold_PS, b.gold_PS) for a, b in zip(first, second, strict=True)]
    estimate = pooled(values)
    return Verdict(estimate, *_side(estimate, [float(v.mean()) for v in values], 0.5))


def difference(
    first: Sequence[Arm], second: Sequence[Arm], values: str, *, same_rows: bool = True
) -> Verdict:
    """Paired difference of a per-row column of two arms, decided as in `head_to_head` against
    zero.
    """
    columns = [getattr(a, values) - getattr(b, values) for a, b in zip(first, second, strict=True)]
    estimate = pooled(columns, same_rows=same_rows)
    return Verdict(estimate, *_side(estimate, [float(v.mean()) for v in columns], 0.0))


def _side(estimate: Estimate, means: Sequence[float], nothing: float) -> tuple[int, bool]:
    agree = len({np.sign(mean - nothing) for mean in means}) == 1
    if estimate.low is None or estimate.high is None or not agree:
        return 0, agree
    return (1 if estimate.low > nothing else -1 if estimate.high < nothing else 0), agree
