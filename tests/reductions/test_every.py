"""What every reduction promises, run over all of them: each is a worst case over reweightings of
the rows, and one a best case.
"""

from __future__ import annotations

from math import inf, nan

import pytest
import torch
from torch import Tensor

from holdfast.card import Reduction, help_of, settings_of
from holdfast.errors import DataError, NeedError, OptionError
from holdfast.inputs import group, weight
from holdfast.reductions import REDUCTIONS, parse
from holdfast.types import Pairs, Scored

SPECS = (
    "mean",
    "kl:temperature=0.7",
    "kl:temperature=0.05",
    "kl_best_case:temperature=0.7",
    "kl_best_case:temperature=0.05",
    "chi_square:radius=0.4",
    "chi_square:radius=3.0",
    "cvar:alpha=0.4",
    "cvar:alpha=0.83",
    "groups:k=3,step=0.5",
)
HISTORY_FREE = tuple(s for s in SPECS if not s.startswith("groups"))


def batch_of(n: int, weight_N: Tensor | None = None, group_N: Tensor | None = None) -> Pairs:
    blank = Scored(torch.zeros(n, 1), torch.ones(n, 1))
    return Pairs(
        blank, blank, {weight: weight_N, group: torch.arange(n) % 3 if group_N is None else group_N}
    )


def value(reduction: Reduction, cost_N: Tensor, batch: Pairs) -> Tensor:
    return reduction.apply(cost_N, batch, reduction.init())[0]


def draw(n: int = 9, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, generator=generator, dtype=torch.float64), torch.rand(
        n, generator=generator, dtype=torch.float64
    ) + 0.1


def test_every_reduction_is_tried_here():
    assert {spec.partition(":")[0] for spec in SPECS} == set(REDUCTIONS)


@pytest.mark.parametrize("spec", SPECS)
def test_a_name_is_a_specification(spec: str):
    assert parse(spec).name == spec


@pytest.mark.parametrize("name", REDUCTIONS)
def test_every_setting_has_a_line_of_help(name: str):
    assert set(help_of(REDUCTIONS[name])) == set(settings_of(REDUCTIONS[name]))
    assert all(len(text) > 10 for text in help_of(REDUCTIONS[name]).values())


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("weighted", [False, True])
def test_order_of_rows_does_not_matter(spec: str, weighted: bool):
    cost_N, weight_N = draw()
    order = torch.randperm(9, generator=torch.Generator().manual_seed(1))
    group_N = torch.arange(9) % 3
    one = value(parse(spec), cost_N, batch_of(9, weight_N if weighted else None, group_N))
    other = value(
        parse(spec),
        cost_N[order],
        batch_of(9, weight_N[order] if weighted else None, group_N[order]),
    )
    torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("weighted", [False, True])
def test_gradient_is_the_adversary(spec: str, weighted: bool):
    """Nonnegative, sums to one, and equals central finite differences of the scalar itself."""
    cost_N, weight_N = draw()
    reduction = parse(spec)
    if spec.startswith("groups"):
        reduction = parse(
            "groups:k=3,step=0.0"
        )  # with a step the weights follow the costs on purpose, without a gradient
    batch = batch_of(9, weight_N if weighted else None)
    leaf_N = cost_N.clone().requires_grad_()
    (gradient_N,) = torch.autograd.grad(value(reduction, leaf_N, batch), leaf_N)
    assert (gradient_N >= 0).all()
    assert gradient_N.sum().item() == pytest.approx(1, abs=1e-12)
    step = 1e-5
    for i in range(9):
        nudge_N = torch.zeros(9, dtype=torch.float64)
        nudge_N[i] = step
        slope = (
            value(reduction, cost_N + nudge_N, batch) - value(reduction, cost_N - nudge_N, batch)
        ) / (2 * step)
        assert gradient_N[i].item() == pytest.approx(slope.item(), abs=1e-6)


@pytest.mark.parametrize("spec", HISTORY_FREE)
@pytest.mark.parametrize("seed", range(5))
def test_lies_between_the_weighted_mean_and_the_worst_row(spec: str, seed: int):
    """Or, for a best case, between the best row and the weighted mean."""
    cost_N, weight_N = draw(seed=seed)
    scalar = value(parse(spec), cost_N, batch_of(9, weight_N)).item()
    average = (weight_N * cost_N).sum().item() / weight_N.sum().item()
    low, high = (
        (cost_N.min().item(), average) if "best_case" in spec else (average, cost_N.max().item())
    )
    assert low - 1e-12 <= scalar <= high + 1e-12


@pytest.mark.parametrize("spec", HISTORY_FREE)
@pytest.mark.parametrize("seed", range(5))
def test_raising_a_cost_never_lowers_the_scalar(spec: str, seed: int):
    cost_N, weight_N = draw(seed=seed)
    batch = batch_of(9, weight_N)
    before = value(parse(spec), cost_N, batch).item()
    for i in range(9):
        raised_N = cost_N.clone()
        raised_N[i] += 0.8
        assert value(parse(spec), raised_N, batch).item() >= before - 1e-12


@pytest.mark.parametrize("spec", HISTORY_FREE)
def test_adding_a_constant_adds_it_and_a_constant_vector_is_itself(spec: str):
    cost_N, weight_N = draw()
    batch = batch_of(9, weight_N)
    assert value(parse(spec), cost_N + 7, batch).item() == pytest.approx(
        value(parse(spec), cost_N, batch).item() + 7, abs=1e-12
    )
    assert value(
        parse(spec), torch.full((9,), 2.5, dtype=torch.float64), batch
    ).item() == pytest.approx(2.5, abs=1e-12)


