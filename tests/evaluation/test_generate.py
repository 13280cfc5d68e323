"""Answers drawn from a model are draws from that model: checked against its own probabilities,
whatever is saved beside it.
"""

import random
from collections import Counter

import numpy as np
import pytest
import torch
from scipy import stats
from transformers import (
    AutoModelForCausalLM,
    FalconMambaConfig,
    GenerationConfig,
    LlamaConfig,
    LlamaForCausalLM,
    MambaConfig,
    RwkvConfig,
)

from holdfast.errors import ModelError, OptionError
from holdfast.evaluation import generate as module
from holdfast.evaluation.generate import WAYS, Batching, Generated, end_tokens, generate, text_of

EOS = 1


class Tokens:
    """As much of a tokenizer as generation asks of one."""

    eos_token_id, pad_token_id, bos_token_id = EOS, 0, 2

    def decode(self, ids, skip_special_tokens, clean_up_tokenization_spaces):
        return " ".join(str(i) for i in ids if not (skip_special_tokens and i <= 2))


def make_model(vocabulary=7, seed=0, **changes):
    torch.manual_seed(seed)
    sizes = {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "max_position_embeddings": 64,
    }
    config = LlamaConfig(
        vocab_size=vocabulary,
        initializer_range=0.6,
        eos_token_id=EOS,
        pad_token_id=0,
        bos_token_id=2,
        **(sizes | changes),
    )
    return LlamaForCausalLM(config).eval()


@pytest.fixture(scope="module")
def model():
    return make_model()


def first_token_law(model, prompt, temperature=1.0):
    with torch.no_grad():
        return (
            (model(torch.tensor([prompt])).logits[0, -1] / temperature).double().softmax(-1).numpy()
        )


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_first_tokens_follow_the_model(model, temperature):
    prompts = [[2, 3], [2, 4, 5, 6, 3]]  # of two lengths, so that the shorter is padded
    found = generate(
        model,
        Tokens(),
        prompts,
        max_new_tokens=1,
        samples=1500,
        temperature=temperature,
        seed=1,
        batch=500,
    )
    for prompt, answers in zip(prompts, found, strict=True):
        law = first_token_law(model, prompt, temperature)
        counts = Counter(answer.ids[0] for answer in answers)
        assert stats.chisquare([counts[v] for v in range(7)], law * 1500).pvalue > 1e-3


def test_settings_saved_with_the_model_do_not_narrow_it(model):
    plain = generate(model, Tokens(), [[2, 3]], max_new_tokens=4, samples=100, seed=1)
    narrow = make_model()
    narrow.generation_config = GenerationConfig(
        do_sample=True,
        top_k=1,
        top_p=0.1,
        temperature=0.1,
        repetition_penalty=9.0,
        min_new_tokens=4,
        eos_token_id=EOS,
        pad_token_id=0,
    )
    kept = narrow.generation_config
    assert generate(narrow, Tokens(), [[2, 3]], max_new_tokens=4, samples=100, seed=1) == plain
    assert narrow.generation_config is kept and kept.top_k == 1


def test_an_answer_ends_at_the_first_end_and_keeps_it(model):
    answers = generate(model, Tokens(), [[2, 3]], max_new_tokens=6, samples=200, seed=0)[0]
    assert {answer.ended for answer in answers} == {True, False}
    for answer in answers:
        assert answer.ended == (answer.ids[-1] == EOS)
        assert EOS not in answer.ids[:-1]
        assert answer.length == 6 or answer.ended
        assert answer.prompt == (2, 3)


def test_greedy_is_the_argmax_step_by_step(model):
    prompt = [2, 5, 4]
    found = generate(model, Tokens(), [prompt], max_new_tokens=5, temperature=0.0)[0][0]
    ids = list(prompt)
    for token in found.ids:
        assert token == int(np.argmax(first_token_law(model, ids)))
        ids.append(token)


def test_padding_changes_nothing_for_greedy(model):
    prompts = [[2, 3], [2, 4, 5, 6, 3], [2, 6, 6]]
    together = generate(model, Tokens(), prompts, max_new_tokens=5, temperature=0.0)
    apart = [
        generate(model, Tokens(), [prompt], max_new_tokens=5, temperature=0.0)[0]
        for prompt in prompts
    ]
    assert together == apart


