"""What a step is taken on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from holdfast.types import Row, Tokenized

ReferenceItem = Mapping[str, Tensor]  # branch -> log-probabilities of its tokens, (T,)


@dataclass(frozen=True)
class Examples:
    """Rows, what the task's encoder made of each, and what the reference says of it.

    Attributes:
        items: what the scorer reads, one a row.
        rows: the rows, as they were written.
        reference: the reference's log-probabilities by branch, where they were scored beforehand.
    """

    items: Sequence[Tokenized]
    rows: Sequence[Row]
    reference: Sequence[ReferenceItem] | None = None

    def __len__(self) -> int:
        return len(self.items)

    @property
    def tokens(self) -> list[int]:
        """Tokens of each item: what it costs to score."""
        return [item.tokens for item in self.items]

    def take(self, positions: Sequence[int]) -> Examples:
        reference = None if self.reference is None else [self.reference[i] for i in positions]
        return Examples(
            [self.items[i] for i in positions], [self.rows[i] for i in positions], reference
        )
