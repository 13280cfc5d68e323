"""`--optimizer`: who takes which weight of a run, what is said of it, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from holdfast.errors import OptionError
from holdfast.methods import METHODS
from holdfast.optimization.optimizers import ROOT, Together
from holdfast.scorers.text import TextScorer
from holdfast.training.optimizer import HEAD, assigned, build_optimizer
from holdfast.training.options import Options, split_options
from holdfast.training.policy import train
from tests.conftest import build_model

LAYER = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def scorer(**changes: Any) -> TextScorer:
    return TextScorer(build_model(50, **changes))


@pytest.mark.parametrize("name", ["muon", "root"])
@pytest.mark.parametrize("tied", [False, True])
def test_hidden_matrices_are_orthogonalized_and_the_rest_is_named(name: Any, tied: bool) -> None:
    ours = scorer(tie_word_embeddings=tied)
    found = assigned(ours, Options(optimizer=name))
    assert found.matrices
    assert {each.split(".")[-2] for each in found.matrices} == set(LAYER)
    reasons = {each.removeprefix("model."): why for each, why in found.why.items()}
    assert reasons["model.embed_tokens.weight"] == "embeddings"
    assert reasons["model.norm.weight"] == "vectors and scalars"
    assert reasons.get("lm_head.weight") == (None if tied else "output heads")
    facts = found.facts()
    counted = [facts["matrices"], *facts["adamw"].values()]
    assert sum(each["weights"] for each in counted) == sum(p.numel() for p in ours.parameters())
    said = found.said()
    assert len(said) == 1 and said[0].startswith(f"optimizer: {name} for hidden matrices (")
    assert "embeddings" in said[0] and "vectors and scalars" in said[0]


def test_adamw_takes_everything_and_says_nothing() -> None:
    found = assigned(scorer(), Options())
    assert found.said() == [] and found.facts() == {"name": "adamw"} and not found.matrices
    assert isinstance(build_optimizer(scorer(), Options()), torch.optim.AdamW)


def test_options_reach_their_optimizer() -> None:
    options = Options(
        optimizer="root",
        learning_rate=0.3,
        weight_decay=0.2,
        muon_momentum=0.8,
        root_quantile=0.95,
        adam_beta1=0.7,
        adam_epsilon=1e-6,
    )
    built = build_optimizer(scorer(), options)
    assert isinstance(built, Together) and isinstance(built.parts[0], ROOT)
    root, wide, thin = built.param_groups
    assert (root["lr"], root["weight_decay"], root["momentum"]) == (0.3, 0.2, 0.8)
    assert (root["quantile"], root["eps"]) == (0.95, 1e-7)  # of the norm, not AdamW's
    assert (wide["betas"], wide["eps"], wide["weight_decay"]) == ((0.7, 0.999), 1e-6, 0.2)
    assert thin["weight_decay"] == 0.0
    muon = build_optimizer(scorer(), Options(optimizer="muon", muon_momentum=0.8))
    assert isinstance(muon, Together) and isinstance(muon.parts[0], torch.optim.Muon)
    assert muon.param_groups[0]["momentum"] == 0.8
    assert muon.param_groups[0]["adjust_lr_fn"] == "match_rms_adamw"


def test_a_methods_own_head_keeps_adamw_and_its_rate() -> None:
    ours = scorer()
    ours.head = nn.Linear(8, 8)
    options = Options(optimizer="root", head_learning_rate=0.07, learning_rate=0.01)
    assert assigned(ours, options).why["head.weight"] == HEAD
    built = build_optimizer(ours, options)
    rates = {id(p): group["lr"] for group in built.param_groups for p in group["params"]}
    assert rates[id(ours.head.weight)] == rates[id(ours.head.bias)] == 0.07
    assert sorted(rates.values())[-2:] == [0.07, 0.07]


def test_nothing_to_orthogonalize_is_an_error_with_a_cure() -> None:
    ours = scorer()
    for name, parameter in ours.named_parameters():
        parameter.requires_grad_("norm" in name)
    with pytest.raises(OptionError, match="none is trained here"):
        build_optimizer(ours, Options(optimizer="root"))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"optimizer": "sgd"}, "optimizer must be one of"),
        ({"root_quantile": 0.5}, "root_quantile is read by optimizer root alone"),
        ({"optimizer": "muon", "root_quantile": 0.5}, "root_quantile is read by optimizer root"),
        ({"muon_momentum": 0.5}, "muon_momentum is read by optimizer muon and root alone"),
        ({"optimizer": "root", "root_quantile": 0.0}, "root_quantile must be above 0"),
        ({"optimizer": "root", "muon_momentum": 1.0}, "muon_momentum must be below 1"),
    ],
)
def test_what_no_optimizer_reads_is_refused(given: dict[str, Any], words: str) -> None:
    with pytest.raises(OptionError, match=words):
        split_options(METHODS["dpo"], given)


@pytest.mark.parametrize("lora_rank", [0, 2])
def test_a_run_trains_says_who_takes_what_and_records_it(
    lora_rank: int,
    tmp_path: Path,
    tiny_model_dir: Path,
    pair_rows: list[dict[str, Any]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    how = {"lora_rank": lora_rank} if lora_rank else {}
    common = {"model": str(tiny_model_dir), "data": pair_rows, "max_steps": 6, "batch_size": 4}
    run = train("dpo", out=tmp_path / "root", optimizer="root", learning_rate=3e-3, **common, **how)
    printed = capsys.readouterr()
    assert (printed.out + printed.err).count("optimizer: root for hidden matrices") == 1
    record = json.loads((run.out / "run.json").read_text())
    assert record["options"]["optimizer"] == "root" and record["optimizer"]["name"] == "root"
    trained = sum(
        each["weights"]
        for each in (record["optimizer"]["matrices"], *record["optimizer"]["adamw"].values())
    )
    assert trained == record["weights"]["trained"]
    losses = [
        json.loads(line)["loss"] for line in (run.out / "metrics.jsonl").read_text().splitlines()
    ]
    assert losses[-1] < losses[0]
