"""Statistical rejection sampling: its law by hand and by enumeration, what it states of itself, and
a model that draws.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

from holdfast.errors import DataError, OptionError
from holdfast.generation import Generation, accepted, rso, rso_table
from holdfast.generation.rso import _kept_kl, acceptance, target_kl, thinned

POLICY, REWARD, BETA = np.array([0.6, 0.3, 0.1]), np.array([0.0, 1.0, 2.0]), 0.5


def test_the_law_aimed_at_by_hand():
    """exp(-4) = .018316, exp(-2) = .135335, 1; the rate is .6 x .018316 + .3 x .135335 + .1."""
    target, rate, kl = rso_table(np.log(POLICY), REWARD, BETA)
    assert target == pytest.approx([0.072494, 0.267832, 0.659674], abs=1e-6)
    assert rate == pytest.approx(0.151590, abs=1e-6)
    assert kl == pytest.approx((target * np.log(target / POLICY)).sum())
    shifted = rso_table(np.log(POLICY), REWARD - 100, BETA)
    assert shifted[0] == pytest.approx(target)
    assert shifted[1:] == pytest.approx((rate, kl))
    with np.errstate(divide="ignore"):
        never = rso_table(np.log([0.6, 0.4, 0.0]), REWARD, BETA)
    assert never[0] == pytest.approx([0.6 * np.exp(-2), 0.4, 0] / (0.6 * np.exp(-2) + 0.4))
    with pytest.raises(DataError, match="log-probabilities"):
        rso_table([0.0, 0.0], [1.0, 2.0], 1.0)


def test_of_64_candidates_the_first_is_the_targets_and_later_ones_come_nearer_to_the_policy():
    rng = np.random.default_rng(0)
    answer_RN = rng.choice(3, size=(20_000, 64), p=POLICY)
    place_RK, tried_R = thinned(REWARD[answer_RN], 8, BETA, rng)
    kept_RK = np.take_along_axis(answer_RN, place_RK, 1)
    assert all(len(set(row)) == 8 for row in place_RK[:200].tolist())
    first = np.bincount(kept_RK[:, 0], minlength=3) / len(kept_RK)
    assert first == pytest.approx([0.0724, 0.2689, 0.6588], abs=0.011)  # 3 standard errors
    every = np.bincount(kept_RK.ravel(), minlength=3) / kept_RK.size
    assert every == pytest.approx([0.0829, 0.2965, 0.6206], abs=0.005)
    assert tried_R.min() >= 8


def exact(score: tuple[float, ...], keep: int, beta: float) -> dict[tuple[int, ...], float]:
    """The chance of each ordered outcome, over every pattern of acceptance in every pass."""
    out: dict[tuple[int, ...], float] = {}

    def passes(kept: tuple[int, ...], chance: float) -> None:
        if len(kept) == keep:
            out[kept] = out.get(kept, 0) + chance
            return
        left = [n for n in range(len(score)) if n not in kept]
        top = max(score[n] for n in left)
        for takes in product([True, False], repeat=len(left)):
            p = chance
            for n, take in zip(left, takes, strict=True):
                a = np.exp((score[n] - top) / beta)
                p *= a if take else 1 - a
            taken = [n for n, take in zip(left, takes, strict=True) if take]
            if p > 0 and taken:
                passes((*kept, *taken[: keep - len(kept)]), p)

    passes((), 1.0)
    return out


@pytest.mark.parametrize(
    ("score", "keep"), [((0.0, 1.0), 1), ((1.0, 0.0, 0.5), 2), ((0.3, 1.0, 1.0, 0.0), 3)]
)
def test_passes_equal_enumeration(score: tuple[float, ...], keep: int):
    right = exact(score, keep, 1.0)
    assert sum(right.values()) == pytest.approx(1)
    runs = 40_000
    place_RK, _ = thinned(np.tile(score, (runs, 1)), keep, 1.0, np.random.default_rng(1))
    found: dict[tuple[int, ...], int] = {}
    for row in map(tuple, place_RK.tolist()):
        found[row] = found.get(row, 0) + 1
    assert set(found) <= set(right)
    for outcome, p in right.items():
        assert found.get(outcome, 0) / runs == pytest.approx(p, abs=4 * (p / runs) ** 0.5)
    if score == (0.0, 1.0):
        assert right[(0,)] == pytest.approx(np.exp(-1))


def test_a_large_beta_keeps_the_first_and_a_small_one_the_best():
    rng = np.random.default_rng(2)
    score = rng.normal(size=(3, 10))
    texts = [[f"{p}{n}" for n in range(10)] for p in range(3)]
    loose = accepted(texts, score, keep=4, beta=1e9)
    assert loose.place_PK.tolist() == [[0, 1, 2, 3]] * 3
    assert loose.texts[1] == ("10", "11", "12", "13")
    assert loose.tried_P.tolist() == [4] * 3
    assert loose.acceptance_P == pytest.approx(1)
    assert loose.kl_target_P == pytest.approx(0)
    assert loose.kl_kept_P == pytest.approx(0, abs=0.01)
    many = accepted([["a"] * 64] * 20, rng.normal(size=(20, 64)), keep=8, beta=1e9)
    assert many.kl_kept_P.mean() < 0.004  # 0.0137 without the correction for the number of runs
    greedy = accepted(texts, score, keep=4, beta=1e-9)
    assert greedy.place_PK.tolist() == (-score).argsort(1)[:, :4].tolist()
    assert greedy.acceptance_P == pytest.approx(0.1)
    assert greedy.kl_target_P == pytest.approx(np.log(10))
    assert greedy.kl_kept_P == pytest.approx(np.log(10 / 4))
    again = accepted(texts, score + 7, keep=4, beta=0.5)  # a constant changes nothing
    once = accepted(texts, score, keep=4, beta=0.5)
    assert again.place_PK.tolist() == once.place_PK.tolist()
    assert again.kl_kept_P == pytest.approx(once.kl_kept_P)
    other = accepted(texts, score, keep=4, beta=0.5, seed=1)
    assert other.place_PK.tolist() != once.place_PK.tolist()


def test_what_it_states_tends_to_the_truth():
    _, rate, kl = rso_table(np.log(POLICY), REWARD, BETA)
    answer_N = np.random.default_rng(3).choice(3, size=200_000, p=POLICY)
    assert acceptance(REWARD[answer_N], BETA) == pytest.approx(rate, rel=0.01)
    assert target_kl(REWARD[answer_N], BETA) == pytest.approx(kl, rel=0.01)
    assert target_kl([0.0, 0.0, 0.0], 0.1) == pytest.approx(0, abs=1e-12)


def test_the_kl_of_what_is_kept_is_bounded_and_not_by_far():
    """Against the exact law of one of K kept answers, from the table's own draws."""
    rng = np.random.default_rng(4)
    answer_RN = rng.choice(3, size=(20_000, 16), p=POLICY)
    place_RK, _ = thinned(REWARD[answer_RN], 4, BETA, rng)
    law = np.bincount(np.take_along_axis(answer_RN, place_RK, 1).ravel(), minlength=3)
    law = law / law.sum()
    right = float((law * np.log(law / POLICY)).sum())
    bound = np.mean([_kept_kl(REWARD[answer_RN[r]], 4, BETA, rng) for r in range(60)])
    assert right < bound < right + 0.35
    assert bound < np.log(16 / 4)


