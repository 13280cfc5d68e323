"""docs/families.md: what came out of each family, and why others have none."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import transformers

ABOUT = """# Families of models

`make bench-families` makes this page: {built} of the {all} causal-LM families of transformers
{transformers} that could be built small from their config (torch {torch}, CPU, float32), in {cases}
settings. Each is saved as a folder and held against an oracle that knows nothing of this library:
one forward for each answer, alone, without padding or mask.

- `holdfast.score`: log-probabilities of every response token of {rows} comparisons under a policy
  and under a reference of the family, and a gradient of theirs.
- `holdfast train dpo` at learning rate 0, two epochs in batches of {batch}: every loss is ln 2,
  mean log-probabilities and gradient norms are the oracle's.
- `holdfast train dpo` of a Llama whose reference is of the family: the loss.
- Greedy answers to prompts of several lengths: each token is what the oracle finds most probable.

Rows are of 4 to 75 tokens, the short ones first, sliding windows of 8; where a rope changes its
factors by the length of a row, it does so at 32. *Packed*: all comparisons in one row, each prompt
once. *Fell back*: a padded forward for each answer, because the packed one cannot be right or was
not. *Refused*: an error that says why. Differences are the largest over everything above: nats are
of a token's log-probability (or, at half that weight, of a loss), the gradient's is relative to its
norm. A difference above {nats:g} nats or {relative:g} counts as wrong. A family counts as the worst
of its settings.

"""


def page(
    findings: Sequence[Any],
    *,
    totals: dict[str, int],
    rows: int,
    batch: int,
    nats: float,
    relative: float,
) -> str:
    built = [each for each in findings if each.outcome != "not built"]
    missing = [each for each in findings if each.outcome == "not built"]
    names = {each.family for each in findings}
    out = ABOUT.format(
        built=totals["families"],
        all=len(names),
        transformers=transformers.__version__,
        torch=torch.__version__.split("+")[0],
        cases=len(built),
        rows=rows,
        batch=batch,
        nats=nats,
        relative=relative,
    )
    out += (
        ", ".join(f"{count} {outcome.replace('_', ' ')}" for outcome, count in totals.items())
        + ".\n\n"
    )
    out += "| family | outcome | nats | gradient | why |\n| --- | --- | ---: | ---: | --- |\n"
    for each in sorted(built, key=lambda each: (each.family, each.case)):
        why = "; ".join(each.wrong) or (each.reason if each.outcome != "packed" else "")
        out += (
            f"| {each.case} | {each.outcome} | {_number(each.nats)} | "
            f"{_number(each.gradient)} | {_cell(why)} |\n"
        )
    out += "\n## Not built\n\n| family | why |\n| --- | --- |\n"
    for each in sorted(missing, key=lambda each: each.case):
        out += f"| {each.case} | {_cell(each.reason)} |\n"
    return out


def _number(x: float) -> str:
    return "" if math.isnan(x) else f"{x:.0e}"


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
