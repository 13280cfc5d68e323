"""A model that trades two attributes as it is told, well under the angles it was trained on and
worse beyond.

Told angle a, an answer's attributes are drawn around rho(a) (cos a, sin a); rho is 1 between 0 and
25 degrees and falls by `fall` for every 20 degrees outside. What the best answer under each angle
is worth to a wanted direction is therefore known.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from holdfast.stats.arrays import Floats

CONE, NOISE = (0.0, 25.0), 0.25


def attributes(
    angles: Sequence[float], prompts: int, fall: float, rng: np.random.Generator
) -> Floats:
    """One answer under each of the angles to each prompt: prompts x angles x 2."""
    angle_N = np.asarray(angles, float)
    outside_N = np.maximum(np.maximum(CONE[0] - angle_N, angle_N - CONE[1]), 0)
    way_N2 = np.stack([np.cos(np.radians(angle_N)), np.sin(np.radians(angle_N))], 1)
    return (1 - fall * outside_N / 20)[:, None] * way_N2 + NOISE * rng.standard_normal(
        (prompts, len(angle_N), 2)
    )
