"""Revisions at inference stand under the very prompt that training uses, and follow one another."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from holdfast.data import tokenize
from holdfast.errors import OptionError
from holdfast.generation import Answer, Generation
from holdfast.generation.revise import revise
from holdfast.inputs import revision
from holdfast.types import Row, Where


def test_each_round_shows_the_last_under_the_training_prompt(
    tiny_tokenizer: Any,
):
    """The prompt's ids equal those of the tree that `tokenize` makes of a pair whose rejected
    answer is the one shown.
    """
    asked: list[Any] = []

    class Backend:
        repeatable = True

        def __call__(self, prompt_ids: Any, **how: Any) -> list[list[Answer]]:
            asked.append([list(ids) for ids in prompt_ids])
            text = f" cat {len(asked)}"
            ids = tuple(tiny_tokenizer(text, add_special_tokens=False)["input_ids"])
            logp_T = torch.zeros(len(ids))
            return [[Answer(tuple(p), ids, logp_T, logp_T, "length")] for p in prompt_ids]

    rounds = revise(Backend(), tiny_tokenizer, ["why the cat", "the dog"], [" a dog", ""], steps=2)
    assert rounds == [[" a dog", ""], ["cat 1", "cat 1"], ["cat 2", "cat 2"]]
    for shown, ids in ((" a dog", asked[0][0]), ("cat 1", asked[1][0])):
        pair = Row(Where("f", 1), prompt="why the cat", chosen=" a bird", rejected=shown)
        (item,) = tokenize([pair], tiny_tokenizer, needs=(revision,)).items
        assert (
            next(tree.prompt for tree in item.others if "chosen_given_rejected" in tree.branches)
            == ids
        )


def test_a_model_revises(tiny_model_dir: Any, tiny_tokenizer: Any):
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny_model_dir)
    before = torch.get_rng_state()
    first = revise(
        model,
        tiny_tokenizer,
        ["the cat", "a dog on the hill"],
        ["sat", "ran"],
        steps=2,
        generation=Generation(6, seed=1),
    )
    again = revise(
        model,
        tiny_tokenizer,
        ["the cat", "a dog on the hill"],
        ["sat", "ran"],
        steps=2,
        generation=Generation(6, seed=1),
    )
    other = revise(
        model,
        tiny_tokenizer,
        ["the cat", "a dog on the hill"],
        ["sat", "ran"],
        steps=2,
        generation=Generation(6, seed=2),
    )
    assert (
        first == again
        and first[1:] != other[1:]
        and [len(answers) for answers in first] == [2, 2, 2]
    )
    assert torch.equal(torch.get_rng_state(), before)


def test_nothing_to_revise_and_answers_that_do_not_fit_the_prompts(tiny_tokenizer: Any):
    assert revise(None, tiny_tokenizer, ["a"], ["b"], steps=0) == [["b"]]
    assert revise(None, tiny_tokenizer, [], [], steps=2) == [[]]
    for prompts, answers, steps in ((["a"], [], 1), (["a"], ["b"], -1)):
        with pytest.raises(OptionError, match="hint: one answer for each prompt"):
            revise(None, tiny_tokenizer, prompts, answers, steps=steps)
