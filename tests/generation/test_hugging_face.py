"""The generator of Hugging Face models: against `generate`, against plain forwards, and against
itself in other batches.
"""

from __future__ import annotations

import warnings
from itertools import chain
from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    BloomConfig,
    FalconMambaConfig,
    Gemma2Config,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    MambaConfig,
    MistralConfig,
    MixtralConfig,
    OPTConfig,
    Phi3Config,
    Qwen2Config,
    Qwen3Config,
    RwkvConfig,
)

from holdfast.errors import ModelError, OptionError
from holdfast.generation import Answer, Generation, HuggingFaceGenerator
from holdfast.generation import hugging_face as backend
from holdfast.generation.prefix_cache import PrefixCache
from holdfast.scorers.text import TextScorer
from holdfast.types import Tokenized

VOCABULARY, CONTEXT = 150, 96
BLOCK: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": CONTEXT,
    "initializer_range": 0.2,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 3,
}
MHA = {
    name: value for name, value in BLOCK.items() if name not in ("num_key_value_heads", "head_dim")
}
GPT = {
    "vocab_size": VOCABULARY,
    "n_embd": 32,
    "n_layer": 2,
    "n_head": 4,
    "n_positions": CONTEXT,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
SHARED = {
    "llama": LlamaConfig(**BLOCK),
    "llama, one key head": LlamaConfig(
        **{**BLOCK, "num_key_value_heads": 1, "attention_bias": True}
    ),
    "mistral, window": MistralConfig(**BLOCK, sliding_window=8),
    "qwen2": Qwen2Config(**MHA, num_key_value_heads=2, tie_word_embeddings=True),
    "qwen3": Qwen3Config(**BLOCK),
    "gemma2, window and caps": Gemma2Config(
        **BLOCK,
        sliding_window=8,
        query_pre_attn_scalar=8,
        attn_logit_softcapping=2.0,
        final_logit_softcapping=5.0,
    ),
    "gpt2": GPT2Config(**GPT, initializer_range=0.2),
    "gpt_neox": GPTNeoXConfig(**MHA, rotary_pct=0.5),
    "phi3": Phi3Config(**{name: value for name, value in BLOCK.items() if name != "head_dim"}),
    "mixtral": MixtralConfig(**BLOCK, num_local_experts=4),
}
BY_GENERATE = {
    "bloom": BloomConfig(
        vocab_size=VOCABULARY, hidden_size=32, n_layer=2, n_head=4, initializer_range=0.2
    ),
    "mamba": MambaConfig(
        vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=2, state_size=4, use_mambapy=False
    ),
    "falcon mamba": FalconMambaConfig(
        vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=2, state_size=4, use_mambapy=False
    ),
    "rwkv": RwkvConfig(
        vocab_size=VOCABULARY,
        hidden_size=32,
        num_hidden_layers=2,
        context_length=64,
        intermediate_size=32,
    ),
    "dynamic rope": LlamaConfig(
        **{**BLOCK, "max_position_embeddings": 16},
        rope_parameters={"rope_type": "dynamic", "rope_theta": 1e4, "factor": 4.0},
    ),
}
PROMPTS = [
    [5, 9, 30, 7, 11],
    [40],
    [(7 * i) % 140 + 4 for i in range(37)],
    [8, 8, 8, 9, 10, 90, 31, 44, 5, 6, 7, 100],
]


def made(config: Any, seed: int = 0) -> Any:
    torch.manual_seed(seed)
    return AutoModelForCausalLM.from_config(config).eval()


@pytest.fixture(scope="module")
def llama() -> Any:
    return made(SHARED["llama"])


def how_of(max_new_tokens: int, **settings: Any) -> Generation:
    return Generation(max_new_tokens, **{"stop_ids": (), **settings})


def seeds_of(prompts: int, *, seed: int, step: int = 0) -> list[int]:
    return Generation(seed=seed).seeds(prompts, step=step)


def ids_of(answers: list[list[Answer]]) -> list[list[tuple[int, ...]]]:
    return [[answer.ids_T for answer in row] for row in answers]


def answers_of(
    model: Any, prompts: Any = PROMPTS, *, samples: int = 2, seed: int = 0, **how: Any
) -> list[list[Answer]]:
    generator = HuggingFaceGenerator(model, rows=how.pop("rows", 64))
    out = generator(
        prompts,
        samples=samples,
        seeds=seeds_of(len(prompts), seed=seed),
        generation=how_of(**{"max_new_tokens": 20, **how}),
    )
    assert generator.way == "shared", generator.reasons
    return out


def by_generate(
    model: Any, prompt: list[int], tokens: int, stop: list[int] | None = None
) -> tuple[int, ...]:
    ids = torch.tensor([prompt])
    out = model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        do_sample=False,
        max_new_tokens=tokens,
        eos_token_id=stop,
        pad_token_id=3,
    )
    return tuple(out[0, len(prompt) :].tolist())


