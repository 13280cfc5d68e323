"""Small policies without a network: each word of an answer made likelier or rarer than it was at
the start.

A policy is log-linear in what an answer y to a prompt x holds,

    log pi(y|x) - log pi_ref(y|x) = sum over the words t of y of
                                  theta[t] + theta[shared] [t stands in x]  (less a constant of x),

a sum over words as a language model's log-ratio is one over tokens, so that a method that divides
by length divides here, too. The constant of x is in both answers of a pair and drops out. theta
starts at 0, where the policy is the reference, and is trained with a method's own objective, state
and reduction on all rows at once, by Adam, under a ridge that is the same for every method: a
Gaussian prior of variance `PRIOR` on the weights of columns scaled to a mean squared difference of
1. Such a policy knows no order of words and no meaning; it is trained in a second, on every row,
and what is left to chance is the rows and the flaw alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from holdfast.card import Method, PairMethod, costs, initial_state
from holdfast.checkup.estimators.bag_of_words import LONGEST, TOKEN
from holdfast.inputs import group, rater, reference, weight
from holdfast.lab.fit import adam
from holdfast.lab.stress.arms import Arm
from holdfast.stats.arrays import Ints
from holdfast.text.codes import coded
from holdfast.text.plain import plain_text
from holdfast.training.settings import read_reduction
from holdfast.types import Pairs, Row, Scored, Text

WORDS, RARE = 5000, 3  # the most frequent words, of those that stand in so many answers or more
BETA = 0.1  # of objectives of sums
PRIOR = 1.0
STEPS, RATE = 200, 0.05  # of Adam


@dataclass(frozen=True)
class Words:
    """N comparisons as counts of F words, the last column counting words that stand in the prompt;
    and whose they are.
    """

    counts_2NF: tuple[
        sparse.csr_matrix, sparse.csr_matrix
    ]  # of the chosen, and of the rejected answers
    group_N: Ints | None
    rater_N: Ints | None
    weight_N: NDArray[np.float64] | None

    @classmethod
    def of(cls, rows: Sequence[Row]) -> Words:
        """Counted over these rows. Every row is a comparison."""
        from sklearn.feature_extraction.text import CountVectorizer

        texts = [
            _read(text)
            for side in ("chosen", "rejected")
            for text in (getattr(row, side) for row in rows)
        ]
        counter = CountVectorizer(
            token_pattern=TOKEN.pattern, max_features=WORDS, min_df=min(RARE, len(texts))
        )
        try:
            counts = counter.fit_transform(texts)
            asked = counter.transform([_read(row.prompt) for row in rows])
        except (
            ValueError
        ):  # no word stands in enough answers: nothing can be learned, and nothing is
            counts = asked = sparse.csr_matrix((len(texts), 1))
            asked = asked[: len(rows)]
        shared = counts.multiply(sparse.vstack([asked, asked]) > 0).sum(1)
        both = sparse.hstack([counts, sparse.csr_matrix(shared)]).tocsr().astype(float)
        weight_N = np.array([1.0 if row.weight is None else row.weight for row in rows])
        return cls(
            (both[: len(rows)], both[len(rows) :]),
            _known([row.group for row in rows]),
            _known([row.rater for row in rows]),
            weight_N if (weight_N != 1).any() else None,
        )

    def take(self, places: Ints, turned: Sequence[int] = ()) -> Words:
        """These rows, those at `turned` (places among them) with their label the other way
        round.
        """
        chosen, rejected = (side[places] for side in self.counts_2NF)
        if len(turned):
            right_N = np.ones(len(places))
            right_N[list(turned)] = 0.0
            keep, turn = sparse.diags_array(right_N), sparse.diags_array(1 - right_N)
            chosen, rejected = (
                sparse.csr_matrix(keep @ one + turn @ other)
                for one, other in ((chosen, rejected), (rejected, chosen))
            )
        group_N, rater_N = (
            None if column is None else column[places] for column in (self.group_N, self.rater_N)
        )
        return Words(
            (chosen, rejected),
            group_N,
            rater_N,
            None if self.weight_N is None else self.weight_N[places],
        )

    @property
    def spread(self) -> float:
        """Root mean squared length of a difference: what columns are scaled by."""
        gap = self.counts_2NF[0] - self.counts_2NF[1]
        return float(np.sqrt(gap.multiply(gap).sum() / max(gap.shape[0], 1))) or 1.0

    @property
    def length_2N(self) -> tuple[Tensor, Tensor]:
        """Words of each answer, those that are counted."""
        chosen, rejected = (
            torch.from_numpy(np.asarray(side[:, :-1].sum(1), float).ravel())
            for side in self.counts_2NF
        )
        return chosen, rejected


def fit(
    words: Words,
    method: Method,
    settings: Mapping[str, float],
    reduction: str | None,
    *,
    steps: int = STEPS,
) -> Tensor:
    """theta (F,) of this method, trained on these rows.

    Raises:
        NeedError: the method or the reduction asks for what a policy of words does not have.
    """
    scale = BETA * words.spread
    groups = 0 if words.group_N is None else int(words.group_N.max()) + 1
    average = read_reduction(reduction, method, groups)
    state, method_state = (
        average.init(),
        initial_state(method, 1 if words.rater_N is None else int(words.rater_N.max()) + 1),
    )
    sides = [sparse.csr_matrix(side / scale) for side in words.counts_2NF]
    own = _own(method, settings, words)

    def cost(weight_1F: Tensor) -> Tensor:
        nonlocal state, method_state
        pairs = _pairs(words, [_Times.apply(weight_1F[0], side) for side in sides])
        cost_N, remembered = costs(method, pairs, own, method_state)
        total, moved = average.apply(cost_N, pairs, state)
        method_state, state = remembered, moved
        return total[None] + (weight_1F**2).sum(1) / (2 * PRIOR * len(pairs))

    weight_1F = adam(cost, torch.zeros(1, sides[0].shape[1]), steps=steps, rate=RATE).theta_WD
    return weight_1F[0] / scale


def log_odds(
    words: Words, theta_F: Tensor, method: Method, settings: Mapping[str, float]
) -> NDArray[np.float64]:
    """(N,): the policy's own log-odds that the chosen answer is the better one, beta times the
    margin that its method trains.
    """
    ratio_2N = [torch.from_numpy(side @ theta_F.numpy()) for side in words.counts_2NF]
    if _per_word(method):
        ratio_2N = [
            ratio_N / length_N.clamp(min=1)
            for ratio_N, length_N in zip(ratio_2N, words.length_2N, strict=True)
        ]
    return np.asarray(_own(method, settings, words)["beta"] * (ratio_2N[0] - ratio_2N[1]))


def tried(
    *,
    words: Words,
    train: Ints,
    turned: Sequence[int],
    held: Ints,
    arm: Arm,
    settings: Mapping[str, float],
) -> NDArray[np.float64]:
    """One training on the rows `train`, of which the `turned` are mislabeled: log-odds of the rows
    `held`, as they are labeled.
    """
    flawed = words.take(train, turned)
    theta_F = fit(flawed, arm.method, settings, arm.reduction)
    own = _own(arm.method, settings, flawed)
    return log_odds(words.take(held), theta_F, arm.method, own)


def within_reach(method: Method) -> bool:
    """Whether the method compares pairs, such a policy has all that it asks for, and its log-odds
    are one number a pair.
    """
    return (
        isinstance(method, PairMethod)
        and set(method.card.needs) <= {reference}
        and method.card.tokens in ("sum", "mean")
    )


def _own(method: Method, settings: Mapping[str, float], words: Words) -> dict[str, float]:
    """With its beta: an objective of averages gets that of sums times the mean length, which is
    equal on answers of that length.
    """
    if not _per_word(method):
        return {"beta": BETA, **settings}
    return {"beta": BETA * max(1.0, float(torch.cat(words.length_2N).mean())), **settings}


def _per_word(method: Method) -> bool:
    return method.card.tokens == "mean"


def _pairs(words: Words, ratio_2N: Sequence[Tensor]) -> Pairs:
    """One column stands for all words of an answer: the mask, whose sum is the length, holds their
    number.
    """
    chosen, rejected = (
        Scored(ratio_N[:, None], length_N[:, None], torch.zeros_like(ratio_N)[:, None])
        for ratio_N, length_N in zip(ratio_2N, words.length_2N, strict=True)
    )
    columns = {group: words.group_N, rater: words.rater_N, weight: words.weight_N}
    return Pairs(
        chosen, rejected, {of: torch.from_numpy(x) for of, x in columns.items() if x is not None}
    )


class _Times(torch.autograd.Function):
    """A sparse matrix (N, F) times a vector (F,), by SciPy: several times as fast as Torch's own,
    and its slope is one more product.
    """

    @staticmethod
    def forward(ctx: Any, vector_F: Tensor, matrix_NF: sparse.csr_matrix) -> Tensor:
        ctx.matrix_NF = matrix_NF
        return torch.from_numpy(matrix_NF @ vector_F.detach().numpy())

    @staticmethod
    def backward(ctx: Any, slope_N: Tensor) -> tuple[Tensor, None]:
        return torch.from_numpy(ctx.matrix_NF.T @ slope_N.numpy()), None


def _known(names: Sequence[Any]) -> Ints | None:
    """Codes from 0; None where a row says nothing."""
    code_N = coded(names).code_N
    return None if (code_N < 0).any() else code_N


def _read(text: Text | None) -> str:
    return plain_text(text)[:LONGEST]
