"""Reward models are read where Hugging Face reads them, packed or not."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch
from transformers import (
    Gemma2Config,
    Gemma2ForSequenceClassification,
    GPT2Config,
    GPT2ForSequenceClassification,
    GPTNeoXConfig,
    GPTNeoXForSequenceClassification,
    LlamaConfig,
    LlamaForSequenceClassification,
    Phi3Config,
    Phi3ForSequenceClassification,
    Qwen3Config,
    Qwen3ForSequenceClassification,
    StableLmConfig,
    StableLmForSequenceClassification,
)

from holdfast.scorers.judge import JudgeScorer
from holdfast.types import Tokenized

SMALL = {
    "vocab_size": 60,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "pad_token_id": 1,
    "num_labels": 3,
}
FAMILIES: dict[str, Any] = {
    "llama": lambda: LlamaForSequenceClassification(LlamaConfig(**SMALL, intermediate_size=48)),
    "qwen3": lambda: Qwen3ForSequenceClassification(
        Qwen3Config(**SMALL, intermediate_size=48, num_key_value_heads=2, head_dim=8)
    ),
    "gemma2": lambda: Gemma2ForSequenceClassification(
        Gemma2Config(**SMALL, intermediate_size=48, num_key_value_heads=2, head_dim=8)
    ),
    "gpt-neox": lambda: GPTNeoXForSequenceClassification(
        GPTNeoXConfig(**SMALL, intermediate_size=48)
    ),
    "gpt2": lambda: GPT2ForSequenceClassification(
        GPT2Config(vocab_size=60, n_embd=32, n_layer=2, n_head=4, pad_token_id=1, num_labels=3)
    ),
}


def items(rows: int, seed: int = 0) -> list[Tokenized]:
    rng = random.Random(seed)
    ids = lambda low, high: [rng.randrange(2, 60) for _ in range(rng.randint(low, high))]  # noqa: E731
    return [
        Tokenized([0, *ids(1, 9)], {"chosen": [*ids(1, 7), 1], "rejected": [*ids(1, 7), 1]}, n)
        for n in range(rows)
    ]


@pytest.mark.parametrize("family", FAMILIES)
def test_packed_equals_plain_and_plain_is_the_models_own_reading(family: str):
    torch.manual_seed(0)
    model = FAMILIES[family]().double().eval()
    scorer = JudgeScorer(model, prompt="prompt")
    rows = items(5)
    found = scorer.verify(rows)
    assert found.used == "packed" and not found.fell_back and found.worst_nats < 1e-6
    parts = scorer(rows)
    assert list(parts) == ["chosen", "rejected", "prompt"] and parts["chosen"].logp_NT.shape == (
        5,
        3,
    )
    for name in ("chosen", "rejected"):  # row by row, as anyone would ask it
        for n, row in enumerate(rows):
            own = model(input_ids=torch.tensor([[*row.prompt, *row.branches[name]]])).logits[0]
            assert torch.allclose(parts[name].logp_NT[n], own, atol=1e-6)
    own = model(input_ids=torch.tensor([rows[2].prompt])).logits[0]
    assert torch.allclose(parts["prompt"].logp_NT[2], own, atol=1e-6)


BEYOND = {
    "rope_type": "longrope",
    "rope_theta": 1e4,
    "short_factor": [1.0] * 4,
    "long_factor": [8.0] * 4,
}
FURTHER: dict[str, tuple[str, Any]] = {
    "stablelm": (
        "padded",
        lambda: StableLmForSequenceClassification(
            StableLmConfig(**SMALL, intermediate_size=48, num_key_value_heads=4)
        ),
    ),
    "phi3, rope by length": (
        "packed",
        lambda: Phi3ForSequenceClassification(
            Phi3Config(
                **SMALL,
                intermediate_size=48,
                max_position_embeddings=64,
                original_max_position_embeddings=9,
                rope_parameters={**BEYOND, "original_max_position_embeddings": 9},
            )
        ),
    ),
}


@pytest.mark.parametrize("family", FURTHER)
@pytest.mark.parametrize("asked", ["packed", "padded"])
def test_what_cannot_pack_and_what_hangs_on_length_is_read_as_if_alone(family: str, asked: Any):
    """With rows, and prompts beside their own answers, on both sides of the length where the rope
    changes.
    """
    path, make = FURTHER[family]
    torch.manual_seed(0)
    model = make().eval()
    for parameter in model.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.2)
    scorer = JudgeScorer(model, prompt="prompt", scoring=asked)
    rows = items(8)
    assert len({len(row.prompt) + len(row.branches["chosen"]) > 9 for row in rows}) == 2
    parts = scorer(rows)
    assert scorer.scoring == ("padded" if asked == "padded" else path)
    assert list(parts) == ["chosen", "rejected", "prompt"]
    for n, row in enumerate(rows):
        for name, ids in {**row.branches, "prompt": []}.items():
            own = model(input_ids=torch.tensor([[*row.prompt, *ids]])).logits[0]
            assert torch.allclose(parts[name].logp_NT[n], own, atol=1e-5), (n, name)


def test_an_end_that_doubles_as_padding_is_not_what_is_read():
    """Token 1 ends every answer and is the padding: the token before it is read, so what follows an
    answer cannot matter.
    """
    torch.manual_seed(1)
    model = FAMILIES["llama"]().eval()
    scorer = JudgeScorer(model)
    (row,) = items(1)
    bare = Tokenized(row.prompt, {name: ids[:-1] for name, ids in row.branches.items()})
    empty = Tokenized(row.prompt, {"chosen": [1], "rejected": [1]})
    assert torch.allclose(
        scorer([row])["chosen"].logp_NT, scorer([bare])["chosen"].logp_NT, atol=1e-6
    )
    at_prompt = JudgeScorer(model, prompt="prompt")([row])["prompt"].logp_NT
    assert torch.allclose(scorer([empty])["chosen"].logp_NT, at_prompt, atol=1e-6)


def test_gradients_flow_alike_on_both_paths():
    torch.manual_seed(2)
    model = FAMILIES["llama"]().double()
    slopes = []
    for scoring in ("packed", "padded"):
        model.zero_grad()
        parts = JudgeScorer(model, scoring=scoring)(items(3))
        (parts["chosen"].logp_NT - parts["rejected"].logp_NT).pow(2).sum().backward()
        slopes.append({name: p.grad.clone() for name, p in model.named_parameters()})
    for name, slope in slopes[0].items():
        assert torch.allclose(slope, slopes[1][name], atol=1e-5), name
