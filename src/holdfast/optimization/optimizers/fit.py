"""Makes `coefficients.json`: for each shape of a grid the coefficients that bring its singular
values nearest to 1.

    python -m holdfast.optimization.optimizers.fit [FILE]

For a shape (m, n) the singular values of matrices of Frobenius norm 1 are drawn, three parts from
Gaussian matrices and one part from the spectra of momentum: `s_i ~ i^-p`, with p from 0.5 to 1.25.
That is what the leading quarter of the spectrum showed in fifteen clipped momentum matrices of a
language model with 135 million weights (p from 0.5 to 0.9; unclipped 0.8 to 1.3). Then

    minimize over a, b, c   mean over s of (p5(s) - 1)^2,   p5 the polynomial, five times

by Nelder-Mead from several starts, with 100 times the length by which an image of [0, 1.02] leaves
[-CEILING, CEILING] added (the largest in the table is 1.36): a matrix of rank one has s = 1, and
bfloat16 rounds a little beyond it. From 512 rows on, Gaussian spectra are
those of 256 rows and the same n/m, scaled by the square root of the rows: their limit is
Marchenko and Pastur's.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from math import sqrt
from pathlib import Path

import numpy as np
import torch
from scipy.optimize import minimize

from holdfast.optimization.optimizers.newton_schulz import MUON, STEPS, Coefficients, lifted
from holdfast.stats.arrays import Floats

ROWS = tuple(round(2 ** (k / 2)) for k in range(4, 28))  # 4 to 11,585
RATIOS = (1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 16.0, 32.0)
POWERS = (0.5, 0.75, 1.0, 1.25)
STARTS = (MUON, (2.5, -2.5, 1.0), (2.0, -1.5, 0.5), (3.2, -3.6, 1.4), (1.9, -1.2, 0.3))
LARGEST, VALUES = 256, 512  # rows that are decomposed; singular values of each part
CEILING = 1.3


def gaussian(m: int, n: int, *, seed: int, values: int = VALUES) -> Floats:
    """Singular values of Gaussian m x n matrices of norm 1, at least `values` of them."""
    small = min(m, LARGEST)
    wide = max(small, round(n * small / m))
    draw = torch.Generator().manual_seed(seed)
    found = []
    for _ in range(-(-values // small)):
        x = torch.randn(small, wide, generator=draw, dtype=torch.float64)
        s = torch.linalg.svdvals(x)
        found.append(s / s.norm() * sqrt(small / m))
    return torch.cat(found).numpy()


def power_law(m: int, power: float) -> Floats:
    """Singular values that fall as i^-power, of norm 1."""
    s: Floats = np.arange(1, m + 1, dtype=float) ** -power
    return s / np.linalg.norm(s)


def error(s: Floats, coefficients: Sequence[float]) -> float:
    """Mean of (p5(s) - 1)^2."""
    ends = lifted(torch.from_numpy(np.asarray(s)), coefficients).clamp(-1e3, 1e3)
    return float(((ends - 1) ** 2).mean())


def largest(coefficients: Sequence[float], *, start: float = 1.02, steps: int = STEPS) -> float:
    """The largest |image| of [0, start], exactly: a polynomial maps an interval to an interval,
    which its values at the ends and at its extremes inside bound.
    """
    a, b, c = coefficients
    root = b * b * 9 - 20 * a * c  # of 5 c s^4 + 3 b s^2 + a
    squares = (
        [(-3 * b + sign * sqrt(root)) / (10 * c) for sign in (1, -1)] if root >= 0 and c else []
    )
    extremes = [sign * sqrt(square) for square in squares if square > 0 for sign in (1, -1)]
    low, high = 0.0, start
    for _ in range(steps):
        at = [low, high, *(s for s in extremes if low < s < high)]
        values = [s * (a + s * s * (b + c * s * s)) for s in at]
        low, high = min(values), max(values)
        if not -1e3 < low <= high < 1e3:
            return 1e3
    return max(-low, high)


def fit(m: int, n: int, *, seed: int = 0) -> tuple[Coefficients, float, float]:
    """The coefficients of a shape, and their mean square error on Gaussian spectra and on power
    laws."""
    wide, peaked = gaussian(m, n, seed=seed), [power_law(m, power) for power in POWERS]

    def loss(abc: Floats) -> float:
        a_b_c = tuple(float(x) for x in abc)
        beyond = max(largest(a_b_c) - CEILING, 0.0)
        of_momentum = float(np.mean([error(s, a_b_c) for s in peaked]))
        return 0.75 * error(wide, a_b_c) + 0.25 * of_momentum + 100 * beyond

    how = {"xatol": 1e-5, "fatol": 1e-9, "maxiter": 600}
    ends = [minimize(loss, start, method="Nelder-Mead", options=how) for start in STARTS]
    best = min(ends, key=lambda end: float(end.fun))
    a, b, c = (round(float(x), 4) for x in best.x)
    found = (a, b, c)
    return found, error(wide, found), float(np.mean([error(s, found) for s in peaked]))


def shapes() -> list[tuple[int, int]]:
    return [(m, round(m * ratio)) for m in ROWS for ratio in RATIOS]


def main(file: Path) -> None:
    rows = []
    for m, n in shapes():
        (a, b, c), wide, peaked = fit(m, n)
        rows.append({"m": m, "n": n, "a": a, "b": b, "c": c, "gaussian": wide, "momentum": peaked})
        print(f"{m} x {n}: {a} {b} {c}, error {wide:.2g} and {peaked:.2g}", file=sys.stderr)
    lines = ",\n  ".join(
        json.dumps(
            {k: float(f"{v:.3g}") if k in ("gaussian", "momentum") else v for k, v in row.items()}
        )
        for row in rows
    )
    made_by = "python -m holdfast.optimization.optimizers.fit"
    file.write_text(f'{{"made by": "{made_by}", "rows": [\n  {lines}\n]}}\n', encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "coefficients.json")