def plain_logp(model: Any, prompt: Any, answer: Any, temperature: float = 1.0) -> torch.Tensor:
    with torch.no_grad():
        logits_TV = model(input_ids=torch.tensor([[*prompt, *answer]]), use_cache=False).logits[
            0, len(prompt) - 1 : -1
        ]
    return (logits_TV / temperature).log_softmax(-1).gather(1, torch.tensor(answer)[:, None])[:, 0]


# ------------------------------------------------------------ against generate and a plain forward


@pytest.mark.parametrize("family", SHARED)
def test_greedy_token_ids_are_those_of_generate_and_log_probabilities_those_of_a_forward(
    family: str,
) -> None:
    model = made(SHARED[family])
    answers = answers_of(model, temperature=0.0)
    for prompt, row in zip(PROMPTS, answers, strict=True):
        right = by_generate(model, prompt, 20)
        for answer in row:
            assert answer.ids_T == right
            assert answer.finish_reason == "length"
            torch.testing.assert_close(
                answer.logp_T, plain_logp(model, prompt, answer.ids_T), atol=2e-5, rtol=0
            )
            assert not answer.sampler_logp_T.any()  # a certain choice


@pytest.mark.parametrize("family", BY_GENERATE)
def test_models_that_the_cache_cannot_serve_are_generated_right_and_say_why(family: str) -> None:
    model = made(BY_GENERATE[family])
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    with pytest.warns(UserWarning, match="generates by `generate`"):
        generator = HuggingFaceGenerator(model)
        answers = generator(PROMPTS, samples=2, seeds=seeds_of(4, seed=0), generation=how_of(12))
    assert generator.way == {"dynamic rope": "uncached", "rwkv": "alone"}.get(
        family, "together"
    )  # RWKV mixes the rows of a batch
    assert generator.reasons["shared"]
    for prompt, row in zip(PROMPTS, answers, strict=True):
        assert row[0].ids_T != row[1].ids_T
        for answer in row:
            right = plain_logp if family != "dynamic rope" else logp_by_steps
            torch.testing.assert_close(
                answer.logp_T, right(model, prompt, answer.ids_T), atol=2e-5, rtol=0
            )


def logp_by_steps(model: Any, prompt: list[int], answer: tuple[int, ...]) -> torch.Tensor:
    """A forward for each token, as it was drawn: a rope that is stretched by the length reads each
    prefix in its own way.
    """
    steps = []
    with torch.no_grad():
        for t, token in enumerate(answer):
            model(
                input_ids=torch.tensor([[4]]), use_cache=False
            )  # a short sequence ends the stretch
            logits_V = model(
                input_ids=torch.tensor([[*prompt, *answer[:t]]]), use_cache=False
            ).logits[0, -1]
            steps.append(logits_V.log_softmax(-1)[token])
    return torch.stack(steps)


