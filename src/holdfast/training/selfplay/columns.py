"""What the policy objective of a solver reads of a round's rows beyond the judge's preferences:
gaps of earlier policies, win rates against other policies.

Who is meant by each column says `holdfast.games.ROLES`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from holdfast.data import read
from holdfast.data.render import tokenize
from holdfast.generation import Answer
from holdfast.models.load import load_policy
from holdfast.models.protocols import Tokenizer
from holdfast.scorers.text import TextScorer, score_in_chunks
from holdfast.stats.arrays import Floats
from holdfast.training.selfplay.pairs import PairwiseJudge
from holdfast.types import Text, Tokenized

SIDES = ("chosen", "rejected")


def gaps(
    policy: Path,
    tokenizer: Tokenizer,
    rows: Sequence[dict[str, Any]],
    rendering: Mapping[str, Any],
    quarantine: Path,
) -> list[float | None]:
    """log pi(chosen) - log pi(rejected) of each row, nats, as `train` will read the row; None for a
    row that it will skip.
    """
    kept = read(list(rows), quarantine=quarantine)
    made = tokenize(kept, tokenizer, **rendering, quarantine=quarantine, progress=False)
    scored = score_in_chunks(
        TextScorer(load_policy(policy, trainable_adapter=False).eval()), made.items
    )
    out: list[float | None] = [None] * len(rows)
    for row, parts in zip(made.rows, scored, strict=True):
        out[row.where.line - 1] = float(
            parts["chosen"].double().sum() - parts["rejected"].double().sum()
        )
    return out


def mixture_weights(
    current: Path, start: Path, drawn: Sequence[Sequence[Answer]], share: float
) -> Floats:
    """weight_PG of current's answers that make them answers of the mixture current^(1 - share)
    start^share; a prompt's add to 1.

    Self-normalized importance weights (start / current)^share of whole answers, so they are exact
    as the number of answers grows.
    """
    items = [
        Tokenized(row[0].prompt_ids, {str(g): one.ids_T for g, one in enumerate(row)})
        for row in drawn
    ]
    logp = []
    for policy in (current, start):
        scored = score_in_chunks(
            TextScorer(load_policy(policy, trainable_adapter=False).eval()), items
        )
        logp.append(
            np.array(
                [
                    [float(parts[str(g)].double().sum()) for g in range(len(drawn[0]))]
                    for parts in scored
                ]
            )
        )
    tilted = share * (logp[1] - logp[0])
    weight = np.exp(tilted - tilted.max(1, keepdims=True))
    made: Floats = weight / weight.sum(1, keepdims=True)
    return made


def win_rates(
    judge: PairwiseJudge,
    prompts: Sequence[Text],
    answers: Sequence[Sequence[str]],
    others: Sequence[Sequence[str]],
) -> Floats:
    """rate_PG: how often each answer beats an answer of another policy to the same prompt, a mean
    over that policy's answers.
    """
    count = len(answers[0])
    pref = judge.preferences(
        prompts, [[*own, *other] for own, other in zip(answers, others, strict=True)]
    )
    made: Floats = pref[:, :count, count:].mean(2)
    return made


def fill(
    rows: Sequence[dict[str, Any]],
    places: Sequence[tuple[int, int, int]],
    what: str,
    rate_PG: Floats,
) -> None:
    """Write `chosen_WHAT` and `rejected_WHAT` into rows that stand at (prompt, chosen,
    rejected).
    """
    for row, (p, *both) in zip(rows, places, strict=True):
        row |= {f"{side}_{what}": float(rate_PG[p, g]) for side, g in zip(SIDES, both, strict=True)}
