"""One packed row: [prompt | branch | branch | ...] of one comparison after another, each prompt
written once.

A branch sees its own prompt and itself, never its siblings and never another comparison; its
positions go on where the prompt ended. A chosen and a rejected answer of 40 tokens after a prompt
of 100 take 180 tokens here, and 280 or more as two padded rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from holdfast.errors import DataError
from holdfast.types import Tokenized


@dataclass(frozen=True)
class Layout:
    """Where everything stands in a packed row of L tokens that holds R response tokens."""

    ids_L: Tensor
    position_L: Tensor  # restarts after each prompt
    segment_L: Tensor  # which tree a token belongs to: a comparison, or one prompt of it
    branch_L: Tensor  # 0 on prompt tokens, 1, 2, ... on the branches
    bounds: tuple[tuple[int, int], ...]  # [start, end) of each tree
    predictor_R: Tensor  # the token of the row whose hidden state predicts ...
    target_R: Tensor  # ... this token id
    own_R: Tensor  # where in the row that token itself stands
    index_NT: dict[str, Tensor]  # a branch's response tokens as indices into 0..R-1, R where padded
    masks: dict[tuple[int | None, torch.dtype], list[Tensor]] = field(
        default_factory=dict, compare=False
    )

    def to(self, device: torch.device) -> Layout:
        if self.ids_L.device == device:
            return self
        move = lambda t: t.to(device, non_blocking=True)  # noqa: E731
        return Layout(
            move(self.ids_L),
            move(self.position_L),
            move(self.segment_L),
            move(self.branch_L),
            self.bounds,
            move(self.predictor_R),
            move(self.target_R),
            move(self.own_R),
            {name: move(index) for name, index in self.index_NT.items()},
        )

    def visible(self, q: Tensor, k: Tensor, window: int | None = None) -> Tensor:
        """True where token q of the row may attend to token k: the one definition behind every
        kernel.

        Within a comparison an earlier position is always earlier text, since siblings are told
        apart by their branch. A sliding window counts positions, so it reaches from a branch back
        into the prompt exactly as it does in the plain sequence.
        """
        back = self.position_L[q] - self.position_L[k]
        branch_k = self.branch_L[k]
        seen = (
            (self.segment_L[q] == self.segment_L[k])
            & ((branch_k == 0) | (branch_k == self.branch_L[q]))
            & (back >= 0)
        )
        return seen if window is None else seen & (back < window)

    def additive_masks(self, window: int | None, dtype: torch.dtype) -> list[Tensor]:
        """A mask for each comparison, 0 where visible and -inf where not, made once and shared by
        all layers.
        """
        key = (window, dtype)
        if key not in self.masks:
            made = []
            for start, end in self.bounds:
                at = torch.arange(start, end, device=self.ids_L.device)
                seen = self.visible(at[:, None], at[None, :], window)
                made.append(
                    torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill_(
                        ~seen, float("-inf")
                    )
                )
            self.masks[key] = made
        return self.masks[key]


def branch_names(items: Sequence[Tokenized]) -> list[str]:
    """The branches that all items share, in order. Raises DataError where they differ."""
    names = list(items[0].answers)
    for item in items:
        if list(item.answers) != names:
            raise DataError(
                f"rows of one batch must have the same answers: one has {names}, another "
                f"has {list(item.answers)}"
            )
    return names


def pack(items: Sequence[Tokenized]) -> Layout:
    """Lay the items out in one row. Raises DataError on an empty prompt, which leaves the first
    response token without a predictor.
    """
    names = branch_names(items)
    ids: list[np.ndarray] = []
    positions, segments, branches, predictors, targets, own = [], [], [], [], [], []
    bounds: list[tuple[int, int]] = []
    index: dict[str, list[np.ndarray]] = {name: [] for name in names}
    length = responses = 0
    for tree in (tree for item in items for tree in item.trees):
        prompt = np.asarray(tree.prompt, dtype=np.int64)
        if not len(prompt):
            raise DataError(
                "a prompt of no tokens has nothing to predict its answer from",
                hint="begin it with the model's start token",
            )
        start = length
        ids.append(prompt)
        positions.append(np.arange(len(prompt)))
        branches.append(np.zeros(len(prompt), dtype=np.int64))
        length += len(prompt)
        last_of_prompt = length - 1
        for number, (name, tokens) in enumerate(tree.branches.items(), start=1):
            answer = np.asarray(tokens, dtype=np.int64)
            ids.append(answer)
            positions.append(np.arange(len(prompt), len(prompt) + len(answer)))
            branches.append(np.full(len(answer), number, dtype=np.int64))
            if len(answer):
                predictors.append(
                    np.concatenate([[last_of_prompt], np.arange(length, length + len(answer) - 1)])
                )
                targets.append(answer)
                own.append(np.arange(length, length + len(answer)))
            index[name].append(np.arange(responses, responses + len(answer)))
            responses += len(answer)
            length += len(answer)
        segments.append(np.full(length - start, len(bounds), dtype=np.int64))
        bounds.append((start, length))
    return Layout(
        ids_L=torch.from_numpy(np.concatenate(ids)),
        position_L=torch.from_numpy(np.concatenate(positions)),
        segment_L=torch.from_numpy(np.concatenate(segments)),
        branch_L=torch.from_numpy(np.concatenate(branches)),
        bounds=tuple(bounds),
        predictor_R=torch.from_numpy(
            np.concatenate(predictors) if predictors else np.zeros(0, dtype=np.int64)
        ),
        target_R=torch.from_numpy(
            np.concatenate(targets) if targets else np.zeros(0, dtype=np.int64)
        ),
        own_R=torch.from_numpy(np.concatenate(own) if own else np.zeros(0, dtype=np.int64)),
        index_NT={name: _padded(rows, fill=responses) for name, rows in index.items()},
    )


def _padded(rows: list[np.ndarray], fill: int) -> Tensor:
    out = np.full((len(rows), max(1, max(len(row) for row in rows))), fill, dtype=np.int64)
    for n, row in enumerate(rows):
        out[n, : len(row)] = row
    return torch.from_numpy(out)
