"""Matches of public sets, and others between the same sides."""

from __future__ import annotations

import csv
import gzip
from functools import lru_cache
from typing import Any

import numpy as np

from coverage._made import rows_of
from coverage.public import here
from holdfast.checkup.comparisons import Comparisons
from holdfast.checkup.estimators.tournament import scores_of
from holdfast.text.codes import coded

FOOTBALL, CREATURES, JUDGES = (
    "football/results.csv.gz",
    "creature_battles/battles.csv.gz",
    "alpaca_eval_nc/annotations.csv.gz",
)


@lru_cache(maxsize=4)
def table(name: str) -> list[dict[str, str]]:
    path = here(name)
    if path is None:
        raise FileNotFoundError(
            f"{name} is not in the folder of public sets: --sets DIR says where they lie"
        )
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def fitted(met: list[tuple[str, str]]) -> tuple[Any, np.ndarray, np.ndarray]:
    """(names, pair met in each meeting N x 2, Bradley-Terry scores of the real results)."""
    side = coded([name for pair in met for name in pair])
    pair_N2 = side.code_N.reshape(-1, 2)
    low_N2 = np.sort(pair_N2, axis=1)
    edges, at_N = np.unique(low_N2, axis=0, return_inverse=True)
    n_E = np.bincount(at_N.ravel()).astype(float)
    win_E = np.bincount(at_N.ravel(), weights=pair_N2[:, 0] == low_N2[:, 0]) / n_E
    return side.names, low_N2, scores_of(edges, n_E, win_E, len(side.names), ridge=0.3)


def matches(
    rng: np.random.Generator,
    names: Any,
    pair_N2: np.ndarray,
    p_N: np.ndarray,
    *,
    placed: bool = False,
    **columns: list[Any],
) -> Comparisons:
    """Results drawn with the chance of each pair's first; `placed` says who that was."""
    made = []
    for i, (pair, first) in enumerate(
        zip(pair_N2.tolist(), rng.random(len(p_N)) < p_N, strict=True)
    ):
        won, lost = (str(names[k]) for k in (pair if first else pair[::-1]))
        more = {name: values[i] for name, values in columns.items()} | (
            {"chosen_first": bool(first)} if placed else {}
        )
        made.append(
            {
                "chosen": won,
                "rejected": lost,
                "chosen_model": won,
                "rejected_model": lost,
                "named": True,
                **more,
            }
        )
    return rows_of(made)