def made(score: list[list[float]]) -> Any:
    texts = [[f"p{p}a{n}" for n in range(len(row))] for p, row in enumerate(score)]
    return accepted(texts, score, keep=len(score[0]), beta=1e9)


def test_pairs_by_hand():
    found = made([[1, 3, 2, 0, 5]])
    rows = found.pairs(["why?"])
    assert [(row["chosen"], row["rejected"]) for row in rows] == [
        ("p0a1", "p0a0"),
        ("p0a2", "p0a3"),
    ]
    assert rows[0]["prompt"] == "why?"
    rows = found.pairs(["why?"], ranking="tournament")
    assert [(row["chosen"], row["rejected"]) for row in rows[2:]] == [
        ("p0a1", "p0a2"),
        ("p0a4", "p0a1"),
    ]
    assert len(rows) == 4  # K - 1
    equal = made([[1, 1, 2, 0]]).pairs(["why?"])
    assert [row["chosen"] for row in equal] == ["p0a2"]


def test_a_judge_labels_in_both_orders_and_prompts_keep_their_own():
    asked = []

    def judge(prompts: Any, first: Any, second: Any) -> list[float]:
        asked.append((list(prompts), list(first), list(second)))
        return [0.9 if a > b else 0.3 for a, b in zip(first, second, strict=True)]  # likes a later

    rows = made([[5, 0], [7, 1]]).pairs(["x", "y"], judge)
    assert asked[0][0] == ["x", "y"]
    assert asked[1][1] == asked[0][2]
    assert [(row["prompt"], row["chosen"]) for row in rows] == [("x", "p0a1"), ("y", "p1a1")]
    biased = made([[5, 0]]).pairs(["x"], lambda prompts, first, second: [0.8] * len(first))
    assert biased == []
    with pytest.raises(OptionError, match="finite"):
        made([[5, 0]]).pairs(["x"], lambda prompts, first, second: [float("nan")])
    with pytest.raises(OptionError, match="tournament"):
        made([[5, 0]]).pairs(["x"], ranking="rounds")  # type: ignore[arg-type]


def test_a_model_draws_and_some_are_kept(tiny_model_dir: Any, tiny_tokenizer: Any):
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny_model_dir)

    def letters(prompts: Any, answers: Any) -> list[float]:
        return [float(answer.count("a")) for answer in answers]

    how: dict[str, Any] = {"candidates": 12, "keep": 3, "generation": Generation(8, seed=5)}
    found = rso(model, tiny_tokenizer, ["the cat", "a dog"], letters, **how)
    again = rso(model, tiny_tokenizer, ["the cat", "a dog"], letters, **how, rows=1)
    assert found.texts == again.texts
    assert found.place_PK.shape == (2, 3)
    assert [
        [row[n] for n in places] for row, places in zip(found.drawn, found.place_PK, strict=True)
    ] == [list(row) for row in found.texts]
    assert found.score_PN[0, 0] == found.drawn[0][0].count("a")


def test_what_it_refuses():
    with pytest.raises(OptionError, match="keep is 5"):
        accepted([["a", "b"]], [[1.0, 2.0]], keep=5, beta=1.0)
    for beta in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(OptionError, match="beta"):
            accepted([["a", "b"]], [[1.0, 2.0]], keep=1, beta=beta)
    with pytest.raises(DataError, match="answer 2 to prompt 1"):
        accepted([["a", "b"]], [[1.0, float("nan")]], keep=1, beta=1.0)
    with pytest.raises(DataError, match="as many"):
        accepted([["a"], ["b", "c"]], [[1.0], [2.0]], keep=1, beta=1.0)
    empty = accepted([], [], keep=2, beta=1.0)
    assert empty.texts == ()
    assert empty.pairs([]) == []
