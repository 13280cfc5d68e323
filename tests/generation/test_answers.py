"""Answers drawn from a model are draws from that model: checked against its own probabilities,
whatever is saved beside it.
"""

from __future__ import annotations

import itertools
import math
import random
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

from holdfast.errors import ModelError, OptionError
from holdfast.generation import Answer, Generation, HuggingFaceGenerator, draw
from holdfast.generation import hugging_face as backend
from holdfast.generation.served import end_tokens
from holdfast.generation.text import generator_of, text_of

EOS, VOCABULARY = 1, 7


class Tokens:
    """As much of a tokenizer as generation asks of one."""

    eos_token_id, pad_token_id, bos_token_id = EOS, 0, 2

    def decode(
        self, ids: Any, skip_special_tokens: bool, clean_up_tokenization_spaces: bool
    ) -> str:
        return " ".join(str(i) for i in ids if not (skip_special_tokens and i <= 2))


def make_model(seed: int = 0, **changes: Any) -> LlamaForCausalLM:
    torch.manual_seed(seed)
    sizes = {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "max_position_embeddings": 64,
        "initializer_range": 0.6,
    }
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        eos_token_id=EOS,
        pad_token_id=0,
        bos_token_id=2,
        **(sizes | changes),
    )
    return LlamaForCausalLM(config).eval()


@pytest.fixture(scope="module")
def model() -> LlamaForCausalLM:
    return make_model()


@pytest.fixture(scope="module")
def flat() -> LlamaForCausalLM:
    """No token has more than half of the probability."""
    return make_model(initializer_range=0.2)


def answers_of(
    model: Any,
    prompts: list[list[int]],
    *,
    samples: int = 1,
    step: int = 0,
    rows: int = 4096,
    **how: Any,
) -> list[list[Answer]]:
    generation = Generation(**how)
    return HuggingFaceGenerator(model, Tokens(), rows=rows)(
        prompts,
        samples=samples,
        seeds=generation.seeds(len(prompts), step=step),
        generation=generation,
    )


def ids_of(answers: list[list[Answer]]) -> list[list[tuple[int, ...]]]:
    return [[answer.ids_T for answer in row] for row in answers]


def law_of(
    model: Any, prompt: list[int], tokens: int, temperature: float
) -> dict[tuple[int, ...], float]:
    """The probability of every answer of at most so many tokens, by one forward for each of its
    beginnings: answers end with EOS, which is part of them, or are cut off.
    """
    law: dict[tuple[int, ...], float] = {}
    open_: dict[tuple[int, ...], float] = {(): 1.0}
    for _ in range(tokens):
        longer: dict[tuple[int, ...], float] = {}
        for answer, probability in open_.items():
            with torch.no_grad():
                logits_V = model(torch.tensor([[*prompt, *answer]])).logits[0, -1].double()
            for token, share in enumerate((logits_V / temperature).softmax(-1).tolist()):
                (law if token == EOS else longer)[*answer, token] = probability * share
        open_ = longer
    return law | open_


# ------------------------------------------------------------ the distribution

DRAWS = 3000


@pytest.mark.parametrize("temperature", [1.0, 0.5])
@pytest.mark.parametrize("across", ["samples", "prompts", "seeds"])
def test_answers_come_as_often_as_the_model_says(
    flat: Any, temperature: float, across: str
) -> None:
    """Whole answers of up to 3 tokens against their exact probabilities, over many samples of one
    prompt, over one sample of many prompts, and over plain numbers as seeds.
    """
    prompt, how = [2, 5, 3], Generation(3, temperature=temperature, seed=4)
    prompts, samples = ([prompt], DRAWS) if across == "samples" else ([prompt] * DRAWS, 1)
    seeds = list(range(DRAWS)) if across == "seeds" else how.seeds(len(prompts))
    drawn = HuggingFaceGenerator(flat, Tokens(), rows=DRAWS)(
        prompts, samples=samples, seeds=seeds, generation=how
    )
    law = law_of(flat, prompt, 3, temperature)
    assert sum(law.values()) == pytest.approx(1)
    counts = dict.fromkeys(law, 0)
    for answer in itertools.chain(*drawn):
        counts[answer.ids_T] += 1
    seen, expected = np.array(list(counts.values())), DRAWS * np.array(list(law.values()))
    common = expected >= 5
    seen, expected = (np.append(each[common], each[~common].sum()) for each in (seen, expected))
    assert len(seen) > 30
    assert stats.chisquare(seen, expected).pvalue > 1e-3
    for answer in drawn[0][:50]:
        total = float(answer.sampler_logp_T.sum())
        assert total == pytest.approx(math.log(law[answer.ids_T]), abs=1e-4)  # its end included


