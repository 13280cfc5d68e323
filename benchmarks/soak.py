"""Kill runs at random moments, and feed random inputs to everything that reads: what must hold,
holds, or it is counted as a fault.

    python benchmarks/soak.py --seed 0 --minutes 10            # make soak

Kills: runs of several methods are killed with SIGKILL at random moments and resumed until they end
by themselves. Their final weights must be, byte for byte, those of a run that was never killed;
report.html and run.json must be whole or absent after every kill, and there at the end. Fuzz:
random and mutated files, verdicts in many codes, settings, matrices of games. An input may be
refused by an error of ours; it may not end in another exception, lose a row uncounted, invert a
verdict, or give a certificate that is no number. The same seed tries the same inputs in the same
order; how many are reached, and where in a run a kill falls, depends on the machine. Last line:
JSON.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import io
import itertools
import json
import math
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch

import holdfast
from holdfast import games
from holdfast.data.examples import to_examples
from holdfast.data.read import read
from holdfast.data.render import tokenize
from holdfast.errors import HoldfastError
from holdfast.methods import METHODS
from holdfast.models.load import load_tokenizer
from holdfast.models.small import small_model
from holdfast.training.options import split_options
from holdfast.training.policy import train
from holdfast.training.reward_model import train_reward
from holdfast.training.selfplay.selfplay import selfplay
from holdfast.training.settings import try_settings

WORDS = (
    "the",
    "a",
    "cat",
    "dog",
    "bird",
    "tree",
    "hill",
    "sat",
    "ran",
    "saw",
    "under",
    "and",
    "red",
    "blue",
    "sad",
    "slow",
    "yes",
    "no",
)
MOST_KILLS = 12  # of one run; then it may end


def sentence(rng: random.Random, low: int, high: int) -> str:
    return " ".join(rng.choice(WORDS) for _ in range(rng.randint(low, high)))


def pairs(rng: random.Random, n: int) -> list[dict[str, Any]]:
    return [
        {
            "prompt": f"{sentence(rng, 2, 8)} {i}",
            "chosen": f" {sentence(rng, 1, 8)} good",
            "rejected": f" {sentence(rng, 1, 8)} bad",
            "group": "abc"[i % 3],
            "rater": f"r{i % 4}",
        }
        for i in range(n)
    ]


# ------------------------------------------------------------------------------------------------
# kills


def shorter(prompts: Any, first: Any, second: Any) -> list[float]:
    return [1 / (1 + math.exp((len(a) - len(b)) / 5)) for a, b in zip(first, second, strict=True)]


def jobs(model: Path, data: Path) -> dict[str, Callable[[Path], Any]]:
    """Runs to kill, by name: policies with and without memory, worst cases, single answers, an
    adapter, a reward model, self-play.
    """
    how: dict[str, Any] = {
        "model": str(model),
        "data": str(data),
        "batch_size": 8,
        "max_steps": 12,
        "save_every": 1,
        "log_every": 1000,
    }
    how |= {"learning_rate": 3e-3, "eval_fraction": 0.1, "eval_every": 4, "resume": True}
    play: dict[str, Any] = {
        "model": str(model),
        "data": [f"{a} {b}" for a in WORDS[:6] for b in WORDS[6:9]],
        "judge": shorter,
        "rounds": 2,
    }
    play |= {
        "samples": 2,
        "prompts": 6,
        "watched": 4,
        "max_new_tokens": 6,
        "learning_rate": 1e-3,
        "batch_size": 4,
        "resume": True,
    }
    return {
        "dpo": partial(train, "dpo", **how),
        "rdpo, groups": partial(train, "rdpo", reduction="groups:step=0.1", **how),
        "lcpo_dpo": partial(train, "lcpo_dpo", **how),
        "kto, dropout": partial(train, "kto", dropout=True, **how),
        "ipo, adapter": partial(train, "ipo", lora_rank=2, **how),
        "train-reward": partial(train_reward, "bradley_terry", **how),
        "selfplay gpo": partial(selfplay, "gpo", **play),
    }


def start(job: Callable[..., Any], out: Path, log: Path) -> int:
    """The job in a process of its own, by fork: libraries are imported once."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        text = log.open("a")
        os.dup2(text.fileno(), 1)
        os.dup2(text.fileno(), 2)
        sys.stdout = sys.stderr = text
        job(out=out)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)


