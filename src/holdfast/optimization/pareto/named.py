"""Problems that have a name: ZDT and DTLZ (from pymoo), VLMOP2, F2, and RE21 to RE42.

Each knows the hypervolume of its true front. ZDT, VLMOP2 and F2 are not scaled; DTLZ1, DTLZ5, DTLZ6
and DTLZ7 are, by the ideal and nadir points of their fronts. ZDT5 is missing: its variables are
bits.
"""

from __future__ import annotations

from collections.abc import Callable
from math import pi

import numpy as np

from holdfast import lookup
from holdfast.card import check
from holdfast.optimization.pareto import engineering
from holdfast.optimization.pareto.hypervolume import hypervolume
from holdfast.optimization.pareto.problem import REFERENCE, Floats, Problem

CURVE = 200_001  # points of a curve; its hypervolume is then exact to about 1e-5
BOX = REFERENCE**3
OCTANT = pi / 6  # of the unit ball
# DTLZ5, DTLZ6: the integral over f3 = z of (1.1 - sqrt(1 - z^2))^2 to 1, and 1.1^2 beyond
ARC = (REFERENCE**2 - 2 * REFERENCE * pi / 4 + 2 / 3) + (REFERENCE - 1) * REFERENCE**2
SCALES = {
    "dtlz1": (np.zeros(3), np.full(3, 0.5)),
    "dtlz5": (np.zeros(3), np.array([0.5**0.5, 0.5**0.5, 1.0])),
    "dtlz6": (np.zeros(3), np.array([0.5**0.5, 0.5**0.5, 1.0])),
    "dtlz7": (np.array([0.0, 0.0, 2.6140087]), np.array([0.8594009, 0.8594009, 6.0])),
}
DTLZ: dict[str, float] = {
    "dtlz1": BOX - 1 / 6,
    "dtlz2": BOX - OCTANT,
    "dtlz3": BOX - OCTANT,
    "dtlz4": BOX - OCTANT,
    "dtlz5": ARC,
    "dtlz6": ARC,
}
ENGINEERING: dict[str, Callable[[], Problem]] = {
    name: getattr(engineering, name)
    for name in ("re21", "re32", "re33", "re36", "re37", "re41", "re42")
}


def curve(f1_N: Floats, f2_N: Floats) -> float:
    """Hypervolume of a densely sampled curve, at 1.1 in both."""
    return hypervolume(np.stack([f1_N, f2_N], 1), np.full(2, REFERENCE))


def zdt_hypervolume(name: str) -> float:
    t = np.linspace(0.0, 1.0, CURVE)
    if name in ("zdt1", "zdt4"):
        return REFERENCE**2 - 1 + 2 / 3  # below the curve 1 - sqrt(f1) lies 1/3
    if name == "zdt2":
        return REFERENCE**2 - 2 / 3
    if name == "zdt3":
        return curve(t, 1 - np.sqrt(t) - t * np.sin(10 * pi * t))
    least = float((1 - np.exp(-4 * t) * np.sin(6 * pi * t) ** 6).min())  # of f1 in ZDT6
    below = (REFERENCE - 1) * (1 - least) + (1 - least**3) / 3  # 1.1 - f2, f2 = 1 - f1^2
    return below + (REFERENCE - 1) * REFERENCE


def dtlz7_hypervolume(points: int = 4001) -> float:
    """f3 = 6 - phi(f1) - phi(f2), phi(f) = f (1 + sin 3 pi f): what is not dominated at (f1, f2)
    is below the running maximum of phi in each.
    """
    (_, _, low3), (high1, _, high3) = SCALES["dtlz7"]
    edge = np.linspace(0.0, REFERENCE * high1, points)
    middle = (edge[:-1] + edge[1:]) / 2
    f = np.minimum(middle, 1.0)
    phi = np.maximum.accumulate(f * (1 + np.sin(3 * pi * f)))
    top = low3 + REFERENCE * (high3 - low3)
    room = np.maximum(top - (6 - phi[:, None] - phi[None, :]), 0.0)
    return float(room.mean() * REFERENCE**2 / (high3 - low3))