@pytest.mark.parametrize("spec", SPECS)
def test_weight_two_is_the_row_twice_and_weight_zero_is_no_row(spec: str):
    cost_N = torch.tensor([0.3, 1.1, -0.4, 0.9], dtype=torch.float64)
    group_N = torch.tensor([0, 1, 2, 1])
    twice = value(parse(spec), cost_N[[0, 1, 1, 2]], batch_of(4, None, group_N[[0, 1, 1, 2]]))
    weighted = value(parse(spec), cost_N, batch_of(4, torch.tensor([1.0, 2.0, 1.0, 0.0]), group_N))
    torch.testing.assert_close(weighted, twice, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("spec", SPECS)
def test_a_row_of_weight_zero_may_have_any_cost(spec: str):
    cost_N, group_N = (
        torch.tensor([0.3, 1.1, -0.4, 0.9], dtype=torch.float64),
        torch.tensor([0, 1, 2, 1]),
    )
    batch = batch_of(4, torch.tensor([1.0, 2.0, 1.0, 0.0]), group_N)
    fine = value(parse(spec), cost_N, batch)
    for bad in (nan, inf, 1e30):
        leaf_N = torch.tensor([0.3, 1.1, -0.4, bad], dtype=torch.float64, requires_grad=True)
        scalar = value(parse(spec), leaf_N, batch)
        assert scalar.item() == pytest.approx(fine.item(), abs=1e-12)
        (gradient_N,) = torch.autograd.grad(scalar, leaf_N)
        assert gradient_N[3].item() == 0 and gradient_N.isfinite().all()


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("bad", [nan, inf])
def test_a_row_that_counts_cannot_hide_that_it_is_not_finite(spec: str, bad: float):
    assert not value(
        parse(spec),
        torch.tensor([0.3, bad, -0.4, 0.9]),
        batch_of(4, torch.tensor([1.0, 2.0, 1.0, 0.0])),
    ).isfinite()


@pytest.mark.parametrize("spec", SPECS)
def test_one_row_is_its_own_worst_case(spec: str):
    assert value(
        parse(spec.replace("k=3", "k=1")), torch.tensor([-1.5]), batch_of(1)
    ).item() == pytest.approx(-1.5, abs=1e-6)


@pytest.mark.parametrize("spec", SPECS)
def test_float32_agrees_with_float64(spec: str):
    cost_N, weight_N = draw(64)
    exact = value(parse(spec), cost_N, batch_of(64, weight_N))
    single = value(parse(spec), cost_N.float(), batch_of(64, weight_N.float()))
    assert single.dtype == torch.float32
    assert single.item() == pytest.approx(exact.item(), rel=2e-6, abs=2e-6)


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize(
    "weights", [[1.0, -1.0, 1.0], [0.0, 0.0, 0.0], [1.0, nan, 1.0], [1.0, inf, 1.0]]
)
def test_impossible_weights_are_refused(spec: str, weights: list[float]):
    with pytest.raises(DataError, match="hint: check the `weight` column"):
        value(parse(spec), torch.zeros(3), batch_of(3, torch.tensor(weights)))


def test_only_the_mean_is_linear_and_its_microbatches_add_up():
    """Costs 1, 2, 3, 4 with weights 1, 1, 2, 4: 25 / 8. Halves: (3/2) * 2/8 + (22/6) * 6/8 = 25
    / 8.
    """
    assert [name for name in SPECS if parse(name).linear] == ["mean"]
    cost_N, weight_N = torch.tensor([1.0, 2.0, 3.0, 4.0]), torch.tensor([1.0, 1.0, 2.0, 4.0])
    whole = value(parse("mean"), cost_N, batch_of(4, weight_N)).item()
    halves = [
        value(parse("mean"), cost_N[s], batch_of(2, weight_N[s])).item()
        for s in (slice(0, 2), slice(2, 4))
    ]
    assert whole == pytest.approx(25 / 8) and halves[0] * 2 / 8 + halves[
        1
    ] * 6 / 8 == pytest.approx(whole)


def test_groups_are_needed_by_name():
    batch = Pairs(
        Scored(torch.zeros(2, 1), torch.ones(2, 1)), Scored(torch.zeros(2, 1), torch.ones(2, 1))
    )
    with pytest.raises(NeedError, match="hint: add a `group` column") as caught:
        value(parse("groups:k=2"), torch.zeros(2), batch)
    assert caught.value.need == "group" and parse("groups:k=2").needs == (group,)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("klx", "did you mean kl"),
        ("kl", "wants temperature"),
        ("kl:temp=1", "write it as kl:temperature"),
        ("kl:temperature", "write it"),
        ("kl:temperature=hot", "not a number"),
        ("kl:temperature=0", "above 0"),
        ("kl:temperature=nan", "above 0"),
        ("kl:temperature=1,temperature=2", "cannot read"),
        ("cvar:alpha=0", "at most 1"),
        ("cvar:alpha=1.5", "at most 1"),
        ("chi_square:radius=-1", "at least 0"),
        ("groups:k=1.5", "not a number"),
        ("groups:k=0", "whole number"),
        ("groups:k=2,step=-1", "at least 0"),
        ("mean:alpha=1", "cannot read"),
    ],
)
def test_what_cannot_be_read_is_refused_with_a_hint(text: str, says: str):
    with pytest.raises(OptionError, match=says) as caught:
        parse(text)
    assert "hint: " in str(caught.value)
