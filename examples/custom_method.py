"""A method of your own, with an input of its own.

    python examples/custom_method.py

DPO with a target: the margin shall grow with how much better the chosen answer is said to be. A
column `gap` of the rows says that, and `gap` below is the object that stands for it: what it is,
where it is read, and what becomes of it when a label is turned (the gap of the swapped pair is its
negative). Nothing else needs to be told: rows without the column are refused by name, and
`holdfast.train` treats the method like one of ours.
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import torch.nn.functional as F
from torch import Tensor

import holdfast
from holdfast.card import Card, PairMethod, Paper
from holdfast.inputs import Column, reference
from holdfast.inputs.base import negate
from holdfast.reductions import mean
from holdfast.types import Pairs

sys.path.insert(0, str(Path(__file__).parent))
from small_data import comparisons, model, write

gap = Column(
    "gap",
    "how much better the chosen answer is, on the raters' own scale",
    hint="add a `gap` column of numbers",
    columns=("gap",),
    swap=negate,
)


def offset_dpo(pairs: Pairs, *, beta: float = 0.1, scale: float = 1.0) -> Tensor:
    """DPO whose margin must exceed an offset.

        cost = softplus(-(beta h - scale gap))      (Amini et al. 2024, "DPO with an Offset")

    Shape (N,), nats.

    Args:
        beta: strength of the pull to the reference, above 0
        scale: nats of margin for each point of the gap, at least 0
    """
    return F.softplus(-(beta * pairs.margin_N - scale * gap(pairs)))


METHOD = PairMethod(
    objective=offset_dpo,
    reduction=mean(),
    card=Card(
        says="DPO with an offset from the reward gap",
        paper=Paper("Direct Preference Optimization with an Offset", "Amini and others", 2024),
        equation="softplus(-(beta h - scale gap))",
        tokens="sum",
        needs=(reference, gap),
    ),
)


def main() -> dict[str, object]:
    with TemporaryDirectory() as folder:
        scratch = Path(folder)
        rows = comparisons(96)
        data = write(rows, scratch / "prefs.jsonl")
        run = holdfast.train(
            METHOD,
            model=model(scratch / "model", rows),
            data=data,
            out=scratch / "run",
            scale=0.5,
            batch_size=16,
            learning_rate=1e-3,
            max_steps=6,
        )
        first, *_, last = (line["loss"] for line in run.metrics if "loss" in line)
        return {"method": run.record["method"], "first": first, "last": last}


if __name__ == "__main__":
    done = main()
    print(
        f"{done['method']}: loss {done['first']:.3f} nats at first, {done['last']:.3f} at the end"
    )
