"""How sure a mean over a few seeds is.

The interval is Student's, or Hall's (1992), which corrects Student's for the skewness of the
numbers: the wider of the two at each end. `lab/verdict.py` says how often it errs.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

import numpy as np
from scipy import stats

from holdfast.errors import OptionError
from holdfast.stats.intervals import Estimate

LEVEL = 0.95
FEWEST = 6  # numbers that can tell a skewness at all
METHOD = "over seeds, the wider of Student's and Hall's"


def over_seeds(values_S: Sequence[float], level: float = LEVEL) -> Estimate:
    """The interval of the mean of one number a seed: Student's or Hall's, the wider at each end.

    Raises:
        OptionError: fewer than two seeds, or a number that is not finite.
    """
    values = np.asarray(values_S, dtype=float)
    if len(values) < 2 or not np.isfinite(values).all():
        raise OptionError(
            f"no interval of {len(values)} values, {int((~np.isfinite(values)).sum())} of "
            "them not finite",
            hint="two seeds or more",
        )
    size, mean, spread = len(values), float(values.mean()), float(values.std(ddof=1))
    reach = float(stats.t.ppf((1 + level) / 2, size - 1)) / sqrt(size)
    skewness = _skewness(values)
    below, above = (
        max(reach, _hall(reach, skewness, size)),
        max(reach, -_hall(-reach, skewness, size)),
    )
    return Estimate(
        mean,
        mean - below * spread,
        mean + above * spread,
        size,
        size,
        METHOD,
        level,
    )


def _skewness(values_S: np.ndarray) -> float:
    """Of the population, estimated without bias where it is normal; 0 where numbers are too few or
    too equal to say.
    """
    size, apart_S, spread = len(values_S), values_S - values_S.mean(), values_S.std(ddof=1)
    if size < FEWEST or not spread > 1e-12 * np.abs(values_S).max():
        return 0.0
    return float(size / ((size - 1) * (size - 2)) * ((apart_S / spread) ** 3).sum())


def _hall(t: float, skewness: float, size: int) -> float:
    """The inverse of Hall's transformation w + g w^2 / 3 + g^2 w^3 / 27 + g / (6 n), which makes w
    = (mean - mu) / sd symmetric.
    """
    if abs(skewness) < 1e-6:
        return t
    return float(3 / skewness * (np.cbrt(1 + skewness * (t - skewness / (6 * size))) - 1))