def final_weights(out: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(out)): path.read_bytes()
        for path in sorted(out.rglob("model/*.safetensors"))
    }


def torn(out: Path) -> list[str]:
    """Files of a killed run that are neither whole nor absent."""
    bad = [
        str(page)
        for page in out.rglob("report.html")
        if not page.read_text(errors="replace").rstrip().endswith("</html>")
    ]
    for path in [
        *out.rglob("run.json"),
        *out.rglob("checkpoints/step-*/*.json"),
    ]:
        if ".part-" in str(path):
            continue
        try:
            json.loads(path.read_text())
        except ValueError:
            bad.append(str(path))
    return bad


def kill_runs(
    folder: Path, rng: random.Random, until: float, most: int, table: list[dict[str, Any]]
) -> list[str]:
    """Kill and resume one run after another, in rounds over the jobs, until time or count is used
    up. Returns what went wrong.
    """
    model, data = folder / "model", folder / "rows.jsonl"
    rows = pairs(rng, 60)
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with contextlib.redirect_stderr(io.StringIO()):
        small_model(
            [f"{row['prompt']} {row['chosen']}" for row in rows] * 3,
            model,
            vocab=300,
            hidden=32,
            layers=2,
            heads=2,
            max_tokens=128,
        )
    calm: dict[str, tuple[dict[str, bytes], float]] = {}
    faults, kills, number = [], 0, 0
    while time.monotonic() < until and kills < most:
        for name, job in jobs(model, data).items():
            if time.monotonic() >= until or kills >= most:
                break
            log = folder / "log.txt"
            if name not in calm:
                began, out = time.monotonic(), folder / f"calm-{len(calm)}"
                if os.waitpid(start(job, out, log), 0)[1]:
                    return [*faults, f"{name}: does not end unkilled: {log.read_text()[-600:]}"]
                calm[name] = final_weights(out), time.monotonic() - began
            weights, took = calm[name]
            out, killed = folder / f"killed-{number}", 0
            number += 1
            while True:
                pid = start(job, out, log)
                limit = time.monotonic() + (
                    rng.uniform(0.05, 1.05) * took if killed < MOST_KILLS else 120
                )
                done, status = 0, 0
                while not done and time.monotonic() < limit:
                    done, status = os.waitpid(pid, os.WNOHANG)
                    time.sleep(0.002)
                if not done:
                    os.kill(pid, signal.SIGKILL)
                    os.waitpid(pid, 0)
                    killed += 1
                    faults += (
                        [f"{name}: torn after kill {killed}: {path}" for path in torn(out)]
                        if out.exists()
                        else []
                    )
                    if killed > MOST_KILLS + 1:
                        faults.append(f"{name}: does not end")
                        break
                    continue
                if status:
                    faults.append(
                        f"{name}: resumed after {killed} kills it failed: {log.read_text()[-600:]}"
                    )
                break
            equal, whole = (
                final_weights(out) == weights,
                (out / "report.html").is_file() and not torn(out),
            )
            faults += [] if equal else [f"{name}: other weights after {killed} kills"]
            faults += [] if whole else [f"{name}: no whole report after {killed} kills"]
            kills += killed
            table.append({"name": name, "kills": killed, "equal": equal, "whole": whole})
            shutil.rmtree(out, ignore_errors=True)
    return faults


# ------------------------------------------------------------------------------------------------
# fuzz

STRANGE: list[Any] = [
    None,
    "",
    " ",
    0,
    1,
    -1,
    True,
    False,
    1.5,
    float("nan"),
    10**30,
    [],
    {},
    [[]],
    {"a": 1},
    "\x00",
    "\u202eabc",
    "é" * 50,
]
STRANGE += [
    "<s>",
    "</s>",
    "{{ bos_token }}",
    "a\r\nb",
    "\ud800",
    "🙂" * 9,
    "x" * 5000,
    [{"role": "user", "content": "q"}],
    [{"role": "x"}],
]
KEYS = [
    "prompt",
    "chosen",
    "rejected",
    "answer",
    "label",
    "messages",
    "text",
    "winner",
    "group",
    "rater",
]
KEYS += ["system", "score", "id", "responses"]
CODES = [
    ("model_a", "model_b"),
    ("a", "b"),
    ("A", "B"),
    ("response_a", "response_b"),
    ("1", "2"),
    (1, 2),
    (0, 1),
    ("first", "second"),
]
CODES += [("left", "right"), ("X", "Y"), (True, False), (-1, 1), (1, -1)]


