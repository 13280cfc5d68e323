"""The trilemma, as far as it can be measured: what an average hides, what exponential cost rests
on, and intervals that hold

The paper has no experiment. Labels: one preference that depends on d bits of context, additively or
by their parity, is learned by a table of counts and by logistic regression on the bits, until the
mean error of P is 0.05 (sizes in steps of sqrt 2, at most 2^19, twice that if never). `doublings a
bit` is the slope of log2 labels over the even d from 2 to 12.

People: three groups of 70, 20 and 10% of 200 raters, 10 verdicts each, with leanings of their own
around the group's mean; the population has a third of each. Measured: whether the 95% intervals of
the average and of the worst gap hold the truth, and what a policy is called that pleases the
largest group so much that the average is right.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from holdfast.lab.claim import Claim, Measured
from holdfast.lab.verdict import all_of, bounded
from holdfast.lab.worlds import contexts
from holdfast.lab.worlds.contexts import count_table, labels_needed, logistic, preference
from holdfast.pluralism.representativeness import representativeness
from holdfast.pluralism.trilemma import growth

SLOPE, BITS, LABELS = "doublings a bit", (2, 4, 6, 8, 10, 12), "log2 of labels at 12 bits"
AVERAGE, WORST, HELD, HELD_WORST = (
    "average gap",
    "worst gap",
    "average gap held by its interval",
    "worst gap held by its interval",
)
MOST = 2**19


def labels(seeds: Sequence[int], *, structure: str) -> Measured:
    out: dict[str, dict[str, list[float]]] = {}
    for seed in seeds:
        for name, learner in (("table of counts", count_table), ("logistic regression", logistic)):
            needed = []
            for d in BITS:
                rng = np.random.default_rng([seed, d])
                bits_CD = contexts.contexts(d)
                p_C = preference(bits_CD, structure, rng)
                needed.append(labels_needed(p_C, bits_CD, learner, rng, within=0.05, most=MOST))
            quantities = out.setdefault(name, {SLOPE: [], LABELS: []})
            quantities[SLOPE].append(growth(BITS, needed).exponential.slope.point)
            quantities[LABELS].append(float(np.log2(needed[-1])))
    return out


MEANS = {
    "ordinary": (0.7, 0.5, 0.35),
    "abandoned minorities": (0.9, 0.25, 0.25),
    "all alike": (0.6, 0.6, 0.6),
}
SHARES, TARGET = (0.7, 0.2, 0.1), {0: 1, 1: 1, 2: 1}


def people(seeds: Sequence[int], *, policy: str) -> Measured:
    mean_K, share_K = np.array(MEANS[policy]), np.array(SHARES)
    # A policy whose claimed value is the population's own average: nothing to complain of, on the
    # average.
    seen = float(mean_K.mean()) if policy == "abandoned minorities" else float(share_K @ mean_K)
    true_average, true_worst = abs(mean_K.mean() - seen), abs(mean_K - seen).max()
    out: dict[str, list[float]] = {AVERAGE: [], WORST: [], HELD: [], HELD_WORST: []}
    for seed in seeds:
        rng = np.random.default_rng([seed, 7])
        group_R = np.repeat(np.arange(3), (200 * share_K).astype(int))
        leaning_R = rng.beta(6 * mean_K[group_R], 6 * (1 - mean_K[group_R]))
        value = (rng.random((200, 10)) < leaning_R[:, None]).astype(float)
        fixed = seen if policy == "abandoned minorities" else None
        found = representativeness(
            value.ravel(),
            np.repeat(group_R, 10).tolist(),
            TARGET,
            rater_N=np.repeat(np.arange(200), 10).tolist(),
            seen=fixed,
        )
        out[AVERAGE].append(found.average.point)
        out[WORST].append(found.worst.point)
        out[HELD].append(float(found.average.holds(true_average)))
        out[HELD_WORST].append(float(found.worst.holds(true_worst)))
    return {policy: out}


COST: dict[str, Any] = {
    "methods": (),
    "world": contexts,
    "measure": labels,
    "of": SLOPE,
    "sweep": {"structure": ("additive", "parity")},
    "seeds": range(10),
    "chunk": 5,
}


def _people(policy: str, seeds: int = 200) -> dict[str, Any]:
    return {
        "methods": (),
        "world": contexts,
        "measure": people,
        "sweep": {"policy": (policy,)},
        "seeds": range(seeds),
        "chunk": 100,
    }


PAPER = (
    "Omega(kappa 2^d / (epsilon^2 n delta)) operations, so no system is representative, "
    "tractable and robust at once; no experiment"
)

CLAIMS = (
    Claim(
        says=(
            "A learner that treats every context by itself needs twice the labels for each "
            "bit of context (0.8 to 1.2 doublings)."
        ),
        verdict=bounded("table of counts", SLOPE, low=0.8, high=1.2),
        paper_number=PAPER,
        **COST,
    ),
    Claim(
        says=(
            "Where the preference is a parity, logistic regression on the bits does not learn "
            "it with 2^19 labels."
        ),
        verdict=bounded("logistic regression", LABELS, low=19.5, at={"structure": "parity"}),
        paper_number=PAPER,
        **COST,
    ),
    Claim(
        says=(
            "The exponential is not a law: where the preference is additive, the same learner "
            "needs less than half a doubling a bit."
        ),
        verdict=bounded("logistic regression", SLOPE, high=0.5, at={"structure": "additive"}),
        paper_number=PAPER,
        **COST,
    ),
    Claim(
        says=(
            "An average hides who is abandoned: for a policy that fails two groups of three "
            "the average gap is found below 0.05, and "
            "the worst gap above 0.3."
        ),
        of=WORST,
        verdict=all_of(
            bounded("abandoned minorities", AVERAGE, high=0.05),
            bounded("abandoned minorities", WORST, low=0.3),
        ),
        **_people("abandoned minorities"),
    ),
    Claim(
        says=(
            "The intervals hold: in over 90% of data sets the true average gap lies in its "
            "interval, and so does the worst gap."
        ),
        of=HELD,
        verdict=all_of(
            bounded("ordinary", HELD, low=0.9), bounded("ordinary", HELD_WORST, low=0.9)
        ),
        **_people("ordinary", 1000),
    ),
    Claim(
        says=(
            "And where all groups are alike they say so: 0 lies in the interval of the worst "
            "gap in over 93% of data sets."
        ),
        of=HELD_WORST,
        verdict=bounded("all alike", HELD_WORST, low=0.93),
        **_people("all alike", 1000),
    ),
)
