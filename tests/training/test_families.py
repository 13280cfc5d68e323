"""Models that cannot be packed, and ropes that depend on length, through every function that
trains.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as hf

import holdfast
from holdfast.data import tokenize
from holdfast.training.selfplay.columns import gaps

SIZES = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 1,
    "initializer_range": 0.2,
}
FACTORS = {
    "short_factor": [1.0] * 4,
    "long_factor": [8.0] * 4,
    "original_max_position_embeddings": 24,
}


def folder(where: Path, config: hf.PreTrainedConfig, tokenizer: Any, seed: int = 0) -> Path:
    torch.manual_seed(seed)
    hf.AutoModelForCausalLM.from_config(config).save_pretrained(where)
    tokenizer.save_pretrained(where)
    return where


def config(family: str, tokenizer: Any) -> hf.PreTrainedConfig:
    sizes = {**SIZES, "vocab_size": len(tokenizer)}
    if family == "bloom":
        few = {
            name: sizes[name]
            for name in (
                "vocab_size",
                "hidden_size",
                "bos_token_id",
                "eos_token_id",
                "pad_token_id",
            )
        }
        return hf.BloomConfig(**few, n_layer=2, n_head=4, initializer_range=0.2)
    if family == "phi3_longrope":
        rope = {"rope_type": "longrope", "rope_theta": 10000.0, **FACTORS}
        return hf.Phi3Config(**sizes, original_max_position_embeddings=24, rope_parameters=rope)
    return {"llama": hf.LlamaConfig, "stablelm": hf.StableLmConfig}[family](**sizes)


def logp(model: Any, prompt: Sequence[int], answer: Sequence[int]) -> float:
    with torch.no_grad():
        logp_TV = model(torch.tensor([[*prompt, *answer]])).logits[0].double().log_softmax(-1)
    return float(logp_TV[len(prompt) - 1 : -1].gather(1, torch.tensor(answer)[:, None]).sum())


@pytest.fixture
def data(tmp_path: Path, pair_rows: list[dict[str, Any]]) -> Path:
    """Mixed lengths: every fourth row has a long answer."""
    long = " the cat sat on the mat and the dog ran" * 3
    rows = [
        {**row, "chosen": row["chosen"] + (long if n % 4 == 3 else "")}
        for n, row in enumerate(pair_rows[:16])
    ]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_reference_that_cannot_be_packed_gives_the_true_loss(
    tmp_path: Path, data: Path, tiny_tokenizer: Any, capsys: Any
) -> None:
    policy = folder(tmp_path / "llama", config("llama", tiny_tokenizer), tiny_tokenizer)
    reference = folder(
        tmp_path / "stablelm", config("stablelm", tiny_tokenizer), tiny_tokenizer, seed=1
    )
    run = holdfast.train(
        "dpo",
        model=policy,
        reference=reference,
        data=data,
        out=tmp_path / "run",
        batch_size=16,
        max_steps=1,
        beta=0.1,
    )
    models = [
        hf.AutoModelForCausalLM.from_pretrained(place, dtype=torch.float32).eval()
        for place in (policy, reference)
    ]
    losses = []
    for item in tokenize(holdfast.read(data), tiny_tokenizer).items:
        ours, theirs = (
            [logp(model, item.prompt, item.branches[side]) for side in ("chosen", "rejected")]
            for model in models
        )
        losses.append(math.log1p(math.exp(-0.1 * (ours[0] - theirs[0] - ours[1] + theirs[1]))))
    assert run.metrics[0]["loss"] == pytest.approx(sum(losses) / 16, abs=1e-5)
    assert run.record["scoring"]["used"] == "packed"
    assert run.record["reference_scoring"]["used"] == "padded"
    assert (
        "reference scoring: one padded forward per answer instead of packed rows, because "
        "StableLmAttention" in capsys.readouterr().out
    )


@pytest.mark.parametrize("scoring", ["packed", "padded"])
def test_at_learning_rate_0_every_loss_is_ln_2_whatever_the_lengths(
    tmp_path: Path, data: Path, tiny_tokenizer: Any, scoring: str
) -> None:
    model = folder(tmp_path / "phi3", config("phi3_longrope", tiny_tokenizer), tiny_tokenizer)
    how: dict[str, Any] = {
        "batch_size": 4,
        "learning_rate": 0.0,
        "tokens_per_microbatch": 120,
        "eval_data": data,
        "scoring": scoring,
    }
    run = holdfast.train("dpo", model=model, data=data, out=tmp_path / "run", **how)
    losses = [line[name] for line in run.metrics for name in ("loss", "eval/loss") if name in line]
    assert len(losses) == 6
    assert losses == pytest.approx([math.log(2)] * 6, abs=1e-6)
    assert run.record["scoring"]["used"] == scoring


@pytest.mark.parametrize("family", ["stablelm", "bloom"])
def test_a_method_that_draws_samples_falls_back_for_both_its_models(
    tmp_path: Path, data: Path, tiny_tokenizer: Any, family: str
) -> None:
    model = folder(tmp_path / family, config(family, tiny_tokenizer), tiny_tokenizer)
    run = holdfast.train(
        "hypo",
        model=model,
        data=data,
        out=tmp_path / "run",
        batch_size=8,
        max_steps=2,
        learning_rate=0.0,
    )
    assert run.record["scoring"]["used"] == run.record["reference_scoring"]["used"] == "padded"
    same = holdfast.train(
        "hypo",
        model=model,
        data=data,
        out=tmp_path / "same",
        batch_size=8,
        max_steps=2,
        learning_rate=0.0,
        scoring="padded",
    )
    assert [line["loss"] for line in run.metrics] == [line["loss"] for line in same.metrics]


@pytest.mark.parametrize("family", ["llama", "stablelm", "bloom"])
def test_gaps_of_an_opponent_are_its_own(
    tmp_path: Path, data: Path, tiny_tokenizer: Any, family: str
) -> None:
    place = folder(tmp_path / family, config(family, tiny_tokenizer), tiny_tokenizer)
    rows = [json.loads(line) for line in data.read_text().splitlines()]
    model = hf.AutoModelForCausalLM.from_pretrained(place, dtype=torch.float32).eval()
    items = tokenize(holdfast.read(data), tiny_tokenizer).items
    expected = [
        logp(model, item.prompt, item.branches["chosen"])
        - logp(model, item.prompt, item.branches["rejected"])
        for item in items
    ]
    assert gaps(
        place, tiny_tokenizer, rows, {"template": "auto"}, tmp_path / "aside.jsonl"
    ) == pytest.approx(expected, abs=1e-4)
