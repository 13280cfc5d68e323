"""Where a solver is: a policy, and what it remembers. A step is a function `step(oracle, state, *,
...) -> state`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from holdfast.errors import DataError, HoldfastError, RunError
from holdfast.games._regression import check_step
from holdfast.games.game import Oracle, log_softmax
from holdfast.stats.arrays import SUM_TOLERANCE, Floats


@dataclass(frozen=True, eq=False)
class State:
    """`log_pi_A` is what would be delivered now, `pi_A` its exponential; `carried` is the step's
    own, empty before the first one.

    Raises:
        DataError: the first policy is no distribution.
        RunError: a step led to no distribution, as one that is too long does by overflow.
    """

    log_pi_A: Floats
    number: int = 0  # of steps taken
    carried: Mapping[str, Any] = field(default_factory=dict)
    pi_A: Floats = field(init=False)

    def __post_init__(self) -> None:
        pi_A = np.exp(self.log_pi_A)
        object.__setattr__(self, "pi_A", pi_A)
        total = float(pi_A.sum())
        if not abs(total - 1) <= SUM_TOLERANCE:  # NaN fails it
            kind: type[HoldfastError] = RunError if self.number else DataError
            where = f"step {self.number} led to" if self.number else "log_pi_A is"
            hint = "a shorter step, from a start without NaN or infinity"
            raise kind(f"{where} no policy: its probabilities sum to {total:g}", hint=hint)

    def then(self, log_pi_A: Floats, **carried: Any) -> State:
        """The next state."""
        return State(log_pi_A, self.number + 1, carried)


def mirror(oracle: Oracle, log_pi_A: Floats, gain_A: Floats, *, eta: float) -> Floats:
    """The mirror step that all solvers on logits share: (1 - eta beta) log pi + eta beta log pi_ref
    + eta gain, normalized.
    """
    game = oracle.game
    check_step(eta, game.beta)
    moved_A = log_pi_A + eta * gain_A
    if game.beta:
        moved_A = moved_A + eta * game.beta * (game.log_ref_A - log_pi_A)
    return log_softmax(moved_A)
