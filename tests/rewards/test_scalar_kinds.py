"""Kinds that differ in what a margin costs, against numbers worked by hand and against each
other.
"""

from __future__ import annotations

import math

import pytest
import torch

from holdfast.errors import NeedError, OptionError
from holdfast.inputs import confidence, margin
from holdfast.rewards import get
from holdfast.rewards.aldr import pair_temperature
from holdfast.rewards.items import fit_items
from holdfast.types import Pairs, Scored

MARGINS = [2.0, 0.5, 0.0, -0.5, -2.0]


def costs(name: str, margins=MARGINS, columns=None, **settings) -> list[float]:
    m_N = torch.tensor(margins, dtype=torch.float64)[:, None]
    zero_N = torch.zeros_like(m_N)
    ones = torch.ones_like(m_N)
    given = {key: torch.tensor(value) for key, value in (columns or {}).items()}
    pairs = Pairs(Scored(m_N, ones), Scored(zero_N, ones), given)
    return get(name).objective(pairs, **settings).tolist()


def by_definition(margins, temperature: float, c: float) -> list[float]:
    """LDR's own definition: the largest sum p d - lambda KL over a grid of distributions."""
    p = torch.linspace(1e-6, 1 - 1e-6, 200_001, dtype=torch.float64)  # of the other answer
    kl = p * (2 * p).log() + (1 - p) * (2 * (1 - p)).log()
    return [float((p * (c - m) - temperature * kl).max()) for m in margins]


def test_margins_by_hand():
    """m = 2 against margins 0, 1, 3: softplus(-2), softplus(-1), softplus(1)."""
    found = costs("margin_bradley_terry", [2.0] * 3, {margin: [0.0, 1.0, 3.0]})
    assert found == pytest.approx([0.126928, 0.313262, 1.313262], abs=1e-6)
    assert costs("margin_bradley_terry", [2.0], {margin: [3.0]}, margin_scale=1 / 3) == (
        pytest.approx([0.313262], abs=1e-6)
    )
    with pytest.raises(NeedError, match="margin"):
        costs("margin_bradley_terry")


def test_smoothing_is_least_at_its_own_log_odds():
    """softplus(-m) + 0.1 m: at m = 2 0.326928, at -2 1.926928; least at log 9."""
    assert costs("smoothed_bradley_terry", [2.0, -2.0]) == pytest.approx(
        [0.326928, 1.926928], abs=1e-6
    )
    around = costs("smoothed_bradley_terry", [math.log(9) + d for d in (-0.01, 0.0, 0.01)])
    assert around[1] < min(around[0], around[2])
    sure = costs("smoothed_bradley_terry", [2.0], {confidence: [0.75]}, label_smoothing=0.1)
    assert sure == pytest.approx(costs("bradley_terry", [2.0], {confidence: [0.7]}))


def test_ldr_is_its_definition_and_its_limits():
    """Two classes at lambda 1, c = 0 and m = 1: 0.313262 - log 2 = -0.379885."""
    assert costs("ldr", [1.0], temperature=1.0, c=0.0) == pytest.approx([-0.379885], abs=1e-6)
    for temperature, c in ((1.0, 0.1), (0.3, 1.0), (5.0, 0.0)):
        assert costs("ldr", temperature=temperature, c=c) == pytest.approx(
            by_definition(MARGINS, temperature, c), abs=1e-6
        )
    assert costs("ldr", temperature=1e-4, c=1.0) == pytest.approx(costs("hinge", c=1.0), abs=1e-3)
    flat = costs("ldr", temperature=1e5, c=0.1)
    assert flat == pytest.approx([(0.1 - m) / 2 for m in MARGINS], abs=1e-4)


def test_aldr_solves_its_own_maximum():
    """The fixed point is the best of a grid of temperatures, lambda of one-hot and uniform
    predictions is lambda_0 / 2 and lambda_0, and a large alpha gives LDR.
    """
    m_N = torch.tensor([1.0, 0.0, 80.0], dtype=torch.float64)
    found_N = pair_temperature(m_N, 1.0, 2.0)
    assert found_N[1:].tolist() == pytest.approx([1.0, 0.5], abs=1e-9)
    grid = torch.linspace(0.5, 1.0, 50_001, dtype=torch.float64)
    value = grid * (torch.nn.functional.softplus(-1 / grid) - math.log(2))
    best = (value - math.log(2) * (grid - 1) ** 2).argmax()
    assert float(found_N[0]) == pytest.approx(float(grid[best]), abs=1e-4)
    assert costs("aldr", [1.0], c=0.0) == pytest.approx(
        [float((value - math.log(2) * (grid - 1) ** 2)[best])], abs=1e-8
    )
    assert costs("aldr", alpha=1e9) == pytest.approx(costs("ldr"), abs=1e-6)


