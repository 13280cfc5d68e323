"""All that was measured, a value a row or an answer, and its averages over all rows or over a
group.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from holdfast.evaluation.difficulty import BETAS, columns, costs_and_thresholds
from holdfast.evaluation.kl import SampleKL, kl_estimates
from holdfast.evaluation.objective import Own
from holdfast.evaluation.ranking import PairScores, accuracies, estimates, margins
from holdfast.evaluation.rows import Held
from holdfast.evaluation.samples import Samples, lengths
from holdfast.evaluation.winrate import Match


@dataclass(frozen=True)
class Part:
    """What is known of all rows, or of one group. Every number is a dict of an `Estimate`; {} where
    there is nothing to say.
    """

    comparisons: int
    prompts_answered: int
    ranking: dict[str, Any] = field(default_factory=dict)
    margins: dict[str, Any] = field(default_factory=dict)
    kl: dict[str, Any] = field(default_factory=dict)
    lengths: dict[str, Any] = field(default_factory=dict)
    win_rate: dict[str, Any] = field(default_factory=dict)
    difficulty: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Found:
    """Per row and per answer, all that was measured; `part` averages it over some of them."""

    held: Held
    scores: PairScores
    written: Samples
    ref_written: Samples | None
    rival_written: Samples | None
    divergence: tuple[list[int], SampleKL] | None
    match: Match | None
    beta: float | None  # of the KL penalty, where one is known
    own: Own | None
    bootstrap: int
    seed: int

    def part(self, rows: NDArray[np.int64], asked: NDArray[np.int64]) -> Part:
        """`rows` are positions among the comparisons, `asked` positions among the prompts that were
        answered.
        """
        how = {"resamples": self.bootstrap, "seed": self.seed}
        scores = self.scores.take(rows)
        clusters = [self.held.clusters[n] for n in rows]
        named = {
            "policy": self.written,
            "reference": self.ref_written,
            "opponent": self.rival_written,
        }
        return Part(
            comparisons=len(rows),
            prompts_answered=len(asked),
            ranking={
                name: value.to_dict()
                for name, value in estimates(accuracies(scores), clusters, **how).items()
            },
            margins={
                name: value.to_dict()
                for name, value in estimates(margins(scores), clusters, **how).items()
            },
            kl=self._kl(asked),
            lengths={
                name: lengths(samples, asked, **how)
                for name, samples in named.items()
                if samples is not None and len(asked)
            },
            win_rate=self.match.summary(asked, **how) if self.match is not None else {},
            difficulty=self._difficulty(rows, clusters)
            if self.scores.ref_chosen_N is not None and len(rows)
            else {},
        )

    def _difficulty(self, rows: NDArray[np.int64], clusters: Sequence[Hashable]) -> dict[str, Any]:
        """Idealized accuracy and alignment gap by beta, their least, median and greatest over the
        paper's betas, and what became of the pairs that the reference ranks wrongly."""
        scores, share_N = self.scores.take(rows), self.held.share_N[rows]
        betas = sorted({*BETAS, *([self.beta] if self.beta is not None else [])})
        target_N = self.own.target_N(share_N) if self.own is not None else None
        values = columns(scores, share_N, betas=betas, target_N=target_N)
        if self.beta is not None:
            values |= costs_and_thresholds(scores, beta=self.beta)
        found = {
            name: value.to_dict()
            for name, value in estimates(
                values, clusters, resamples=self.bootstrap, seed=self.seed
            ).items()
        }
        ideal = {f"{beta:g}": found.pop(f"idealized@{beta:g}") for beta in betas}
        gap = {f"{beta:g}": found.pop(f"gap@{beta:g}") for beta in betas}
        ordered = sorted(
            (f"{beta:g}" for beta in BETAS), key=lambda name: ideal[name]["value"] or 0.0
        )
        spread = dict(
            zip(
                ("least", "median", "greatest"),
                (ordered[0], ordered[len(ordered) // 2], ordered[-1]),
                strict=True,
            )
        )
        return {
            "beta": self.beta,
            "idealized": ideal,
            "gap": gap,
            "over_betas": {name: {"beta": float(at), **ideal[at]} for name, at in spread.items()},
            **{name.replace("@", "_"): value for name, value in found.items()},
        }

    def _kl(self, asked: NDArray[np.int64]) -> dict[str, Any]:
        if self.divergence is None or not len(asked):
            return {}
        clusters, kl = self.divergence
        index = np.flatnonzero(np.isin(clusters, asked))
        return kl_estimates(
            kl.take(index), [clusters[i] for i in index], resamples=self.bootstrap, seed=self.seed
        )


def worst_groups(groups: Mapping[str, Part]) -> dict[str, str]:
    """For each ranking accuracy, and for the win rate, the group where it is lowest. Empty where
    there are fewer than two groups.
    """
    out: dict[str, str] = {}
    for name in ("policy", "policy_per_token", "implicit_reward"):
        values = {
            group: part.ranking[name]["value"]
            for group, part in groups.items()
            if part.ranking.get(name, {}).get("value") is not None
        }
        if len(values) > 1:
            out[name] = min(values, key=lambda group: values[group])
    wins = {
        group: part.win_rate["win_rate"]["value"]
        for group, part in groups.items()
        if part.win_rate.get("win_rate", {}).get("value") is not None
    }
    if len(wins) > 1:
        out["win_rate"] = min(wins, key=lambda group: wins[group])
    return out
