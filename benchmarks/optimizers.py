"""What a step of ROOT costs beside torch's Muon, at equal Newton-Schulz rounds.

    python benchmarks/optimizers.py [--repeats 15] [--limit 1.3] [--docs docs/pictures]

Steps alternate in one process on the same gradients, so that a busy machine slows both; a ratio is
the median over repeats of ROOT's time by Muon's next to it. Three sets of matrices: the hidden
matrices of a small decoder, of one whose layers are those of SmolLM2-135M, and LoRA's factors.
Beside it, the distance of five rounds to the polar factor by shape, on Gaussian matrices that
the table was not fitted to: root mean square of singular values less 1; --docs takes the picture.
Last, one line of JSON; the exit code is 1 if a ratio is above the limit.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import altair as alt
import torch
from rich.progress import track
from torch import nn

from holdfast.optimization.optimizers import MUON, ROOT, coefficients_for
from holdfast.optimization.optimizers.fit import gaussian
from holdfast.optimization.optimizers.newton_schulz import lifted
from holdfast.report import Chart
from holdfast.report.marks import colors
from holdfast.terminal import Terminal

LAYER = ((576, 576), (192, 576), (192, 576), (576, 576), (1536, 576), (1536, 576), (576, 1536))
SETS: dict[str, list[tuple[int, int]]] = {
    "small decoder, 6 layers of 256": [(256, 256)] * 24 + [(1024, 256)] * 12 + [(256, 1024)] * 6,
    "SmolLM2-135M, 4 of 30 layers": [*LAYER] * 4,
    "LoRA of rank 8, 30 layers": [
        shape for m, n in LAYER for shape in ((8, n), (m, 8)) for _ in range(30)
    ],
}


def weights(shapes: list[tuple[int, int]]) -> list[nn.Parameter]:
    draw = torch.Generator().manual_seed(0)
    found = [nn.Parameter(torch.randn(shape, generator=draw) / 30) for shape in shapes]
    for weight in found:
        weight.grad = torch.randn(weight.shape, generator=draw)
    return found


def optimizers(shapes: list[tuple[int, int]], device: str) -> dict[str, torch.optim.Optimizer]:
    """On weights of their own, all with five Newton-Schulz rounds in bfloat16."""
    makes: dict[str, Callable[[list[nn.Parameter]], torch.optim.Optimizer]] = {
        "muon": lambda p: torch.optim.Muon(p, lr=1e-3, adjust_lr_fn="match_rms_adamw"),
        "root": lambda p: ROOT(p, lr=1e-3),
        "root, quantile 1": lambda p: ROOT(p, lr=1e-3, quantile=1),
        "adamw": lambda p: torch.optim.AdamW(p, lr=1e-3, fused=True),
    }
    found = {}
    for name, make in makes.items():
        moved = [nn.Parameter(w.detach().to(device)) for w in weights(shapes)]
        for weight, like in zip(moved, weights(shapes), strict=True):
            assert like.grad is not None
            weight.grad = like.grad.to(device)
        found[name] = make(moved)
    return found


def seconds(optimizer: torch.optim.Optimizer, device: str) -> float:
    started = time.perf_counter()
    optimizer.step()
    if device != "cpu":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def measured(name: str, repeats: int, device: str) -> dict[str, float]:
    """Milliseconds of a step of each, and its ratio to Muon's."""
    ours = optimizers(SETS[name], device)
    for optimizer in ours.values():  # the first makes the state
        seconds(optimizer, device)
    times: dict[str, list[float]] = {each: [] for each in ours}
    for _ in track(range(repeats), description=name, transient=True, console=Terminal(stderr=True)):
        for each, optimizer in ours.items():
            times[each].append(seconds(optimizer, device))
    found = {f"{each}, ms": round(1e3 * median(values), 2) for each, values in times.items()}
    for each, values in times.items():
        if each != "muon":
            ratios = [one / muon for one, muon in zip(values, times["muon"], strict=True)]
            found[f"{each} / muon"] = round(median(ratios), 3)
    return found


ROWS, RATIOS, UNSEEN = (16, 64, 256, 1024), (1, 1.5, 2, 3, 4, 6, 8, 16), 1_000_003


def distances() -> list[dict[str, float | str]]:
    """Rows of the shape, who, and the distance to the polar factor."""
    found: list[dict[str, float | str]] = []
    for m in ROWS:
        for ratio in RATIOS:
            n = round(m * ratio)
            s = torch.from_numpy(gaussian(m, n, seed=UNSEEN))
            for name, abc in (("Muon", MUON), ("ROOT", coefficients_for(m, n))):
                far = float((lifted(s, abc) - 1).square().mean().sqrt())
                found.append({"name": name, "rows": m, "ratio": ratio, "distance": far})
    return found


def picture(rows: list[dict[str, float | str]]) -> Chart:
    drawn = alt.Chart().encode(
        x=alt.X("ratio:Q", title="columns by rows", scale=alt.Scale(type="log", base=2)),
        y=alt.Y("distance:Q", title="distance to the polar factor (RMS)"),
        color=colors(["Muon", "ROOT"]),
    )
    chart = alt.layer(
        drawn.mark_line(), drawn.mark_point(filled=True, size=45), data=alt.Data(values=rows)
    ).properties(width=170, height=200)
    facets = chart.facet(column=alt.Column("rows:O", title="rows"))
    words = "Distance of five Newton-Schulz rounds to the polar factor by shape, Muon and ROOT"
    return Chart(facets, "optimizers", words, words)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--limit", type=float, default=1.3)
    parser.add_argument("--docs", type=Path, help="folder for the picture")
    given = parser.parse_args()
    far = distances()
    if given.docs:
        picture(far).save_picture(given.docs)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    screen = Terminal(stderr=True)
    found = {name: measured(name, given.repeats, device) for name in SETS}
    for name, values in found.items():
        screen.print(f"{name}: " + ", ".join(f"{each} {value:g}" for each, value in values.items()))
    worst = max(values["root / muon"] for values in found.values())
    print(
        json.dumps(
            {
                "device": device,
                "threads": torch.get_num_threads(),
                "root_over_muon": worst,
                "limit": given.limit,
                "sets": found,
                "distance": {
                    f"{row['name']} {row['rows']} x {row['ratio']}": round(
                        float(row["distance"]), 5
                    )
                    for row in far
                },
            }
        )
    )
    return int(worst > given.limit)


if __name__ == "__main__":
    sys.exit(main())
