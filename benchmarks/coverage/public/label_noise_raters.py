"""Label noise by raters on PandaLM: its pairs and its three raters, who are wrong at a known
rate.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from coverage.case import Case, Trial
from coverage.label_noise_raters import RATES, by_raters
from coverage.public import here
from coverage.public.raters import ABOUT, BUSIEST, PANDALM, planted


def trial(seed: int, *, rate: float) -> Trial:
    return by_raters(
        planted(PANDALM, np.random.default_rng([seed, 1]), np.full(BUSIEST, 1 - rate)), seed, rate
    )


CASES = [
    Case(
        "label_noise",
        f"{ABOUT[PANDALM]}, alike (the route by raters)",
        f"{rate:.0%}",
        partial(trial, rate=rate),
    )
    for rate in RATES
    if here(PANDALM)
]
