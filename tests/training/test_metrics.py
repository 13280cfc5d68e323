"""Metrics against sums done by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from holdfast.card import costs, initial_state
from holdfast.inputs import confidence, label, reward_gap
from holdfast.methods import METHODS
from holdfast.reductions import parse
from holdfast.training.metrics import adversary_metrics, batch_metrics
from holdfast.training.objective import BatchResult, MethodState
from holdfast.training.progress import clock, sparkline
from holdfast.types import Answers, Batch, Pairs, Scored

MASK = torch.tensor([[1.0, 1.0], [1.0, 0.0]])


def scored(values: list[list[float]], reference: list[list[float]] | None = None) -> Scored:
    return Scored(
        torch.tensor(values), MASK, None if reference is None else torch.tensor(reference)
    )


def result(batch: Batch, cost_N: Tensor) -> BatchResult:
    cost_N = cost_N.clone().requires_grad_()
    total, state = parse("mean").apply(cost_N, batch, {})
    (adversary_N,) = torch.autograd.grad(total, cost_N)
    return BatchResult(batch, cost_N.detach(), total.detach(), adversary_N, MethodState(state, {}))


def test_pairs_by_hand() -> None:
    """Row 1: chosen -1 -1 (reference -2 -1), rejected -3 -1 (-2 -1): h = 1 - -1 = 2, the policy
    prefers chosen. Row 2: chosen -4 (-4), rejected -1 (-1): h = 0, a tie; the policy prefers
    rejected, and so does the reference. Padding holds 99."""
    pairs = Pairs(
        scored([[-1, -1], [-4, 99]], [[-2, -1], [-4, 99]]),
        scored([[-3, -1], [-1, 99]], [[-2, -1], [-1, 99]]),
    )
    found = batch_metrics(result(pairs, torch.tensor([0.2, 0.6])))
    assert found["loss"] == pytest.approx(0.4)
    assert found["log_ratios/margin"] == found["rewards/margins"] == pytest.approx(1.0)
    at_beta = batch_metrics(replace(result(pairs, torch.tensor([0.2, 0.6])), beta=0.25))
    assert at_beta["rewards/margins"] == pytest.approx(0.25)
    assert at_beta["rewards/chosen"] == pytest.approx(0.125)
    assert found["logps/chosen"] == pytest.approx((-2 - 4) / 2)
    assert found["rewards/accuracies"] == pytest.approx(0.75)
    assert found["ranking/accuracy"] == pytest.approx(0.5)
    assert found["ranking/reference_accuracy"] == pytest.approx(
        0.25
    )  # one tie (-3 against -3), one miss
    assert found["log_ratios/chosen"] == pytest.approx(0.5)
    assert found["log_ratios/rejected"] == pytest.approx(-0.5)
    assert found["length/chosen"] == pytest.approx(1.5)
    assert found["logps_per_token/chosen"] == pytest.approx((-1 - 4) / 2)
    # d is +1 on one token, -1 on another, 0 on the other four: (e^-1 - 1 + 1) + (e - 1 - 1) over 6
    # tokens
    assert found["kl/k3_on_data"] == pytest.approx((math.exp(-1) + math.e - 2) / 6)
    assert not any(name.startswith("adversary") for name in found)


def test_without_a_reference_nothing_is_said_about_one() -> None:
    found = batch_metrics(
        result(Pairs(scored([[-1, -1], [-4, 0]]), scored([[-3, -1], [-1, 0]])), torch.ones(2))
    )
    assert not any(name.startswith(("implicit", "movement", "kl")) for name in found)
    assert found["ranking/accuracy"] == pytest.approx(0.5)


def test_judged_answers_are_told_apart_and_an_absent_verdict_is_left_out() -> None:
    answers = Answers(
        scored([[-1, -1], [-4, 0]], [[-2, -1], [-3, 0]]), {label: torch.tensor([True, False])}
    )
    found = batch_metrics(result(answers, torch.ones(2)))
    assert found["log_ratios/desirable"] == pytest.approx(1.0)
    assert found["log_ratios/undesirable"] == pytest.approx(-1.0)
    both_good = Answers(answers.answer, {label: torch.tensor([True, True])})
    found = batch_metrics(result(both_good, torch.ones(2)))
    assert "log_ratios/undesirable" not in found
    assert all(math.isfinite(value) for value in found.values())


def test_the_adversary_by_hand() -> None:
    """Weights 1/2, 1/4, 1/4: 1 / (1/4 + 1/16 + 1/16) = 8/3 rows."""
    found = adversary_metrics(
        torch.tensor([1.0, 0.5, 0.5]), torch.tensor([0, 1, 1]), ("left", "right")
    )
    assert found["adversary/effective_sample_size"] == pytest.approx(8 / 3)
    assert found["adversary/max_weight"] == pytest.approx(0.5)
    assert found["adversary/group/left"] == pytest.approx(0.5)
    assert adversary_metrics(torch.zeros(3), None, ()) == {}


def test_metrics_of_all_kinds_of_methods_are_finite() -> None:
    part = scored([[-1, -1], [-4, 0]], [[-2, -1], [-3, 0]])
    for name in ("dpo", "ipo", "simpo", "cpo", "kto", "sft"):
        method = METHODS[name]
        batch: Batch = (
            Pairs(part, part, {confidence: torch.ones(2), reward_gap: torch.ones(2)})
            if method.takes is Pairs
            else Answers(part, {label: torch.tensor([True, False])}, extra={"mismatched": part})
        )
        found = batch_metrics(
            result(batch, costs(method, batch, {}, initial_state(method))[0]), robust=True
        )
        assert all(math.isfinite(value) for value in found.values()), name


def test_sparkline_and_clock() -> None:
    assert sparkline([]) == ""
    assert sparkline([1.0, 1.0]) == "▁▁"
    assert sparkline([0.0, 1.0]) == "▁█"
    assert len(sparkline([float(n) for n in range(1000)], width=60)) <= 60
    assert clock(59.6) == "1:00"
    assert clock(3661) == "1:01:01"


def test_a_margin_of_nan_is_not_counted_as_wrong() -> None:
    from holdfast.training.metrics import accuracy

    assert accuracy(torch.tensor([1.0, -1.0, 0.0, 2.0])) == 0.625
    assert math.isnan(accuracy(torch.tensor([1.0, float("nan")])))
