"""Where a solver is: a policy, and what it remembers. A step is a function `step(oracle, state, *, ...) -> state`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from holdfast.games.game import Floats, Oracle, log_softmax


@dataclass(frozen=True, eq=False)
class State:
    """`log_pi_A` is what would be delivered now; `memory` is the step's own, empty before the first one."""

    log_pi_A: Floats
    number: int = 0  # of steps taken
    memory: Mapping[str, Any] = field(default_factory=dict)

    @property
    def pi_A(self) -> Floats:
        out: Floats = np.exp(self.log_pi_A)
        return out

    def then(self, log_pi_A: Floats, **memory: Any) -> State:
        """The next state."""
        return State(log_pi_A, self.number + 1, memory)


def mirror(oracle: Oracle, log_pi_A: Floats, gain_A: Floats, *, eta: float) -> Floats:
    """The mirror step that all solvers on logits share: (1 - eta beta) log pi + eta beta log pi_ref + eta gain, normalized."""
    game = oracle.game
    moved_A = log_pi_A + eta * gain_A
    if game.beta:
        moved_A = moved_A + eta * game.beta * (game.log_ref_A - log_pi_A)
    return log_softmax(moved_A)
