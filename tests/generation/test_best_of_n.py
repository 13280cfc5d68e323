"""Best of n: its exact distribution against enumeration, its divergence within the bound, and a
model that draws.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

from holdfast.errors import DataError, OptionError
from holdfast.generation import Generation
from holdfast.generation.best_of_n import best_of_n, best_of_table, kl_bound, pick


def slow(p_NA, score_A):
    """Every tuple of draws; equals share."""
    out = np.zeros(len(score_A))
    for draws in product(range(len(score_A)), repeat=len(p_NA)):
        chance = np.prod([p_NA[i][a] for i, a in enumerate(draws)])
        top = [a for a in draws if score_A[a] == max(score_A[b] for b in draws)]
        for a in top:
            out[a] += chance / len(top)
    return out


def test_the_exact_distribution_equals_enumeration():
    rng = np.random.default_rng(0)
    for n, score in (
        (1, [3.0, 1, 2]),
        (2, [1.0, 1, 2]),
        (3, [0.0, 0, 0]),
        (4, [5.0, 2, 2, 5]),
        (5, [1.0, 4, 4]),
    ):
        p_NA = rng.dirichlet(np.ones(len(score)), n)
        assert best_of_table(np.log(p_NA), score) == pytest.approx(slow(p_NA, np.array(score)))
    p = np.array([0.5, 0.3, 0.2])
    same = best_of_table(np.log([p] * 4), [0.0, 1.0, 2.0])
    assert same == pytest.approx([0.5**4, 0.8**4 - 0.5**4, 1 - 0.8**4])
    assert best_of_table(np.log(p), [1.0, 2, 3]) == pytest.approx(p)


def test_its_divergence_is_within_the_bound_and_near_it_with_many_answers():
    rng = np.random.default_rng(1)
    for n in (2, 5, 16):
        p = rng.dirichlet(np.ones(400))
        kept = best_of_table(np.log([p] * n), rng.random(400))
        kl = float((kept * np.log(np.maximum(kept, 1e-300) / p)).sum())
        assert 0.9 * kl_bound(n) < kl < kl_bound(n)
    assert kl_bound(1) == 0


def test_picking_from_answers_at_hand():
    found = pick(
        ["a", "b"],
        [["x", "yyy", "zz"], ["long", "s", "four"]],
        lambda prompts, answers: [len(a) for a in answers],
    )
    assert found.texts == ("yyy", "long")  # the first of equals
    assert found.place_P.tolist() == [1, 0]
    assert found.score_PN.tolist() == [[1, 3, 2], [4, 1, 4]]
    assert pick([], [], len).texts == ()
    with pytest.raises(DataError, match="as many"):
        pick(["a", "b"], [["x"], ["y", "z"]], len)
    with pytest.raises(OptionError, match="finite"):
        pick(["a"], [["x"]], lambda prompts, answers: [float("nan")])
    with pytest.raises(DataError, match="log-probabilities"):
        best_of_table(np.zeros((2, 3)), [1.0, 2, 3])


SHORT = Generation(8)


def test_a_model_draws_and_the_best_is_kept(tiny_model_dir: Any, tiny_tokenizer: Any):
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny_model_dir)
    asked = []

    def letters(prompts: Any, answers: Any) -> list[float]:
        asked.append(list(prompts))
        return [float(answer.count("a")) for answer in answers]

    found = best_of_n(model, tiny_tokenizer, ["the cat", "a dog"], letters, n=4, generation=SHORT)
    assert asked == [["the cat"] * 4 + ["a dog"] * 4]
    assert [text.count("a") for text in found.texts] == found.score_PN.max(1).tolist()
    assert [len(row) for row in found.drawn] == [4, 4]
    one = best_of_n(model, tiny_tokenizer, ["the cat"], letters, n=1, generation=SHORT)
    assert one.texts[0] == one.drawn[0][0]
    with pytest.raises(OptionError, match="n is 0"):
        best_of_n(model, tiny_tokenizer, ["the cat"], letters, n=0)
