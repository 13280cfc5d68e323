"""Your own loop: Holdfast scores the answers and gives the loss, everything else is yours.

    python examples/own_loop.py

A fifth of the labels is flipped. rDPO is told so, DPO is not; both take the same steps. What is
printed is the share of held-out comparisons, labeled rightly, that each ranks rightly.
"""

from __future__ import annotations

import random
import sys
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import holdfast

sys.path.insert(0, str(Path(__file__).parent))
from small_data import comparisons, model, write

BATCH, EPOCHS = 16, 4


def main() -> dict[str, float]:
    with TemporaryDirectory() as folder:
        scratch = Path(folder)
        made = comparisons(flip_rate=0.2)
        rows = holdfast.read(write(made, scratch / "prefs.jsonl"))
        held_out = holdfast.read(
            write(comparisons(80, flip_rate=0.0, seed=1), scratch / "held_out.jsonl")
        )
        start = model(scratch / "model", made)
        tokenizer = AutoTokenizer.from_pretrained(start)
        losses = {
            "dpo": partial(holdfast.preference.dpo, beta=0.5),
            "rdpo": partial(holdfast.preference.rdpo, beta=0.5, flip_rate=0.2),
        }
        return {
            name: train(loss, start, tokenizer, rows, held_out) for name, loss in losses.items()
        }


def train(loss, start, tokenizer, rows, held_out) -> float:
    policy = AutoModelForCausalLM.from_pretrained(start)
    reference = AutoModelForCausalLM.from_pretrained(start)
    optimizer = torch.optim.AdamW(policy.parameters(), lr=1e-3)
    order = list(range(len(rows)))
    for epoch in range(EPOCHS):
        random.Random(epoch).shuffle(order)
        for begin in range(0, len(order), BATCH):
            batch = [rows[i] for i in order[begin : begin + BATCH]]
            pairs = holdfast.score(policy, tokenizer, batch, reference=reference)
            loss(pairs).mean().backward()  # one cost a row, in nats
            optimizer.step()
            optimizer.zero_grad()
    with torch.no_grad():
        margin_N = holdfast.score(policy, tokenizer, held_out, reference=reference).margin_N
    return float((margin_N > 0).float().mean())


if __name__ == "__main__":
    for name, share in main().items():
        print(f"{name:5} ranks {share:.0%} of 80 held-out comparisons as their true labels do")
