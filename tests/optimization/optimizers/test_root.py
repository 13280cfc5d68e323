"""ROOT by hand, against torch's Muon, and what it refuses."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import Tensor, nn

from holdfast.errors import OptionError
from holdfast.optimization.optimizers import (
    MUON,
    ROOT,
    Together,
    build,
    clamp_outliers_,
    coefficients_for,
    left_to_adamw,
    orthogonalize,
)
from holdfast.optimization.optimizers.root import SAMPLE, _stride

SHAPES = ((8, 8), (6, 20), (20, 6), (6, 20))


def matrices(*, dtype: torch.dtype = torch.float64, seed: int = 0) -> list[nn.Parameter]:
    draw = torch.Generator().manual_seed(seed)
    return [nn.Parameter(torch.randn(shape, generator=draw, dtype=dtype)) for shape in SHAPES]


def step(optimizer: torch.optim.Optimizer, weights: list[nn.Parameter], number: int) -> None:
    draw = torch.Generator().manual_seed(number + 1)
    for weight in weights:
        weight.grad = torch.randn(weight.shape, generator=draw, dtype=torch.float64).to(weight)
    optimizer.step()


# ------------------------------------------------------------ outliers


def test_outliers_are_clamped_at_a_quantile_worked_out_by_hand():
    """|u| sorted is 0.5, 1, 2, 4; its 0.9-quantile lies 0.7 of the way from 2 to 4: 3.4."""
    u = torch.tensor([[[0.5, -1.0], [2.0, -4.0]]])
    clamped = clamp_outliers_(u.clone(), 0.9)
    assert clamped.flatten().tolist() == pytest.approx([0.5, -1.0, 2.0, -3.4])
    # half: between 1 and 2
    clamped = clamp_outliers_(u.clone(), 0.5)
    assert clamped.flatten().tolist() == pytest.approx([0.5, -1.0, 1.5, -1.5])
    # what is dropped is the soft threshold: sign(u) max(|u| - 1.5, 0)
    dropped = u - clamped
    assert dropped.flatten().tolist() == pytest.approx([0.0, 0.0, 0.5, -2.5])
    assert torch.equal(clamp_outliers_(u.clone(), 1), u)


def test_the_threshold_is_numpys_quantile_of_each_matrix():
    u = torch.randn(3, 7, 11, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    clamped = clamp_outliers_(u.clone(), 0.9)
    for each, bound in zip(clamped, torch.quantile(u.abs().flatten(1), 0.9, dim=1), strict=True):
        assert float(each.abs().max()) == pytest.approx(float(bound))


def test_a_matrix_of_zeros_but_for_a_few_keeps_them():
    u = torch.zeros(1, 10, 10)
    u[0, 3, 4] = 5.0
    assert torch.equal(clamp_outliers_(u.clone(), 0.9), u)


@pytest.mark.parametrize("shape", [(512, 512), (576, 1536), (49152, 64), (1000, 1001)])
def test_of_a_large_matrix_every_column_is_sampled_and_a_tenth_is_clamped(shape):
    stride = _stride(shape[0] * shape[1], shape[1])
    assert math.gcd(stride, shape[1]) == 1
    assert SAMPLE / 2 < shape[0] * shape[1] / stride < 2 * SAMPLE
    u = torch.randn(1, *shape, generator=torch.Generator().manual_seed(0))
    clamped = float((clamp_outliers_(u.clone(), 0.9) != u).float().mean())
    assert clamped == pytest.approx(0.1, abs=0.02)  # four standard deviations


# ------------------------------------------------------------ steps


def slow(weights: list[Tensor], lr: float, decay: float, quantile: float, steps: int) -> None:
    """The equations of the module's docstring, matrix by matrix."""
    momentum = [torch.zeros_like(weight) for weight in weights]
    for number in range(steps):
        draw = torch.Generator().manual_seed(number + 1)
        for weight, buffer in zip(weights, momentum, strict=True):
            g = torch.randn(weight.shape, generator=draw, dtype=torch.float64)
            buffer.mul_(0.95).add_(g)
            u = g + 0.95 * buffer
            bound = float(torch.quantile(u.abs(), quantile))
            soft = u.sign() * (u.abs() - bound).clamp(min=0)
            m, n = weight.shape
            move = orthogonalize(u - soft, coefficients_for(m, n))
            weight.mul_(1 - lr * decay).sub_(lr * 0.2 * math.sqrt(max(m, n)) * move)


def test_steps_are_those_of_the_equations_matrix_by_matrix():
    weights, by_hand = matrices(), [weight.detach().clone() for weight in matrices()]
    optimizer = ROOT(weights, lr=0.02, weight_decay=0.1, dtype=None)
    for number in range(4):
        step(optimizer, weights, number)
    slow(by_hand, 0.02, 0.1, 0.9, 4)
    for weight, other in zip(weights, by_hand, strict=True):
        assert torch.allclose(weight, other, atol=1e-10)


