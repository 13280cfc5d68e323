"""Self-play on text where preferences are cyclic.

World: the text world, 16 held-out prompts looked at; an answer is one sentence, and its first tone
word decides: warm beats stern (0.8), stern beats playful (0.9), playful beats warm (0.7). The
minimax winner mixes them 4 : 2 : 3. A Llama of 0.1 million weights is taught to say playful in 70%
and the others in 15% each. Exploitability is the most that one tone wins against a policy, above
one half, exact from the policy's own probabilities and averaged over prompts: 0 for the minimax
winner, about 0.25 for the start.

gpo plays 8 rounds of 48 prompts with 4 answers each, at inverse step 1. DPO is trained once on as
many comparisons of the start's own answers (384, labels drawn from the judge), for as many steps,
at three strengths of its KL penalty. Iterated DPO is the control that plays the same rounds: it
shows what is due to playing and averaging, and what to the objective.

inpo plays 8 rounds of 384 prompts with 2 answers and one label each, so it draws 4 times the
answers and sees each pair once, as in its paper, in twice gpo's steps. Its inverse step is 0.25,
since log-odds grow 4 times as fast as a win rate near one half, so that its steps are about gpo's;
its KL term is the paper's third of that.
"""

from __future__ import annotations

import contextlib
import io
import random
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from holdfast.lab.claim import Claim, Measured
from holdfast.lab.verdict import all_of, equivalent, separated
from holdfast.lab.worlds import cyclic_text, text
from holdfast.lab.worlds.cyclic_text import exploitability, tones
from holdfast.models.load import load_policy, load_tokenizer
from holdfast.models.small import small_model
from holdfast.training.policy import train
from holdfast.training.selfplay.selfplay import selfplay

EXPLOITABLE = "exploitability"
ROUNDS, PROMPTS, SAMPLES = 8, 48, 4
STEP: dict[str, Any] = {
    "tokens_per_microbatch": 4096,
    "learning_rate": 1e-3,
    "batch_size": 8,
    "schedule": "constant",
    "warmup_ratio": 0.0,
}
LOOKED_AT = 16
# method, how its answers are drawn and trained on, its settings
PLAYERS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "gpo": (
        "gpo",
        {"prompts": PROMPTS, "samples": SAMPLES, "epochs": 4.0, "pairing": "best_worst"},
        {"beta": 1.0},
    ),
    "iterated dpo": (
        "dpo",
        {"prompts": PROMPTS, "samples": SAMPLES, "epochs": 4.0, "pairing": "independent"},
        {"beta": 1.0},
    ),
    "inpo": (
        "inpo",
        {"prompts": 8 * PROMPTS, "samples": 2, "epochs": 1.0, "pairing": "independent"},
        {"eta": 0.25, "tau": 0.25 / 3},
    ),
}


