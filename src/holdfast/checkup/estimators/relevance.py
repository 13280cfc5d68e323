"""How well an answer fits its prompt: features that see what was asked, and turn around with the
two answers.

A difference of features of answers alone is blind where preference depends on the prompt: words of
the sea are right in one answer and wrong in the next. `SHARED` are the words that an answer has in
common with its prompt. `TYPICAL` asks how well its other words go with the prompt's. Over all
prompts and answers, chosen and rejected alike and so without a label, p and a are bags of words by
inverse document frequency, of unit length. The leading singular directions (u_k, s_k, v_k) are
those of the covariance of words asked with words answered, C = E[p a'] - E[p] E[a]' (the
inter-battery analysis of Tucker, 1958). With p and a centered, an answer fits its prompt by the sum
over k of s_k (u_k p)(v_k a), and by the cosine of (u p) with (v a). Only these two are features: a
weight for each direction costs small files more than it tells.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import sparse

from holdfast.checkup.comparisons import Comparisons
from holdfast.checkup.estimators.bag_of_words import Bags, bags_of, weighed
from holdfast.stats.arrays import Floats

DIRECTIONS = 16
PROMPTS_A_DIRECTION = 25  # distinct prompts that a direction needs
LEARNED_FROM = 20_000  # rows that the directions are learned from
ROUNDS = 4  # of the power iteration
SHARED = (
    "prompt's words answered",
    "answer's words asked for",
    "words shared with the prompt",
    "rare words shared",
    "shared words",
)
TYPICAL = ("goes with the prompt", "is like what the prompt gets")


def relevance_ND(data: Comparisons, *, seed: int = 0) -> Floats:
    """Differences of `SHARED` and `TYPICAL` features, chosen minus rejected, not standardized; no
    columns where prompts do not differ.
    """

    def make() -> Floats:
        bags = bags_of(data)
        if bags.prompts_PV.shape[0] < PROMPTS_A_DIRECTION or not bags.prompts_PV.nnz:
            return np.zeros((len(data), 0))
        worth_V = np.log((1 + bags.answers_NV.shape[0]) / (1 + _times(bags.answers_NV))) * [
            word[0].isalnum() for word in bags.words
        ]
        both_ND = np.hstack(
            [_shared(bags, np.maximum(worth_V, 0)), _typical(bags, np.maximum(worth_V, 0), seed)]
        )
        return both_ND[: len(data)] - both_ND[len(data) :]

    found: Floats = data.once(("fit", seed), make)
    return found


def relevance_names(data: Comparisons, *, seed: int = 0) -> Sequence[str]:
    """The names of the columns of `fit_ND` that are not all zero."""
    x_ND = relevance_ND(data, seed=seed)
    return [
        name
        for name, x_N in zip((*SHARED, *TYPICAL), x_ND.T, strict=False)
        if np.sqrt((x_N**2).mean()) > 1e-9
    ]


def _times(bag_NV: sparse.csr_matrix) -> Any:
    return np.bincount(bag_NV.indices, minlength=bag_NV.shape[1])


def _shared(bags: Bags, worth_V: Floats) -> Floats:
    """(2N, 5): shares of the prompt's and of the answer's words that both have, cosines, and a
    count; words count by `worth_V`.
    """
    prompt_N = np.tile(bags.prompt_N, 2)
    both_NV = bags.answers_NV.multiply(bags.prompts_PV[prompt_N]).tocsr()
    worth_V2 = np.stack([worth_V, worth_V**2], 1)
    both_N2, answer_N2, asked_N2 = (
        both_NV @ worth_V2,
        bags.answers_NV @ worth_V2,
        (bags.prompts_PV @ worth_V2)[prompt_N],
    )
    cosine_N2 = both_N2 / np.sqrt(np.maximum(answer_N2 * asked_N2, 1e-9))
    covered_N, focus_N = (
        both_N2[:, 0] / np.maximum(of[:, 0], 1e-9) for of in (asked_N2, answer_N2)
    )
    return np.column_stack([covered_N, focus_N, cosine_N2, np.log1p(np.diff(both_NV.indptr))])


def _typical(bags: Bags, worth_V: Floats, seed: int) -> Floats:
    """(2N, 2): how well an answer goes with its prompt along the leading directions of their
    covariance.
    """
    rows, prompts = len(bags.prompt_N), bags.prompts_PV.shape[0]
    asked_PV, answer_NV = weighed(bags.prompts_PV, worth_V), weighed(bags.answers_NV, worth_V)
    some = np.random.default_rng(seed).permutation(rows)[:LEARNED_FROM]
    a_NV, p_NV = (answer_NV[some] + answer_NV[some + rows]) / 2, asked_PV[bags.prompt_N[some]]
    mean_a_V, mean_p_V = (np.asarray(x_NV.mean(0)).ravel() for x_NV in (a_NV, p_NV))
    kept = min(DIRECTIONS, prompts // PROMPTS_A_DIRECTION, len(bags.words))
    right_VK = np.random.default_rng(seed).standard_normal(
        (len(bags.words), min(kept + 8, len(bags.words)))
    )
    for _ in range(ROUNDS):
        left_VK = np.linalg.qr(_times_block(p_NV, a_NV, mean_p_V, mean_a_V, right_VK))[0]
        right_VK = np.linalg.qr(_times_block(a_NV, p_NV, mean_a_V, mean_p_V, left_VK))[0]
    left_VK, s_K, turn_KK = np.linalg.svd(
        _times_block(p_NV, a_NV, mean_p_V, mean_a_V, right_VK), full_matrices=False
    )
    left_VK, right_VK = left_VK[:, :kept], (right_VK @ turn_KK.T)[:, :kept]
    p_NK = np.tile((asked_PV @ left_VK - mean_p_V @ left_VK)[bags.prompt_N], (2, 1))
    a_NK = answer_NV @ right_VK - mean_a_V @ right_VK
    length_N = np.sqrt((p_NK**2).sum(1) * (a_NK**2).sum(1))
    return np.column_stack(
        [(p_NK * a_NK) @ s_K[:kept], (p_NK * a_NK).sum(1) / np.maximum(length_N, 1e-9)]
    )


def _times_block(
    left_NV: Any, right_NV: Any, mean_left_V: Floats, mean_right_V: Floats, x_VK: Floats
) -> Floats:
    """(L'R / N - mean(L) mean(R)') X, which is never made as a matrix of words by words."""
    return np.asarray(
        left_NV.T @ (right_NV @ x_VK) / left_NV.shape[0]
        - np.outer(mean_left_V, mean_right_V @ x_VK)
    )
