"""Best of n: draw several answers, keep the one that a reward likes best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from holdfast.card import check
from holdfast.errors import DataError
from holdfast.generation.contract import Generation
from holdfast.generation.text import draw
from holdfast.rewards.functions import Reward, checked, name_of, reward_from
from holdfast.stats.arrays import Floats
from holdfast.types import Text


@dataclass(frozen=True)
class Picked:
    """Answers that were drawn and the one of each prompt that was kept.

    Attributes:
        texts: the answer kept for each prompt.
        place_P: which of the drawn ones that is.
        drawn: every answer.
        score_PN: what the answers were chosen by. Of the one kept it is biased upwards: the choice
            looked at it.
    """

    texts: tuple[str, ...]
    place_P: NDArray[np.int64]
    drawn: tuple[tuple[str, ...], ...]
    score_PN: Floats


def best_of_n(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[Text],
    reward: str | Path | Reward,
    *,
    n: int = 5,
    generation: Generation | None = None,
    template: str = "auto",
    accept_loss: Sequence[str] = (),
    rows: int = 64,
    device: str = "cpu",
    progress: bool = False,
) -> Picked:
    """Draw n answers to each prompt, return the one of highest reward: argmax over y_1..y_n ~
    pi(.|x) of r(x, y).

    No training; n times the price of an answer. Its divergence from the policy is at most log n -
    (n - 1)/n nats (`kl_bound`). What gains under the reward used here may be the reward's own
    errors: judge the kept answers by another.

    Args:
        model: a causal language model, or a `Generator`
        tokenizer: the model's
        prompts: strings, or conversations
        reward: a function `reward(prompts, answers) -> scores`, the name of one, or a reward
            model's folder
        n: answers to choose from
        generation: how answers are drawn; `Generation()` unless given
        template: as in `tokenize`
        accept_loss: what the chat template may drop of a prompt, as in `tokenize`
        rows: answers generated at once; answers do not depend on it
        device: of a reward model
        progress: a bar over the answers

    Raises:
        OptionError: n below 1, or a reward that does not return a finite number for each answer.
    """
    check("n", n, isinstance(n, int) and n >= 1, "be a whole number of at least 1")
    drawn = draw(
        model,
        tokenizer,
        prompts,
        samples=n,
        generation=generation,
        template=template,
        accept_loss=accept_loss,
        rows=rows,
        progress=progress,
    )
    return pick(
        prompts, drawn, reward_from(reward, device=device, accept_loss=accept_loss), name_of(reward)
    )


def pick(
    prompts: Sequence[Text],
    drawn: Sequence[Sequence[str]],
    reward: Reward,
    name: str = "the reward",
) -> Picked:
    """Of answers at hand, as many to each prompt, the one of highest reward; the first of
    equals.
    """
    n = len(drawn[0]) if drawn else 0
    if len(drawn) != len(prompts) or any(len(row) != n for row in drawn) or (len(drawn) and not n):
        raise DataError(
            f"{len(prompts)} prompts, but answers of {len(drawn)}; every prompt must have "
            "as many, at least one"
        )
    flat = (
        [prompt for prompt in prompts for _ in range(n)],
        [answer for row in drawn for answer in row],
    )
    score_PN = (
        checked(reward(*flat), len(flat[0]), name).reshape(len(prompts), n)
        if drawn
        else np.zeros((0, 0))
    )
    return picked(drawn, score_PN)


def picked(drawn: Sequence[Sequence[str]], score_PN: Floats) -> Picked:
    """Keep the answers of highest score."""
    place_P = score_PN.argmax(1) if len(score_PN) else np.zeros(0, np.int64)
    return Picked(
        tuple(row[i] for row, i in zip(drawn, place_P, strict=True)),
        place_P,
        tuple(map(tuple, drawn)),
        score_PN,
    )


def best_of_table(logp_NA: ArrayLike, score_A: ArrayLike) -> Floats:
    """The distribution of the best of N independent draws, the n-th from policy `logp_NA[n]`; N
    equal rows are best of N. Shape (A,).

        P(draw n is kept, with answer a) = p_n(a) int_0^1 prod over m != n of (P_m(score < s_a) + u
        P_m(score = s_a)) du

    u is the rank that a draw gets among equals, at random. With different scores this is the
    product of distribution functions.

    Raises:
        DataError: shapes that do not fit, or rows that are no distribution.
    """
    p_NA, score = np.exp(np.atleast_2d(np.asarray(logp_NA, float))), np.asarray(score_A, float)
    if (
        p_NA.ndim != 2
        or score.shape != p_NA.shape[1:]
        or not np.isfinite(score).all()
        or not np.allclose(p_NA.sum(1), 1)
    ):
        raise DataError(
            "log-probabilities of answers and one finite score each; these have shapes "
            f"{p_NA.shape} and {score.shape}"
        )
    n = len(p_NA)
    below_NA = p_NA @ (score[:, None] < score[None, :])
    equal_NA = p_NA @ (score[:, None] == score[None, :])
    node_Q, weight_Q = np.polynomial.legendre.leggauss(
        n // 2 + 1
    )  # exact for polynomials of degree n - 1
    level_QNA = below_NA + ((node_Q + 1) / 2)[:, None, None] * equal_NA
    out_A = np.zeros(len(score))
    for i in range(n):
        others_QA = np.delete(level_QNA, i, axis=1).prod(1)
        out_A += p_NA[i] * (weight_Q / 2 @ others_QA)
    return out_A


def kl_bound(n: int) -> float:
    """The most nats that best of n can be away from the policy: log n - (n - 1)/n (Beirami et al.
    2024 prove the bound).
    """
    check("n", n, isinstance(n, int) and n >= 1, "be a whole number of at least 1")
    return log(n) - (n - 1) / n
