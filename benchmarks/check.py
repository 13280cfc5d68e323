"""The whole check-up on files of HH-like pairs of rising size: seconds, peak memory, and how the
cost grows.

    python benchmarks/check.py [--pairs 100000] [--rounds 1]

Each measurement is `holdfast check FILE --out FOLDER` in a fresh process, report written; seconds
are the median over rounds, peak memory that of the process and its children. The exponent is the
least-squares slope, over log pairs, of log seconds beyond those that a file of 50 pairs takes
(imports, and writing the report); n log n gives 1.1 at these sizes. Prints a table, seconds by
finding, and last one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil

PROMPT_WORDS, ANSWER_WORDS, SIGMA = (
    95,
    45,
    0.8,
)  # medians and spread of log-normal lengths, as in HH
VOCABULARY, FLIP, RATERS, MODELS = 30_000, 0.2, 40, 5
FRACTIONS = (8, 4, 2, 1)
SMALLEST = 50


def made_rows(pairs: int, seed: int = 0, *, flip: float = FLIP) -> Iterator[dict[str, Any]]:
    """Text of Zipf's words; an answer's worth is in its words; a fifth of the labels is flipped;
    two comparisons a prompt.
    """
    rng = np.random.default_rng(seed)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    words = ["".join(rng.choice(letters, size)) for size in rng.integers(2, 10, VOCABULARY)]
    chance = 1 / np.arange(1, VOCABULARY + 1)
    worth = rng.normal(size=VOCABULARY) * 0.3
    stops = np.cumsum(chance / chance.sum())

    def text(median: float) -> tuple[str, float]:
        length = int(np.clip(np.round(rng.lognormal(np.log(median), SIGMA)), 3, 800))
        ids = np.minimum(np.searchsorted(stops, rng.random(length)), VOCABULARY - 1)
        return " ".join(words[i] for i in ids) + ".", float(worth[ids].sum())

    prompt = ""
    for i in range(pairs):
        prompt = text(PROMPT_WORDS)[0] if i % 2 == 0 else prompt
        (first, a), (second, b) = text(ANSWER_WORDS), text(ANSWER_WORDS)
        wins = rng.random() < 1 / (1 + math.exp(b - a))
        if rng.random() < flip:
            wins = not wins
        one, two = (f"model{rng.integers(MODELS)}" for _ in range(2))
        row: dict[str, Any] = {
            "prompt": prompt,
            "chosen": first if wins else second,
            "rejected": second if wins else first,
        }
        yield row | {
            "rater": f"r{rng.integers(RATERS)}",
            "group": f"g{rng.integers(3)}",
            "chosen_model": one,
            "rejected_model": two,
        }


def write_rows(path: Path, pairs: int, seed: int = 0) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in made_rows(pairs, seed))


def measure(path: Path, folder: Path) -> tuple[float, float, dict[str, float]]:
    """Seconds, peak GiB, seconds by finding."""
    command = [
        sys.executable,
        "-c",
        "from holdfast.cli import main; main()",
        "check",
        str(path),
        "--out",
        str(folder),
        "--quiet",
    ]
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    peak = [0]

    def watch() -> None:
        root = psutil.Process(process.pid)
        while process.poll() is None:
            try:
                peak[0] = max(
                    peak[0],
                    sum(p.memory_info().rss for p in [root, *root.children(recursive=True)]),
                )
            except psutil.Error:
                return
            time.sleep(0.05)

    watcher = threading.Thread(target=watch)
    watcher.start()
    if process.wait() != 0:
        raise SystemExit(f"the check-up failed on {path}")
    seconds = time.perf_counter() - start
    watcher.join()
    return (
        seconds,
        peak[0] / 2**30,
        json.loads((folder / "check.json").read_text(encoding="utf-8"))["seconds"],
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=int, default=100_000, help="pairs of the largest file")
    parser.add_argument("--rounds", type=int, default=1, help="times each size is measured")
    ask = parser.parse_args()
    sizes = [ask.pairs // fraction for fraction in FRACTIONS]
    seconds: dict[int, float] = {}
    peak: dict[int, float] = {}
    by: dict[int, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for n in (SMALLEST, *sizes):
            path = Path(scratch) / f"{n}.jsonl"
            write_rows(path, n)
            found = [measure(path, Path(scratch) / f"out-{n}") for _ in range(ask.rounds)]
            seconds[n] = statistics.median(f[0] for f in found)
            peak[n], by[n] = max(f[1] for f in found), found[-1][2]
            print(
                f"{n:>9,} pairs  {seconds[n]:7.1f} s  {peak[n]:5.2f} GiB  ({os.cpu_count()} cores)",
                flush=True,
            )
            path.unlink()
    print("\nseconds by finding" + "".join(f"{n:>12,}" for n in sizes))
    for name in by[sizes[-1]]:
        print(f"{name:<18}" + "".join(f"{by[n].get(name, 0):12.1f}" for n in sizes))
    slope = np.polyfit(
        np.log(sizes), np.log([max(seconds[n] - seconds[SMALLEST], 1e-3) for n in sizes]), 1
    )[0]
    last = sizes[-1]
    print(
        json.dumps(
            {
                "pairs": last,
                "seconds": round(seconds[last], 1),
                "peak_gib": round(peak[last], 2),
                "growth_exponent": round(float(slope), 3),
            }
        )
    )


if __name__ == "__main__":
    main()
