"""What training asks of a scorer, whatever it scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from torch import nn

if TYPE_CHECKING:
    from holdfast.scorers.branches import Verification


class Scorer(nn.Module):
    """A model that gives items a `Scored` for each branch: `scorer(items) -> {"chosen": Scored,
    ...}`, gradients through `model`. DDP and FSDP wrap the scorer, not the model inside.

    Attributes:
        model: what is trained; it must be called so. Further parameters of the scorer are trained
            as a method's head is.
    """

    model: Any

    def verify(self, items: Sequence[Any]) -> Verification:
        """How these items are scored from now on, and how far that was from the definition.

        Raises:
            ModelError: they cannot be scored.
        """
        raise NotImplementedError

    def adopt(self, known: Verification) -> None:
        """Take over what the scorer of another process found."""
        raise NotImplementedError

    def sides_of(self, items: Sequence[Any]) -> int:
        """How many forwards at least it takes to score these items: more than one where some must
        not share a forward.
        """
        return 1
