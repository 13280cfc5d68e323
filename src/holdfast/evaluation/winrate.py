"""How often one policy's answers beat another's on the same prompts.

Under a reward, every answer of the first is compared with every answer of the second to the same
prompt: 1 for a higher reward, 1/2 for an equal one, 0 for a lower. Under a pairwise judge each
comparison is asked in both orders, since judges favor a place:

    verdict = (judge(x, first, second) + 1 - judge(x, second, first)) / 2

and the share of comparisons whose winner changed with the order is reported beside the win rate.
Prompts are the clusters of the interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from holdfast.errors import OptionError
from holdfast.evaluation.ranking import wins
from holdfast.evaluation.samples import Samples
from holdfast.rewards.functions import Judge, Reward, checked
from holdfast.stats.arrays import Floats
from holdfast.stats.intervals import mean_interval
from holdfast.types import Text


def under_reward(first_PS: Floats, second_PS: Floats) -> Floats:
    """Win rate on each prompt (P,), from rewards of S answers of the first and S' of the second to
    each of P prompts.
    """
    return wins(first_PS[:, :, None], second_PS[:, None, :]).mean(axis=(1, 2))


def under_judge(
    judge: Judge, prompts: Sequence[Text], first: Sequence[str], second: Sequence[str]
) -> tuple[Floats, NDArray[np.bool_], Floats]:
    """Ask in both orders about N pairs of answers.

    Returns:
        the verdict on each pair (N,), the probability that the first is better; whether its winner
        changed with the order (N,); and how much the judge favored the place that came first (N,):
        0 without such a habit, 1 for a judge that looks at nothing else.
    """
    there = _probabilities(judge, prompts, first, second)
    back = _probabilities(judge, prompts, second, first)
    changed = np.sign(there - 0.5) != np.sign(0.5 - back)
    return (there + 1 - back) / 2, changed, there + back - 1


def _probabilities(
    judge: Judge, prompts: Sequence[Text], first: Sequence[str], second: Sequence[str]
) -> Floats:
    values = checked(judge(prompts, first, second), len(prompts), "the judge")
    outside = np.flatnonzero((values < 0) | (values > 1))
    if len(outside):
        i = int(outside[0])
        raise OptionError(
            f"the judge gave {values[i]:g} for comparison {i + 1}",
            hint="a judge returns the probability, 0 to 1, that the first answer is better",
        )
    return values


@dataclass(frozen=True)
class Match:
    """Everything a reward or a judge said about two policies' answers to P prompts. `win_P` is None
    where there was no opponent.
    """

    name: str
    kind: str  # "reward" or "judge"
    win_P: Floats | None
    reward_PS: Floats | None = None
    rival_reward_PS: Floats | None = None
    changed_PS: Floats | None = None
    place_PS: Floats | None = None

    def summary(self, prompts: NDArray[np.int64], *, resamples: int, seed: int) -> dict[str, Any]:
        """Means with intervals over some of the prompts."""

        def mean(values_P: Floats) -> dict[str, Any]:
            return mean_interval(values_P[prompts], resamples=resamples, seed=seed).to_dict()

        out: dict[str, Any] = {"under": self.name, "kind": self.kind}
        if self.win_P is not None:
            out["win_rate"] = mean(self.win_P)
        if self.reward_PS is not None:
            out["reward"] = mean(self.reward_PS.mean(1))
        if self.rival_reward_PS is not None and self.reward_PS is not None:
            out["opponent_reward"] = mean(self.rival_reward_PS.mean(1))
            out["reward_difference"] = mean(self.reward_PS.mean(1) - self.rival_reward_PS.mean(1))
        if self.changed_PS is not None and self.place_PS is not None:
            out["order_changed"] = mean(self.changed_PS.mean(1))
            out["first_place_bonus"] = mean(self.place_PS.mean(1))
        return out


def play_reward(reward: Reward, name: str, policy: Samples, rival: Samples | None) -> Match:
    """Score every answer; compare where there is an opponent."""
    first_PS = _scored(reward, name, policy)
    if rival is None:
        return Match(name, "reward", None, first_PS)
    second_PS = _scored(reward, name, rival)
    return Match(name, "reward", under_reward(first_PS, second_PS), first_PS, second_PS)


def play_judge(judge: Judge, name: str, policy: Samples, rival: Samples | None) -> Match:
    """Compare the first answers, the second answers, and so on, of each prompt, in both orders."""
    if rival is None:
        raise OptionError(
            "a judge compares two policies, and there is only one",
            hint="add --reference or --against",
        )
    verdicts, changed, place = under_judge(
        judge, policy.flat_prompts, policy.flat_texts, rival.flat_texts
    )
    shape = (len(policy.prompts), -1)
    return Match(
        name,
        "judge",
        verdicts.reshape(shape).mean(1),
        changed_PS=changed.astype(float).reshape(shape),
        place_PS=place.reshape(shape),
    )


def _scored(reward: Reward, name: str, samples: Samples) -> Floats:
    values = checked(
        reward(samples.flat_prompts, samples.flat_texts), len(samples.flat), f"the reward {name}"
    )
    return values.reshape(len(samples.prompts), -1)
