"""What the examples work on: made-up comparisons, some with flipped labels, and a tiny model."""

from __future__ import annotations

import json
import random
from pathlib import Path

from holdfast.models.small import small_model

KIND = ("thank you", "gladly", "of course", "a good question", "here is how", "with pleasure")
RUDE = ("no", "go away", "whatever", "find out yourself", "who cares", "not again")
TOPICS = ("bread", "rivers", "engines", "violins", "weather", "letters", "gardens", "maps")


def comparisons(count: int = 240, flip_rate: float = 0.2, seed: int = 0) -> list[dict[str, object]]:
    """Rows in which the kind answer is better, and `flip_rate` of the labels say otherwise. Each
    row also has `gap`, how much kinder the chosen answer is said to be, 0 to 3.
    """
    rng = random.Random(seed)
    rows: list[dict[str, object]] = []
    for n in range(count):
        topic = rng.choice(TOPICS)
        kind, rude = rng.choice(KIND), rng.choice(RUDE)
        chosen, rejected = f"{kind}: {topic}", f"{rude}: {topic}"
        if rng.random() < flip_rate:
            chosen, rejected = rejected, chosen
        prompt = f"Tell me about {topic}, question {n}."
        gap = round(rng.uniform(0, 3), 2)
        rows.append({"prompt": prompt, "chosen": chosen, "rejected": rejected, "gap": gap})
    return rows


def write(rows: list[dict[str, object]], path: Path) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def model(folder: Path, rows: list[dict[str, object]]) -> Path:
    """A random Llama and a tokenizer learned from these rows."""
    texts = [f"{row['prompt']} {row['chosen']} {row['rejected']}" for row in rows]
    return small_model(texts, folder, vocab=400, hidden=64, layers=2, heads=2, max_tokens=128)