def outcomes(seeds: Sequence[int]) -> Measured:
    found: dict[str, list[float]] = {}
    for seed in seeds:
        with (
            TemporaryDirectory() as folder,
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            for arm, value in _one(int(seed), Path(folder)).items():
                found.setdefault(arm, []).append(value)
    return {arm: {EXPLOITABLE: values} for arm, values in found.items()}


def _one(seed: int, folder: Path) -> dict[str, float]:
    prompts, held_out = text.split_prompts(LOOKED_AT, seed=seed)
    start = taught(prompts, folder, seed)
    tokenizer = load_tokenizer(start)
    look = lambda place: tones(load_policy(place), tokenizer, held_out)  # noqa: E731
    found = {"start": exploitability(look(start))}
    for arm, (method, drawn, settings) in PLAYERS.items():
        play = selfplay(
            method,
            model=start,
            data=prompts,
            judge=cyclic_text.judge,
            out=folder / arm,
            rounds=ROUNDS,
            watched=4,
            max_new_tokens=16,
            seed=seed,
            progress=False,
            **drawn,
            **settings,
            **STEP,
        )
        each = np.stack([look(play.policy(t)) for t in range(ROUNDS + 1)])
        found |= {
            f"{arm}, last": exploitability(each[-1]),
            f"{arm}, mixture of rounds": exploitability(each.mean(0)),
        }
    labeled = comparisons_of_the_start(prompts, ROUNDS * PROMPTS, seed)
    for beta in (0.1, 0.5, 1.0):
        run = train(
            "dpo",
            model=start,
            data=labeled,
            out=folder / f"dpo{beta}",
            epochs=4.0,
            seed=seed,
            beta=beta,
            **STEP,
        )
        found[f"dpo, beta {beta:g}"] = exploitability(look(run.model_path))
    return found


def taught(prompts: Sequence[str], folder: Path, seed: int) -> Path:
    """A small model that answers as the world's start does."""
    rows = cyclic_text.corpus(prompts, 2400, seed=seed)
    words = [f"{row['prompt']} {row['completion']}" for row in rows]
    new = small_model(
        words, folder / "new", vocab=500, hidden=48, layers=2, heads=4, max_tokens=64, seed=seed
    )
    how: dict[str, Any] = {
        "learning_rate": 3e-3,
        "batch_size": 16,
        "epochs": 3.0,
        "seed": seed,
        "tokens_per_microbatch": 4096,
    }
    return train("sft", model=new, data=rows, out=folder / "start", **how).model_path


def comparisons_of_the_start(prompts: Sequence[str], n: int, seed: int) -> list[dict[str, Any]]:
    """n comparisons of two answers as the start gives them, the winner drawn by the judge."""
    rng = random.Random(f"labels of the start {seed}")
    rows: list[dict[str, Any]] = []
    while len(rows) < n:
        prompt = rng.choice(list(prompts))
        a, b = cyclic_text.sample_answer(prompt, rng), cyclic_text.sample_answer(prompt, rng)
        if a != b:
            chosen, rejected = (
                (a, b) if rng.random() < cyclic_text.judge([prompt], [a], [b])[0] else (b, a)
            )
            rows.append({"prompt": prompt, "chosen": chosen, "rejected": rejected})
    return rows


SHARED: dict[str, Any] = {
    "methods": ("dpo", "gpo", "inpo", "sft"),
    "world": cyclic_text,
    "measure": outcomes,
    "of": EXPLOITABLE,
    "seeds": range(5),
    "chunk": 1,
}
DPO = tuple(f"dpo, beta {beta}" for beta in ("0.1", "0.5", "1"))

CLAIMS = (
    Claim(
        says=(
            "The mixture of gpo's rounds ends closer to the minimax winner than DPO at each "
            "of three strengths."
        ),
        verdict=all_of(
            *(separated("gpo, mixture of rounds", arm, EXPLOITABLE, lower=True) for arm in DPO)
        ),
        paper_number=(
            "GPO is claimed for intransitive preferences; the paper measures win rates of a "
            "judge, no exploitability"
        ),
        **SHARED,
    ),
    Claim(
        says=(
            "The last policy alone is not near: gpo's last policy is more exploitable than "
            "the mixture of its rounds."
        ),
        verdict=separated("gpo, mixture of rounds", "gpo, last", EXPLOITABLE, lower=True),
        paper_number="the paper's theory is of the average policy, its tables of the last",
        **SHARED,
    ),
    Claim(
        says=(
            "It is playing and averaging that helps: the mixture of iterated DPO's rounds is "
            "within 0.05 of the mixture of gpo's."
        ),
        verdict=equivalent(
            "iterated dpo, mixture of rounds", "gpo, mixture of rounds", EXPLOITABLE, within=0.05
        ),
        **SHARED,
    ),
    Claim(
        says=(
            "DPO at a weak penalty (beta 0.1) runs into the start's best response: it is more "
            "exploitable than the start."
        ),
        verdict=separated("start", "dpo, beta 0.1", EXPLOITABLE, lower=True),
        **SHARED,
    ),
    Claim(
        says=(
            "Labels alone do, too: the mixture of INPO's rounds ends closer to the minimax "
            "winner than DPO at each of three strengths."
        ),
        verdict=all_of(
            *(separated("inpo, mixture of rounds", arm, EXPLOITABLE, lower=True) for arm in DPO)
        ),
        paper_number=(
            "INPO is claimed for general preferences, against iterative DPO; the paper "
            "measures win rates of a judge"
        ),
        **SHARED,
    ),
    Claim(
        says=(
            "INPO's KL term calms the last policy: it is less exploitable than gpo's last "
            "policy, which has none."
        ),
        verdict=separated("inpo, last", "gpo, last", EXPLOITABLE, lower=True),
        paper_number="the last iterate converges to the equilibrium with the KL term, as 1 / t",
        **SHARED,
    ),
)
