"""Subgroups: real answers and real people; who is in which subgroup is planted, or dealt at
random, so that there can be none.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np

from coverage.case import Case, Trial, judged
from coverage.public import here, rows
from holdfast.checkup.comparisons import Comparisons
from holdfast.checkup.findings.subgroups import subgroups
from holdfast.checkup.request import CheckRequest
from holdfast.inputs.swap import swapped_row
from holdfast.stats.intervals import Estimate
from holdfast.types import Row

DOMAINS, FILMS, OBJECTIVES, TOWN = (
    f"{name}/pairs.jsonl.gz"
    for name in ("dsp_domains_nc", "starwars_rankings", "hh_relabelled", "polis")
)
RATERS, EACH = 60, 20


def hidden(made: list[Row], seed: int, share: float) -> Trial:
    """Covered: the share of the smaller subgroup, where two were found."""
    found = subgroups(Comparisons.of(made), CheckRequest(seed=seed))
    minor = found.numbers["share_of_smallest"]
    return judged(found, share if share and minor else None, Estimate(**minor) if minor else None)


def by_domains(seed: int, *, share: float, careless: float = 0.05) -> Trial:
    """Two of four domains, drawn at random: a rater likes the answers written for one of them. All
    judge the same prompts.
    """
    rng = np.random.default_rng(seed)
    of = {(str(row.group), str(row.extra["rejected_domain"])) for row in rows(DOMAINS)}
    one, two = sorted(of)[rng.integers(len(of))]
    pairs = [
        row for row in rows(DOMAINS) if (row.group, row.extra["rejected_domain"]) == (one, two)
    ]
    camp_R, flip_R = rng.random(RATERS) < share, rng.uniform(0, 2 * careless, RATERS)
    made = []
    for r in range(RATERS):
        for i in rng.choice(len(pairs), EACH, replace=False):
            row = replace(pairs[i], group=None, source=None, rater=f"r{r}")
            made.append(swapped_row(row) if camp_R[r] != (rng.random() < flip_R[r]) else row)
    return hidden(made, seed, share)


def dealt(seed: int, *, of: str, share: float, raters: int = 200, each: int = 30) -> Trial:
    """Verdicts of real people dealt to raters at random, so that no rater has a taste of his own;
    then a share of raters is inverted.
    """
    rng = np.random.default_rng(seed)
    real = rows(of) if of == FILMS else town()
    camp_R = rng.random(raters) < share
    made = []
    for r in range(raters):
        for i in rng.choice(len(real), each, replace=False):
            row = replace(real[i], group=None, source=None, rater=f"r{r}")
            made.append(swapped_row(row) if camp_R[r] else row)
    return hidden(made, seed, share)


def town() -> list[Row]:
    return [row for row in rows(TOWN) if str(row.group).startswith("american-assembly")]


def by_objectives(seed: int, *, shuffled: bool, n: int = 1500) -> Trial:
    """Pairs of HH judged by a model for one objective each; flagged: the groups differ."""
    rng = np.random.default_rng(seed)
    real = rows(OBJECTIVES)
    kept = [
        replace(real[i], source=None, rater=None) for i in rng.choice(len(real), n, replace=False)
    ]
    group_N = [kept[i].group for i in (rng.permutation(n) if shuffled else range(n))]
    return judged(
        subgroups(
            Comparisons.of([replace(row, group=g) for row, g in zip(kept, group_N, strict=True)]),
            CheckRequest(seed=seed),
        ),
        None,
    )


def by_town(seed: int, *, shuffled: bool, raters: int = 400) -> Trial:
    """People of one town on statements; the groups are those that a clustering of their votes
    found, or dealt at random to people. Raised: the groups differ (that people differ among
    themselves is true)."""
    rng = np.random.default_rng(seed)
    real = town()
    people = sorted({str(row.rater) for row in real})
    kept = rng.choice(people, raters, replace=False)
    of = {str(row.rater): row.group for row in real}
    group = dict(
        zip(
            kept.tolist(),
            [of[who] for who in (rng.permutation(kept) if shuffled else kept)],
            strict=True,
        )
    )
    made = [
        replace(row, group=group[str(row.rater)], source=None) for row in real if row.rater in group
    ]
    found = subgroups(Comparisons.of(made), CheckRequest(seed=seed))
    trial = judged(found, None)
    return Trial(None, bool(found.numbers["columns"]["group"]["differs"]), trial.inconclusive)


ALL = [
    (
        DOMAINS,
        Case(
            "subgroups", "domains, 60 raters of one taste", "none", partial(by_domains, share=0.0)
        ),
    ),
    (
        DOMAINS,
        Case(
            "subgroups",
            "domains, one taste, careless at 0 to 40%",
            "none",
            partial(by_domains, share=0.0, careless=0.2),
        ),
    ),
    (
        DOMAINS,
        Case(
            "subgroups",
            "domains, 30% like another (covered: their share)",
            "2 subgroups",
            partial(by_domains, share=0.3),
        ),
    ),
    (
        FILMS,
        Case(
            "subgroups",
            "film rankings dealt to 200 raters",
            "none",
            partial(dealt, of=FILMS, share=0.0, each=15),
        ),
    ),
    (
        FILMS,
        Case(
            "subgroups",
            "film rankings dealt, 30% inverted",
            "2 subgroups",
            partial(dealt, of=FILMS, share=0.3, each=15),
        ),
    ),
    (
        TOWN,
        Case(
            "subgroups",
            "polis, verdicts dealt to 200 raters",
            "none",
            partial(dealt, of=TOWN, share=0.0),
        ),
    ),
    (
        TOWN,
        Case(
            "subgroups",
            "polis dealt, 30% inverted (covered: their share)",
            "2 subgroups",
            partial(dealt, of=TOWN, share=0.3),
        ),
    ),
    (
        OBJECTIVES,
        Case(
            "subgroups",
            "HH by a model for 2 objectives, names dealt at random",
            "none",
            partial(by_objectives, shuffled=True),
        ),
    ),
    (
        OBJECTIVES,
        Case(
            "subgroups",
            "HH by a model for 2 objectives",
            "real",
            partial(by_objectives, shuffled=False),
        ),
    ),
    (
        TOWN,
        Case(
            "subgroups",
            "polis, 400 people of a town, groups dealt at random (flagged: groups)",
            "none",
            partial(by_town, shuffled=True),
        ),
    ),
    (
        TOWN,
        Case(
            "subgroups",
            "polis, 400 people of a town, groups by their votes (flagged: groups)",
            "real",
            partial(by_town, shuffled=False),
        ),
    ),
]
CASES = [case for name, case in ALL if here(name)]
