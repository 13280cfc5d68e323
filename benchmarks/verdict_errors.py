"""How often the rule of `holdfast.lab.verdict` errs: claims at their border, by how many seeds and
how skewed their numbers are.

    python benchmarks/verdict_errors.py --trials 10000

The claim says that a mean is above 0 (or below), and it is 0: to find it supported is an error, and
2.5% is nominal. The worse side is shown, with Student's interval alone beside it. To find it
contradicted needs an interval at 98%, so 1% is nominal.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from math import exp

import numpy as np
from scipy import stats

from holdfast.lab.verdict import Test, decide

SEEDS = (8, 12, 20, 50)
DRAWS: dict[str, Callable[[np.random.Generator, tuple[int, int]], np.ndarray]] = {
    "normal": lambda rng, size: rng.standard_normal(size),
    "uniform": lambda rng, size: rng.random(size) - 0.5,
    "t with 3 degrees": lambda rng, size: rng.standard_t(3, size),
    "gamma 4 (skewness 1)": lambda rng, size: rng.gamma(4.0, 1.0, size) - 4.0,
    "exponential (skewness 2)": lambda rng, size: rng.exponential(1.0, size) - 1.0,
    "lognormal 0.5 (skewness 1.8)": lambda rng, size: rng.lognormal(0.0, 0.5, size) - exp(0.125),
    "lognormal 1 (skewness 6)": lambda rng, size: rng.lognormal(0.0, 1.0, size) - exp(0.5),
}


def errors(draw: str, seeds: int, trials: int, seed: int = 0) -> dict[str, float]:
    """Percent of trials: supported on the worse side, the same by Student's interval alone,
    contradicted on the worse side.
    """
    values = DRAWS[draw](np.random.default_rng([seed, seeds]), (trials, seeds))
    above = [decide([Test("above", list(row), low=0.0)]).verdict for row in values]
    below = [decide([Test("below", list(row), high=0.0)]).verdict for row in values]
    half = stats.t.ppf(0.975, seeds - 1) * values.std(axis=1, ddof=1) / np.sqrt(seeds)
    student = max(np.mean(values.mean(1) > half), np.mean(values.mean(1) < -half))
    found = {"student": student} | {
        word: max(np.mean([v == word for v in side]) for side in (above, below))
        for word in ("supported", "contradicted")
    }
    return {name: round(100 * float(share), 1) for name, share in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--trials", type=int, default=10_000)
    trials = parser.parse_args().trials
    print(
        "| differences | "
        + " | ".join(f"{n} seeds" for n in SEEDS)
        + " |\n| --- |"
        + " --- |" * len(SEEDS)
    )
    every = {name: [errors(name, n, trials) for n in SEEDS] for name in DRAWS}
    for name, row in every.items():
        print(
            f"| {name} | "
            + " | ".join(
                f"{e['supported']} (Student {e['student']}; {e['contradicted']})" for e in row
            )
            + " |"
        )
    print(
        json.dumps(
            {
                "trials": trials,
                "worst_supported": max(e["supported"] for row in every.values() for e in row),
            }
        )
    )


if __name__ == "__main__":
    main()