def test_the_gradient_of_aldr_is_that_of_ldr_at_the_temperature_of_the_pair():
    """lambda = 0.904624 at m = 1, lambda_0 = 1, alpha = 2, whatever c is."""
    slopes = {}
    for name, settings in (("aldr", {}), ("ldr", {"temperature": 0.904624})):
        m_N = torch.tensor([[1.0]], dtype=torch.float64, requires_grad=True)
        pairs = Pairs(Scored(m_N, torch.ones(1, 1)), Scored(0 * m_N.detach(), torch.ones(1, 1)))
        get(name).objective(pairs, c=0.3, **settings).sum().backward()
        slopes[name] = float(m_N.grad)
    assert slopes["aldr"] == pytest.approx(slopes["ldr"], abs=1e-5)


def test_bounded_costs_by_hand():
    """sigma(2) = 0.880797, sigma(-2) = 0.119203."""
    p, q = 0.8807970780, 0.1192029220
    assert costs("mae", [2.0, -2.0]) == pytest.approx([2 * q, 2 * p])
    assert costs("gce", [2.0], q=0.7) == pytest.approx([(1 - p**0.7) / 0.7])
    assert costs("gce", q=1.0) == pytest.approx([x / 2 for x in costs("mae")])
    assert costs("gce", q=1e-6) == pytest.approx(costs("bradley_terry"), abs=1e-5)
    assert costs("sce", [2.0]) == pytest.approx([0.1 * 0.126928 + 4 * q], abs=1e-6)
    nce = 0.126928 / (0.126928 + 2.126928)
    assert costs("active_passive", [2.0]) == pytest.approx([nce + q], abs=1e-6)
    entropy = lambda *xs: -sum(x * math.log(x) for x in xs)  # noqa: E731
    made = (entropy((1 + p) / 2, q / 2) - entropy(p, q) / 2) / (math.log(2) / 2)
    assert costs("jensen_shannon", [2.0]) == pytest.approx([made])
    assert costs("jensen_shannon", label_weight=1e-6) == (
        pytest.approx(costs("bradley_terry"), abs=1e-4)
    )
    assert costs("hinge", [2.0, 0.5, -2.0]) == [0.0, 0.5, 3.0]


@pytest.mark.parametrize(("name", "total"), [("mae", 2.0), ("active_passive", 2.0)])
def test_symmetric_costs_do_not_see_uniform_noise(name: str, total: float):
    """l(m) + l(-m) is one number; log loss and GCE are not so."""
    both = [a + b for a, b in zip(costs(name), costs(name, [-m for m in MARGINS]), strict=True)]
    assert both == pytest.approx([total] * 5)
    other = [a + b for a, b in zip(costs("gce"), costs("gce", [-m for m in MARGINS]), strict=True)]
    assert max(other) - min(other) > 0.05


@pytest.mark.parametrize("name", ["ldr", "aldr", "mae", "gce", "sce", "jensen_shannon", "hinge"])
def test_a_soft_label_mixes_the_costs_of_both(name: str):
    soft = costs(name, [1.5], {confidence: [0.8]})
    assert soft == pytest.approx([0.8 * costs(name, [1.5])[0] + 0.2 * costs(name, [-1.5])[0]])


def test_the_margin_of_a_tempered_kind_is_read_at_its_temperature():
    first, second = torch.tensor([[3.0]]), torch.tensor([[1.0]])
    assert get("ldr").score(first, second, None, temperature=0.5, c=0.1).tolist() == [4.0]


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("smoothed_bradley_terry", {"label_smoothing": 0.5}),
        ("ldr", {"temperature": 0.0}),
        ("ldr", {"c": -0.1}),
        ("aldr", {"alpha": 1.0}),
        ("gce", {"q": 0.0}),
        ("jensen_shannon", {"label_weight": 1.0}),
        ("hinge", {"c": math.nan}),
    ],
)
def test_settings_out_of_range_are_refused(name: str, settings: dict[str, float]):
    with pytest.raises(OptionError):
        costs(name, **settings)


def test_items_are_fitted_by_likelihood_alone():
    with pytest.raises(OptionError, match="bradley_terry"):
        fit_items(["a"], ["b"], kind="ldr")
