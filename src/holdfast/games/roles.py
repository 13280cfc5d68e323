"""Who is who when a solver's policy objective is trained round by round."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal


def _same(number: int) -> Mapping[str, float]:
    return {}


@dataclass(frozen=True)
class Roles:
    """What the columns of a round's rows, and the reference, stand for. Three policies can be
    named:

        start      the policy before the first round, the anchor of a KL-regularized game
        current    the policy a round begins with, which also writes the round's answers
        before     the policy of the round before (in the first round: current)

    Attributes:
        reference: whom the reference model is: `start`, or `current` (the default of
            `holdfast.train`)
        earlier: whose `earlier_gap` it is, if the objective reads one: log pi(chosen) - log
            pi(rejected) of that policy
        opponent: against whom `chosen_win_rate` and `rejected_win_rate` are measured, if the
            objective reads them: `current`; `mixture`, the geometric mixture current^(1 - eta beta)
            start^(eta beta), whose win rates are those against current's answers weighted by (start
            / current)^(eta beta); `midpoint`, the policy that a half-step (the same training, with
            win rates against `current`) leads to, after which training begins again from `current`
        pairing: `independent` where the mathematics wants two answers drawn alike and a label drawn
            from the judge's probability; `any` where the order of the two does not matter
        by_round: settings that change from round to round; rounds count from 1
    """

    reference: Literal["start", "current"]
    earlier: Literal["current", "before"] | None = None
    opponent: Literal["current", "mixture", "midpoint"] | None = None
    pairing: Literal["independent", "any"] = "any"
    by_round: Callable[[int], Mapping[str, float]] = _same