def test_draws_of_other_samples_prompts_steps_seeds_and_places_are_independent(flat: Any) -> None:
    """Tables of two first tokens each: a draw used twice would put all counts on the diagonal."""
    count, how = 4000, {"max_new_tokens": 2, "stop_ids": ()}

    def drawn(**where: int) -> np.ndarray:
        answers = answers_of(flat, [[2, 5, 3]] * 2, samples=count, **how, **where)
        return np.array([[answer.ids_T for answer in row] for row in answers])

    of_PST = drawn(seed=3)
    base, next_seed, next_step = of_PST[0, :, 0], drawn(seed=4), drawn(seed=3, step=1)
    others = {
        "another sample": np.roll(base, 1),
        "the same sample of the next prompt": of_PST[1, :, 0],
        "the next token": of_PST[0, :, 1],
        "the next token of the next sample": np.roll(of_PST[0, :, 1], -1),
        "the next seed": next_seed[0, :, 0],
        "the next prompt at the next seed": next_seed[1, :, 0],
        "the next step": next_step[0, :, 0],
        "the next prompt at the next step": next_step[1, :, 0],
    }
    for what, other in others.items():
        table = np.zeros((VOCABULARY, VOCABULARY))
        np.add.at(table, (base, other), 1)
        table = table[table.sum(1) > 0][:, table.sum(0) > 0]
        # a next token depends on the one before through the model as well
        if what != "the next token":
            assert stats.chi2_contingency(table).pvalue > 1e-3, what
        assert table.max() < 0.5 * count


def test_settings_saved_with_the_model_do_not_narrow_it(model: Any) -> None:
    plain = answers_of(model, [[2, 3]], max_new_tokens=4, samples=100, seed=1)
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
    for way in ("shared", "together"):
        backend._found[narrow] = backend._Found(way)
        found = answers_of(narrow, [[2, 3]], max_new_tokens=4, samples=100, seed=1)
        assert ids_of(found) == ids_of(plain), way
    assert narrow.generation_config is kept and kept.top_k == 1


# ------------------------------------------------------------ ends


def test_an_answer_ends_at_the_first_end_and_keeps_it(model: Any) -> None:
    answers = answers_of(model, [[2, 3]], max_new_tokens=6, samples=200)[0]
    assert {answer.finish_reason for answer in answers} == {"stop", "length"}
    for answer in answers:
        assert (answer.finish_reason == "stop") == (answer.ids_T[-1] == EOS)
        assert EOS not in answer.ids_T[:-1]
        assert len(answer.ids_T) == 6 or answer.finish_reason == "stop"
        assert answer.prompt_ids == (2, 3)


def test_every_end_token_counts() -> None:
    other = make_model()
    other.generation_config.eos_token_id = [EOS, 4]
    assert end_tokens(other, Tokens()) == (1, 4)
    answers = answers_of(other, [[2, 3]], max_new_tokens=8, samples=200)[0]
    assert {answer.ids_T[-1] for answer in answers if answer.finish_reason == "stop"} == {1, 4}
    assert not any(token in (1, 4) for answer in answers for token in answer.ids_T[:-1])
    endless = answers_of(other, [[2, 3]], max_new_tokens=8, samples=50, stop_ids=())[0]
    assert {len(answer.ids_T) for answer in endless} == {8}


