"""Do the check-up's intervals hold what they say, and is nothing flagged where nothing is
wrong?

    python benchmarks/check_coverage.py [FINDING ...] [--trials 100] [--out docs/check-coverage.md]
    python benchmarks/check_coverage.py [FINDING ...] --sets DIR [--out
    docs/check-coverage-public.md]

Each case plants a truth with a seed, runs one finding, and asks three things: does the 95% interval
cover the truth, was it flagged (warning or problem), and was it inconclusive. Cases on
made worlds live in `benchmarks/coverage/FINDING.py`, one list `CASES` each; those that plant a flaw
in a public set in `benchmarks/coverage/public/FINDING.py`, run where `--sets` says in which folder
such sets lie. Trials run in parallel; the table is Markdown.
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
from coverage.public import FOLDER

ABOUT = """# Coverage of the check-up

`python benchmarks/check_coverage.py {flags}--out docs/{name}` makes this table{worlds}. Each row
plants a truth, and counts how often the 95% interval covers it, how often the finding
was flagged (warning or problem), and how often it was inconclusive. Intervals of the counts are
exact.

"""
PUBLIC = (
    " from public sets, into which each trial plants its flaw anew (other rows, other "
    "labels); docs/check.md says what each set is"
)
HEAD = (
    "| finding | planted | truth | trials | interval covers | flagged | inconclusive | "
    "median width |"
)


def cases_of(names: Iterable[str], package: str) -> list[Case]:
    there = sorted(
        path.stem
        for path in Path(__file__).parent.joinpath(*package.split(".")).glob("[!_]*.py")
        if path.stem != "case"
    )
    return [
        case
        for name in names or there
        for case in importlib.import_module(f"{package}.{name}").CASES
    ]


def one(work: tuple[Case, int]) -> Trial:
    case, seed = work
    return case.trial(seed)


def row(case: Case, trials: list[Trial]) -> str:
    known = [t for t in trials if t.covered is not None]
    covered = "n/a" if not known else shares(sum(bool(t.covered) for t in known), len(known))
    widths = sorted(t.width for t in trials if t.width is not None)
    width = "n/a" if not widths else f"{widths[len(widths) // 2]:.3f}"
    flagged, inconclusive = (
        shares(sum(getattr(t, name) for t in trials), len(trials))
        for name in ("flagged", "inconclusive")
    )
    return (
        f"| {case.finding} | {case.planted} | {case.truth} | {len(trials)} | {covered} | "
        f"{flagged} | {inconclusive} | {width} |"
    )


def shares(hits: int, n: int) -> str:
    """ "95 of 100 (89 to 98%)": the share with its exact interval."""
    interval = stats.binomtest(hits, n).proportion_ci(0.95, method="exact")
    return f"{hits} of {n} ({100 * interval.low:.0f} to {100 * interval.high:.0f}%)"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "findings", nargs="*", help="files of benchmarks/coverage; all of them unless given"
    )
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument(
        "--sets",
        type=Path,
        help="the folder of public sets: plant flaws in these, not in made worlds",
    )
    parser.add_argument(
        "--out", type=Path, help="write the table here, replacing the rows that ran"
    )
    ask = parser.parse_args()
    if ask.sets is not None:
        os.environ[FOLDER] = str(ask.sets)
    cases = cases_of(ask.findings, "coverage" if ask.sets is None else "coverage.public")
    lines = []
    print(f"{HEAD}\n|{' --- |' * 8}", flush=True)
    with ProcessPoolExecutor(ask.workers) as pool:
        for case in cases:
            lines.append(
                row(
                    case,
                    list(pool.map(one, [(case, seed) for seed in range(ask.trials)], chunksize=4)),
                )
            )
            print(lines[-1], flush=True)
    if ask.out is not None:
        write(ask.out, lines, public=ask.sets is not None)


def cells(line: str) -> tuple[str, ...]:
    return tuple(cell.strip() for cell in line.strip("|").split("|"))


def write(path: Path, lines: list[str], *, public: bool) -> None:
    """Rows that ran replace those of the same finding, planted flaw and truth; the others stay."""
    ran = {cells(line)[:3] for line in lines}
    before = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    kept = [
        line
        for line in before
        if line.startswith("| ")
        and cells(line)[0] not in ("finding", "---")
        and cells(line)[:3] not in ran
    ]
    text = ABOUT.format(
        name=path.name, flags="--sets DIR " if public else "", worlds=PUBLIC if public else ""
    )
    path.write_text(
        text + "\n".join([HEAD, f"|{' --- |' * 8}", *sorted([*kept, *lines])]) + "\n",
        encoding="utf-8",
    )


if __name__ == "__main__":
    main()
