"""Problems by values worked out by hand, their true fronts, and what bad input is answered."""

from __future__ import annotations

import numpy as np
import pytest

from holdfast.errors import DataError, OptionError, RunError
from holdfast.optimization.pareto import NAMES, Problem, named, nondominated, scaled_hypervolume
from holdfast.optimization.pareto.engineering import four_bar_front, four_bar_truss, gear_front

ROOT2 = 2**0.5


@pytest.mark.parametrize(
    ("name", "variables", "x", "expected"),
    [
        ("zdt1", 3, [0.25, 0.0, 0.0], [0.25, 0.5]),  # 1 - sqrt(1/4)
        ("zdt1", 3, [0.25, 1.0, 1.0], [0.25, 10 * (1 - 0.025**0.5)]),  # g = 10
        ("zdt2", 3, [0.5, 0.0, 0.0], [0.5, 0.75]),
        ("zdt3", 3, [0.25, 0.0, 0.0], [0.25, 0.5 - 0.25]),  # sin(2.5 pi) = 1
        ("zdt4", 3, [0.25, 0.0, 0.0], [0.25, 0.5]),
        ("zdt6", 3, [0.0, 0.0, 0.0], [1.0, 0.0]),
        ("dtlz1", 7, [0.5] * 7, [0.125, 0.125, 0.25]),
        ("dtlz2", 10, [0.0] + [0.5] * 9, [ROOT2 / 2, ROOT2 / 2, 0.0]),
        ("dtlz7", 10, [0.0] * 10, [0.0, 0.0, 6.0]),
        ("vlmop2", 4, [0.5] * 4, [0.0, 1 - np.exp(-4)]),  # at one bump; 2 away from the other
        ("f2", 6, [0.25, 0.5, 0.25 ** (7 / 8), 0.25**1.25, 0.25**1.625, 0.0625], [0.25, 0.5]),
        ("re21", None, [1, ROOT2, ROOT2, 1], [200 * (5 + 2**0.25), 0.04]),
        ("re21", None, [2, 2, 2, 2], [200 * (6 + 3 * ROOT2), 0.02]),
        # square 2800, cube 296000: mass 4.9e-5 * 28000
        ("re33", None, [60, 80, 1000, 11], [1.372, 9.82e6 * 2800 / (11e3 * 296e3)]),
        ("re36", None, [12, 12, 24, 36], [0.931, 36, 0.0]),  # ratio 6
        ("re36", None, [12.3, 12.0, 12.4, 12], [5.931, 12, 5.931 / 6.931 - 0.5]),
        ("re37", None, [0, 0, 0, 0], [0.692, 0.153, 0.370]),
        ("re37", None, [1, 0, 0, 0], [1.002, 0.006, 0.030]),
    ],
)
def test_values_by_hand(name, variables, x, expected):
    found = named(name, variables).evaluate([x])[0]
    assert found[: len(expected)] == pytest.approx(expected, abs=1e-12, rel=1e-12)


def test_the_welded_beam_by_hand():
    """x = 1 everywhere but x4 = 2: cost 1.10471 + 0.09622 * 15, deflection 4 * 6000 * 2744 / 60e6;
    radius^2 = 1/4 + 1, polar = 2 sqrt2 (1/12 + 1), the load twists by 6000 * 14.5 * radius / polar.
    """
    found = named("re32").evaluate([[1.0, 1.0, 1.0, 2.0]])[0]
    assert found[:2] == pytest.approx([1.10471 + 0.09622 * 15, 1.0976])
    radius, polar = 1.25**0.5, 2 * ROOT2 * 13 / 12
    direct, twist = 6000 / ROOT2, 87000 * radius / polar
    tau = (direct**2 + direct * twist / radius + twist**2) ** 0.5
    buckling = 4.013 * 30e6 * (8 / 6) / 196 * (1 - (30 / 48) ** 0.5 / 28)
    assert buckling > 6000
    broken = (tau - 13600) + (6 * 6000 * 14 / 2 - 30000)  # x4 - x1 = 1 is met
    assert found[2] == pytest.approx(broken)


