"""`holdfast demo`: the whole of it in a few minutes on two cores, nothing downloaded.

A small world of text whose gold reward is known; a tokenizer and a model of about 1.3 million
weights, taught its language on the spot; preference pairs of which 30% have their labels flipped;
the check-up of these pairs, which is not told; then DPO, rDPO told the flip rate, and DPO on the
same pairs before the flips as the yardstick. The report says what came out, whatever it is. The
settings were chosen by looking at the yardstick alone, and are the same for all three.

Everything goes through what users have: files of rows, `check`, `train`, `evaluate`. Each
run under `runs/` can be run again by itself.
"""

from __future__ import annotations

import itertools
import json
import math
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.text import Text

from holdfast.checkup.check import check
from holdfast.data import corrupt
from holdfast.errors import OptionError
from holdfast.evaluation.evaluation import Evaluation, evaluate
from holdfast.files import folder_to_write
from holdfast.lab import flip_story
from holdfast.lab.flips import PLAIN, ROBUST, YARDSTICK, Arm, Checked
from holdfast.lab.worlds import text as world
from holdfast.models.small import small_model
from holdfast.terminal import Terminal
from holdfast.training.policy import train
from holdfast.types import Row

RATE = 0.3
MARKER = "demo.json"
NOISY, CLEAN = "noisy", "clean"
ARMS: tuple[tuple[str, str, dict[str, Any], str], ...] = (
    (PLAIN, "dpo", {}, NOISY),
    (ROBUST, "rdpo", {"flip_rate": RATE}, NOISY),
    (YARDSTICK, "dpo", {}, CLEAN),
)


@dataclass(frozen=True)
class Size:
    """How much of everything. Two sizes exist: the demo, and one for tests that proves only that
    all parts fit.
    """

    corpus: int
    pairs: int
    held_out: int  # prompts that no training sees, and comparisons of answers to them
    watched: int  # of these comparisons, how many are looked at during training
    seeds: int
    hidden: int
    layers: int
    epochs: float
    learning_rate: float
    beta: float
    evaluations: int
    max_new_tokens: int
    samples: int  # answers to each held-out prompt
    bootstrap: int


FULL = Size(8000, 1600, 384, 96, 2, 160, 4, 2.0, 1e-4, 0.5, 5, 64, 2, 1000)
QUICK = Size(200, 48, 24, 12, 1, 32, 1, 1.0, 1e-4, 0.5, 2, 24, 2, 200)


def demo(out: str | Path = "demo", *, quick: bool = False, seed: int = 0) -> Path:
    """Run the demo and leave `report.html` with its pictures in `out`.

    Args:
        out: the folder to write. What an earlier demo left there is replaced; a folder of something
            else is refused.
        quick: a much smaller demo that ends in half a minute and proves nothing but that everything
            works.
        seed: decides the world's rows, the flips, the models and the samples.

    Returns:
        the path of the report.
    """
    size = QUICK if quick else FULL
    folder, console, started = _fresh(folder_to_write(out)), Terminal(), time.monotonic()
    total = 3 + size.seeds * len(ARMS)
    with _quiet_transformers():
        _say(
            console,
            1,
            total,
            started,
            "A world with a known answer, a tokenizer and a model, and its first lessons (sft)",
        )
        train_prompts, held_prompts = world.split_prompts(size.held_out, seed=seed)
        start = _first_model(folder, train_prompts, size, seed)
        held = world.preferences(held_prompts, size.held_out, seed=seed + 1000, sharpness=math.inf)
        _write(folder / "data" / "held_out.jsonl", held)
        _write(folder / "data" / "watched.jsonl", held[: size.watched])
        arms: list[Arm] = []
        facts: list[dict[str, Any]] = []
        draws = range(seed, seed + size.seeds)
        files, pairs = {}, {}
        for draw in draws:
            clean = world.preferences(train_prompts, size.pairs, seed=draw)
            noisy, planted = corrupt.flip(clean, rate=RATE, seed=draw)
            pairs[draw] = {CLEAN: clean, NOISY: noisy}
            files[draw] = _write_pairs(folder / "data", draw, clean, noisy, set(planted.changed))
            facts.append(
                {
                    "seed": draw,
                    "pairs": len(noisy),
                    "flipped": planted.hit,
                    **_agreement(clean, set(planted.changed)),
                }
            )
        _say(
            console,
            2,
            total,
            started,
            "The check-up of the flipped pairs, and of the same pairs before the flips",
        )
        checked = {
            labels: _check(folder, labels, [pairs[draw][labels] for draw in draws])
            for labels in (NOISY, CLEAN)
        }
        for stage, (draw, (name, method, settings, labels)) in enumerate(
            itertools.product(draws, ARMS), 3
        ):
            _say(console, stage, total, started, f"{name}, seed {draw}")
            run = folder / "runs" / f"{method}-{labels}-{draw}"
            _train(method, start, files[draw][labels], run, folder, size, draw, settings)
            arms.append(_arm(name, run, folder, files[draw], size, draw, stream=len(arms)))
    _say(console, total, total, started, "The report")
    seconds = time.monotonic() - started
    page = flip_story.story(
        arms,
        facts,
        checked[NOISY],
        checked[CLEAN],
        rate=RATE,
        size=vars(size),
        seconds=seconds,
        quick=quick,
        best=world.BEST,
    )
    written = page.write(folder / "report.html")
    record = {
        "seed": seed,
        "quick": quick,
        "seconds": seconds,
        "facts": facts,
        "check": {labels: found.to_dict() for labels, found in checked.items()},
        "arms": flip_story.rows_of(arms),
        "verdicts": flip_story.verdicts(arms),
    }
    (folder / MARKER).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    console.print(flip_story.table(arms))
    console.print(page.lead, highlight=False)
    console.print(
        f"\n{written[0]} and {len(written) - 1} pictures beside it, after "
        f"{seconds / 60:.1f} minutes",
        highlight=False,
    )
    return written[0]