def test_learned_positions_that_skip_two_fall_back_or_are_right() -> None:
    model = made(
        OPTConfig(
            vocab_size=VOCABULARY,
            hidden_size=32,
            ffn_dim=48,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=CONTEXT,
            word_embed_proj_dim=32,
            init_std=0.2,
        )
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        answers = HuggingFaceGenerator(model)(
            PROMPTS, samples=1, seeds=seeds_of(4, seed=0), generation=how_of(20, temperature=0.0)
        )
    assert [row[0].ids_T for row in answers] == [
        by_generate(model, prompt, 20) for prompt in PROMPTS
    ]


def test_the_same_draws_come_from_every_way(llama: Any) -> None:
    how, seeds = (
        how_of(16, temperature=0.8, top_p=0.9, stop_ids=(17, 60)),
        seeds_of(4, seed=3),
    )
    rows = []
    for way in backend.WAYS:
        generator = HuggingFaceGenerator(llama)
        backend._found[llama] = generator._found = backend._Found(way)
        rows.append(generator(PROMPTS, samples=3, seeds=seeds, generation=how))
        assert generator.way == way
    backend._found.clear()
    for other in rows[1:]:
        for ours, theirs in zip(chain(*rows[0]), chain(*other), strict=True):
            assert (ours.ids_T, ours.finish_reason) == (theirs.ids_T, theirs.finish_reason)
            torch.testing.assert_close(
                ours.sampler_logp_T, theirs.sampler_logp_T, atol=2e-5, rtol=0
            )


def test_log_probabilities_are_the_scorers(llama: Any) -> None:
    answers = answers_of(llama, temperature=0.7)
    items = [
        Tokenized(tuple(prompt), {"answer": list(row[0].ids_T)})
        for prompt, row in zip(PROMPTS, answers, strict=True)
    ]
    with torch.no_grad():
        logp_NT = TextScorer(llama)(items)["answer"].logp_NT
    for n, (prompt, row) in enumerate(zip(PROMPTS, answers, strict=True)):
        torch.testing.assert_close(row[0].logp_T, logp_NT[n, :20], atol=2e-5, rtol=0)
        torch.testing.assert_close(
            row[0].sampler_logp_T, plain_logp(llama, prompt, row[0].ids_T, 0.7), atol=3e-5, rtol=0
        )


# ------------------------------------------------------------ an answer depends on its prompt, seed
# and number alone


def test_batches_their_order_and_other_samples_change_nothing(llama: Any) -> None:
    seeds, how = seeds_of(4, seed=1), how_of(30, stop_ids=(9, 77, 120, 55, 56, 57, 58, 59))
    whole = HuggingFaceGenerator(llama)(PROMPTS, samples=6, seeds=seeds, generation=how)
    assert {answer.finish_reason for row in whole for answer in row} == {
        "stop",
        "length",
    }  # rows leave at different times
    for order, samples, rows in (
        ([3, 1, 0, 2], 6, 64),
        ([2], 1, 64),
        ([1, 2], 4, 5),
        ([0, 1, 2, 3], 2, 1),
    ):
        part = HuggingFaceGenerator(llama, rows=rows)(
            [PROMPTS[p] for p in order],
            samples=samples,
            seeds=[seeds[p] for p in order],
            generation=how,
        )
        for p, row in zip(order, part, strict=True):
            for ours, theirs in zip(row, whole[p][:samples], strict=True):
                assert ours.ids_T == theirs.ids_T
                torch.testing.assert_close(ours.logp_T, theirs.logp_T, atol=1e-5, rtol=0)


def test_other_seeds_samples_steps_and_prompts_draw_other_answers(llama: Any) -> None:
    same = [PROMPTS[0]] * 2
    first = answers_of(llama, same, samples=2, seed=0)
    texts = {answer.ids_T for row in first for answer in row} | {
        row[0].ids_T for row in answers_of(llama, same, seed=1)
    }
    assert len(texts) == 6
    assert len({*seeds_of(50, seed=0), *seeds_of(50, seed=0, step=1), *seeds_of(50, seed=1)}) == 150
    assert answers_of(llama, same, seed=0)[0][0].ids_T == first[0][0].ids_T


def test_rows_that_are_done_leave_and_their_prompts_too(
    llama: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[tuple[int, int]] = []
    keep = PrefixCache.keep

    def looked(self: PrefixCache, rows: torch.Tensor) -> None:
        keep(self, rows)
        assert self.rows is not None
        held.append((len(rows), self.rows.prompts))

    monkeypatch.setattr(PrefixCache, "keep", looked)
    answers = answers_of(llama, samples=12, max_new_tokens=40, stop_ids=tuple(range(10, 30)))
    assert held[0][0] < 48
    assert held[-1] == (8, min(p for _, p in held))  # down to one block of rows
    for prompt, row in zip(PROMPTS, answers, strict=True):
        for answer in row:
            torch.testing.assert_close(
                answer.logp_T, plain_logp(llama, prompt, answer.ids_T), atol=2e-5, rtol=0
            )


# ------------------------------------------------------------ ends


def test_an_answer_ends_with_the_stop_token_where_generate_ends(llama: Any) -> None:
    free = by_generate(llama, PROMPTS[2], 20)
    stop = free[6]
    (row,) = answers_of(llama, [PROMPTS[2]], temperature=0.0, samples=1, stop_ids=(stop, 3))
    assert row[0].ids_T == by_generate(llama, PROMPTS[2], 20, [stop, 3])
    assert row[0].finish_reason == "stop"
    assert row[0].ids_T[-1] == stop
    assert len(row[0].logp_T) == len(row[0].ids_T) == free.index(stop) + 1


def test_an_answer_ends_at_the_context_by_length_and_a_prompt_that_fills_it_is_refused(
    llama: Any,
) -> None:
    long = [(5 * i) % 140 + 4 for i in range(CONTEXT - 4)]
    (short, row) = answers_of(llama, [PROMPTS[0], long], samples=1, max_new_tokens=10)
    assert (len(short[0].ids_T), len(row[0].ids_T)) == (10, 4)
    assert row[0].finish_reason == "length"
    with pytest.raises(OptionError, match=r"prompt 2 has 96 tokens and the model's context is 96"):
        answers_of(llama, [PROMPTS[0], [*long, 4, 4, 4, 4]])


def test_one_token_one_prompt_one_sample(llama: Any) -> None:
    ((answer,),) = answers_of(llama, [[40]], samples=1, max_new_tokens=1, temperature=0.0)
    assert answer.ids_T == by_generate(llama, [40], 1)
    assert answers_of(llama, []) == []


@pytest.mark.parametrize(
    ("prompts", "samples", "seeds", "says"),
    [
        ([[]], 1, [0], "prompt 1 has no token"),
        ([[4]], 0, [0], "0 samples"),
        ([[4]], 1, [0, 1], "2 seeds for 1 prompts"),
    ],
)
def test_what_cannot_be_asked_is_refused(
    llama: Any, prompts: Any, samples: int, seeds: Any, says: str
) -> None:
    with pytest.raises(OptionError, match=says):
        HuggingFaceGenerator(llama)(prompts, samples=samples, seeds=seeds, generation=how_of(4))


def test_weights_of_nan_are_an_error() -> None:
    model = made(SHARED["llama"])
    with torch.no_grad():
        model.lm_head.weight[0, 0] = torch.nan
    with pytest.raises(ModelError, match="not finite"):
        answers_of(model)


# ------------------------------------------------------------ verified, and the model left as it
# was


def test_a_cache_that_is_wrong_is_found_and_left_aloud(monkeypatch: pytest.MonkeyPatch) -> None:
    llama = made(SHARED["llama"])
    monkeypatch.setattr(
        "holdfast.generation.prefix_cache._product",
        lambda weight, values: weight[..., 1:] @ values[:, 1:],
    )
    generator = HuggingFaceGenerator(llama)
    with pytest.warns(UserWarning, match="differ from a plain forward's by up to"):
        answers = generator(
            PROMPTS, samples=1, seeds=seeds_of(4, seed=0), generation=how_of(8, temperature=0.0)
        )
    assert generator.way == "together"
    assert [row[0].ids_T for row in answers] == [
        by_generate(llama, prompt, 8) for prompt in PROMPTS
    ]


def test_longer_sequences_are_verified_again(monkeypatch: pytest.MonkeyPatch) -> None:
    generator, seen = HuggingFaceGenerator(made(SHARED["llama"])), []
    held = backend.largest_difference

    def looked(inner: Any, prompt: Any, answer: Any, logp_T: Any, *, whole: bool) -> Any:
        seen.append(len(prompt) + len(answer))
        return held(inner, prompt, answer, logp_T, whole=whole)

    monkeypatch.setattr(backend, "largest_difference", looked)
    for prompts, tokens in (
        (PROMPTS[:2], 6),
        (PROMPTS[:2], 6),
        (PROMPTS[:2], 5),
        (PROMPTS[1:3], 6),
        (PROMPTS[:1], 4),
    ):
        generator(prompts, samples=1, seeds=[0] * len(prompts), generation=how_of(tokens))
    assert (
        seen == [11, 7, 43, 9]
        # the longest and the shortest prompt at first, then the longer one, then a row without
        # others
    )


def test_the_model_is_as_it_was_and_its_new_weights_count(llama: Any) -> None:
    model = made(SHARED["llama"]).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    attention, forwards = model.config._attn_implementation, [m.forward for m in model.modules()]
    generator = HuggingFaceGenerator(model)
    first = generator(PROMPTS, samples=1, seeds=[0] * 4, generation=how_of(8, temperature=0.0))
    assert model.training
    assert model.config._attn_implementation == attention
    assert [m.forward for m in model.modules()] == forwards
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert model(torch.tensor([[4, 5]])).logits.requires_grad
    model.load_state_dict(made(SHARED["llama"], seed=1).state_dict())
    second = generator(PROMPTS, samples=1, seeds=[0] * 4, generation=how_of(8, temperature=0.0))
    assert ids_of(first) != ids_of(second)
