"""The Stein step by numbers, its limits, and the surrogate's gradients."""

from __future__ import annotations

from math import log

import numpy as np
import pytest
import torch

from holdfast.errors import OptionError
from holdfast.optimization.pareto.set_model import (
    PlainStep,
    SetLearning,
    SteinStep,
    greedy,
    network,
    preferences,
    product,
    quotient,
)
from holdfast.optimization.pareto.stein import (
    attraction,
    global_kernel,
    identity_kernel,
    local_kernel,
    unit_columns,
)
from holdfast.optimization.pareto.surrogate import fit

V = torch.tensor([[0.0, 1.0], [1.0, 0.0], [0.5, 0.5]], dtype=torch.float64)


def test_kernels_by_hand():
    """Squared distances 2, 1/2, 1/2, their median with the diagonal 1/2: h = 0.25 / log 3, so K_13
    is exp(-2 log 3) = 1/9. By objective 1, 1/4, 1/4: h = 1/16 / log 3, K_12 = 3^-16, K_13 = 3^-4.
    """
    k = global_kernel(V)
    assert k[0, 1].item() == pytest.approx(1.524158e-4, rel=1e-6)
    assert k[0, 2].item() == pytest.approx(1 / 9)
    k = local_kernel(V)
    assert k[0, 1].item() == pytest.approx(3.0**-16)
    assert k[0, 2].item() == pytest.approx(3.0**-4)
    assert torch.diagonal(k).tolist() == [1.0, 1.0, 1.0]


def test_the_local_kernel_takes_the_objective_of_its_column():
    """Of j = 0 the largest objective is the second, of j = 1 the first; a slow loop agrees."""
    v = torch.tensor([[0.0, 2.0], [3.0, 1.0], [1.0, 7.0], [2.0, 2.5]], dtype=torch.float64)
    k = local_kernel(v)
    for i in range(4):
        for j in range(4):
            m = int(v[j].argmax())
            squared = (v[:, None, m] - v[None, :, m]).square()
            h = float(squared.median()) ** 2 / log(4)
            assert k[i, j].item() == pytest.approx(np.exp(-float(squared[i, j]) / h))
    assert not torch.allclose(k, k.T)


