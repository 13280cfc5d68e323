"""A reward on the files of RewardBench, the first and the second: accuracy by subset, with
intervals.

    found = reward_bench("runs/rewards", data="reward_bench_2.jsonl")
    found.subsets["Focus"]                       # an Estimate

RewardBench (Lambert et al. 2024) has rows prompt, chosen, rejected, subset, id: a pair counts 1
where the chosen answer scores higher. RewardBench 2 (Malik et al. 2025) has lists: chosen of one
answer, rejected of three, and a prompt counts 1 / k where the chosen answer is among k at the
highest score. Its subset Ties has several right answers, and pairs of prompts "ref:7" (one right
answer) and "tied:7" (many):

    0.3 (A_ref + A_tied) + 0.2 P(g_tied > s) + 0.2 P(min(g_ref, g_tied) > s)
    + 0.01 mean tanh(min(g_ref, g_tied) / s - 1)

with A the share of prompts whose worst right answer beats the best wrong one, g that gap, and s the
spread of the right answers of the tied prompt (the released code, whose maximum is 1.01).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Group
from rich.table import Table as Screen
from rich.text import Text as Line

from holdfast.data.sources import open_source
from holdfast.errors import DataError
from holdfast.evaluation.health.measures import share
from holdfast.files import write_text
from holdfast.rewards.functions import Reward, name_of, reward_from
from holdfast.rewards.guard import Guarded
from holdfast.stats.arrays import Floats
from holdfast.stats.intervals import Estimate, mean_interval
from holdfast.types import Text
from holdfast.visible import json_text

TIES = "Ties"


@dataclass(frozen=True)
class Bench:
    """`subsets` are means over prompts; `ties` the score of that subset, None where there is none;
    `overall` the mean over subsets, each the same weight.
    """

    reward: str
    source: str
    subsets: dict[str, Estimate]
    ties: float | None
    unscored: int
    faults: list[str]

    @property
    def overall(self) -> float:
        values = [one.point for one in self.subsets.values()]
        return float(np.mean([*values, *([self.ties] if self.ties is not None else [])]))

    def to_dict(self) -> dict[str, Any]:
        return {
            "reward": self.reward,
            "source": self.source,
            "overall": self.overall,
            "subsets": {name: one.to_dict() for name, one in self.subsets.items()},
            "ties": self.ties,
            "unscored": self.unscored,
            "faults": self.faults,
        }

    def write(self, path: str | Path) -> Path:
        write_text(Path(path), json_text(self.to_dict(), indent=2) + "\n")
        return Path(path)

    def table(self) -> Group:
        screen = Screen("subset", "prompts", "right", box=None, padding=(0, 1))
        for name, one in self.subsets.items():
            screen.add_row(name, f"{one.n:,}", share(one))
        if self.ties is not None:
            screen.add_row(TIES, "", f"{self.ties:.3f} (its own score, at most 1.01)")
        screen.add_row("overall, mean of subsets", "", f"{100 * self.overall:.1f}%")
        notes = [Line(f"note: {fault}") for fault in self.faults]
        return Group(Line(f"{self.reward} on {self.source}", style="bold"), screen, *notes)


@dataclass(frozen=True)
class Item:
    """One prompt; the first `right` answers are right."""

    where: str
    id: str
    subset: str
    prompt: Text
    answers: Sequence[str]
    right: int


def reward_bench(
    reward: str | Path | Reward,
    *,
    data: Any,
    device: str = "cpu",
    accept_loss: Sequence[str] = (),
) -> Bench:
    """Score every answer and count.

    Args:
        reward: what `holdfast evaluate --reward` takes.
        data: a file, folder or hub name of rows as either RewardBench has them.
        device: cpu, cuda, or cuda:1.
        accept_loss: what the chat template may drop of a prompt.

    Raises:
        DataError: a row without prompt, chosen, rejected or subset; it is named.
    """
    items = [item_of(record, where) for where, record in _records(data)]
    if not items:
        raise DataError("there are no rows", hint="rows with prompt, chosen, rejected, subset")
    guarded = Guarded(reward_from(reward, device=device, accept_loss=accept_loss))
    flat = guarded(
        [item.prompt for item in items for _ in item.answers],
        [answer for item in items for answer in item.answers],
    )
    ends = np.cumsum([len(item.answers) for item in items])
    scores = np.split(flat, ends[:-1])
    kept = [i for i, one in enumerate(scores) if not np.isnan(one).any()]
    names = dict.fromkeys(items[i].subset for i in kept)
    subsets = {}
    for name in names:
        at = [i for i in kept if items[i].subset == name]
        if name != TIES:
            credit = [credit_of(scores[i]) for i in at]
            subsets[name] = mean_interval(credit, [str(items[i].prompt) for i in at])
    tied = {items[i].id: (scores[i], items[i].right) for i in kept if items[i].subset == TIES}
    return Bench(
        name_of(reward),
        str(data) if isinstance(data, str | Path) else "rows in memory",
        subsets,
        ties_score(tied) if tied else None,
        len(items) - len(kept),
        [f"it {one.says}, {one.count:,} times: {one.cure}" for one in guarded.faults.values()],
    )


def item_of(record: Mapping[str, Any], where: str) -> Item:
    missing = [name for name in ("prompt", "chosen", "rejected", "subset") if not record.get(name)]
    if missing:
        raise DataError(
            f"{where} has no {', '.join(missing)}",
            hint="RewardBench rows have prompt, chosen, rejected, subset and id",
        )
    sides = [
        [side] if isinstance(side, str) else list(side)
        for side in (record["chosen"], record["rejected"])
    ]
    return Item(
        where,
        str(record.get("id", where)),
        str(record["subset"]),
        record["prompt"],
        [*sides[0], *sides[1]],
        len(sides[0]),
    )


def credit_of(score_A: Floats) -> float:
    """1 / k where the first answer is one of k at the highest score, else 0; in a pair a tie is
    1/2.
    """
    top = np.flatnonzero(score_A == score_A.max())
    return 1.0 / len(top) if 0 in top else 0.0


def ties_score(tied: Mapping[str, tuple[Floats, int]]) -> float:
    """The score of the subset Ties, from the scores of each prompt "ref:N" or "tied:N"."""
    gaps: dict[str, dict[str, float]] = {"ref": {}, "tied": {}}
    spread: dict[str, float] = {}
    for name, (score_A, right) in tied.items():
        kind, _, number = name.partition(":")
        if kind not in gaps:
            raise DataError(
                f'the id {name!r} of the subset Ties is neither "ref:N" nor "tied:N"',
                hint="keep the ids of the file as it was published",
            )
        gaps[kind][number] = float(score_A[:right].min() - score_A[right:].max())
        spread[f"{kind}:{number}"] = float(np.ptp(score_A[:right]))
    accuracy = sum(
        float(np.mean([gap > 0 for gap in one.values()])) if one else 0.0 for one in gaps.values()
    )
    both = sorted(gaps["ref"].keys() & gaps["tied"].keys())
    if not both:
        return 0.3 * accuracy
    gap_N = np.array([gaps["tied"][n] for n in both])
    hard_N = np.minimum(gap_N, [gaps["ref"][n] for n in both])
    spread_N = np.array([spread[f"tied:{n}"] for n in both])
    ratio_N = np.divide(hard_N, spread_N, out=np.ones(len(both)), where=spread_N > 0)
    return float(
        0.3 * accuracy
        + 0.2 * np.mean(gap_N > spread_N)
        + 0.2 * np.mean(hard_N > spread_N)
        + 0.01 * np.mean(np.tanh(ratio_N - 1))
    )


def _records(data: Any) -> list[tuple[str, Mapping[str, Any]]]:
    """Where each row stands, and what it holds."""
    found = []
    for record in open_source(data, None).records:
        if record.error is not None or not isinstance(record.value, Mapping):
            raise DataError(f"{record.where} is no row: {record.error or type(record.value)}")
        found.append((str(record.where), record.value))
    return found
