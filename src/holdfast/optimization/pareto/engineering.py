"""RE21 to RE42: engineering designs (Tanabe and Ishibuchi 2020, "An easy-to-use real-world
multi-objective problem suite", Applied Soft Computing 89, 106078). Where constraints are reported,
the last objective is their total violation.

The fronts of RE21 and RE36 are exact: at the optimum of RE21 x3 is at its lower bound (both
objectives grow with it), the rest minimizes sum c_i x_i w + d_i / x_i, that is
x_i = sqrt(d_i / (w c_i)) clipped to the box; RE36 has a best ratio for each largest gear, found by
listing all. The others' hypervolumes are of the authors' published approximations.
"""

from __future__ import annotations

import numpy as np

from holdfast.optimization.pareto.problem import REFERENCE, Floats, Problem

ROOT2 = np.sqrt(2.0)


def violation(*slack_N: Floats) -> Floats:
    """The total by which constraints slack >= 0 are missed."""
    return np.maximum(-np.stack(slack_N), 0.0).sum(0)


def four_bar_truss(x_ND: Floats) -> Floats:
    """RE21: volume and joint displacement; F = 10, E = 2e5, L = 200."""
    x1, x2, x3, x4 = x_ND.T
    volume = 200.0 * (2 * x1 + ROOT2 * x2 + np.sqrt(x3) + x4)
    displacement = 0.01 * (2 / x1 + 2 * ROOT2 / x2 - 2 * ROOT2 / x3 + 2 / x4)
    return np.stack([volume, displacement], 1)


def four_bar_front(points: int = 20_001) -> Floats:
    """The exact front, as points of one curve, from the least volume on."""
    cost_I = 200.0 * np.array([2.0, ROOT2, 1.0])
    bend_I = 0.01 * np.array([2.0, 2 * ROOT2, 2.0])
    low_I = np.array([1.0, ROOT2, 1.0])
    ratio_I = bend_I / cost_I
    weight_N = np.geomspace((ratio_I / low_I**2).max(), (ratio_I / 9.0).min(), points)
    x_NI = np.clip(np.sqrt(ratio_I / weight_N[:, None]), low_I, 3.0)
    return four_bar_truss(np.insert(x_NI, 2, ROOT2, axis=1))


def welded_beam(x_ND: Floats) -> Floats:
    """RE32: cost, end deflection, violation; P = 6000, L = 14, E = 30e6, G = 12e6."""
    x1, x2, x3, x4 = x_ND.T
    load, length, young, shear = 6000.0, 14.0, 30e6, 12e6
    cost = 1.10471 * x1**2 * x2 + 0.04811 * x3 * x4 * (14.0 + x2)
    deflection = 4 * load * length**3 / (young * x4 * x3**3)
    half2 = ((x1 + x3) / 2) ** 2
    radius = np.sqrt(x2**2 / 4 + half2)
    polar = 2 * ROOT2 * x1 * x2 * (x2**2 / 12 + half2)
    direct = load / (ROOT2 * x1 * x2)
    twist = load * (length + x2 / 2) * radius / polar
    tau = np.sqrt(direct**2 + direct * twist * x2 / radius + twist**2)
    sigma = 6 * load * length / (x4 * x3**2)
    buckling = (4.013 * young * x3 * x4**3 / 6 / length**2) * (
        1 - x3 / (2 * length) * np.sqrt(young / (4 * shear))
    )
    broken = violation(13600 - tau, 30000 - sigma, x4 - x1, buckling - load)
    return np.stack([cost, deflection, broken], 1)


def disc_brake(x_ND: Floats) -> Floats:
    """RE33: mass, stopping time, violation."""
    x1, x2, x3, x4 = x_ND.T
    square, cube = x2**2 - x1**2, x2**3 - x1**3
    mass = 4.9e-5 * square * (x4 - 1)
    stopping = 9.82e6 * square / (x3 * x4 * cube)
    broken = violation(
        x2 - x1 - 20,
        0.4 - x3 / (3.14 * square),
        1 - 2.22e-3 * x3 * cube / square**2,
        2.66e-2 * x3 * x4 * cube / square - 900,
    )
    return np.stack([mass, stopping, broken], 1)


def gear_train(x_ND: Floats) -> Floats:
    """RE36: distance to the wanted ratio, largest gear, violation. Gears have whole teeth."""
    x1, x2, x3, x4 = np.round(x_ND).T
    off = np.abs(6.931 - (x3 / x1) * (x4 / x2))
    return np.stack([off, np.round(x_ND).max(1), violation(0.5 - off / 6.931)], 1)