def test_a_model_without_an_end_is_refused_where_nobody_names_one() -> None:
    tokens = Tokens()
    tokens.eos_token_id = None  # type: ignore[assignment]
    bare = make_model()
    bare.generation_config.eos_token_id = None
    with pytest.raises(OptionError, match=r"which token ends an answer\nhint: .*stop_ids=\(\)"):
        HuggingFaceGenerator(bare, tokens)(
            [[2]], samples=1, seeds=[0], generation=Generation(max_new_tokens=2)
        )


# ------------------------------------------------------------ what it leaves alone


def test_same_seed_same_answers_and_no_global_state(model: Any) -> None:
    torch.manual_seed(3)
    random.seed(3)
    before, plain = torch.get_rng_state(), random.getstate()
    one, same, other = (
        ids_of(answers_of(model, [[2, 3]] * 3, max_new_tokens=4, samples=2, seed=seed))
        for seed in (7, 7, 8)
    )
    assert one == same and one != other
    assert torch.equal(before, torch.get_rng_state()) and plain == random.getstate()


def test_dropout_is_off_meanwhile_and_the_mode_is_given_back() -> None:
    model = make_model(attention_dropout=0.9).train()
    how: dict[str, Any] = {"max_new_tokens": 5, "temperature": 0.0}
    greedy = ids_of(answers_of(model, [[2, 3, 4]], **how))
    assert model.training
    assert greedy == ids_of(answers_of(make_model(), [[2, 3, 4]], **how))


def test_a_model_that_does_not_generate_as_its_forward_says_is_refused_by_name() -> None:
    """Whatever the way: even without a cache the tokens are held against a forward."""
    model = make_model()
    honest = type(model).forward

    def crooked(self: Any, *args: Any, use_cache: Any = None, **more: Any) -> Any:
        out = honest(self, *args, use_cache=use_cache, **more)
        if more.get("attention_mask") is not None:  # as `generate` asks, and a scorer does not
            out.logits = out.logits.flip(-1)
        return out

    model.forward = crooked.__get__(model)
    backend._found[model] = backend._Found("uncached")
    with pytest.raises(ModelError, match="LlamaForCausalLM does not generate what its own forward"):
        answers_of(model, [[2, 3, 5]], max_new_tokens=3, temperature=0.0)


# ------------------------------------------------------------ text


def test_progress_is_told(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []

    class Bar:
        def __init__(self, label: str, total: int):
            told.append((label, total))

        def __enter__(self) -> Any:
            return told.append

        def __exit__(self, *_: Any) -> None: ...

    monkeypatch.setattr(backend, "answer_bar", Bar)
    generator = HuggingFaceGenerator(model, Tokens(), rows=4, bar="answers of the policy")
    prompts = [[2, 3, 4, 5], [2], [2, 3]]
    found = generator(prompts, samples=2, seeds=[0, 1, 2], generation=Generation(2))
    assert told == [("answers of the policy", 6), 4, 2]
    assert [row[0].prompt_ids for row in found] == [tuple(prompt) for prompt in prompts]


def test_text_leaves_special_tokens_out() -> None:
    nothing = torch.zeros(3)
    assert text_of(Tokens(), Answer((2,), (5, 6, EOS), nothing, nothing, "stop")) == "5 6"


def test_another_generator_takes_the_place_of_the_model(tiny_tokenizer: Any) -> None:
    """What a backend is asked, and that its token ids come out as text."""
    asked: list[Any] = []

    class Server:
        repeatable = False

        def __call__(
            self, prompt_ids: Any, *, samples: int, seeds: Any, generation: Generation
        ) -> list[list[Answer]]:
            asked.append((len(prompt_ids), samples, tuple(seeds), generation))
            ids = tuple(tiny_tokenizer(" the cat", add_special_tokens=False)["input_ids"])
            logp_T = torch.zeros(len(ids))
            return [
                [Answer(tuple(prompt), ids, logp_T, None, "length")] * samples
                for prompt in prompt_ids
            ]

    server, how = Server(), Generation(9, top_p=0.9, seed=5)
    assert generator_of(server, tiny_tokenizer) is server
    texts = draw(server, tiny_tokenizer, ["why", "because"], samples=3, generation=how, step=2)
    assert texts == [["the cat"] * 3] * 2
    assert asked == [(2, 3, tuple(how.seeds(2, step=2)), how)]