def test_the_side_impact_by_hand():
    """Ones: the weight is the sum of its coefficients; only the force (4.03, above 4) is broken
    beside what the response surfaces give.
    """
    found = named("re41").evaluate([[1, 1, 1, 1, 1, 1, 1]])[0]
    assert found[0] == pytest.approx(1.98 + 4.9 + 6.67 + 6.98 + 4.01 + 1.78 + 1e-5 + 2.73)
    assert found[1] == pytest.approx(4.03)
    assert found[2] == pytest.approx((9.23325 + 15.118) / 2)
    # lower 0.293832; upper 0.1918864; middle 0.1516872; ribs 27.19025, 27.8149..., 32.0095
    rib2 = 33.86 + 2.95 - 5.057 - 3.795 - 3.4431 + 1.45728
    assert rib2 < 32
    assert found[3] == pytest.approx((32.0095 - 32) + 0.03)


@pytest.mark.parametrize(
    "x", [[200.0, 25.0, 15.0, 10.0, 14.0, 0.7], [274.0, 32.0, 25.0, 11.7, 14.0, 0.75]]
)
def test_the_ship_by_hand(x):
    """The light ship's weight and the violation. The second ship carries 50,000 to 500,000 t,
    within the deadweight limit.
    """
    length, beam, depth, draft, speed, block = x
    displacement = 1.025 * length * beam * draft * block
    froude = 0.5144 * speed / (9.8065 * length) ** 0.5
    a = 4977.06 * block**2 - 8105.61 * block + 4456.51
    b = -10847.2 * block**2 + 12817 * block - 6960.32
    power = displacement ** (2 / 3) * speed**3 / (a + b * froude)
    light = 0.034 * length**1.7 * beam**0.7 * depth**0.4 * block**0.5
    light += length**0.8 * beam**0.6 * depth**0.3 * block**0.1 + 0.17 * power**0.9
    dead = displacement - light
    assert (dead > 50_000) == (length > 250)
    stable = 0.53 * draft + (0.085 * block - 0.002) * beam**2 / (draft * block)
    broken = max(0, length / draft - 19) + max(0, draft - 0.45 * dead**0.31)
    broken += max(0, draft - 0.7 * depth - 0.7)
    broken += max(0, 1 + 0.52 * depth + 0.07 * beam - stable)
    assert length / beam > 6 and length / depth < 15 and froude < 0.32  # the limits that are met
    found = named("re42").evaluate([x])[0]
    assert found[1] == pytest.approx(light)
    assert found[3] == pytest.approx(broken)


@pytest.mark.parametrize("name", NAMES)
def test_no_random_point_is_beyond_the_true_front(name):
    """Of exact fronts; published ones are approximations."""
    problem = named(name)
    rng = np.random.default_rng(0)
    y = problem.evaluate(problem.from_unit(rng.random((60, problem.variables))))
    assert y.shape == (60, problem.objectives)
    assert scaled_hypervolume(problem, y) < problem.hypervolume


@pytest.mark.parametrize("name", ["zdt1", "zdt2", "zdt3", "zdt4", "zdt6"])
def test_hypervolumes_of_curves_against_evaluated_optima(name):
    problem = named(name, 4)
    x = np.zeros((20_001, 4))
    x[:, 0] = np.linspace(0, 1, len(x))
    found = scaled_hypervolume(problem, problem.evaluate(x))
    assert problem.hypervolume - 3e-4 < found <= problem.hypervolume


@pytest.mark.parametrize(
    ("name", "rest"),
    [("dtlz1", 0.5), ("dtlz2", 0.5), ("dtlz4", 0.5), ("dtlz5", 0.5), ("dtlz7", 0.0)],
)
def test_hypervolumes_of_surfaces_against_evaluated_optima(name, rest):
    """A grid of the true set, with the front's staircase bounding it from below; the inner and the
    true volume differ by the grid's spacing.
    """
    problem = named(name)
    side = np.linspace(0, 1, 25) ** (0.01 if name == "dtlz4" else 1.0)
    a, b = np.meshgrid(side, side)
    x = np.full((a.size, problem.variables), rest)
    x[:, 0], x[:, 1] = a.ravel(), b.ravel()
    found = scaled_hypervolume(problem, problem.evaluate(x))
    assert problem.hypervolume - 0.06 < found < problem.hypervolume