def gear_front() -> Floats:
    """The exact front: for each largest gear the best ratio, where it is better than below."""
    rows: list[tuple[float, float, float]] = []
    for most in range(12, 61):
        teeth = np.arange(12, most + 1)
        pair = np.unique(np.outer(teeth, teeth))
        off = float(np.abs(6.931 - pair[:, None] / pair[None, :]).min())
        if not rows or off < rows[-1][0] - 1e-12:
            rows.append((off, float(most), max(0.0, off / 6.931 - 0.5)))
    return np.array(rows)


def rocket_injector(x_ND: Floats) -> Floats:
    """RE37: temperatures and combustion length, as published response surfaces."""
    a, h, o, p = x_ND.T
    face = 0.692 + 0.477 * a - 0.687 * h - 0.080 * o - 0.0650 * p - 0.167 * a * a
    face += -0.0129 * h * a + 0.0796 * h * h - 0.0634 * o * a - 0.0257 * o * h + 0.0877 * o * o
    face += -0.0521 * p * a + 0.00156 * p * h + 0.00198 * p * o + 0.0184 * p * p
    length = 0.153 - 0.322 * a + 0.396 * h + 0.424 * o + 0.0226 * p + 0.175 * a * a
    length += 0.0185 * h * a - 0.0701 * h * h - 0.251 * o * a + 0.179 * o * h + 0.0150 * o * o
    length += 0.0134 * p * a + 0.0296 * p * h + 0.0752 * p * o + 0.0192 * p * p
    tip = 0.370 - 0.205 * a + 0.0307 * h + 0.108 * o + 1.019 * p - 0.135 * a * a
    tip += 0.0141 * h * a + 0.0998 * h * h + 0.208 * o * a - 0.0301 * o * h - 0.226 * o * o
    tip += 0.353 * p * a - 0.0497 * p * o - 0.423 * p * p + 0.202 * h * a * a - 0.281 * o * a * a
    tip += -0.342 * h * h * a - 0.245 * h * h * o + 0.281 * o * o * h - 0.184 * p * p * a
    tip += -0.281 * h * a * o
    return np.stack([face, length, tip], 1)


def side_impact(x_ND: Floats) -> Floats:
    """RE41: weight, pubic force, mean velocity of two points, violation."""
    x1, x2, x3, x4, x5, x6, x7 = x_ND.T
    weight = 1.98 + 4.9 * x1 + 6.67 * x2 + 6.98 * x3 + 4.01 * x4 + 1.78 * x5 + 1e-5 * x6 + 2.73 * x7
    force = 4.72 - 0.5 * x4 - 0.19 * x2 * x3
    pillar = 10.58 - 0.674 * x1 * x2 - 0.67275 * x2
    panel = 16.45 - 0.489 * x3 * x7 - 0.843 * x5 * x6
    abdomen = 1.16 - 0.3717 * x2 * x4 - 0.0092928 * x3
    upper = 0.261 - 0.0159 * x1 * x2 - 0.06486 * x1 - 0.019 * x2 * x7 + 0.0144 * x3 * x5
    upper += 0.0154464 * x6
    middle = 0.214 + 0.00817 * x5 - 0.045195 * x1 - 0.0135168 * x1 + 0.03099 * x2 * x6
    middle += -0.018 * x2 * x7 + 0.007176 * x3 + 0.023232 * x3 - 0.00364 * x5 * x6 - 0.018 * x2**2
    lower = 0.74 - 0.61 * x2 - 0.031296 * x3 - 0.031872 * x7 + 0.227 * x2**2
    rib1 = 28.98 + 3.818 * x3 - 4.2 * x1 * x2 + 1.27296 * x6 - 2.68065 * x7
    rib2 = 33.86 + 2.95 * x3 - 5.057 * x1 * x2 - 3.795 * x2 - 3.4431 * x7 + 1.45728
    rib3 = 46.36 - 9.9 * x2 - 4.4505 * x1
    broken = violation(
        1 - abdomen,
        0.32 - upper,
        0.32 - middle,
        0.32 - lower,
        32 - rib1,
        32 - rib2,
        32 - rib3,
        4 - force,
        9.9 - pillar,
        15.7 - panel,
    )
    return np.stack([weight, force, (pillar + panel) / 2, broken], 1)