def from_pymoo(name: str, variables: int | None) -> Problem:
    from pymoo.problems import get_problem

    given = get_problem(name, **({} if variables is None else {"n_var": variables}))
    ideal, nadir = SCALES.get(name, (None, None))
    if name.startswith("zdt"):
        volume = zdt_hypervolume(name)
    else:
        volume = dtlz7_hypervolume() if name == "dtlz7" else DTLZ[name]
    low, high = (np.broadcast_to(b, given.n_var).astype(float) for b in (given.xl, given.xu))
    return Problem(name, low, high, given.n_obj, given.evaluate, ideal, nadir, volume, exact=True)


def vlmop2(variables: int = 6) -> Problem:
    """Two bumps at -+ 1 / sqrt(d) in [-2, 2]^d (Van Veldhuizen and Lamont 1999); the front is the
    segment between them: f = 1 - exp(-4 (t - 1)^2), 1 - exp(-4 t^2), with t in [0, 1].
    """
    at = variables**-0.5

    def function(x_ND: Floats) -> Floats:
        return np.stack(
            [1 - np.exp(-((x_ND - sign * at) ** 2).sum(1)) for sign in (1.0, -1.0)], axis=1
        )

    t = np.linspace(0.0, 1.0, CURVE)
    volume = curve(1 - np.exp(-4 * (t - 1) ** 2), 1 - np.exp(-4 * t**2))
    box = np.full(variables, 2.0)
    return Problem("vlmop2", -box, box, 2, function, hypervolume=volume, exact=True)


def f2(variables: int = 6) -> Problem:
    """ZDT1's front behind a curved set: x_i = x_1^(theta_i / 2), theta_i = 1 + 3 (i-2) / (d-2)
    (PSL-MOBO, Lin et al. 2022).
    """

    def function(x_ND: Floats) -> Floats:
        x1 = x_ND[:, :1]
        i = np.arange(2, variables + 1)
        y = (x_ND[:, 1:] - x1 ** ((1 + 3 * (i - 2) / (variables - 2)) / 2)) ** 2
        odd, even = 1 + y[:, i % 2 == 1].mean(1), 1 + y[:, i % 2 == 0].mean(1)
        x1 = x1[:, 0]
        return np.stack([odd * x1, even * (1 - np.sqrt(x1 / even))], axis=1)

    zero = np.zeros(variables)
    volume = zdt_hypervolume("zdt1")
    return Problem("f2", zero, zero + 1, 2, function, hypervolume=volume, exact=True)


ZDT = ("zdt1", "zdt2", "zdt3", "zdt4", "zdt6")
OWN: dict[str, Callable[[int], Problem]] = {"vlmop2": vlmop2, "f2": f2}
LEAST = {"zdt": 2, "dtlz": 3, "vlmop2": 1, "f2": 3}  # variables
LISTS = "holdfast optimize pareto problems"
NAMES = (*ZDT, *DTLZ, "dtlz7", *OWN, *ENGINEERING)


def named(name: str, variables: int | None = None) -> Problem:
    """A problem by its name, with its usual number of variables unless given.

    Raises:
        OptionError: an unknown name, too few variables, or a number for a design whose variables
            are fixed.
    """
    lookup.named(name, dict.fromkeys(NAMES), "problem", lists=LISTS)
    if name in ENGINEERING:
        problem = ENGINEERING[name]()
        own = problem.variables
        check(f"variables of {name}", variables, variables in (None, own), f"be {own}")
        return problem
    least = LEAST[name if name in OWN else name.rstrip("0123456789")]
    if variables is not None:
        check(
            f"variables of {name}",
            variables,
            lambda: int(variables) == variables >= least,
            f"be a whole number, at least {least}",
        )
    if name in OWN:
        return OWN[name](6 if variables is None else variables)
    return from_pymoo(name, variables)
