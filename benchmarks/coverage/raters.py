"""Raters: reliabilities drawn from a Beta, raters alike, contrary raters; who judged pairs
together, and who did not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np

from coverage.case import Case, Trial, judged
from holdfast.checkup.comparisons import Comparisons
from holdfast.checkup.findings.raters import raters
from holdfast.checkup.request import CheckRequest
from holdfast.checkup.result import Finding
from holdfast.stats.intervals import Estimate
from holdfast.types import Row, Where


def rows_of(
    seed: int, a_R: np.ndarray, *, pairs: int, per_pair: int, told: float | None = None
) -> Comparisons:
    """Each pair is judged by `per_pair` raters, right with probability a_R. With `told`, the better
    answer has a mark with that chance.
    """
    rng, rows = np.random.default_rng([seed, 2]), []
    for i in range(pairs):
        good, bad = (str(t) for t in rng.permutation([f"a {i}", f"b {i}"]))
        if told is not None:
            good, bad = (good + " !", bad) if rng.random() < told else (good, bad + " !")
        for r in rng.choice(len(a_R), per_pair, replace=False):
            win, lose = (good, bad) if rng.random() < a_R[r] else (bad, good)
            rows.append(
                Row(Where("made", len(rows) + 1), f"question {i}", win, lose, rater=f"r{r}")
            )
    return Comparisons.of(rows)


def first_rater(found: Finding) -> Estimate | None:
    """The interval of rater 0, who is any rater."""
    for row in found.numbers.get("by_rater", []):
        if row["rater"] == "r0":
            return Estimate(row["value"], row["low"], row["high"])
    return None


def trial(
    seed: int,
    *,
    count: int,
    beta: tuple[float, float] | float,
    pairs: int,
    per_pair: int,
    told: float | None = None,
) -> Trial:
    rng = np.random.default_rng(seed)
    a_R = np.full(count, beta) if isinstance(beta, float) else rng.beta(*beta, count)
    found = raters(
        rows_of(seed, a_R, pairs=pairs, per_pair=per_pair, told=told), CheckRequest(seed=seed)
    )
    one = first_rater(found)
    return judged(found, float(a_R[0]) if one else None, one)


def contrary(seed: int, *, count: int = 20) -> Trial:
    a_R = np.full(count, 0.85)
    a_R[0] = 0.25
    found = raters(rows_of(seed, a_R, pairs=200, per_pair=3), CheckRequest(seed=seed))
    return judged(found, 0.25, first_rater(found))


def agreement(seed: int, *, a: float) -> Trial:
    found = raters(rows_of(seed, np.full(8, a), pairs=200, per_pair=3), CheckRequest(seed=seed))
    return judged(found, a**2 + (1 - a) ** 2)


def ranked(seed: int, *, people: int, prompts: int, answers: int = 5) -> Trial:
    """Alike people (one Plackett-Luce taste) who rank all answers of every prompt."""
    rng, rows = np.random.default_rng([seed, 3]), []
    for k in range(people):
        for q in range(prompts):
            worth = -0.4 * np.arange(answers) + rng.gumbel(size=answers)
            for a in range(answers):
                for b in range(a):
                    win, lose = (a, b) if worth[a] > worth[b] else (b, a)
                    where = Where("made", len(rows) + 1)
                    sides = (f"answer {win} of {q}", f"answer {lose} of {q}")
                    rows.append(Row(where, f"question {q}", *sides, rater=f"r{k}"))
    return judged(raters(Comparisons.of(rows), CheckRequest(seed=seed)), None)


def copied(seed: int, *, kept: float, wrong: float, people: int = 4, pairs: int = 260) -> Trial:
    """Alike raters, the last of whom repeats the one before in a share `kept` of pairs. Covered:
    whether the copy, and nobody else, is named.
    """
    rng, rows = np.random.default_rng([seed, 4]), []
    for i in range(pairs):
        right = rng.random(people) >= wrong
        if rng.random() < kept:
            right[-1] = right[-2]
        for k, good in enumerate(right):
            win, lose = (f"a {i}", f"b {i}") if good else (f"b {i}", f"a {i}")
            where = Where("made", len(rows) + 1)
            rows.append(Row(where, f"question {i}", win, lose, rater=f"r{k}"))
    found = raters(Comparisons.of(rows), CheckRequest(seed=seed))
    named = [(c["one"], c["other"]) for c in found.numbers["copies"]]
    right = named == ([(f"r{people - 2}", f"r{people - 1}")] if kept else [])
    trial = judged(found, None)
    return replace(trial, covered=right and not found.numbers["stand_out"])


def self_judged(seed: int, *, turned: float, other: bool, better: float) -> Trial:
    """Judge a wrote one answer of each of 300 pairs, is the better writer in a share of them, and
    turns a share of its defeats. Covered: how often it takes its own.
    """
    rng, rows = np.random.default_rng([seed, 5]), []
    for i in range(300):
        won = rng.random() < better
        for rater in ("a", "c") if other else ("a",):
            own = (won != (rng.random() < 0.1)) or (rater == "a" and rng.random() < turned)
            models = {"chosen_model": "ab"[not own], "rejected_model": "ab"[own]}
            win, lose = (f"x {i}", f"y {i}") if own else (f"y {i}", f"x {i}")
            where = Where("made", len(rows) + 1)
            rows.append(Row(where, f"question {i}", win, lose, rater=rater, extra=models))
    found = raters(Comparisons.of(rows), CheckRequest(seed=seed))
    (judge,) = found.numbers["self_preference"]
    own = better * 0.9 + (1 - better) * 0.1
    trial = judged(found, own + (1 - own) * turned, Estimate(*(judge["own"][k] for k in ENDS)))
    return replace(trial, flagged=bool(judge["partial"]))


ENDS = ("value", "low", "high")
FRESH = 10_000  # seeds from here: the first hundreds were seen while the test of raters was made


def fresh(seed: int, *, of: Callable[[int], Trial]) -> Trial:
    return of(FRESH + seed)


ONE = "covered: one rater's reliability"
CASES = [
    Case(
        "raters",
        "200 raters alike rank 5 answers to one prompt",
        "alike",
        partial(ranked, people=200, prompts=1),
    ),
    Case(
        "raters",
        "8 raters alike rank 5 answers to 30 prompts",
        "alike",
        partial(ranked, people=8, prompts=30),
    ),
    *(
        Case(
            "raters",
            f"4 raters {wrong:.0%} wrong, one repeats another in {kept:.0%} of 260 pairs "
            "(covered: it is named, nobody else is)",
            "one copy" if kept else "none",
            partial(copied, kept=kept, wrong=wrong),
        )
        for kept, wrong in (
            (1.0, 0.15),
            (0.9, 0.15),
            (1.0, 0.05),
            (0.0, 0.15),
            (0.0, 0.02),
            (0.0, 0.35),
        )
    ),
    *(
        Case(
            "raters",
            f"a judge that wrote one answer of 300 pairs, "
            f"{'beside another judge' if other else 'alone'}, turns {turned:.0%} of its defeats "
            f"and is better in {better:.0%}",
            "its share",
            partial(self_judged, turned=turned, other=other, better=better),
        )
        for turned, other, better in (
            (0.6, False, 0.5),
            (0.0, False, 0.5),
            (0.6, True, 0.5),
            (0.0, True, 0.8),
        )
    ),
    *(
        Case(
            "raters",
            "8 raters alike, 3 a pair, 200 pairs (covered: agreement)",
            f"{a**2 + (1 - a) ** 2:.0%}",
            partial(agreement, a=a),
        )
        for a in (0.95, 0.8, 0.6)
    ),
    Case(
        "raters",
        f"8 raters alike, 3 a pair, 200 pairs ({ONE})",
        "80%",
        partial(trial, count=8, beta=0.8, pairs=200, per_pair=3),
    ),
    Case(
        "raters",
        f"20 raters alike, 2 a pair, 300 pairs ({ONE})",
        "80%",
        partial(trial, count=20, beta=0.8, pairs=300, per_pair=2),
    ),
    Case(
        "raters",
        f"25 raters unlike, 3 a pair, 300 pairs ({ONE})",
        "Beta(8, 2)",
        partial(trial, count=25, beta=(8, 2), pairs=300, per_pair=3),
    ),
    Case(
        "raters",
        f"25 raters unlike, 2 a pair, 300 pairs ({ONE})",
        "Beta(8, 2)",
        partial(trial, count=25, beta=(8, 2), pairs=300, per_pair=2),
    ),
    Case("raters", f"one of 20 raters contradicts, 3 a pair, 200 pairs ({ONE})", "25%", contrary),
    Case(
        "raters",
        f"6 raters unlike, no pair twice, texts tell 97% ({ONE})",
        "Beta(8, 2)",
        partial(trial, count=6, beta=(8, 2), pairs=900, per_pair=1, told=0.97),
    ),
    Case(
        "raters",
        "6 raters alike, no pair twice, texts tell 97%",
        "80%",
        partial(trial, count=6, beta=0.8, pairs=900, per_pair=1, told=0.97),
    ),
    Case(
        "raters",
        "6 raters unlike, no pair twice, texts tell nothing",
        "cannot know",
        partial(trial, count=6, beta=(8, 2), pairs=400, per_pair=1),
    ),
    Case(
        "raters",
        "2 raters judge every pair: which of them errs",
        "cannot know",
        partial(trial, count=2, beta=(8, 2), pairs=200, per_pair=2),
    ),
]
CASES = [replace(case, trial=partial(fresh, of=case.trial)) for case in CASES]