def conceptual_ship(x_ND: Floats) -> Floats:
    """RE42: transport cost, light ship weight, minus the annual cargo, violation. With the
    deadweight limit of 500,000 t to which the authors corrected it in 2021 (it was 50,000).
    """
    length, beam, depth, draft, speed, block = x_ND.T
    displacement = 1.025 * length * beam * draft * block
    froude = 0.5144 * speed / np.sqrt(9.8065 * length)
    a = 4977.06 * block**2 - 8105.61 * block + 4456.51
    b = -10847.2 * block**2 + 12817.0 * block - 6960.32
    power = displacement ** (2 / 3) * speed**3 / (a + b * froude)
    outfit = length**0.8 * beam**0.6 * depth**0.3 * block**0.1
    steel = 0.034 * length**1.7 * beam**0.7 * depth**0.4 * block**0.5
    light = steel + outfit + 0.17 * power**0.9
    capital = 0.2 * 1.3 * (2000 * steel**0.85 + 3500 * outfit + 2400 * power**0.8)
    dead = displacement - light
    sea_days = 5000.0 / 24.0 * speed
    daily = 0.19 * power * 24.0 / 1000.0 + 0.2
    cargo = dead - daily * (sea_days + 5.0) - 2.0 * dead**0.5
    trips = 350.0 / (sea_days + 2.0 * (cargo / 8000.0 + 0.5))
    voyages = (1.05 * daily * sea_days * 100.0 + 6.3 * dead**0.8) * trips
    annual_cargo = cargo * trips
    annual_cost = capital + 40000.0 * dead**0.3 + voyages
    metacenter = 0.53 * draft + (0.085 * block - 0.002) * beam**2 / (draft * block)
    broken = violation(
        length / beam - 6,
        15 - length / depth,
        19 - length / draft,
        0.45 * dead**0.31 - draft,
        0.7 * depth + 0.7 - draft,
        500_000 - dead,
        dead - 3000,
        0.32 - froude,
        metacenter - (1.0 + 0.52 * depth) - 0.07 * beam,
    )
    return np.stack([annual_cost / annual_cargo, light, -annual_cargo, broken], 1)


def re21() -> Problem:
    front = four_bar_front()
    ideal, nadir = front.min(0), front.max(0)
    y = (front - ideal) / (nadir - ideal)
    below = np.trapezoid(REFERENCE - y[:, 1], y[:, 0])  # what the first point leaves is beyond 1
    return Problem(
        "re21",
        np.array([1.0, ROOT2, ROOT2, 1.0]),
        np.full(4, 3.0),
        2,
        four_bar_truss,
        ideal,
        nadir,
        float(below + (REFERENCE - 1) * REFERENCE),
        exact=True,
    )


def re32() -> Problem:
    return Problem(
        "re32",
        np.array([0.125, 0.1, 0.1, 0.125]),
        np.array([5.0, 10.0, 10.0, 5.0]),
        3,
        welded_beam,
        np.array([0.010205496875, 0.00043904, 0.0]),
        np.array([37.7831517014, 17561.6, 425062976.628]),
        1.3306416,
    )


def re33() -> Problem:
    return Problem(
        "re33",
        np.array([55.0, 75.0, 1000.0, 11.0]),
        np.array([80.0, 110.0, 3000.0, 20.0]),
        3,
        disc_brake,
        np.array([-0.721525, 1.13907203907, 0.0]),
        np.array([5.3067, 3.12833430979, 25.0]),
        1.0143137,
    )


def re36() -> Problem:
    return Problem(
        "re36",
        np.full(4, 12.0),
        np.full(4, 60.0),
        3,
        gear_train,
        np.array([7.89473684213e-05, 12.0, 0.0]),
        np.array([5.931, 56.0, 0.355720675227]),
        1.0059625,
        exact=True,
    )


def re37() -> Problem:
    return Problem(
        "re37",
        np.zeros(4),
        np.ones(4),
        3,
        rocket_injector,
        np.array([0.00889341391106, 0.00488, -0.431499999825]),
        np.array([0.98949120096, 0.956587924661, 0.987530948586]),
        0.8471959,
    )


def re41() -> Problem:
    return Problem(
        "re41",
        np.array([0.5, 0.45, 0.5, 0.5, 0.875, 0.4, 0.4]),
        np.array([1.5, 1.35, 1.5, 1.5, 2.625, 1.2, 1.2]),
        4,
        side_impact,
        np.array([15.576004, 3.58525, 10.61064375, 0.0]),
        np.array([39.2905121788, 4.42725, 13.09138125, 9.49401929991]),
        0.8213477,
    )


def re42() -> Problem:
    return Problem(
        "re42",
        np.array([150.0, 20.0, 13.0, 10.0, 14.0, 0.63]),
        np.array([274.32, 32.31, 25.0, 11.71, 18.0, 0.75]),
        4,
        conceptual_ship,
        np.array([-2756.2590400638524, 3962.557843228888, 1947.880856925791, 0.0]),
        np.array([-1010.5229595219643, 13827.138456300128, 2611.9668107424536, 12.437669929732023]),
        0.4108277,
    )