def test_the_front_of_the_truss_is_optimal_and_complete():
    """No random design dominates it, it has the box's extremes, and its points are designs."""
    front = four_bar_front(2001)
    problem = named("re21")
    assert front[0] == pytest.approx([200 * (5 + 2**0.25), 0.04])
    assert front[-1, 1] == pytest.approx(0.01 * (4 / 3 + 2 * ROOT2 / 3 - 2))
    assert nondominated(front).sum() > 1990  # clipped ends repeat
    rng = np.random.default_rng(1)
    y = four_bar_truss(problem.from_unit(rng.random((20_000, 4))))
    best = np.interp(y[:, 0], front[:, 0], front[:, 1])
    inside = (y[:, 0] >= front[0, 0]) & (y[:, 0] <= front[-1, 0])
    assert inside.sum() > 1000
    assert (y[inside, 1] >= best[inside] - 1e-7).all()


def test_the_front_of_the_gears_is_enumerated():
    """Against all 12^4 trains of 12 to 23 teeth, and the published volume from its 28 points."""
    front, problem = gear_front(), named("re36")
    assert len(front) == 28
    assert scaled_hypervolume(problem, front) == pytest.approx(problem.hypervolume, abs=1e-7)
    teeth = np.arange(12, 24)
    grid = np.stack(np.meshgrid(*[teeth] * 4), -1).reshape(-1, 4).astype(float)
    y = problem.evaluate(grid)
    for largest in (12, 17, 23):
        best = y[y[:, 1] <= largest, 0].min()
        assert front[front[:, 1] <= largest, 0].min() == pytest.approx(best)


def box(function, low=(0.0, 0.0), high=(1.0, 1.0), **more):
    return Problem("mine", np.array(low), np.array(high), 2, function, **more)


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        ((0.0, 2.0), (1.0, 1.0), r"infeasible: low_D\[1\] is 2, not below high_D\[1\], 1"),
        ((0.0, 1.0), (1.0, 1.0), "infeasible"),
        ((0.0, 0.0), (1.0, np.inf), "finite lower and upper bound"),
        ((0.0, np.nan), (1.0, 1.0), "low_D"),
        ((0.0,), (1.0, 1.0), "high_D has shape"),
        ((), (), "no variable"),
    ],
)
def test_bounds_that_are_none(low, high, words):
    with pytest.raises(DataError, match=words):
        box(lambda x: x, low, high)


def test_objectives_that_cannot_be_used():
    def raises(x):
        raise ZeroDivisionError("by zero")

    x = [[0.25, 0.5], [0.5, 0.5]]
    for function, words in (
        (raises, r"raised ZeroDivisionError: by zero, at x = .*0\.25"),
        (lambda x: np.where(x == 0.25, np.nan, x), r"objective 0 is nan at x = \[0\.25, 0\.5\]"),
        (lambda x: np.where(x == 0.5, -np.inf, x), r"objective 1 is -inf"),
        (lambda x: x[:, :1], r"shape \(2, 1\), for 2 rows of x and 2 objectives"),
        (lambda x: x[:1], r"shape \(1, 2\), for 2 rows"),
        (lambda x: "text", "array of real numbers"),
        (lambda x: None, "array of real numbers|shape"),
    ):
        with pytest.raises(RunError, match=words):
            box(function).evaluate(x)


def test_a_function_cannot_change_the_points_it_is_given():
    def function(x):
        x += 100
        return x

    x = np.array([[0.25, 0.5]])
    box(function).evaluate(x)
    assert x.tolist() == [[0.25, 0.5]]


def test_points_outside_the_box_and_names_that_are_none():
    with pytest.raises(DataError, match=r"x\[0, 1\] is 1.5, outside \[0, 1\]"):
        box(lambda x: x).evaluate([[0.0, 1.5]])
    with pytest.raises(OptionError, match="did you mean zdt1"):
        named("zdt11")
    with pytest.raises(OptionError, match="be 4"):
        named("re21", 5)
    with pytest.raises(OptionError, match="at least 2"):
        named("zdt1", 1)
    with pytest.raises(OptionError, match="at least 2"):
        Problem("mine", np.zeros(2), np.ones(2), 1, lambda x: x)
    with pytest.raises(DataError, match=r"ideal_M\[1\] is 1, not below"):
        box(lambda x: x, ideal_M=np.array([0.0, 1.0]))