@pytest.mark.parametrize("nesterov", [True, False])
def test_without_outliers_and_with_muons_coefficients_it_is_torchs_muon(nesterov, monkeypatch):
    """In float64: torch's cast to bfloat16 is taken out for the comparison."""
    monkeypatch.setattr(Tensor, "bfloat16", lambda self: self.clone())
    ours, theirs = matrices(), matrices()
    how = {"lr": 0.02, "weight_decay": 0.1, "momentum": 0.9, "nesterov": nesterov}
    root = ROOT(ours, **how, quantile=1, ns_coefficients=MUON, dtype=None)
    muon = torch.optim.Muon(theirs, **how, adjust_lr_fn="match_rms_adamw")
    for number in range(5):
        step(root, ours, number)
        step(muon, theirs, number)
    for one, two in zip(ours, theirs, strict=True):
        assert torch.allclose(one, two, atol=1e-10)
    step(root, ours, 6)  # and the comparison can fail
    assert not torch.allclose(ours[0], theirs[0], atol=1e-3)


def test_in_bfloat16_a_step_is_torchs_muon_to_the_rounding_of_the_products():
    ours, theirs = matrices(dtype=torch.float32), matrices(dtype=torch.float32)
    root = ROOT(ours, lr=1.0, weight_decay=0, quantile=1, ns_coefficients=MUON)
    muon = torch.optim.Muon(theirs, lr=1.0, weight_decay=0, adjust_lr_fn="match_rms_adamw")
    step(root, ours, 0)
    step(muon, theirs, 0)
    for one, two, start in zip(ours, theirs, matrices(dtype=torch.float32), strict=True):
        assert float(((one - two).norm() / (two - start).norm()).detach()) < 0.03


def test_the_size_of_the_gradient_does_not_matter():
    ours, theirs = matrices(), matrices()
    one, two = (ROOT(weights, lr=0.01, dtype=None) for weights in (ours, theirs))
    for number in range(3):
        step(one, ours, number)
        draw = torch.Generator().manual_seed(number + 1)
        for weight in theirs:
            weight.grad = 1e4 * torch.randn(weight.shape, generator=draw, dtype=torch.float64)
        two.step()
    assert all(torch.allclose(a, b, atol=1e-10) for a, b in zip(ours, theirs, strict=True))


def test_the_move_has_the_root_mean_square_of_adamw():
    weight = nn.Parameter(torch.zeros(64, 256, dtype=torch.float64))
    optimizer = ROOT([weight], lr=1.0, weight_decay=0, dtype=None)
    step(optimizer, [weight], 0)
    assert float(weight.detach().square().mean().sqrt()) == pytest.approx(0.2, rel=0.02)


def test_a_stack_of_experts_moves_as_its_matrices_do():
    draw = torch.Generator().manual_seed(3)
    values = torch.randn(3, 6, 20, generator=draw, dtype=torch.float64)
    gradient = torch.randn(3, 6, 20, generator=draw, dtype=torch.float64)
    stack, alone = nn.Parameter(values.clone()), [nn.Parameter(x.clone()) for x in values]
    stack.grad = gradient
    for weight, g in zip(alone, gradient, strict=True):
        weight.grad = g.clone()
    for parameters in ([stack], alone):
        ROOT(parameters, lr=0.1, dtype=None).step()
    assert torch.allclose(stack, torch.stack(list(alone)), atol=1e-12)


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (2, 3)])
def test_small_matrices_and_zero_gradients_stay_finite(shape):
    weight = nn.Parameter(torch.ones(shape))
    optimizer = ROOT([weight], lr=0.1, weight_decay=0)
    weight.grad = torch.zeros(shape)
    optimizer.step()
    assert torch.equal(weight.detach(), torch.ones(shape))
    weight.grad = torch.full(shape, 1e-30)
    optimizer.step()
    weight.grad = torch.full(shape, 1e30)
    optimizer.step()
    assert weight.isfinite().all()


def test_a_closure_is_called_and_a_weight_without_gradient_stays():
    moved, still = matrices()[:2]
    optimizer = ROOT([moved, still], lr=0.1, dtype=None)
    before = still.detach().clone()

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = moved.square().sum()
        loss.backward()
        return loss

    first = float(optimizer.step(closure).detach())
    assert first > float(moved.detach().square().sum()) and torch.equal(still, before)