def mutated_rows(rng: random.Random) -> list[dict[str, Any]]:
    rows = pairs(rng, rng.randint(1, 12))
    for row in rows:
        for _ in range(rng.choice((0, 0, 0, 1, 1, 2, 4))):
            action, key = rng.randrange(4), rng.choice(KEYS)
            if action == 0:
                row.pop(rng.choice(list(row)), None) if row else None
            elif action == 1:
                row[key] = rng.choice(STRANGE)
            elif action == 2 and row:
                row[rng.choice(list(row))] = rng.choice(STRANGE)
            elif row:
                row[key] = row[rng.choice(list(row))]
    return rows


def written(rng: random.Random, rows: list[dict[str, Any]], folder: Path) -> Path:
    """The rows in some format; one in three files is damaged."""
    ending = rng.choice(("jsonl", "jsonl", "json", "csv"))
    if ending == "csv":
        names = list(dict.fromkeys(key for row in rows for key in row)) or ["prompt"]
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, names)
        writer.writeheader()
        writer.writerows(rows)
        data = text.getvalue().encode("utf-8", "surrogatepass")
    else:
        dumped = (
            json.dumps(rows)
            if ending == "json"
            else "".join(json.dumps(row) + "\n" for row in rows)
        )
        data = dumped.encode()
    if rng.random() < 1 / 3 and data:
        spoiled = bytearray(data)
        for _ in range(rng.randint(1, 6)):
            at = rng.randrange(len(spoiled))
            spoiled[at : at + rng.randint(0, 3)] = bytes(
                rng.randrange(256) for _ in range(rng.randint(0, 3))
            )
            if not spoiled:
                break
        data = bytes(spoiled[: rng.randrange(len(spoiled) + 1)] if rng.random() < 0.2 else spoiled)
    path = folder / f"rows.{ending}"
    path.write_bytes(data)
    return path


class BrokenError(AssertionError):
    """An invariant that does not hold."""


def hold(condition: bool, words: str) -> None:
    if not condition:
        raise BrokenError(words)


def fuzz_read(rng: random.Random, folder: Path, tokenizer: Any) -> None:
    """Every row of a file is retained, counted as skipped, or the file is refused; and so in
    rendering.
    """
    source = written(rng, mutated_rows(rng), folder)
    found = read(source, quarantine=folder / "aside.jsonl")
    report = found.report
    hold(
        report.read == report.retained + sum(report.skipped.values()),
        f"read {report.read} is not retained {report.retained} + {report.skipped}",
    )
    hold(len(found) == report.rows, f"{len(found)} rows, the report says {report.rows}")
    for method in (METHODS["dpo"], METHODS["sft"]):
        with contextlib.suppress(HoldfastError):
            given = to_examples(found, method).rows
            made = tokenize(
                given,
                tokenizer,
                on_bad="quarantine",
                quarantine=folder / "aside.jsonl",
                progress=False,
            )
            lost = len(given) - len(made.items) - sum(made.report.skipped.values())
            hold(lost == 0, f"{lost} of {len(given)} rows are lost in rendering")


