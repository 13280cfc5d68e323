"""Both routes to a batch's gradient against one plain backward through the whole batch."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from holdfast.card import Method, PairMethod, costs
from holdfast.methods import METHODS
from holdfast.reductions import parse, with_average
from holdfast.reductions.averages import token_mean
from holdfast.scorers.assemble import assemble
from holdfast.scorers.reference import attach
from holdfast.scorers.text import TextScorer
from holdfast.training.batching import Microbatch, split
from holdfast.training.distributed import Distributed
from holdfast.training.examples import Examples
from holdfast.training.gradient import gradient, score_batch
from holdfast.training.objective import BoundObjective, MethodState, evaluate_batch
from holdfast.types import Answers, Pairs, Row, Tokenized, Where
from tests.conftest import build_model

VOCABULARY = 40


def make_rows(method: Method, count: int = 9) -> Examples:
    """Rows of uneven lengths, weights and groups, with a reference that differs from the policy."""
    rng = random.Random(3)
    names = ["answer", "mismatched"] if method.takes is Answers else ["chosen", "rejected"]
    ids = lambda low, high: [rng.randrange(2, VOCABULARY) for _ in range(rng.randint(low, high))]  # noqa: E731
    items = [Tokenized(ids(1, 6), {name: ids(1, 9) for name in names}) for _ in range(count)]
    rows = [
        Row(Where("rows", n + 1), weight=0.5 + n % 3, group="ab"[n % 2], desirable=n % 3 != 0)
        for n in range(count)
    ]
    reference = [
        {
            name: torch.randn(len(ids), generator=torch.Generator().manual_seed(n)) - 3
            for name, ids in item.branches.items()
        }
        for n, item in enumerate(items)
    ]
    return Examples(items, rows, reference)


def gradients(scorer: nn.Module) -> dict[str, Tensor]:
    return {name: p.grad.clone() for name, p in scorer.named_parameters() if p.grad is not None}


def the_obvious_way(
    scorer: TextScorer, objective: BoundObjective, rows: Examples, state: MethodState
) -> tuple[float, dict[str, Tensor]]:
    assert rows.reference is not None
    scorer.zero_grad()
    batch = assemble(
        objective.method.takes,
        attach(scorer(rows.items), rows.reference),
        rows.rows,
        objective.groups,
    )
    cost_N, _ = costs(objective.method, batch, objective.settings, state.method)
    total, _ = objective.reduction.apply(cost_N, batch, state.reduction)
    total.backward()
    return float(total.detach()), gradients(scorer)


@pytest.fixture
def context() -> Distributed:
    return Distributed(precision="fp32")


CASES = [
    ("dpo", "mean", {"beta": 0.5}),
    ("dpo", "kl:temperature=0.3", {"beta": 0.5}),
    ("dpo", "cvar:alpha=0.4", {"beta": 0.5}),
    ("dpo", "chi_square:radius=0.5", {"beta": 0.5}),
    ("dpo", "groups:k=2,step=0.5", {"beta": 0.5}),
    ("kto", "mean", {"beta": 0.5}),
    ("sft", "mean", {}),
    ("sft:token_mean", "mean", {}),
    ("sft:sum", "kl:temperature=0.3", {}),
    ("sft:token_mean", "cvar:alpha=0.4", {}),
    ("sft:constant:length=7", "groups:k=2,step=0.5", {}),
    ("unlikelihood", "mean", {}),
    ("unlikelihood", "kl:temperature=0.3", {}),
]


def unlikelihood(pairs: Pairs) -> Tensor:
    """-log p of a chosen token, -log (1 - p) of a rejected one: a cost a token of both answers."""
    return torch.cat(
        [-pairs.chosen.logp_NT, -torch.log1p(-pairs.rejected.logp_NT.exp().clamp(max=0.999))], -1
    )


def method_of(name: str) -> Method:
    if name == "unlikelihood":
        card = replace(METHODS["simpo"].card, needs=())
        return PairMethod(unlikelihood, reduction=parse("mean"), card=card, average=token_mean())
    method, _, average = name.partition(":")
    return with_average(METHODS[method], average or None)


@pytest.mark.parametrize(("name", "reduction", "settings"), CASES)
@pytest.mark.parametrize("budget", [1, 30, 10_000])
def test_every_way_of_cutting_a_batch_gives_its_gradient(
    context: Distributed, name: str, reduction: str, settings: dict[str, float], budget: int
) -> None:
    method = method_of(name)
    rows = make_rows(method)
    objective = BoundObjective(method, settings, parse(reduction), ("a", "b"))
    state = objective.first_state()
    scorer = TextScorer(build_model(VOCABULARY)).eval()
    total, wanted = the_obvious_way(scorer, objective, rows, state)
    scorer.zero_grad()
    plan = split([item.tokens for item in rows.items], processes=1, budget=budget)
    result = gradient(context, scorer, objective, rows, state, plan)
    assert len(plan[0]) == {1: 9, 10_000: 1}.get(budget, len(plan[0]))
    assert float(result.total) == pytest.approx(total, rel=1e-5)
    found = gradients(scorer)
    assert found.keys() == wanted.keys()
    for key in wanted:
        torch.testing.assert_close(found[key], wanted[key], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["dpo", "sft", "sft:token_mean", "unlikelihood"])
def test_both_routes_agree_where_both_apply(context: Distributed, name: str) -> None:
    method = method_of(name)
    rows = make_rows(method)
    plan = split([item.tokens for item in rows.items], processes=1, budget=30)
    scorer = TextScorer(build_model(VOCABULARY)).eval()
    mean = parse("mean")
    found = []
    for reduction in (mean, mean._replace(linear=False)):
        scorer.zero_grad()
        objective = BoundObjective(method, {}, reduction)
        assert objective.adds_up == reduction.linear
        gradient(context, scorer, objective, rows, objective.first_state(), plan)
        found.append(gradients(scorer))
    for key in found[0]:
        torch.testing.assert_close(found[0][key], found[1][key], rtol=1e-4, atol=1e-7)


def test_a_mean_over_tokens_is_of_the_whole_batch_not_of_its_microbatches(
    context: Distributed,
) -> None:
    """By hand: all tokens of all rows, each row's by its weight, divided by their number; the mean
    of the microbatches' own token means is another number.
    """
    rows = make_rows(METHODS["sft"])
    scorer = TextScorer(build_model(VOCABULARY)).eval()
    objective = BoundObjective(method_of("sft:token_mean"), {}, parse("mean"))
    plan = split([1] * 9, processes=1, budget=1)
    result = gradient(context, scorer, objective, rows, objective.first_state(), plan)
    with torch.no_grad():
        nats = [-scorer([item])["answer"].logp_NT.sum() for item in rows.items]
    weight = [row.weight or 0.0 for row in rows.rows]
    tokens = [len(item.branches["answer"]) for item in rows.items]
    by_hand = sum(w * n for w, n in zip(weight, nats, strict=True)) / sum(
        w * t for w, t in zip(weight, tokens, strict=True)
    )
    naive = sum(w * n / t for w, n, t in zip(weight, nats, tokens, strict=True)) / sum(weight)
    assert float(result.total) == pytest.approx(float(by_hand), rel=1e-5)
    assert abs(float(by_hand - naive)) > 1e-3


def test_the_worst_case_is_of_the_whole_batch_not_of_its_microbatches(context: Distributed) -> None:
    """cvar at alpha = 1/9 looks at the worst row of nine; microbatch by microbatch it would look at
    the worst of each.
    """
    rows = make_rows(METHODS["dpo"])
    rows = Examples(rows.items, [Row(row.where) for row in rows.rows], rows.reference)
    objective = BoundObjective(METHODS["dpo"], {"beta": 0.5}, parse("cvar:alpha=0.111111"))
    scorer = TextScorer(build_model(VOCABULARY)).eval()
    result = gradient(
        context,
        scorer,
        objective,
        rows,
        objective.first_state(),
        split([1] * 9, processes=1, budget=1),
    )
    assert float(result.total) == pytest.approx(float(result.cost_N.max()), rel=1e-4)
    assert int((result.adversary_N > 1e-3).sum()) == 1


def test_padding_microbatches_count_for_nothing(context: Distributed) -> None:
    rows = make_rows(METHODS["dpo"], count=3)
    objective = BoundObjective(METHODS["dpo"], {}, parse("mean"))
    scorer = TextScorer(build_model(VOCABULARY)).eval()
    _, wanted = the_obvious_way(scorer, objective, rows, objective.first_state())
    scorer.zero_grad()
    plan = [[Microbatch((0, 2)), Microbatch((1,)), Microbatch((0,), padding=True)]]
    result = gradient(context, scorer, objective, rows, objective.first_state(), plan)
    assert len(result.cost_N) == 3
    for key, value in gradients(scorer).items():
        torch.testing.assert_close(value, wanted[key], rtol=1e-4, atol=1e-7)


def test_scores_come_back_in_the_order_of_the_rows(context: Distributed) -> None:
    rows = make_rows(METHODS["dpo"])
    scorer = TextScorer(build_model(VOCABULARY)).eval()
    parts = score_batch(
        context,
        scorer,
        rows.items,
        split([item.tokens for item in rows.items], processes=1, budget=25),
    )
    with torch.no_grad():
        for n, item in enumerate(rows.items):
            alone = scorer([item])
            for name in item.branches:
                assert float(parts[name].logp_N[n]) == pytest.approx(
                    float(alone[name].logp_N[0]), abs=1e-4
                )
                assert int(parts[name].length_N[n]) == len(item.branches[name])


def test_dropout_falls_in_the_second_pass_as_it_fell_in_the_first(context: Distributed) -> None:
    """With attention dropout on, the two passes must see one and the same policy: the gradient is
    then that of the loss that was read.
    """
    rows = make_rows(METHODS["dpo"], count=4)
    objective = BoundObjective(METHODS["dpo"], {}, parse("kl:temperature=0.3"))
    plan = split([1] * 4, processes=1, budget=2)
    seen: list[Tensor] = []

    class Watched(TextScorer):
        def forward(self, items: Any) -> Any:
            parts = super().forward(items)
            seen.append(parts["chosen"].logp_N.detach())
            return parts

    scorer = Watched(build_model(VOCABULARY, attention_dropout=0.5)).train()
    torch.manual_seed(0)
    gradient(context, scorer, objective, rows, objective.first_state(), plan)
    assert len(seen) == 4
    assert torch.equal(seen[0], seen[2])
    assert torch.equal(seen[1], seen[3])
    first = seen[0].clone()
    seen.clear()
    gradient(context, scorer, objective, rows, objective.first_state(), plan)
    assert not torch.equal(first, seen[0])


def test_the_state_moves_once_a_step(context: Distributed) -> None:
    rows = make_rows(METHODS["dpo"])
    objective = BoundObjective(METHODS["dpo"], {}, parse("groups:k=2,step=0.5"), ("a", "b"))
    state = objective.first_state()
    scorer = TextScorer(build_model(VOCABULARY)).eval()
    lengths = [item.tokens for item in rows.items]
    found = [
        gradient(
            context, scorer, objective, rows, state, split(lengths, processes=1, budget=b)
        ).state.reduction
        for b in (30, 10_000)
    ]
    torch.testing.assert_close(found[0]["log_weight_K"], found[1]["log_weight_K"])
    assert not torch.equal(found[0]["log_weight_K"], state.reduction["log_weight_K"])
    again = evaluate_batch(
        objective,
        score_batch(context, scorer, rows.items, split(lengths, processes=1, budget=30)),
        rows,
        state,
    )
    torch.testing.assert_close(again.state.reduction["log_weight_K"], found[0]["log_weight_K"])