def test_a_state_that_is_saved_and_loaded_goes_on_bit_for_bit(tmp_path):
    weights = matrices(dtype=torch.float32)
    optimizer = ROOT(weights, lr=0.02)
    for number in range(3):
        step(optimizer, weights, number)
    again = [nn.Parameter(weight.detach().clone()) for weight in weights]
    torch.save(optimizer.state_dict(), tmp_path / "state.pt")
    other = ROOT(again, lr=0.5)
    other.load_state_dict(torch.load(tmp_path / "state.pt"))
    for number in range(3, 6):
        step(optimizer, weights, number)
        step(other, again, number)
    assert all(torch.equal(a, b) for a, b in zip(weights, again, strict=True))


# ------------------------------------------------------------ what it refuses


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"lr": -1.0}, "lr must be a number of at least 0"),
        ({"lr": math.nan}, "lr must be"),
        ({"momentum": 1.0}, "momentum must be at least 0 and below 1"),
        ({"quantile": 0.0}, "quantile must be above 0 and at most 1"),
        ({"ns_steps": 0}, "ns_steps must be"),
        ({"ns_coefficients": (1.0, 2.0)}, "ns_coefficients must be three finite numbers"),
        ({"eps": 0.0}, "eps must be"),
        ({"weight_decay": -0.1}, "weight_decay must be"),
    ],
)
def test_a_value_out_of_range_is_named(given, words):
    with pytest.raises(OptionError, match=words):
        ROOT(matrices(), **given)


def test_a_vector_a_complex_matrix_and_a_sparse_gradient_are_refused():
    with pytest.raises(OptionError, match=r"shape \(3,\)") as error:
        ROOT([nn.Parameter(torch.zeros(3))])
    assert "AdamW" in str(error.value)
    with pytest.raises(OptionError, match="bias has shape"):
        ROOT([("bias", nn.Parameter(torch.zeros(3)))])
    with pytest.raises(OptionError, match="complex64"):
        ROOT([nn.Parameter(torch.zeros(3, 3, dtype=torch.complex64))])
    table = nn.Embedding(4, 3, sparse=True)
    optimizer = ROOT(table.parameters())
    table(torch.tensor([1])).sum().backward()
    with pytest.raises(OptionError, match="sparse gradient"):
        optimizer.step()


# ------------------------------------------------------------ a whole model


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(10, 8)
        self.image = nn.Conv2d(2, 3, 3)
        self.hidden = nn.Linear(8, 12)
        self.experts = nn.Parameter(torch.randn(2, 12, 6))
        self.frozen = nn.Linear(4, 4)
        self.frozen.requires_grad_(False)
        self.norm = nn.LayerNorm(12)
        self.out = nn.Linear(12, 10)

    def get_output_embeddings(self) -> nn.Module:
        return self.out


def test_who_takes_which_weight():
    found = left_to_adamw(Small())
    assert {name for name, why in found.items() if why is None} == {"hidden.weight", "experts"}
    assert found["table.weight"] == "embeddings" and found["out.weight"] == "output heads"
    assert found["image.weight"] == "convolutions" and found["norm.weight"].startswith("vectors")
    assert "frozen.weight" not in found
    assert left_to_adamw(Small(), "muon")["experts"] == "stacks of matrices"


@pytest.mark.parametrize("optimizer", ["root", "muon"])
def test_every_weight_has_one_optimizer_and_a_scheduler_reaches_both(optimizer):
    model = Small()
    both = build(model, optimizer, lr=0.1)
    held = [id(p) for group in both.param_groups for p in group["params"]]
    trained = [id(p) for p in model.parameters() if p.requires_grad]
    assert sorted(held) == sorted(trained)
    halve = torch.optim.lr_scheduler.LambdaLR(both, lambda step: 0.5**step)
    for p in model.parameters():
        p.grad = torch.ones_like(p)
    both.step()
    halve.step()
    assert [group["lr"] for part in both.parts for group in part.param_groups] == [0.05] * 3
    assert {id(p) for p in both.state} == set(trained)


def test_a_whole_models_state_is_loaded_into_both():
    model = Small()
    both = build(model, lr=0.1)

    def move(model: nn.Module, both: Together, number: int) -> None:
        draw = torch.Generator().manual_seed(number)
        for p in model.parameters():
            p.grad = torch.randn(p.shape, generator=draw) if p.requires_grad else None
        both.step()

    for number in range(2):
        move(model, both, number)
    other = copy.deepcopy(model)
    again = build(other, lr=0.7)
    again.load_state_dict(copy.deepcopy(both.state_dict()))  # torch shares tensors
    for number in range(2, 4):
        move(model, both, number)
        move(other, again, number)
    assert all(
        torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True)
    )


def test_a_model_without_hidden_matrices_is_refused():
    with pytest.raises(OptionError, match="none is trained here"):
        build(nn.Embedding(3, 3))