def fuzz_verdict(rng: random.Random, folder: Path, tokenizer: Any) -> None:
    """A verdict in whatever code says the same, or is refused: it never names the other answer."""
    first, second = rng.choice(CODES)
    n = rng.randint(2, 30)
    share = rng.choice((0.1, 0.5, 0.9, 1.0))
    names = rng.choice(
        (
            ("response_a", "response_b"),
            ("answer_a", "answer_b"),
            ("response_1", "response_2"),
            ("output_1", "output_2"),
        )
    )
    column = rng.choice(("winner", "preference", "label", "preferred", "choice"))
    rows = []
    for i in range(n):
        wins = rng.random() < share
        texts = {
            names[0]: f"{sentence(rng, 1, 5)} one {i}",
            names[1]: f"{sentence(rng, 1, 5)} two {i}",
        }
        rows.append(
            {
                "prompt": f"q {i}",
                **texts,
                column: first if wins else second,
                "truth": "one" if wins else "two",
            }
        )
    path = folder / "verdicts.jsonl"
    path.write_text(
        "".join(json.dumps({k: v for k, v in row.items() if k != "truth"}) + "\n" for row in rows)
    )
    found = read(path, quarantine=folder / "aside.jsonl")
    plain = (first, second) not in (
        (0, 1),
        (True, False),
        (-1, 1),
        (1, -1),
        ("X", "Y"),
    )  # these could mean either
    for row in found:
        if not isinstance(row.chosen, str):
            continue
        i = int(row.chosen.split()[-1])
        hold(
            not plain or row.chosen.split()[-2] == rows[i]["truth"],
            f"{column} of {first!r}, {second!r} beside {names} is read inverted",
        )


def fuzz_settings(rng: random.Random, folder: Path, tokenizer: Any) -> None:
    """Whatever is given for options and settings is refused by an error of ours, or is a number
    that can be written down.
    """
    name = rng.choice(list(METHODS))
    _, defaults = split_options(METHODS[name], {})
    options = [
        "learning_rate",
        "batch_size",
        "max_steps",
        "seed",
        "warmup_ratio",
        "eval_fraction",
        "schedule",
        "lora_rank",
        "format",
        "epochs",
    ]
    values = [
        *STRANGE,
        "0.1",
        0.1,
        1e308,
        -0.5,
        1e-300,
        math.inf,
        10**400,
        np.float32(0.1),
        np.int64(3),
        np.bool_(True),
        np.array([0.1]),
    ]
    values += [torch.tensor(0.1), 1 + 2j, object(), b"0.1", (0.1,), {0.1}]
    given = {
        key: rng.choice(values) for key in rng.sample([*defaults, *options], rng.randint(1, 2))
    }
    made, settings = split_options(METHODS[name], given)
    try_settings(METHODS[name], settings)
    json.dumps([settings, vars(made)], allow_nan=False)


def fuzz_game(rng: random.Random, folder: Path, tokenizer: Any) -> None:
    """A policy that a solver ends with is a distribution, and its certificate a number of at least
    0.
    """
    n = rng.randint(1, 6)
    draw = np.random.default_rng(rng.randrange(2**32))
    upper = np.triu(
        draw.random((n, n)) if rng.random() < 0.7 else draw.integers(0, 2, (n, n)).astype(float), 1
    )
    pref = upper + np.tril(1 - upper.T, -1) + 0.5 * np.eye(n)
    if rng.random() < 0.3:
        pref[rng.randrange(n), rng.randrange(n)] = rng.choice((math.nan, math.inf, -1.0, 2.0, 0.3))
    game = games.Game(pref, beta=rng.choice((0.0, 0.0, 0.01, 0.5, 5.0, 50.0, -1.0, math.nan)))
    solvers: list[Any] = [
        games.mirror_descent,
        games.optimistic,
        games.egpo,
        games.nash_md,
        games.halpern,
        games.sppo,
    ]
    solvers += [games.regret_matching]
    solver = rng.choice(solvers)
    settings = (
        {"eta": rng.choice((0.01, 0.3, 3.0, 1e3, -1.0, math.nan, math.inf))}
        if solver is not games.regret_matching
        else {}
    )
    settings = {} if rng.random() < 0.3 else settings
    if solver is games.sppo and rng.random() < 0.5:
        settings = {}
    try:
        found = games.solve(game, partial(solver.step, **settings), until=1e-6, max_calls=200)
    except TypeError as error:
        if "unexpected keyword" in str(error):  # a solver whose step has another name
            return
        raise
    for policy in (found.last_A, found.average_A, found.pi_A):
        hold(
            bool(np.isfinite(policy).all()) and abs(policy.sum() - 1) < 1e-9 and policy.min() >= 0,
            f"{policy} is no distribution",
        )
        for certificate in (games.gap(game, policy), games.exploitability(game, policy)):
            hold(math.isfinite(certificate) and certificate >= 0, f"a certificate of {certificate}")
    hold(not found.converged or found.gap <= 1e-6, f"converged at a gap of {found.gap}")


