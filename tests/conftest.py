"""Shared by all tests: a tiny Llama made on the spot, its tokenizer trained on the spot, and rows
of preference pairs.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from tests import slow

torch.set_num_threads(1)  # models here are so small that threads only wait for each other

WORDS = (
    *(
        "the",
        "a",
        "cat",
        "dog",
        "bird",
        "tree",
        "mat",
        "hill",
        "sat",
        "ran",
        "saw",
        "said",
        "on",
        "under",
        "and",
    ),
    *("red", "blue", "happy", "sad", "very", "quick", "slow", "yes", "no", "why", "because"),
)


def sentence(rng: random.Random, low: int, high: int) -> str:
    return " ".join(rng.choice(WORDS) for _ in range(rng.randint(low, high)))


def build_tokenizer() -> PreTrainedTokenizerFast:
    rng = random.Random(0)
    corpus = [sentence(rng, 3, 12) for _ in range(200)]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", tokenizer.token_to_id("<s>"))]
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>")


def build_model(vocabulary: int, *, seed: int = 0, **changes: Any) -> LlamaForCausalLM:
    torch.manual_seed(seed)
    settings = {
        "vocab_size": vocabulary,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 256,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "initializer_range": 0.1,
    }
    return LlamaForCausalLM(LlamaConfig(**{**settings, **changes})).eval()


@pytest.fixture(scope="session")
def tiny_tokenizer() -> PreTrainedTokenizerFast:
    return build_tokenizer()


@pytest.fixture(scope="session")
def tiny_model_dir(
    tmp_path_factory: pytest.TempPathFactory, tiny_tokenizer: PreTrainedTokenizerFast
) -> Path:
    """A folder as a model hub would serve it: config, safetensors, tokenizer. Never write into
    it.
    """
    folder = tmp_path_factory.mktemp("tiny") / "model"
    build_model(len(tiny_tokenizer)).save_pretrained(folder)
    tiny_tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def pair_rows() -> list[dict[str, Any]]:
    """48 comparisons as people write them, of three groups: the chosen answer mentions a cat, the
    rejected one does not.
    """
    rng = random.Random(1)
    rows = []
    for number in range(48):
        rejected = sentence(rng, 2, 8).replace("cat", "dog")
        rows.append(
            {
                "prompt": f"{sentence(rng, 2, 10)} {number}",
                "chosen": f" cat {sentence(rng, 1, 8)}",
                "rejected": f" {rejected}",
                "group": "abc"[number % 3],
            }
        )
    return rows


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    slow.mark(items)
