"""Do the check-up's intervals hold what they say, and do its lights stay dark where nothing is wrong?

    python benchmarks/check_coverage.py [FINDING ...] [--trials 100] [--out docs/check-coverage.md]

Each case plants a truth with a seed, runs one finding, and asks three things: does the 95% interval cover the truth, was the light raised
(WARN or BAD), and did it say that it cannot know. Cases live in `benchmarks/coverage/FINDING.py`, one list `CASES` each. Trials run in
parallel; the table is Markdown.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from scipy import stats

sys.path.insert(0, str(Path(__file__).parent))

from coverage.case import Case, Trial

ABOUT = """# Coverage of the check-up

`python benchmarks/check_coverage.py --out {name}` makes this table. Each row plants a truth, and counts how often the 95% interval covers
it, how often the light was raised (WARN or BAD), and how often the finding said that it cannot know. Intervals of the counts are exact.

"""
HEAD = "| finding | planted | truth | trials | interval covers | light raised | says it cannot know | median width |"


def cases_of(names: Iterable[str]) -> list[Case]:
    there = sorted(path.stem for path in (Path(__file__).parent / "coverage").glob("[!_]*.py") if path.stem != "case")
    return [case for name in names or there for case in importlib.import_module(f"coverage.{name}").CASES]


def one(work: tuple[Case, int]) -> Trial:
    case, seed = work
    return case.trial(seed)


def row(case: Case, trials: list[Trial]) -> str:
    known = [t for t in trials if t.covered is not None]
    covered = "n/a" if not known else shares(sum(bool(t.covered) for t in known), len(known))
    widths = sorted(t.width for t in trials if t.width is not None)
    width = "n/a" if not widths else f"{widths[len(widths) // 2]:.3f}"
    raised, open_ = (shares(sum(getattr(t, name) for t in trials), len(trials)) for name in ("raised", "unknown"))
    return f"| {case.finding} | {case.planted} | {case.truth} | {len(trials)} | {covered} | {raised} | {open_} | {width} |"


def shares(hits: int, n: int) -> str:
    """ "95 of 100 (89 to 98%)": the share with its exact interval."""
    interval = stats.binomtest(hits, n).proportion_ci(0.95, method="exact")
    return f"{hits} of {n} ({100 * interval.low:.0f} to {100 * interval.high:.0f}%)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("findings", nargs="*", help="files of benchmarks/coverage; all of them unless given")
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--out", type=Path, help="write the table here, between its markers, replacing the rows of the findings that ran")
    ask = parser.parse_args()
    lines = []
    print(f"{HEAD}\n|{' --- |' * 8}", flush=True)
    with ProcessPoolExecutor(ask.workers) as pool:
        for case in cases_of(ask.findings):
            lines.append(row(case, list(pool.map(one, [(case, seed) for seed in range(ask.trials)], chunksize=4))))
            print(lines[-1], flush=True)
    if ask.out is not None:
        write(ask.out, lines)


def write(path: Path, lines: list[str]) -> None:
    """The rows of findings that ran replace theirs; the others stay."""
    ran = {line.split("|")[1].strip() for line in lines}
    before = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    kept = [line for line in before if line.startswith("| ") and line.split("|")[1].strip() not in {*ran, "finding", "---"}]
    text = ABOUT.format(name=path.name)
    path.write_text(text + "\n".join([HEAD, f"|{' --- |' * 8}", *sorted([*kept, *lines])]) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