def test_limits_of_the_direction():
    g = torch.randn(4, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    v = torch.randn(4, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    assert torch.allclose(attraction(identity_kernel(v), g), g.mean(0))
    for kernel in (global_kernel, local_kernel):
        same = torch.ones(4, 2, dtype=torch.float64, requires_grad=True)
        k = kernel(same)
        assert torch.equal(k, torch.ones_like(k))
        assert torch.allclose(attraction(k, g), g.sum(0))
        assert torch.autograd.grad(k.sum(), same)[0].abs().max() == 0.0
    unit = unit_columns(torch.cat([g, torch.zeros_like(g)], 1))
    assert torch.allclose(unit[:, :6].norm(dim=0), torch.ones(6, dtype=torch.float64))
    assert unit[:, 6:].abs().max() == 0.0


def test_scalarizations_by_hand():
    r, v = torch.tensor([[0.3, 0.7]]), torch.tensor([[0.2, 0.6]])
    z = torch.tensor([-0.1, -0.1])
    assert product(r, v, z).item() == pytest.approx(0.49)
    assert quotient(r, v, z).item() == pytest.approx(1.0 + 0.008)


@pytest.mark.parametrize("alpha", [0.0, 0.5])
def test_the_stein_step_against_one_backward_pass_a_preference(alpha):
    """The whole direction from autograd alone, preference by preference."""
    torch.manual_seed(0)
    net = network(2, 3, width=7)
    r = preferences(5, 2, torch.Generator().manual_seed(2))
    mix = torch.randn(3, 2, dtype=torch.float64)
    z = torch.full((2,), -3.0, dtype=torch.float64)

    def v(x):
        return torch.sin(3 * x) @ mix

    rows = []
    for n in range(len(r)):
        cost = product(r[n : n + 1], v(net(r[n : n + 1])), z).sum()
        rows.append(torch.cat([p.flatten() for p in torch.autograd.grad(cost, net.parameters())]))
    kernel = global_kernel(v(net(r)))
    repel = torch.autograd.grad(kernel.sum(), net.parameters())
    g = torch.stack(rows)
    g = g / g.norm(dim=0).clamp_min(1e-300)
    expected = kernel.detach().sum(0) @ g / 5
    expected = expected + alpha / 5 * torch.cat([p.flatten() for p in repel])

    x = net(r).detach().requires_grad_()
    slope = torch.autograd.grad(product(r, v(x), z).sum(), x)[0]
    SteinStep(global_kernel, alpha).set_gradients(net, r, slope, v)
    found = torch.cat([p.grad.flatten() for p in net.parameters()])
    assert torch.allclose(found, expected, atol=1e-12)


def test_the_repulsion_moves_objectives_apart_and_dies_where_they_are_close():
    """The bandwidth falls with the fourth power of the distances and they with the second: at a
    hundredth of the distance nothing repels, at distances near 1 the sum of kernels falls.
    """
    torch.manual_seed(0)
    net = network(2, 2, width=16)
    r = preferences(6, 2, torch.Generator().manual_seed(0))
    size = 1.0 / torch.pdist(net(r)).detach().median().item()

    def kernels(of):
        net.zero_grad()
        SteinStep(global_kernel, 1.0).set_gradients(net, r, torch.zeros(6, 2).double(), of)
        return global_kernel(of(net(r))).sum().item()

    def scaled(factor):
        return lambda x: factor * size * x

    before = kernels(scaled(1.0))
    with torch.no_grad():
        for p in net.parameters():
            p -= 1e-6 * p.grad
    assert kernels(scaled(1.0)) < before
    kernels(scaled(0.01))
    assert max(p.grad.abs().max().item() for p in net.parameters()) == 0.0


def test_the_plain_step_has_unit_gradients_in_x():
    net = network(2, 3, width=5)
    r = preferences(4, 2, torch.Generator().manual_seed(0))
    slope = torch.randn(4, 3, dtype=torch.float64) * torch.tensor([[1e3], [1.0], [1e-3], [1.0]])
    PlainStep().set_gradients(net, r, slope, lambda x: x)
    expected = torch.autograd.grad(
        (net(r) * slope / slope.norm(dim=1, keepdim=True)).sum(), net.parameters()
    )
    for parameter, wanted in zip(net.parameters(), expected, strict=True):
        assert torch.allclose(parameter.grad, wanted)


def test_preferences_are_off_the_edges_of_the_simplex():
    r = preferences(4000, 3, torch.Generator().manual_seed(0))
    assert r.min() >= 1e-4
    assert torch.allclose(r.sum(1), torch.full((4000,), 1 + 3e-4, dtype=torch.float64))
    assert r.mean(0).tolist() == pytest.approx([1 / 3] * 3, abs=0.015)
    assert (r[:, 0] > 0.5).double().mean().item() == pytest.approx(0.25, abs=0.03)  # (1 - 1/2)^2


def test_the_surrogate_is_a_gaussian_process():
    """It interpolates smooth objectives, is surer there than away, and its bound's gradient is that
    of finite differences.
    """
    rng = np.random.default_rng(0)
    x = rng.random((25, 2))
    y = np.stack([x[:, 0], np.sin(4 * x[:, 0]) + x[:, 1] ** 2], 1)
    surrogate = fit(x, y)
    at = torch.tensor(x[:5])
    mean, deviation = surrogate.mean_and_deviation(at)
    assert torch.allclose(mean, surrogate.y_NM[:5], atol=0.1)
    far = surrogate.mean_and_deviation(torch.tensor([[3.0, 3.0]]))[1]
    assert (far > 3 * deviation.max(0).values).all()
    bound = surrogate.lower_bound(at, 0.5)
    assert torch.allclose(bound, mean - 0.5 * deviation)
    point = torch.tensor([[0.4, 0.6]], dtype=torch.float64, requires_grad=True)
    slope = torch.autograd.grad(surrogate.lower_bound(point, 0.5).sum(), point)[0]
    for d in range(2):
        move = torch.zeros(1, 2, dtype=torch.float64)
        move[0, d] = 1e-5
        ends = [surrogate.lower_bound(point.detach() + s * move, 0.5).sum() for s in (1, -1)]
        assert slope[0, d].item() == pytest.approx(float(ends[0] - ends[1]) / 2e-5, rel=1e-3)


def test_the_greedy_batch_against_all_candidates_by_hypervolume():
    from holdfast.optimization.pareto import hypervolume

    rng = np.random.default_rng(0)
    for objectives in (2, 3):
        y, v = 0.3 + rng.random((6, objectives)), rng.random((15, objectives))
        reference = np.maximum(y.max(0), v.max(0))
        have, expected = y, []
        for _ in range(3):
            gains = [
                -1.0 if c in expected else hypervolume(np.vstack([have, row]), reference)
                for c, row in enumerate(v)
            ]
            expected.append(int(np.argmax(gains)))
            have = np.vstack([have, v[expected[-1]]])
        assert greedy(v, y, 3) == expected
    assert sorted(greedy(np.zeros((3, 2)), np.ones((1, 2)), 3)) == [0, 1, 2]  # none repeats
    assert len(greedy(np.zeros((2, 2)), np.ones((1, 2)), 4)) == 4


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"steps": 0}, "steps"),
        ({"lr": 0.0}, "lr"),
        ({"drawn": 1}, "drawn"),
        ({"kappa": -1}, "kappa"),
    ],
)
def test_settings_that_are_none(settings, words):
    with pytest.raises(OptionError, match=words):
        SetLearning(product, PlainStep(), **settings)
    with pytest.raises(OptionError, match="alpha"):
        SteinStep(local_kernel, float("nan"))
