"""Models and tokenizers that are what they say, and clear words for those that are not."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import (
    BertConfig,
    BertForMaskedLM,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
)

from holdfast.errors import ModelError
from holdfast.models.judges import load_judge
from holdfast.models.load import load_policy, load_tokenizer, tokenizer_hash
from tests.conftest import build_model, build_tokenizer


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


def test_a_finished_run_is_a_model_and_an_unfinished_one_is_not(
    tmp_path: Path, folder: Path
) -> None:
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
    with pytest.raises(
        ModelError,
        match=r"lacks weights of LlamaForCausalLM, which would be random: lm_head\.weight",
    ):
        load_policy(folder)


def test_weights_of_another_shape_are_named(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    name = "model.layers.0.mlp.up_proj.weight"
    save_file(
        {**weights, name: weights[name][:-1].contiguous()},
        folder / "model.safetensors",
        metadata={"format": "pt"},
    )
    with pytest.raises(
        ModelError,
        match=rf"another shape than its config says: {name} is \(63, 32\), not \(64, 32\)\nhint",
    ):
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
    with pytest.raises(ModelError, match=r"model\.safetensors is damaged"):
        load_policy(folder)


def test_other_kinds_of_models_are_refused(tmp_path: Path) -> None:
    T5ForConditionalGeneration(
        T5Config(vocab_size=20, d_model=8, d_ff=8, num_layers=1, num_heads=1, d_kv=8)
    ).save_pretrained(tmp_path / "t5")
    with pytest.raises(ModelError, match="encoder-decoder"):
        load_policy(tmp_path / "t5")
    settings = {
        "vocab_size": 20,
        "hidden_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 1,
        "intermediate_size": 8,
    }
    BertForMaskedLM(BertConfig(**settings)).save_pretrained(tmp_path / "bert")
    with pytest.raises(
        ModelError, match="not a causal language model: it says it is BertForMaskedLM"
    ):
        load_policy(tmp_path / "bert")


def test_an_adapter_brings_its_base(
    tmp_path: Path, folder: Path, tiny_tokenizer: PreTrainedTokenizerFast
) -> None:
    base = load_policy(folder)
    adapted = get_peft_model(
        base,
        LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM", init_lora_weights=False),
    )
    ids = torch.tensor([[0, 5, 9]])
    wanted = adapted(ids).logits
    adapted.save_pretrained(tmp_path / "adapter")
    loaded = load_policy(tmp_path / "adapter")
    torch.testing.assert_close(loaded(ids).logits, wanted)
    assert any(parameter.requires_grad for parameter in loaded.parameters())
    assert load_tokenizer(tmp_path / "adapter").get_vocab() == tiny_tokenizer.get_vocab()
    settings = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    (tmp_path / "adapter" / "adapter_config.json").write_text(
        json.dumps({**settings, "base_model_name_or_path": None})
    )
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


def in_shards(folder: Path, **weight_map: str) -> None:
    """An index over the one file of weights, with entries of its own."""
    names = load_file(folder / "model.safetensors").keys()
    (folder / "model.safetensors").rename(folder / "model-00001-of-00001.safetensors")
    index = {
        "metadata": {},
        "weight_map": {**dict.fromkeys(names, "model-00001-of-00001.safetensors"), **weight_map},
    }
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def test_an_index_of_safetensors_in_the_folder_is_read(folder: Path) -> None:
    whole = load_policy(folder).state_dict()
    in_shards(folder)
    assert all(
        torch.equal(value, whole[name]) for name, value in load_policy(folder).state_dict().items()
    )


@pytest.mark.parametrize(
    "name",
    [
        "pytorch_model.bin",
        "weights.pt",
        "../other/model.safetensors",
        "/tmp/model.safetensors",
        "evil.pkl",
    ],
)
def test_an_index_that_names_anything_but_safetensors_in_the_folder_is_refused(
    folder: Path, name: str
) -> None:
    in_shards(folder, **{"model.norm.weight": name})
    torch.save({"model.norm.weight": torch.ones(32)}, folder / "pytorch_model.bin")
    for load in (load_policy, load_judge):
        with pytest.raises(ModelError, match=r"index\.json sends the reader to") as error:
            load(folder)
        assert name in str(error.value)


def test_a_config_that_names_other_weights_is_refused(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(
        json.dumps({**config, "transformers_weights": "pytorch_model.bin"})
    )
    with pytest.raises(ModelError, match=r"config\.json sends the reader to 'pytorch_model\.bin'"):
        load_policy(folder)


def test_weights_that_the_config_has_no_place_for_are_refused(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    extra = "model.layers.2.mlp.up_proj.weight"
    save_file(
        {**weights, extra: torch.zeros(64, 32)},
        folder / "model.safetensors",
        metadata={"format": "pt"},
    )
    for load in (load_policy, lambda place: load_judge(place, outputs=1)):
        with pytest.raises(ModelError, match="has no place for") as error:
            load(folder)
        assert extra in str(error.value)


def test_frequencies_that_the_model_computes_itself_may_be_in_the_file(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    older = {"model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(4)}
    save_file({**weights, **older}, folder / "model.safetensors", metadata={"format": "pt"})
    assert load_policy(folder).num_parameters() > 0


DAMAGE = {
    "cut": lambda data: data[: len(data) // 2],
    "empty": lambda data: b"",
    "list": lambda data: b"[]",
    "bytes": lambda data: b"\xff\xfe" * 9,
}


@pytest.mark.parametrize("how", DAMAGE)
@pytest.mark.parametrize(
    "name",
    [
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ],
)
def test_a_damaged_file_of_a_model_is_named(folder: Path, name: str, how: str) -> None:
    (folder / name).write_bytes(DAMAGE[how]((folder / name).read_bytes()))
    with pytest.raises(ModelError, match=rf"{name.replace('.', '[.]')} is damaged"):
        load_tokenizer(folder) if "token" in name else load_policy(folder)


@pytest.mark.parametrize(
    "change", [{"hidden_size": "wide"}, {"num_hidden_layers": -1}, {"rope_parameters": 5}]
)
def test_a_config_of_wrong_values_is_an_error_of_ours(
    folder: Path, change: dict[str, object]
) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **change}))
    with pytest.raises(ModelError):
        load_policy(folder)


@pytest.mark.parametrize("source", [None, 5, "", "x" * 5000, "a\0b", ["m"]])
def test_what_names_no_model_is_refused(source: object) -> None:
    with pytest.raises(ModelError):
        load_policy(source)  # type: ignore[arg-type]


def test_an_adapter_is_read_from_whole_safetensors_that_fit(tmp_path: Path, folder: Path) -> None:
    place = tmp_path / "adapter"
    get_peft_model(load_policy(folder), LoraConfig(r=2, target_modules=["q_proj"])).save_pretrained(
        place
    )
    assert load_policy(place).num_parameters() > 0
    weights = load_file(place / "adapter_model.safetensors")
    for changed, words in (
        (
            {
                **weights,
                "base_model.model.model.layers.9.self_attn.q_proj.lora_A.weight": torch.zeros(
                    2, 32
                ),
            },
            "has no place for",
        ),
        (dict(list(weights.items())[1:]), "lacks weights, which would be random"),
    ):
        save_file(changed, place / "adapter_model.safetensors")
        with pytest.raises(ModelError, match=words):
            load_policy(place)
    torch.save(weights, place / "adapter_model.bin")
    (place / "adapter_model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"no adapter_model\.safetensors"):
        load_policy(place)
    (place / "adapter_config.json").write_text("{")
    with pytest.raises(ModelError, match=r"adapter_config\.json is damaged"):
        load_policy(place)
