"""What training asks of a scorer, whatever it scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from torch import nn

Scoring = Literal["packed", "padded"]


@dataclass(frozen=True)
class Verification:
    """What came of comparing the packed scoring with one unpadded forward an answer, in float32."""

    used: Scoring  # from now on
    # largest difference, nats a token (or what a head puts out); nan where there was nothing to
    # compare
    worst_nats: float
    tolerance_nats: float
    worst_gradient: float = float("nan")  # relative to the gradient's norm
    rows: int = 0  # rows compared: the first ones and the longest
    longest: int = 0  # tokens of the longest prompt and answer among them
    one_by_one: bool = (
        False  # each answer in a forward of its own, because padding changes the model's numbers
    )
    reason: str = ""  # why the packed scoring is not taken, or not even the padded one

    @property
    def fell_back(self) -> bool:
        return bool(self.reason)


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
