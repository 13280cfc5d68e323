"""The kinds of reward models against numbers worked by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from holdfast.card import settings_of
from holdfast.errors import NeedError, OptionError
from holdfast.inputs import confidence as sure
from holdfast.inputs import margin
from holdfast.rewards import REWARDS, bradley_terry, general_preference, get, skew_score
from holdfast.rewards.general_preference import embedding_of
from holdfast.rewards.kind import PROMPT
from holdfast.types import Pairs, Scored

WITH_MARGIN = ("margin_bradley_terry",)


def head(rows: list[list[float]]) -> Scored:
    values = torch.tensor(rows, dtype=torch.float64)
    return Scored(values, torch.ones_like(values))


def pairs(chosen, rejected, prompt=None, confidence=None) -> Pairs:
    extra = {} if prompt is None else {PROMPT: head(prompt)}
    return Pairs(
        head(chosen),
        head(rejected),
        {} if confidence is None else {sure: torch.tensor(confidence)},
        extra=extra,
    )


def on_circle(degrees: float) -> list[float]:
    return [math.cos(math.radians(degrees)), math.sin(math.radians(degrees))]


def test_bradley_terry_by_hand():
    """r = 2 against 0.5: log(1 + e^-1.5) = 0.201413; with confidence 0.9 it costs 0.1 x 1.5 more; a
    wrong pair costs 1.701413.
    """
    cost_N = bradley_terry(
        pairs([[2.0], [2.0], [0.5]], [[0.5], [0.5], [2.0]], confidence=[1.0, 0.9, 1.0])
    )
    assert cost_N.tolist() == pytest.approx([0.201413, 0.351413, 1.701413], abs=1e-6)


def test_three_answers_a_third_of_a_turn_apart_beat_each_other():
    """s(0 beats 1) = sin 120 = 0.866025, s(0 beats 2) = -0.866025; at tau 0.1 P = 0.999827 and the
    cost 0.000173325.
    """
    v = [on_circle(a) + [0.0] for a in (0, 120, 240)]
    cost_N = general_preference(
        pairs([v[0], v[1], v[2]], [v[1], v[2], v[0]], [[0.0] * 3] * 3), dim=2, tau=0.1
    )
    assert cost_N.tolist() == pytest.approx([0.000173325] * 3, rel=1e-4)
    table = skew_score(torch.tensor(v)[:, None, :2], torch.tensor(v)[None, :, :2])
    assert table[0].tolist() == pytest.approx([0.0, 0.866025, -0.866025], abs=1e-6)


def test_the_sign_is_the_one_that_contains_bradley_terry():
    v = torch.tensor([[2.0, 1.0], [0.5, 1.0], [-1.0, 1.0]])
    table = skew_score(v[:, None], v[None])
    assert torch.allclose(table, v[:, None, 0] - v[None, :, 0])


def test_a_score_turns_around_when_the_answers_change_places():
    dice = torch.Generator().manual_seed(0)
    first, second, prompt = (
        torch.randn(5, 9, generator=dice, dtype=torch.float64) for _ in range(3)
    )
    score = get("general_preference").score
    assert torch.allclose(
        score(first, second, prompt, dim=6, tau=0.3), -score(second, first, prompt, dim=6, tau=0.3)
    )
    assert score(first, first, prompt, dim=6, tau=0.3).abs().max() == 0
    assert score(first, second, prompt, dim=6, tau=0.3).abs().max() <= 3 / 0.3


def test_the_gate_is_read_at_the_prompt_alone_and_has_mean_one():
    """Two planes; outputs log 3 and 0 at the prompt: softmax (3/4, 1/4), gate (1.5, 0.5). Scores
    0.5 and 0: 0.75 in all.
    """
    half = math.sqrt(0.5)
    first = [[half, 0.0, half, 0.0, 7.0, 7.0]]  # the last two are the gate's, not read here
    second = [[0.0, half, half, 0.0, -7.0, 3.0]]
    method = get("general_preference")
    prompt = head([[9.0, 9.0, 9.0, 9.0, math.log(3), 0.0]]).logp_NT
    logit = method.score(head(first).logp_NT, head(second).logp_NT, prompt, dim=4, tau=1.0)
    assert logit.tolist() == pytest.approx([0.75])


@pytest.mark.parametrize("answers", [2, 3, 5, 6])
def test_any_skew_table_is_expressed(answers: int):
    dice = torch.Generator().manual_seed(answers)
    raw = torch.randn(answers, answers, generator=dice, dtype=torch.float64)
    table = raw - raw.T
    v = embedding_of(table)
    assert v.shape == (answers, 2 * (answers // 2))
    assert torch.allclose(skew_score(v[:, None], v[None]), table, atol=1e-12)
    assert torch.allclose(
        skew_score(embedding_of(0 * table)[:, None], embedding_of(0 * table)[None]), 0 * table
    )


@pytest.mark.parametrize("name", REWARDS)
def test_every_kind_is_whole(name: str):
    """Named as its table says, as wide as its head, one cost a pair, its card's cost where nothing
    is known, a lower cost for a lead in the label's favor, gradients as finite differences.
    """
    method = get(name)
    settings = {key: parameter.default for key, parameter in settings_of(method.objective).items()}
    width = method.width(**settings)
    assert method.name == name and method.card.paper.title
    dice = torch.Generator().manual_seed(1)
    parts = [
        torch.randn(4, width, generator=dice, dtype=torch.float64, requires_grad=True)
        for _ in range(3)
    ]

    def cost(chosen, rejected, prompt):
        ones = torch.ones_like(chosen)
        columns = {margin: torch.full((len(chosen),), 0.5)} if name in WITH_MARGIN else {}
        return method.objective(
            Pairs(
                Scored(chosen, ones),
                Scored(rejected, ones),
                columns,
                extra={PROMPT: Scored(prompt, ones)},
            ),
            **settings,
        )

    assert cost(*parts).shape == (4,)
    if method.card.at_reference is not None:
        start = method.card.at_reference(**settings)
        assert cost(parts[0], parts[0], parts[2]).tolist() == pytest.approx([start] * 4)
    if method.scalar:
        ahead, behind = torch.zeros(2, 4, width, dtype=torch.float64)
        ahead[:, 0], behind[:, 0] = 0.3, -0.3
        assert (cost(ahead, behind, parts[2]) < cost(behind, ahead, parts[2])).all()
        assert (method.score(ahead, behind, None, **settings) > 0).all()
    if not method.card.stop_gradient:
        assert torch.autograd.gradcheck(lambda *p: cost(*p).sum(), parts)


def test_refusals():
    with pytest.raises(OptionError, match="did you mean bradley_terry"):
        get("bradley-terry")
    two = [[0.0] * 3]
    for settings in ({"dim": 3}, {"dim": 0}, {"tau": 0.0}, {"tau": math.nan}):
        with pytest.raises(OptionError):
            general_preference(pairs(two, two, two), **settings)
    with pytest.raises(NeedError, match="prompt"):
        general_preference(pairs(two, two), dim=2)
    assert np.isfinite(bradley_terry(pairs([[1e6]], [[-1e6]])).numpy()).all()