def _first_model(folder: Path, prompts: Sequence[str], size: Size, seed: int) -> Path:
    """A model that has read a corpus of mixed quality: the policy that every arm starts from, and
    its reference.
    """
    rows = world.corpus(prompts, size.corpus, seed=seed)
    _write(folder / "data" / "corpus.jsonl", rows)
    words = (f"{row.prompt} {row.answer}" for row in rows)
    blank = small_model(
        words,
        folder / "runs" / "blank",
        vocab=1024,
        hidden=size.hidden,
        layers=size.layers,
        max_tokens=256,
        seed=seed,
    )
    run = train(
        "sft",
        model=str(blank),
        data=str(folder / "data" / "corpus.jsonl"),
        out=folder / "runs" / "sft",
        learning_rate=2e-3,
        batch_size=16,
        save_every=0,
        log_every=100,
        seed=seed,
    )
    return run.model_path


def _check(folder: Path, labels: str, draws: Iterable[Sequence[Row]]) -> Checked:
    """What the check-up says of the pairs of all draws together. It is told nothing of the flips,
    and the columns that could tell it are left out (`strength` is the gap in gold reward, below 0
    where a label is wrong). The report is kept for the pairs with flips."""
    rows = [
        Row(row.where, prompt=row.prompt, chosen=row.chosen, rejected=row.rejected)
        for rows in draws
        for row in rows
    ]
    data = _write(folder / "data" / f"{labels}.jsonl", rows)
    return Checked.of(check(data, out=folder / "check" if labels == NOISY else None, quiet=True))


