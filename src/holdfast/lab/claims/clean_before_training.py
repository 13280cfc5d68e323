"""DPO on a file of preferences as it came, and on the same file after `clean`

World: the text world; a Llama of 0.1 million weights is taught 2,000 answers, then trained by DPO.
The file holds 600 honest pairs and three flaws: a quarter of the pairs come from a source whose
labels are reversed, and each of its rows stands in the file twice; a fifth of the others were
judged by three raters who are wrong 30% of the time each. Judged by the gold reward of answers to
64 prompts that were not trained on.

Arms: the file as it came; after the remedies that need no judgement (repeats removed, verdicts
collapsed to their majority); after these with the reversed source turned by name; and the 600
pairs with honest labels. Every arm takes the same number of steps.
"""

from __future__ import annotations

import contextlib
import io
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from holdfast.checkup.clean import clean
from holdfast.data.write import record, write_records
from holdfast.evaluation.evaluation import evaluate
from holdfast.inputs.swap import swapped_row
from holdfast.lab.claim import Claim, Measured
from holdfast.lab.verdict import separated
from holdfast.lab.worlds import text
from holdfast.models.small import small_model
from holdfast.training.policy import train
from holdfast.types import Row

GOLD = "gold reward"
RAW, CLEANED, TURNED, HONEST = (
    "as it came",
    "cleaned",
    "cleaned, source turned",
    "honest labels",
)
PROMPTS, PAIRS, TAUGHT, STEPS = 64, 600, 2000, 75
BATCH = 32
REVERSED, VOTED, WRONG = 0.25, 0.2, 0.3


def flawed(honest: Sequence[Row], seed: int) -> list[Row]:
    """The honest pairs as the file has them."""
    rng = random.Random(f"flawed {seed}")
    rows = []
    for row in honest:
        if rng.random() < REVERSED:
            turned = replace(swapped_row(row), source="reversed", strength=None)
            rows += [turned, turned]
        elif rng.random() < VOTED:
            rows += [
                replace(
                    swapped_row(row) if rng.random() < WRONG else row,
                    source="panel",
                    rater=rater,
                    strength=None,
                )
                for rater in ("u", "v", "w")
            ]
        else:
            rows.append(replace(row, source="straight", strength=None))
    rng.shuffle(rows)
    return rows


def measured(seeds: Sequence[int]) -> Measured:
    out: dict[str, dict[str, list[float]]] = {}
    for seed in seeds:
        with (
            TemporaryDirectory() as folder,
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            for arm, value in _one(int(seed), Path(folder)).items():
                out.setdefault(arm, {GOLD: []})[GOLD].append(value)
    return out


def _one(seed: int, folder: Path) -> dict[str, float]:
    prompts, held_out = text.split_prompts(PROMPTS, seed=seed)
    lessons = text.corpus(prompts, TAUGHT, seed=seed)
    words = [f"{row.prompt} {row.answer}" for row in lessons]
    size: dict[str, Any] = {"vocab": 500, "hidden": 64, "layers": 2, "heads": 4, "max_tokens": 160}
    how: dict[str, Any] = {"batch_size": BATCH, "seed": seed, "tokens_per_microbatch": 8192}
    new = small_model(words, folder / "new", seed=seed, **size)
    start = train(
        "sft", model=new, data=lessons, out=folder / "start", learning_rate=4e-3, epochs=3.0, **how
    ).model_path
    honest = text.preferences(prompts, PAIRS, seed=seed)
    file = folder / "prefs.jsonl"
    write_records(file, [record(row) for row in flawed(honest, seed)])
    data = {
        RAW: file,
        CLEANED: clean(file, out=folder / "cleaned.jsonl", quiet=True).out,
        TURNED: clean(file, out=folder / "turned.jsonl", turn_source=("reversed",), quiet=True).out,
        HONEST: honest,
    }
    asked = [
        Row(row.where, row.prompt, *_answers(row))
        for row in text.preferences(held_out, 128, seed=seed)
    ]
    found = {}
    for arm, rows in data.items():
        n = sum(1 for _ in rows.open()) if isinstance(rows, Path) else len(honest)
        run = train(
            "dpo",
            model=start,
            data=rows if isinstance(rows, list) else str(rows),
            out=folder / arm.replace(" ", "-").replace(",", ""),
            learning_rate=1e-3,
            epochs=STEPS * BATCH / n,
            beta=0.1,
            **how,
        )
        held = evaluate(
            run.out,
            data=asked,
            reward=text.gold,
            samples=4,
            bootstrap=0,
            max_new_tokens=64,
            seed=seed,
            progress=False,
        )
        found[arm] = float(np.mean([one["policy_reward"] for one in held.texts]))
    return found


def _answers(row: Row) -> tuple[Any, Any]:
    return row.chosen, row.rejected


SHARED: dict[str, Any] = {
    "methods": ("sft", "dpo"),
    "world": text,
    "measure": measured,
    "of": GOLD,
    "seeds": range(8),
    "chunk": 1,
}

CLAIMS = (
    Claim(
        says=(
            "DPO on a file with a reversed source, repeats and wrong votes writes better answers "
            "after the file is cleaned and the source turned by name than on the file as it came."
        ),
        verdict=separated(TURNED, RAW, GOLD),
        **SHARED,
    ),
    Claim(
        says=(
            "The remedies that need no judgement (repeats, verdicts collapsed) already help, with "
            "the reversed source left as it is."
        ),
        verdict=separated(CLEANED, RAW, GOLD),
        **SHARED,
    ),
    Claim(
        says=("Cleaned and turned, the file still trains worse than 600 pairs with honest labels."),
        verdict=separated(HONEST, TURNED, GOLD),
        notes="What is left: pairs of which two raters of three were wrong, 22% of a seventh.",
        **SHARED,
    ),
)
