"""Models and tokenizers that are what they say, and clear words for those that are not."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertForMaskedLM, PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

from conftest import build_model, build_tokenizer
from holdfast.errors import ModelError
from holdfast.models.load import load_policy, load_tokenizer, tokenizer_hash


@pytest.fixture
def folder(tmp_path: Path, tiny_model_dir: Path) -> Path:
    """A copy to spoil."""
    return Path(shutil.copytree(tiny_model_dir, tmp_path / "model"))


def test_a_folder_loads_in_float32_with_its_tokenizer(folder: Path) -> None:
    model = load_policy(folder)
    assert model.dtype == torch.float32
    notes: list[str] = []
    tokenizer = load_tokenizer(folder, model=model, notes=notes)
    assert tokenizer.pad_token == tokenizer.eos_token
    assert notes == ["the tokenizer had no padding token; '</s>' stands in for it"]
    assert load_policy(model) is model


def test_bfloat16_weights_become_float32(tmp_path: Path) -> None:
    build_model(50).to(torch.bfloat16).save_pretrained(tmp_path / "half")
    assert load_policy(tmp_path / "half").dtype == torch.float32


def test_a_finished_run_is_a_model_and_an_unfinished_one_is_not(tmp_path: Path, folder: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "run.json").write_text("{}")
    with pytest.raises(ModelError, match="a run that has no model yet"):
        load_policy(run)
    shutil.copytree(folder, run / "model")
    assert load_policy(run).num_parameters() > 0


def test_folders_that_are_no_models(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(ModelError, match="there is no folder"):
        load_policy(tmp_path / "nowhere")
    with pytest.raises(ModelError, match="is a file"):
        load_policy(folder / "config.json")
    (folder / "config.json").rename(folder / "was.json")
    with pytest.raises(ModelError, match=r"no config\.json"):
        load_policy(folder)


def test_pickled_weights_are_refused(folder: Path) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"only pickled weights \(pytorch_model.bin\)"):
        load_policy(folder)


def test_missing_weights_are_not_made_up(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    weights.pop("lm_head.weight")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"lacks weights of LlamaForCausalLM, which would be random: lm_head\.weight"):
        load_policy(folder)


def test_weights_that_are_not_finite_are_named(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    weights["model.layers.1.mlp.up_proj.weight"][3, 4] = float("nan")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"model\.layers\.1\.mlp\.up_proj\.weight holds NaN"):
        load_policy(folder)


def test_damaged_weights_are_an_error_of_ours(folder: Path) -> None:
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[: len(data) // 2])
    with pytest.raises(ModelError, match="do not load"):
        load_policy(folder)


def test_other_kinds_of_models_are_refused(tmp_path: Path) -> None:
    T5ForConditionalGeneration(T5Config(vocab_size=20, d_model=8, d_ff=8, num_layers=1, num_heads=1, d_kv=8)).save_pretrained(
        tmp_path / "t5"
    )
    with pytest.raises(ModelError, match="encoder-decoder"):
        load_policy(tmp_path / "t5")
    settings = {"vocab_size": 20, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    BertForMaskedLM(BertConfig(**settings)).save_pretrained(tmp_path / "bert")
    with pytest.raises(ModelError, match="not a causal language model: it says it is BertForMaskedLM"):
        load_policy(tmp_path / "bert")


def test_an_adapter_brings_its_base(tmp_path: Path, folder: Path, tiny_tokenizer: PreTrainedTokenizerFast) -> None:
    base = load_policy(folder)
    adapted = get_peft_model(base, LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM", init_lora_weights=False))
    ids = torch.tensor([[0, 5, 9]])
    wanted = adapted(ids).logits
    adapted.save_pretrained(tmp_path / "adapter")
    loaded = load_policy(tmp_path / "adapter")
    torch.testing.assert_close(loaded(ids).logits, wanted)
    assert any(parameter.requires_grad for parameter in loaded.parameters())
    assert load_tokenizer(tmp_path / "adapter").get_vocab() == tiny_tokenizer.get_vocab()
    settings = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    (tmp_path / "adapter" / "adapter_config.json").write_text(json.dumps({**settings, "base_model_name_or_path": None}))
    with pytest.raises(ModelError, match="does not name its base model"):
        load_policy(tmp_path / "adapter")


def test_tokenizers_that_do_not_fit(folder: Path) -> None:
    with pytest.raises(ModelError, match="knows 300 tokens, the model has embeddings for 50"):
        load_tokenizer(folder, model=build_model(50))
    endless = build_tokenizer()
    endless.eos_token = None
    with pytest.raises(ModelError, match="no end-of-sequence token"):
        load_tokenizer(endless)
    (folder / "tokenizer.json").unlink()
    with pytest.raises(ModelError, match="has no tokenizer"):
        load_tokenizer(folder)


def test_a_tokenizer_is_known_by_what_it_does() -> None:
    one, two = build_tokenizer(), build_tokenizer()
    two.pad_token = two.eos_token
    two("some text", padding="max_length", max_length=20, truncation=True)
    assert tokenizer_hash(one) == tokenizer_hash(two)
    two.add_tokens(["<extra>"])
    assert tokenizer_hash(one) != tokenizer_hash(two)
