"""Subgroups: raters of one taste, of one taste and unlike in care, of two tastes; groups alike,
alike but for noise, and opposed.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from scipy.special import expit

from coverage.case import Case, Trial, judged
from holdfast.checkup.comparisons import Comparisons
from holdfast.checkup.findings.subgroups import subgroups
from holdfast.checkup.request import CheckRequest
from holdfast.stats.intervals import Estimate
from holdfast.types import Row, Where

MARKS = ("!", "?", ",", "\n", "`")  # what tastes are about, one weight each
EACH = 20  # comparisons of a rater


def text(rng: np.random.Generator, count_D: np.ndarray) -> str:
    words = [f"w{i}" for i in rng.integers(0, 200, int(rng.integers(5, 25)))] + [
        m for m, n in zip(MARKS, count_D, strict=True) for _ in range(n)
    ]
    return " ".join(rng.permutation(words))


def rows_of(
    seed: int,
    theta_ND: np.ndarray,
    flip_N: np.ndarray,
    prompts: list[str] | None = None,
    **columns: list[str],
) -> Comparisons:
    """A comparison for each row of `theta_ND`: Bradley-Terry by log counts of marks, then flipped
    at the row's rate.
    """
    rng, rows = np.random.default_rng([seed, 1]), []
    for i, (theta_D, flip) in enumerate(zip(theta_ND, flip_N, strict=True)):
        counts = rng.poisson(2.0, (2, len(MARKS)))
        a, b = (text(rng, count_D) for count_D in counts)
        gap = theta_D @ (np.log1p(counts[0]) - np.log1p(counts[1]))
        first = (rng.random() < expit(gap)) ^ (rng.random() < flip)
        said = {name: values[i] for name, values in columns.items()}
        rows.append(
            Row(
                Where("made", i + 1),
                prompts[i] if prompts else f"question {i}",
                a if first else b,
                b if first else a,
                **said,
            )
        )
    return Comparisons.of(rows)


def by_raters(
    seed: int,
    *,
    share: float = 0.0,
    raters: int = 60,
    flips: tuple[float, float] = (0.05, 0.05),
    known: bool = True,
) -> Trial:
    """A `share` of raters has the opposite of two of five weights of the others', and other weights
    elsewhere.
    """
    rng = np.random.default_rng(seed)
    theta_D = rng.normal(size=len(MARKS))
    theta_D *= 2.0 / np.linalg.norm(theta_D)
    other_D = -theta_D
    camp_R, flip_R = rng.random(raters) < share, rng.uniform(*flips, raters)
    rater_N = np.repeat(np.arange(raters), EACH)
    theta_ND = np.where(camp_R[rater_N][:, None], other_D, theta_D)
    more = {"rater": [f"r{r}" for r in rater_N]} if known else {}
    found = subgroups(rows_of(seed, theta_ND, flip_R[rater_N], **more), CheckRequest(seed=seed))
    minor = found.numbers["share_of_smallest"]
    return judged(found, share if share and minor else None, Estimate(**minor) if minor else None)


def rankings(seed: int, *, raters: int = 150, items: int = 6) -> Trial:
    """Every rater ranks the same items, all by one Plackett-Luce model: a rater's verdicts hang
    together, and there are no subgroups.
    """
    rng = np.random.default_rng(seed)
    worth_A = rng.normal(size=items)
    rows = []
    for r in range(raters):
        place_A = np.argsort(np.argsort(-(worth_A + rng.gumbel(size=items))))
        for a in range(items):
            for b in range(a):
                win, lose = (a, b) if place_A[a] < place_A[b] else (b, a)
                rows.append(
                    Row(
                        Where("made", len(rows) + 1),
                        "best?",
                        f"item {win}",
                        f"item {lose}",
                        rater=f"r{r}",
                    )
                )
    return judged(subgroups(Comparisons.of(rows), CheckRequest(seed=seed)), None)


def by_groups(
    seed: int, *, opposed: bool, flips: tuple[float, float] = (0.05, 0.05), n: int = 1200
) -> Trial:
    rng = np.random.default_rng(seed)
    theta_D = rng.normal(size=len(MARKS))
    theta_D *= 2.0 / np.linalg.norm(theta_D)
    group_N = (rng.random(n) < 0.35).astype(int)
    theta_ND = np.where(((group_N == 1) & opposed)[:, None], -theta_D, theta_D)
    data = rows_of(seed, theta_ND, np.array(flips)[group_N], group=[f"g{g}" for g in group_N])
    return judged(subgroups(data, CheckRequest(seed=seed)), None)


def by_kinds(seed: int, *, likely: float, opposed: bool, n: int = 2000) -> Trial:
    """Prompts of two kinds, in each of which other answers win; a group's are of its own kind at a
    rate. Opposed: people differ, too.
    """
    rng = np.random.default_rng([seed, 3])
    theta_2D = rng.normal(size=(2, len(MARKS)))
    theta_2D *= 2.0 / np.linalg.norm(theta_2D, axis=1, keepdims=True)
    group_N = (rng.random(n) < 0.4).astype(int)
    kind_N = np.where(rng.random(n) < likely, group_N, 1 - group_N)
    prompts = [
        " ".join(
            [
                *(f"k{k}w{w}" for w in rng.integers(20, size=3)),
                *(f"w{w}" for w in rng.integers(200, size=8)),
            ]
        )
        for k in kind_N
    ]
    theta_ND = theta_2D[kind_N] * np.where((group_N == 1) & opposed, -1.0, 1.0)[:, None]
    found = subgroups(
        rows_of(seed, theta_ND, np.full(n, 0.05), prompts, group=[f"g{g}" for g in group_N]),
        CheckRequest(seed=seed),
    )
    return judged(found, None)


CASES = [
    Case("subgroups", "60 raters of one taste", "none", by_raters),
    Case(
        "subgroups",
        "60 raters of one taste, careless at 0 to 45%",
        "none",
        partial(by_raters, flips=(0.0, 0.45)),
    ),
    Case("subgroups", "150 raters rank 6 items, one Plackett-Luce model", "none", rankings),
    Case(
        "subgroups",
        "60 raters, 30% of the opposite taste (covered: their share)",
        "2 subgroups",
        partial(by_raters, share=0.3),
    ),
    Case(
        "subgroups",
        "the same, raters not known",
        "2 subgroups",
        partial(by_raters, share=0.3, known=False),
    ),
    Case("subgroups", "two known groups of one taste", "none", partial(by_groups, opposed=False)),
    Case(
        "subgroups",
        "two known groups of one taste, flipped at 5% and 35%",
        "none",
        partial(by_groups, opposed=False, flips=(0.05, 0.35)),
    ),
    Case(
        "subgroups",
        "two known groups of opposite tastes",
        "opposed",
        partial(by_groups, opposed=True),
    ),
    Case(
        "subgroups",
        "two groups of one taste, each with a kind of prompts",
        "none",
        partial(by_kinds, likely=1.0, opposed=False),
    ),
    Case(
        "subgroups",
        "two groups of one taste, 80% of prompts of a kind",
        "none",
        partial(by_kinds, likely=0.8, opposed=False),
    ),
    Case(
        "subgroups",
        "two groups of opposite tastes, 80% of prompts of a kind",
        "opposed",
        partial(by_kinds, likely=0.8, opposed=True),
    ),
]