def fuzz_check(rng: random.Random, folder: Path, tokenizer: Any) -> None:
    """The check-up of random rows ends in findings, or in an error of ours."""
    rows = mutated_rows(rng) + pairs(rng, rng.randint(0, 30))
    holdfast.check(rows, quarantine=True, out=folder / "check", quiet=True)
    hold(
        (folder / "check" / "report.html").read_text().rstrip().endswith("</html>"), "a torn report"
    )


FUZZ: dict[str, tuple[Callable[[random.Random, Path, Any], None], int]] = {  # and how often, of 100
    "read and render": (fuzz_read, 40),
    "verdicts": (fuzz_verdict, 20),
    "settings": (fuzz_settings, 25),
    "games": (fuzz_game, 14),
    "check": (fuzz_check, 1),
}


def fuzz(
    folder: Path, seed: int, until: float, most: int, counts: dict[str, Counter[str]]
) -> list[str]:
    """Try inputs until time or count is used up. Each has a seed of its own, so that one fault can
    be tried again alone.
    """
    tokenizer = load_tokenizer(folder / "model")
    faults: list[str] = []
    order = [name for name, (_, share) in FUZZ.items() for _ in range(share)]
    for number in itertools.count():
        if time.monotonic() >= until or number >= most:
            return faults
        rng = random.Random(f"{seed}-{number}")
        name = rng.choice(order)
        scratch = folder / "fuzz"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        try:
            with (
                warnings.catch_warnings(),
                contextlib.redirect_stdout(io.StringIO()),
                contextlib.redirect_stderr(io.StringIO()),
            ):
                warnings.simplefilter("ignore")
                FUZZ[name][0](rng, scratch, tokenizer)
            counts[name]["accepted"] += 1
        except HoldfastError:
            counts[name]["refused"] += 1
        except Exception as error:
            counts[name]["faults"] += 1
            place = traceback.extract_tb(error.__traceback__)[-1]
            faults.append(
                f"{name} number {number}: {type(error).__name__}: {str(error)[:200]} "
                f"({Path(place.filename).name}:{place.lineno})"
            )
    return faults


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--minutes", type=float, default=10.0, help="of all; six tenths go to the kills"
    )
    parser.add_argument("--kills", type=int, default=1000, help="at most")
    parser.add_argument("--fuzzed", type=int, default=100_000, help="at most")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    table: list[dict[str, Any]] = []
    counts: dict[str, Counter[str]] = {name: Counter() for name in FUZZ}
    with tempfile.TemporaryDirectory() as scratch:
        began = time.monotonic()
        faults = kill_runs(
            Path(scratch), random.Random(asked.seed), began + 36 * asked.minutes, asked.kills, table
        )
        faults += fuzz(Path(scratch), asked.seed, began + 60 * asked.minutes, asked.fuzzed, counts)
    print(f"{'killed runs':<18}{'runs':>6}{'kills':>7}{'bit-equal':>11}{'whole reports':>15}")
    for name in dict.fromkeys(row["name"] for row in table):
        rows = [row for row in table if row["name"] == name]
        numbers = [
            len(rows),
            *(sum(row[key] for row in rows) for key in ("kills", "equal", "whole")),
        ]
        print("{:<18}{:>6}{:>7}{:>11}{:>15}".format(name, *numbers))
    print(f"\n{'inputs':<18}{'tried':>7}{'accepted':>10}{'refused':>9}{'faults':>8}")
    for name, found in counts.items():
        print(
            "{:<18}{:>7}{:>10}{:>9}{:>8}".format(
                name, found.total(), *(found[key] for key in ("accepted", "refused", "faults"))
            )
        )
    for fault in faults:
        print(f"fault: {fault}")
    said = {
        "kills": sum(row["kills"] for row in table),
        "killed_runs": len(table),
        "bit_equal": sum(row["equal"] for row in table),
    }
    said |= {
        "reports_whole": sum(row["whole"] for row in table),
        "fuzzed": sum(found.total() for found in counts.values()),
    }
    print(json.dumps({**said, "faults": len(faults)}))
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
