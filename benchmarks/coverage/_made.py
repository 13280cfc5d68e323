"""Rows that know what is wrong with them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from scipy.special import expit

from holdfast.checkup.comparisons import Comparisons
from holdfast.types import Row, Where

VOCABULARY = np.array([f"word{i}" for i in range(400)])


def prose(rng: np.random.Generator, low: int = 8, high: int = 40) -> str:
    return (
        " ".join(VOCABULARY[(400 * rng.random(int(rng.integers(low, high))) ** 2).astype(int)])
        + "."
    )


def rows_of(made: Iterable[dict[str, Any]]) -> Comparisons:
    known = {"prompt", "chosen", "rejected", "rater", "group", "source", "strength", "named"}
    rows = []
    for i, parts in enumerate(made):
        extra = {key: value for key, value in parts.items() if key not in known}
        rows.append(
            Row(
                Where("made", i + 1),
                **{key: value for key, value in parts.items() if key in known},
                extra=extra,
            )
        )
    return Comparisons.of(rows)


def coins(rng: np.random.Generator, n: int) -> list[dict[str, Any]]:
    """Answers drawn alike and labels drawn at random."""
    return [
        {"prompt": f"question {i // 2} {prose(rng)}", "chosen": prose(rng), "rejected": prose(rng)}
        for i in range(n)
    ]


def tastes(rng: np.random.Generator, n: int, strength: float) -> list[dict[str, Any]]:
    """Bradley-Terry verdicts: a tenth of the words is worth something."""
    worth = dict(
        zip(
            VOCABULARY.tolist(),
            rng.normal(size=400) * (rng.random(400) < 0.2) * strength,
            strict=True,
        )
    )
    rows = coins(rng, n)
    for row in rows:
        gap = sum(worth.get(word.strip("."), 0.0) for word in row["chosen"].split()) - sum(
            worth.get(word.strip("."), 0.0) for word in row["rejected"].split()
        )
        if rng.random() > expit(gap):
            turn(row)
    return rows


def turn(row: dict[str, Any]) -> None:
    row["chosen"], row["rejected"] = row["rejected"], row["chosen"]


def matches(
    rng: np.random.Generator, n: int, logit_AA: np.ndarray, *, bonus: float = 0.0, flip: float = 0.0
) -> Comparisons:
    """n matches between players drawn at random; the first has a bonus; results are inverted at
    the rate `flip`.
    """
    size = len(logit_AA)
    made = []
    for _ in range(n):
        one, two = rng.choice(size, 2, replace=False)
        first = (rng.random() < expit(bonus + logit_AA[one, two])) ^ (rng.random() < flip)
        won, lost = (f"p{one}", f"p{two}") if first else (f"p{two}", f"p{one}")
        made.append(
            {
                "chosen": won,
                "rejected": lost,
                "chosen_model": won,
                "rejected_model": lost,
                "chosen_first": bool(first),
                "named": True,
            }
        )
    return rows_of(made)


def ranking(rng: np.random.Generator, size: int, spread: float = 1.5) -> np.ndarray:
    s_A = rng.normal(size=size) * spread
    return s_A[:, None] - s_A


def wheel(size: int) -> np.ndarray:
    """Each player beats those up to half a turn ahead."""
    angle = 2 * np.pi * np.arange(size) / size
    return np.sin(angle[None] - angle[:, None])