def _train(
    method: str,
    start: Path,
    data: Path,
    out: Path,
    folder: Path,
    size: Size,
    seed: int,
    settings: dict[str, Any],
) -> None:
    steps = math.ceil(size.epochs * math.ceil(size.pairs / 32))
    train(
        method,
        model=str(start),
        data=str(data),
        eval_data=str(folder / "data" / "watched.jsonl"),
        out=out,
        learning_rate=size.learning_rate,
        batch_size=32,
        epochs=size.epochs,
        eval_every=max(1, steps // size.evaluations),
        save_every=0,
        log_every=100,
        seed=seed,
        reference_cache=str(folder / "runs" / "reference"),
        beta=size.beta,
        **settings,
    )


def _arm(
    name: str, run: Path, folder: Path, files: dict[str, Path], size: Size, seed: int, stream: int
) -> Arm:
    """Evaluate a run on the held-out pairs, and on the training pairs as the noisy file labels
    them.

    `stream` gives every arm random numbers of its own, so that two arms' answers are independent
    draws.
    """
    writing = {
        "reward": "holdfast.lab.worlds.text:gold",
        "max_new_tokens": size.max_new_tokens,
        "samples": size.samples,
        "prompts": 10**6,
    }
    held = _evaluate(
        run, folder / "data" / "held_out.jsonl", size, seed=stream, batch=256, **writing
    )
    kept = {
        kind: _evaluate(run, files[kind], size, prompts=0).per_row["implicit_reward"]
        for kind in ("flipped", "honest")
    }
    gold, start = (
        np.array([text[key] for text in held.texts]) for key in ("policy_reward", "opponent_reward")
    )
    return Arm(
        name=name,
        seed=seed,
        gold_PS=gold,
        start_gold_PS=start,
        accuracy_N=held.per_row["implicit_reward"],
        kept_flipped=kept["flipped"],
        kept_honest=kept["honest"],
        kl=held.all.kl["rao-blackwellized"]["value"],
        tokens=held.all.lengths["policy"]["mean"]["value"],
        curves=[
            json.loads(line)
            for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        ],
        answers=held.texts,
    )


def _evaluate(run: Path, data: Path, size: Size, **how: Any) -> Evaluation:
    return evaluate(run, data=str(data), bootstrap=size.bootstrap, progress=False, **how)


# ------------------------------------------------------------------------------------------------
# files


def _fresh(folder: Path) -> Path:
    """The folder, empty of what an earlier demo left. A folder that holds anything else is not
    touched.
    """
    ours = {"data", "check", "runs", "report.html", MARKER}
    if folder.exists():
        strange = [p.name for p in folder.iterdir() if p.name not in ours and p.suffix != ".png"]
        if (
            not folder.is_dir()
            or strange
            or (any(folder.iterdir()) and not (folder / MARKER).exists())
        ):
            raise OptionError(
                f"{folder} holds something that no demo left there",
                hint="name another folder with --out",
            )
        for path in folder.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    (folder / "data").mkdir()
    (folder / MARKER).write_text("{}\n", encoding="utf-8")
    return folder


def _write(path: Path, rows: Sequence[Row]) -> Path:
    """Rows as a user would have them: JSON lines with the columns that are set."""
    names = ("prompt", "chosen", "rejected", "answer", "group", "strength")
    with path.open("w", encoding="utf-8") as file:
        for row in rows:
            held = {name: getattr(row, name) for name in names}
            file.write(
                json.dumps({name: value for name, value in held.items() if value is not None})
                + "\n"
            )
    return path


def _write_pairs(
    folder: Path, seed: int, clean: Sequence[Row], noisy: Sequence[Row], flipped: set[int]
) -> dict[str, Path]:
    """The pairs before and after the flips; and those after, apart by whether they were flipped."""
    parts = {
        CLEAN: clean,
        NOISY: noisy,
        "flipped": [row for i, row in enumerate(noisy) if i in flipped],
        "honest": [row for i, row in enumerate(noisy) if i not in flipped],
    }
    return {name: _write(folder / f"{name}-{seed}.jsonl", rows) for name, rows in parts.items()}


def _agreement(clean: Sequence[Row], flipped: set[int]) -> dict[str, float]:
    """Share of labels that name the answer of higher gold reward, before and after the flips; pairs
    of equal gold are left out.
    """
    signs = [(row.strength > 0, i in flipped) for i, row in enumerate(clean) if row.strength]
    return {
        "right_before": sum(right for right, _ in signs) / len(signs),
        "right_after": sum(right != turned for right, turned in signs) / len(signs),
    }


# ------------------------------------------------------------------------------------------------
# the terminal


def _say(console: Console, stage: int, total: int, started: float, what: str) -> None:
    spent = time.monotonic() - started
    clock = f"{int(spent // 60)}:{int(spent % 60):02d}"
    console.rule(
        Text.assemble((f"{stage} of {total}", "bold"), f"  {what}  ", (clock, "dim")), align="left"
    )


@contextmanager
def _quiet_transformers() -> Iterator[None]:
    """No bars for reading and writing a file of five megabytes."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
