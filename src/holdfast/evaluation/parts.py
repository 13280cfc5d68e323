"""All that was measured, a value a row or an answer, and its averages over all rows or over a group."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from holdfast.evaluation.kl import SampleKL, kl_estimates
from holdfast.evaluation.ranking import PairScores, accuracies, estimates, margins
from holdfast.evaluation.rows import Held
from holdfast.evaluation.samples import Samples, lengths
from holdfast.evaluation.winrate import Match


@dataclass(frozen=True)
class Part:
    """What is known of all rows, or of one group. Every number is a dict of an `Estimate`; {} where there is nothing to say."""

    comparisons: int
    prompts_answered: int
    ranking: dict[str, Any] = field(default_factory=dict)
    margins: dict[str, Any] = field(default_factory=dict)
    kl: dict[str, Any] = field(default_factory=dict)
    lengths: dict[str, Any] = field(default_factory=dict)
    win_rate: dict[str, Any] = field(default_factory=dict)


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
    bootstrap: int
    seed: int

    def part(self, rows: NDArray[np.int64], asked: NDArray[np.int64]) -> Part:
        """`rows` are positions among the comparisons, `asked` positions among the prompts that were answered."""
        how = {"resamples": self.bootstrap, "seed": self.seed}
        scores = self.scores.take(rows)
        clusters = [self.held.clusters[n] for n in rows]
        named = {"policy": self.written, "reference": self.ref_written, "opponent": self.rival_written}
        return Part(
            comparisons=len(rows),
            prompts_answered=len(asked),
            ranking={name: value.to_dict() for name, value in estimates(accuracies(scores), clusters, **how).items()},
            margins={name: value.to_dict() for name, value in estimates(margins(scores), clusters, **how).items()},
            kl=self._kl(asked),
            lengths={name: lengths(samples, asked, **how) for name, samples in named.items() if samples is not None and len(asked)},
            win_rate=self.match.summary(asked, **how) if self.match is not None else {},
        )

    def _kl(self, asked: NDArray[np.int64]) -> dict[str, Any]:
        if self.divergence is None or not len(asked):
            return {}
        clusters, kl = self.divergence
        index = np.flatnonzero(np.isin(clusters, asked))
        return kl_estimates(kl.take(index), [clusters[i] for i in index], resamples=self.bootstrap, seed=self.seed)


def worst_groups(groups: Mapping[str, Part]) -> dict[str, str]:
    """For each ranking accuracy, and for the win rate, the group where it is lowest. Empty where there are fewer than two groups."""
    out: dict[str, str] = {}
    for name in ("policy", "policy_per_token", "implicit_reward"):
        values = {
            group: part.ranking[name]["value"] for group, part in groups.items() if part.ranking.get(name, {}).get("value") is not None
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
