"""Newton-Schulz against singular value decompositions, and the table of coefficients against
Muon's."""

from __future__ import annotations

import json
from importlib import resources

import pytest
import torch
from torch import Tensor

from holdfast.optimization.optimizers import MUON, coefficients_for, orthogonalize, polar
from holdfast.optimization.optimizers.coefficients import table
from holdfast.optimization.optimizers.fit import CEILING, fit, largest
from holdfast.optimization.optimizers.newton_schulz import lifted

B = torch.tensor([[0.5, -1.0], [1.5, -1.5]], dtype=torch.float64)
SHAPES = [(4, 4), (16, 16), (16, 64), (64, 16), (64, 64), (64, 256), (100, 130), (128, 512)]


def gaussian(m: int, n: int, *, count: int = 8, seed: int = 100) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(count, m, n, generator=draw, dtype=torch.float64)


def root_mean_square(matrices: Tensor, coefficients: tuple[float, float, float]) -> float:
    """Of the singular values' distance to 1 after five rounds: by decomposition of the result."""
    s = torch.linalg.svdvals(orthogonalize(matrices, coefficients))
    return float((s - 1).square().mean().sqrt())


def test_five_rounds_of_muon_and_the_polar_factor_are_those_worked_out_apart():
    ours = torch.tensor([[-0.251732, -0.646828], [0.650717, -0.267286]], dtype=torch.float64)
    exact = torch.tensor([[0.371391, 0.928477], [0.928477, -0.371391]], dtype=torch.float64)
    assert torch.allclose(orthogonalize(B, MUON).abs(), ours.abs(), atol=1e-5)
    assert torch.allclose(polar(B).abs(), exact.abs(), atol=1e-5)
    assert torch.allclose(polar(B) @ polar(B).T, torch.eye(2, dtype=torch.float64))


def test_singular_values_take_the_steps_of_the_polynomial():
    s = torch.tensor([0.02], dtype=torch.float64)
    muon = [float(lifted(s, MUON, steps=k)) for k in range(1, 6)]
    assert muon == pytest.approx([0.068852, 0.235605, 0.750566, 1.050213, 0.681832], abs=2e-6)
    wide = [float(lifted(s, (2.9794, -3.6674, 1.6207), steps=k)) for k in range(1, 6)]
    assert wide == pytest.approx([0.059559, 0.176675, 0.506441, 1.086514, 0.987219], abs=2e-6)
    assert float(lifted(torch.ones(1), MUON, steps=1)) == pytest.approx(0.701)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_matrix_keeps_its_singular_vectors_and_its_values_are_lifted(shape):
    matrix = gaussian(*shape, count=1)[0]
    abc = coefficients_for(*shape)
    u, s, v = torch.linalg.svd(matrix / matrix.norm(), full_matrices=False)
    assert torch.allclose(orthogonalize(matrix, abc), u @ lifted(s, abc).diag() @ v, atol=1e-9)


def test_a_stack_and_a_transpose_are_orthogonalized_one_by_one():
    stack = gaussian(6, 10, count=4)
    one_by_one = torch.stack([orthogonalize(matrix) for matrix in stack])
    assert torch.allclose(orthogonalize(stack), one_by_one, atol=1e-12)
    assert torch.allclose(orthogonalize(stack.mT), one_by_one.mT, atol=1e-12)
    assert torch.equal(orthogonalize(torch.zeros(3, 5)), torch.zeros(3, 5))


@pytest.mark.parametrize("shape", SHAPES)
def test_the_table_is_nearer_to_the_polar_factor_than_muon_on_matrices_it_never_saw(shape):
    held_out = gaussian(*shape)
    table_s, muon_s = (root_mean_square(held_out, abc) for abc in (coefficients_for(*shape), MUON))
    assert table_s < 0.6 * muon_s, (table_s, muon_s)
    # the same by matrices instead of values: relative distance to the polar factor
    exact = polar(held_out)
    distance = (orthogonalize(held_out, coefficients_for(*shape)) - exact).norm() / exact.norm()
    assert float(distance) == pytest.approx(table_s, rel=1e-6)


@pytest.mark.parametrize(
    ("shape", "largest"), [((64, 128), 0.05), ((64, 256), 0.03), ((256, 1024), 0.1)]
)
def test_the_worst_singular_value_of_a_wide_matrix_is_near_1(shape, largest):
    """The worst of all values of eight held-out matrices; Muon's is 0.32 in each shape."""
    s = torch.linalg.svdvals(gaussian(*shape))
    s = s / s.norm(dim=-1, keepdim=True)
    assert float((lifted(s, coefficients_for(*shape)) - 1).abs().max()) < largest
    assert float((lifted(s, MUON) - 1).abs().max()) > 0.25


def test_no_row_of_the_table_can_blow_a_matrix_up():
    assert max(largest(abc) for abc in table().values()) < 1.36
    rank_one = {shape: float(lifted(torch.ones(1), abc)) for shape, abc in table().items()}
    assert all(0.5 < end < CEILING for end in rank_one.values())


@pytest.mark.parametrize("abc", [MUON, (2.2916, -2.1939, 0.9024), (3.0, -3.2, 1.2), (1.5, -0.5, 0)])
def test_the_largest_image_is_that_of_a_fine_grid(abc):
    everywhere = torch.linspace(0, 1.02, 200_001, dtype=torch.float64)
    on_the_grid = float(lifted(everywhere, abc).abs().max())
    assert largest(abc) == pytest.approx(on_the_grid, abs=1e-4)
    assert largest((9.0, 9.0, 9.0)) == 1e3


def test_the_table_holds_the_errors_it_states_and_a_shape_takes_the_nearest():
    file = resources.files("holdfast.optimization.optimizers") / "coefficients.json"
    rows = json.loads(file.read_text())["rows"]
    assert len(rows) == len(table()) == 240
    assert coefficients_for(64, 256) == coefficients_for(256, 64) == table()[64, 256]
    assert coefficients_for(63, 250) == table()[64, 256]
    assert coefficients_for(1, 1) == table()[4, 4]
    assert coefficients_for(65536, 65536) == table()[11585, 11585]


def test_the_fit_makes_a_row_of_the_table():
    found, wide, peaked = fit(16, 32)
    row = table()[16, 32]
    assert found == pytest.approx(row, abs=0.02)
    assert wide < 1e-4 and peaked < 1e-2
