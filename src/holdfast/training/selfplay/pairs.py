"""What a judge says of a prompt's answers among themselves, and the comparisons that a round of
self-play trains on.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from holdfast.errors import OptionError
from holdfast.evaluation.winrate import under_judge
from holdfast.rewards.functions import Judge, judge_from
from holdfast.rewards.model import RewardModel, is_reward_model
from holdfast.stats.arrays import Floats
from holdfast.types import Text

Pairing = Literal["best_worst", "independent"]
MOST = 6.0  # log-odds; a judge that says 0 or 1 is taken to mean 1 in 400


@dataclass
class PairwiseJudge:
    """A judge of any kind, asked about all pairs of a prompt's answers at once."""

    judge: RewardModel | Judge

    @classmethod
    def of(
        cls,
        source: str | os.PathLike[str] | Judge | RewardModel,
        *,
        accept_loss: Sequence[str] = (),
    ) -> PairwiseJudge:
        """A reward or preference model, its folder, a function, or a function's name; `accept_loss`
        is what its template may drop.
        """
        if isinstance(source, RewardModel):
            return cls(source)
        if not callable(source) and is_reward_model(source):
            return cls(RewardModel.load(os.fspath(source), accept_loss=accept_loss))
        return cls(judge_from(os.fspath(source) if isinstance(source, os.PathLike) else source))

    def preferences(self, prompts: Sequence[Text], answers: Sequence[Sequence[str]]) -> Floats:
        """pref_PGG: P(the row's answer beats the column's), 1/2 on the diagonal; with its transpose
        it sums to 1.

        A model reads each answer once. A function is asked about each pair once in either order,
        and its two verdicts are averaged; the same text on both sides is a draw and is not asked.
        """
        if isinstance(self.judge, RewardModel):
            made: Floats = 1 / (1 + np.exp(-self.judge.logits(prompts, answers)))
            return made
        count = len(answers[0])
        pref_PGG = np.full((len(prompts), count, count), 0.5)
        asked = [
            (p, i, j)
            for p, row in enumerate(answers)
            for i in range(count)
            for j in range(i)
            if row[i] != row[j]
        ]
        if asked:
            places = np.array(asked)
            texts = [
                [answers[p][place] for p, place in places[:, [0, side]].tolist()] for side in (1, 2)
            ]
            verdict_N, _, _ = under_judge(
                self.judge, [prompts[p] for p in places[:, 0].tolist()], *texts
            )
            pref_PGG[places[:, 0], places[:, 1], places[:, 2]] = verdict_N
            pref_PGG[places[:, 0], places[:, 2], places[:, 1]] = 1 - verdict_N
        return pref_PGG


def comparisons(
    prompts: Sequence[Text],
    answers: Sequence[Sequence[str]],
    pref_PGG: Floats,
    *,
    pairing: Pairing,
    seed: int,
    weight_PG: Floats | None = None,
) -> tuple[list[dict[str, Any]], list[tuple[int, int, int]], dict[str, int]]:
    """The rows of a round, where each comes from (prompt, chosen, rejected), and how many prompts
    gave none, by reason.

    best_worst    the answers with the largest and the least mean win rate against all of the
                  prompt's answers, the better one chosen: the
                  usual practice (SPPO, GPO). The label is the judge's and certain.
    independent   the first two answers, the winner drawn from the judge's probability: what the
                  theory of regressions on binary labels
                  asks for (INPO, IPO, DPO).

    A row says what any method may ask for: `confidence`, the judge's probability of the label;
    `reward_gap`, its log-odds; and of each side `*_win_rate` and `*_log_odds`, its means against
    all of the prompt's answers, itself included, under `weight_PG` if it is given.
    """
    if pairing not in ("best_worst", "independent"):
        raise OptionError(f"pairing is {pairing!r}", hint="best_worst or independent")
    odds_PGG = np.clip(
        np.log(np.maximum(pref_PGG, 1e-300)) - np.log(np.maximum(1 - pref_PGG, 1e-300)), -MOST, MOST
    )
    rng = random.Random(f"labels {seed}")
    rows: list[dict[str, Any]] = []
    places: list[tuple[int, int, int]] = []
    skipped: Counter[str] = Counter()
    for p, prompt in enumerate(prompts):
        weight_G = (
            np.full(len(answers[p]), 1 / len(answers[p])) if weight_PG is None else weight_PG[p]
        )
        rate_G, odds_G = pref_PGG[p] @ weight_G, odds_PGG[p] @ weight_G
        drawn = rng.random()
        first, second = (
            (int(rate_G.argmax()), int(rate_G.argmin())) if pairing == "best_worst" else (0, 1)
        )
        if pairing == "independent" and drawn >= pref_PGG[p, 0, 1]:
            first, second = 1, 0
        if answers[p][first] == answers[p][second] or (
            pairing == "best_worst" and rate_G[first] == rate_G[second]
        ):
            skipped["the answers are equal, or equally good"] += 1
            continue
        row: dict[str, Any] = {
            "prompt": prompt,
            "chosen": answers[p][first],
            "rejected": answers[p][second],
        }
        row |= {
            "confidence": float(pref_PGG[p, first, second]),
            "reward_gap": float(odds_PGG[p, first, second]),
        }
        for side, place in (("chosen", first), ("rejected", second)):
            row |= {
                f"{side}_win_rate": float(rate_G[place]),
                f"{side}_log_odds": float(odds_G[place]),
            }
        rows.append(row)
        places.append((p, first, second))
    return rows, places, dict(skipped)
