"""Worlds whose preferences are cyclic know their own answers."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from holdfast.lab.worlds import cyclic_text, text
from holdfast.lab.worlds.cycles import agreement, gold_logits, noisy_pairs
from holdfast.models.load import load_policy, load_tokenizer
from holdfast.models.small import small_model


@pytest.mark.parametrize(("answers", "beaten"), [(3, 1), (4, 1), (6, 2)])
def test_on_a_circle_everyone_beats_as_many_as_beat_them(answers: int, beaten: int):
    gold = gold_logits([0, 1], answers, circular=True)
    assert torch.allclose(gold, -gold.transpose(-1, -2), atol=1e-12)
    assert ((gold > 1e-9).sum(-1) == beaten).all()
    ladder = gold_logits([0], answers, circular=False)
    assert sorted((ladder[0, 0] > 0).sum(-1).tolist()) == list(range(answers))


def test_a_ranking_reaches_two_of_three_on_a_triple_and_no_more():
    gold = gold_logits([3], 3, circular=True)
    scores = [
        agreement(
            torch.tensor(r)[None, None, :, None].expand(1, 8, 3, 1) - torch.tensor(r), gold
        ).item()
        for r in ([2.0, 1.0, 0.0],)
    ]
    assert all(1 / 3 - 1e-9 <= score <= 2 / 3 + 1e-9 for score in scores)
    assert (
        agreement(gold, gold).item() == 1
        and agreement(-gold, gold).item() == 0
        and agreement(0 * gold, gold).item() == 0.5
    )


def test_noise_follows_the_gold_log_odds():
    gold = gold_logits([5], 4, circular=True)
    s, i, j = noisy_pairs(gold, 40_000, [5])
    chosen = gold[0][s[0], i[0], j[0]]
    for size in (4.0,):
        share = (chosen[chosen.abs() > size - 0.01] > 0).double().mean().item()
        assert share == pytest.approx(1 / (1 + np.exp(-size)), abs=0.01)
    assert (i != j).all()


def test_the_planted_cycle_and_its_winner():
    assert np.allclose(cyclic_text.PREF_CC + cyclic_text.PREF_CC.T, 1)
    winner, start = cyclic_text.WINNER[None], np.array([[0.15, 0.15, 0.7, 0.0]])
    assert cyclic_text.exploitability(winner) == pytest.approx(0.0, abs=1e-12)
    assert cyclic_text.exploitability(start) == pytest.approx(0.235)
    assert cyclic_text.judge(
        ["x"] * 3,
        ["the kind oak", "the grim oak", "oak"],
        ["the grim cold", "the merry oak", "the kind oak"],
    ) == [
        0.8,
        0.9,
        0.05,
    ]


def test_tones_are_the_models_own_probabilities(tmp_path):
    """Against counting: share of tones among many drawn answers of a small random model that knows
    few words.
    """
    prompts = text.all_prompts()[:2]
    rng = random.Random(0)
    words = [f"{p} {cyclic_text.sample_answer(p, rng)}" for p in prompts for _ in range(30)]
    folder = small_model(
        words, tmp_path / "m", vocab=300, hidden=16, layers=1, heads=2, max_tokens=64
    )
    model, tokenizer = load_policy(folder), load_tokenizer(folder)
    share = cyclic_text.tones(model, tokenizer, prompts)
    assert share.shape == (2, 4) and np.allclose(share.sum(1), 1) and (share >= -1e-9).all()
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": prompts[0]}], add_generation_prompt=True, tokenize=False
    )
    ids = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    total = 0.0
    for word in text.TONES["warm"]:  # one word after another, by plain forwards
        answer = tokenizer(f"the {word}", add_special_tokens=False)["input_ids"]
        with torch.no_grad():
            logp = model(torch.tensor([[*ids, *answer]])).logits[0].log_softmax(-1)
        total += float(sum(logp[len(ids) + t - 1, token] for t, token in enumerate(answer)).exp())
    assert share[0, 0] == pytest.approx(total, rel=1e-4)
