"""Repeats, empty answers, contradictions and leaks: planted row by row at a rate."""

from __future__ import annotations

from functools import partial

import numpy as np

from coverage._made import coins, prose, rows_of, turn
from coverage.case import Case, Trial, judged
from holdfast.checkup.findings.contradictions import contradictions
from holdfast.checkup.findings.duplicates import duplicates
from holdfast.checkup.findings.leaks import leaks
from holdfast.checkup.request import CheckRequest
from holdfast.checkup.table import EMPTY_ANSWERS


def repeated(seed: int, *, rate: float, n: int = 400) -> Trial:
    """Each row is a new one or, at the rate, an earlier one with a word changed or none."""
    rng = np.random.default_rng(seed)
    rows = coins(rng, 1)
    for row in coins(rng, n - 1):
        if rng.random() < rate:
            row = dict(rows[int(rng.integers(len(rows)))])
            if rng.random() < 0.5:
                row["prompt"] = row["prompt"].upper() + "!"
        rows.append(row)
    return judged(duplicates(rows_of(rows), CheckRequest(seed=seed)), rate)


def silent(seed: int, *, rate: float, n: int = 400) -> Trial:
    rng = np.random.default_rng(seed)
    rows = coins(rng, n)
    for row in rows:
        if rng.random() < rate:
            row["chosen" if rng.random() < 0.5 else "rejected"] = str(
                rng.choice(["N/A", "...", "<nooutput>", "None"])
            )
    return judged(EMPTY_ANSWERS.run(rows_of(rows), CheckRequest(seed=seed)), rate)


def both_ways(seed: int, *, flip: float, n: int = 200) -> Trial:
    """Three raters a pair, each wrong at the rate: labeled both ways with chance 1 - (1 - e)^3 -
    e^3.
    """
    rng = np.random.default_rng(seed)
    made = []
    for row in coins(rng, n):
        for rater in range(3):
            one = {**row, "rater": f"r{rater}"}
            if rng.random() < flip:
                turn(one)
            made.append(one)
    return judged(
        contradictions(rows_of(made), CheckRequest(seed=seed)), 1 - (1 - flip) ** 3 - flip**3
    )


def leaked(seed: int, *, rate: float, n: int = 300) -> Trial:
    rng = np.random.default_rng(seed)
    rows = coins(rng, n)
    tests = [
        str(rows[int(rng.integers(n))]["prompt"])
        if rng.random() < rate
        else f"test {i} {prose(rng)}"
        for i in range(150)
    ]
    tests = list(dict.fromkeys(tests))
    return judged(leaks(rows_of(rows), CheckRequest(seed=seed, against=tests)), rate)


CASES = [
    *(
        Case("duplicates", "400 rows", f"{r:.0%}", partial(repeated, rate=r))
        for r in (0.0, 0.05, 0.2)
    ),
    *(
        Case("empty_answers", "400 rows", f"{r:.0%}", partial(silent, rate=r))
        for r in (0.0, 0.03, 0.1)
    ),
    *(
        Case(
            "contradictions",
            "200 pairs by 3 raters wrong at the rate",
            f"{f:.0%}",
            partial(both_ways, flip=f),
        )
        for f in (0.0, 0.05, 0.2)
    ),
    *(
        Case("leaks", "150 test prompts against 300 rows", f"{r:.0%}", partial(leaked, rate=r))
        for r in (0.0, 0.1)
    ),
]