SMALL = {
    "vocab_size": 60,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "eos_token_id": EOS,
    "pad_token_id": 0,
    "bos_token_id": 2,
}
LLAMA = {**SMALL, "intermediate_size": 32, "num_attention_heads": 2}
DYNAMIC = {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 4.0}
FAMILIES = {  # the config, and how its model may be given prompts of several lengths
    "mamba": (MambaConfig(**SMALL, state_size=4), Batching()),
    "falcon mamba": (FalconMambaConfig(**SMALL, state_size=4), Batching()),
    "rwkv": (
        RwkvConfig(**SMALL, context_length=64, intermediate_size=32),
        Batching(padded=False, several=False),
    ),
    "dynamic rope": (
        LlamaConfig(**LLAMA, max_position_embeddings=8, rope_parameters=DYNAMIC),
        WAYS[-1],
    ),
}


@pytest.mark.parametrize("case", FAMILIES)
def test_a_batch_goes_on_as_each_prompt_alone(case, monkeypatch):
    config, how = FAMILIES[case]
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.4)
    prompts = [[2, 3], [2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13], [7, 4, 9], [5, 5]]
    together = generate(model, Tokens(), prompts, max_new_tokens=8, temperature=0.0)
    for prompt, answers in zip(prompts, together, strict=True):
        ids = list(prompt)
        for token in answers[0].ids:
            assert token == int(np.argmax(first_token_law(model, ids)))
            ids.append(token)
    assert set(module._found[model].values()) == {how}
    if how != Batching():  # and a padded batch would have said something else
        monkeypatch.setattr(module, "batching_of", lambda *_: Batching())
        assert generate(model, Tokens(), prompts, max_new_tokens=8, temperature=0.0) != together


def test_a_model_that_does_not_go_on_as_its_forward_says_is_refused_by_name():
    model, honest = make_model(), LlamaForCausalLM.generate
    model.generate = lambda *args, **more: (
        setattr(out := honest(model, *args, **more), "logits", [x.flip(-1) for x in out.logits])
        or out
    )
    with pytest.raises(ModelError, match="LlamaForCausalLM does not generate what its own forward"):
        generate(model, Tokens(), [[2, 3, 5]], max_new_tokens=3, temperature=0.0)


def test_same_seed_same_answers_and_no_global_state(model):
    torch.manual_seed(3)
    random.seed(3)
    before, plain = torch.get_rng_state(), random.getstate()
    one = generate(model, Tokens(), [[2, 3]] * 3, max_new_tokens=4, samples=2, seed=7)
    assert one == generate(model, Tokens(), [[2, 3]] * 3, max_new_tokens=4, samples=2, seed=7)
    assert one != generate(model, Tokens(), [[2, 3]] * 3, max_new_tokens=4, samples=2, seed=8)
    assert torch.equal(before, torch.get_rng_state()) and plain == random.getstate()


def test_dropout_is_off_meanwhile_and_the_mode_is_given_back():
    model = make_model(attention_dropout=0.9).train()
    greedy = generate(model, Tokens(), [[2, 3, 4]], max_new_tokens=5, temperature=0.0)
    assert model.training
    assert greedy == generate(
        make_model(), Tokens(), [[2, 3, 4]], max_new_tokens=5, temperature=0.0
    )


def test_every_end_token_counts(model):
    other = make_model()
    other.generation_config.eos_token_id = [EOS, 4]
    assert end_tokens(other, Tokens()) == [1, 4]
    answers = generate(other, Tokens(), [[2, 3]], max_new_tokens=8, samples=200, seed=0)[0]
    assert {answer.ids[-1] for answer in answers if answer.ended} == {1, 4}
    assert not any(token in (1, 4) for answer in answers for token in answer.ids[:-1])


def test_progress_is_told_and_order_is_kept(model):
    done = []
    found = generate(
        model,
        Tokens(),
        [[2, 3, 4, 5], [2], [2, 3]],
        max_new_tokens=2,
        samples=2,
        batch=4,
        progress=done.append,
    )
    assert done == [4, 2]
    assert [row[0].prompt for row in found] == [(2, 3, 4, 5), (2,), (2, 3)] and all(
        len(row) == 2 for row in found
    )


def test_text_leaves_marks_out():
    assert text_of(Tokens(), Generated((2,), (5, 6, EOS), True)) == "5 6"


def test_bad_settings_are_refused(model):
    with pytest.raises(OptionError, match="must be positive"):
        generate(model, Tokens(), [[2]], max_new_tokens=0)
    tokens = Tokens()
    tokens.eos_token_id = None
    bare = make_model()
    bare.generation_config.eos_token_id = None
    with pytest.raises(OptionError, match="which token ends an answer"):
        generate(bare, tokens, [[2]], max_new_tokens=2)
