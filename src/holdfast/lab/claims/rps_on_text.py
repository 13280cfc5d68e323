"""RPS on a language model that was taught some trade-offs and is asked for others

World: the text world; a Llama of 0.1 million weights is taught 2,000 answers asked for in words at
whole angles from 0 to 25 degrees. The first attribute is the share of nouns that keep to the topic,
the second how much is said. Nothing is assumed of what it does at 30 degrees and beyond: the
numbers of the wish were never seen there. Judged by the attributes themselves, projected on the
wanted direction; 64 prompts that were not taught.

Arms, five answers each at temperature 0.7: best of 5 under the wanted direction; RPS, one answer
under each of the five nearest angles of the authors' grid; best of 5 under the taught direction
nearest to the wanted one.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from holdfast.generation.contract import Generation
from holdfast.generation.rps import rps
from holdfast.lab.claim import Claim, Measured
from holdfast.lab.verdict import bounded, separated
from holdfast.lab.worlds import direction_text, text
from holdfast.lab.worlds.direction_text import CONE, much_said, on_topic
from holdfast.models.load import load_policy, load_tokenizer
from holdfast.models.small import small_model
from holdfast.training.policy import train

SCORE, WINS = "score", "win rate over best of 5"
PLAIN, RPS, TAUGHT = "best of 5", "RPS", "best of 5, nearest taught direction"
TARGETS, PROMPTS, ROWS = (10, 30, 45), 64, 2000
STEP: dict[str, Any] = {
    "learning_rate": 3e-3,
    "batch_size": 16,
    "epochs": 2.0,
    "tokens_per_microbatch": 4096,
}


def measured(seeds: Sequence[int]) -> Measured:
    out: dict[str, dict[str, list[float]]] = {}
    for seed in seeds:
        with (
            TemporaryDirectory() as folder,
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            for arm, quantities in _one(int(seed), Path(folder)).items():
                for of, value in quantities.items():
                    out.setdefault(arm, {}).setdefault(of, []).append(value)
    return out


def _one(seed: int, folder: Path) -> dict[str, dict[str, float]]:
    prompts, held_out = text.split_prompts(PROMPTS, seed=seed)
    rows = direction_text.corpus(prompts, ROWS, seed=seed)
    words = [f"{row['prompt']} {row['completion']}" for row in rows]
    new = small_model(
        words, folder / "new", vocab=500, hidden=48, layers=2, heads=4, max_tokens=160, seed=seed
    )
    place = train("sft", model=new, data=rows, out=folder / "taught", seed=seed, **STEP).model_path
    model, tokenizer = load_policy(place), load_tokenizer(place)
    found: dict[str, dict[str, float]] = {}
    for target in TARGETS:
        asked: dict[str, Any] = {
            PLAIN: [target] * 5,
            RPS: None,
            TAUGHT: [min(max(target, CONE[0]), CONE[1])] * 5,
        }
        best: dict[str, np.ndarray] = {}
        for stream, (arm, angles) in enumerate(asked.items()):
            near = (
                None
                if angles is None
                else [[np.cos(np.radians(a)), np.sin(np.radians(a))] for a in angles]
            )
            how = Generation(64, temperature=0.7, seed=10 * seed + stream)
            kept = rps(
                model,
                tokenizer,
                held_out,
                [on_topic, much_said],
                direction=target,
                neighbors=near,
                generation=how,
            )
            best[arm] = kept.score_PN[np.arange(len(held_out)), kept.place_P]
        for arm, score_P in best.items():
            wins = float(((score_P > best[PLAIN]) + (score_P == best[PLAIN]) / 2).mean())
            found[f"{arm}, {target} degrees"] = {SCORE: float(score_P.mean()), WINS: wins}
    return found


SHARED: dict[str, Any] = {
    "methods": ("sft",),
    "world": direction_text,
    "measure": measured,
    "seeds": range(5),
    "chunk": 1,
}
PAPER = (
    "win rates over the compute-matched baseline of 55% at 10 degrees and 69% at 45 "
    "(second-hand; 7B models)"
)

CLAIMS = (
    Claim(
        says=(
            "At 45 degrees, which the model was not taught, RPS beats best of 5 in more than "
            "half of the prompts."
        ),
        of=WINS,
        verdict=bounded(f"{RPS}, 45 degrees", WINS, low=0.5),
        paper_number=PAPER,
        **SHARED,
    ),
    Claim(
        says=(
            "At 10 degrees, which it was taught, RPS neither gains nor loses more than 5 "
            "points of win rate."
        ),
        of=WINS,
        verdict=bounded(f"{RPS}, 10 degrees", WINS, low=0.45, high=0.55),
        paper_number=PAPER,
        **SHARED,
    ),
    Claim(
        says=(
            "At 45 degrees asking five times under the nearest taught direction has the "
            "higher score than RPS."
        ),
        of=SCORE,
        verdict=separated(f"{TAUGHT}, 45 degrees", f"{RPS}, 45 degrees", SCORE),
        notes=(
            "The decisive control: it needs to know which directions were taught, and RPS does not."
        ),
        **SHARED,
    ),
    Claim(
        says=(
            "What RPS rests on: quality falls away from what was taught. At 45 degrees best "
            "of 5 scores less than under the nearest "
            "taught direction."
        ),
        of=SCORE,
        verdict=separated(f"{TAUGHT}, 45 degrees", f"{PLAIN}, 45 degrees", SCORE),
        **SHARED,
    ),
)
