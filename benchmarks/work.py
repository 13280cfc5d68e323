"""The work that the pairwise benchmark gives to both sides: one model, one tokenizer, the same
pairs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

VOCABULARY = 8004
PROMPT_TOKENS, ANSWER_TOKENS, SIGMA = (
    135,
    55,
    0.6,
)  # medians and spread of log-normal lengths, as in HH


def build_model(folder: Path, *, hidden: int = 512, layers: int = 8, seed: int = 0) -> Path:
    """A Llama of 33M parameters (at the defaults) and a tokenizer whose word `w17` is token 17,
    saved to a folder.
    """
    if (folder / "config.json").exists():
        return folder
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=hidden,
        intermediate_size=1376,
        num_hidden_layers=layers,
        num_attention_heads=8,
        num_key_value_heads=8,
        max_position_embeddings=4096,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=3,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    names = ["<unk>", "<s>", "</s>", "<pad>"]
    words = {
        name: i for i, name in enumerate(names + [f"w{i}" for i in range(len(names), VOCABULARY)])
    }
    tokenizer = Tokenizer(WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="<unk>",
        eos_token="</s>",
        pad_token="<pad>",
        model_max_length=4096,
    ).save_pretrained(folder)
    return folder


def build_rows(pairs: int, *, seed: int = 0) -> list[dict[str, Any]]:
    """Pairs of random words with log-normal lengths."""
    rng = np.random.default_rng(seed)

    def text(median: float) -> str:
        length = int(np.clip(np.round(rng.lognormal(np.log(median), SIGMA)), 4, 1000))
        return " " + " ".join(f"w{i}" for i in rng.integers(4, VOCABULARY, length))

    return [
        {
            "prompt": text(PROMPT_TOKENS),
            "chosen": text(ANSWER_TOKENS),
            "rejected": text(ANSWER_TOKENS),
        }
        for _ in range(pairs)
    ]
