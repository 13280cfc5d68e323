"""Ensembles of reward models: each way to make them leaves members that plain transformers loads,
and members trained on one trunk are what each would be alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from holdfast.errors import ModelError, OptionError, RunError
from holdfast.models.judges import load_judge
from holdfast.models.members import MemberLinear, with_member_adapters
from holdfast.rewards.ensemble import RewardEnsemble
from holdfast.rewards.functions import judge_from, reward_from
from holdfast.training.reward_model import train_reward
from holdfast.training.run.rerun import rerun
from tests.training.test_reward_model import cats

HOW: dict[str, Any] = {
    "learning_rate": 3e-3,
    "batch_size": 8,
    "warmup_ratio": 0.0,
    "eval_fraction": 0.25,
    "max_steps": 6,
    "members": 3,
}
WAYS: dict[str, dict[str, Any]] = {
    "seed": {},
    "bootstrap": {},
    "heads": {},
    "lora": {"lora_rank": 4, "shared_layers": 1, "learning_rate": 1e-2},
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, tiny_model_dir: Path) -> dict[str, Any]:
    out = tmp_path_factory.mktemp("members")
    how = {**HOW, "model": tiny_model_dir, "data": cats()}
    return {
        by: train_reward("bradley_terry", out=out / by, members_by=by, **{**how, **more})
        for by, more in WAYS.items()
    }


def plain_scores(folder: Path, prompts: list[str], answers: list[str]) -> list[float]:
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert model.config.num_labels == 1
    out = []
    for prompt, answer in zip(prompts, answers, strict=True):
        ids = tokenizer(prompt)["input_ids"]
        ids += tokenizer(answer, add_special_tokens=False)["input_ids"]
        with torch.no_grad():
            out.append(float(model(torch.tensor([[*ids, tokenizer.eos_token_id]])).logits))
    return out


@pytest.mark.parametrize("by", WAYS)
def test_an_ensemble_is_plain_models_that_differ(runs: dict[str, Any], by: str):
    run = runs[by]
    prompts, answers = ["the mat 0", "the hill 3"], [" a saw the red cat", " the saw the dog"]
    folders = sorted((run.model_path / "members").iterdir())
    assert len(folders) == 3
    apart = np.array([plain_scores(folder, prompts, answers) for folder in folders])
    assert np.ptp(apart, axis=0).min() > 1e-4
    ensemble = RewardEnsemble.load(run.out)
    assert ensemble.members(prompts, answers) == pytest.approx(
        (apart - ensemble.scale.center_M[:, None]) / ensemble.scale.spread_M[:, None], abs=1e-3
    )
    mean, worst = (
        reward_from(f"{run.out}{pool}")(prompts, answers) for pool in ("", "@worst_case")
    )
    assert mean == pytest.approx(ensemble.members(prompts, answers).mean(0))
    assert (worst < mean).all()
    low, high = ensemble.interval(prompts, answers)
    assert (low < mean).all() and (mean < high).all()
    there = judge_from(str(run.out))(prompts, answers, answers)
    assert there == pytest.approx([0.5, 0.5])
    record = run.record
    held = record["results"]
    assert record["status"] == "finished" and record["task"] == "reward_ensemble"
    assert held["held_out"]["n"] == 12 and len(held["members"]["accuracy"]) == 3
    assert (run.out / "report.html").is_file()
    assert len(run.load()[0]) == 3


@pytest.mark.parametrize("by", ["heads", "lora"])
def test_shared_weights_lie_on_the_disk_once(runs: dict[str, Any], by: str):
    files = [
        folder / "model-00001-of-00002.safetensors"
        for folder in sorted((runs[by].model_path / "members").iterdir())
    ]
    assert len({file.stat().st_ino for file in files}) == 1


def test_members_on_one_trunk_are_what_each_is_alone(tiny_model_dir: Path):
    """The joint forward of padded rows, and its gradients, against one classifier a member with the
    adapter merged.
    """
    model = load_judge(tiny_model_dir, outputs=2, seed=3).eval()
    alone = [load_judge(tiny_model_dir, outputs=1, seed=3).eval() for _ in range(2)]
    for one in (model, *alone):
        one.config.pad_token_id = 0
    with_member_adapters(model, 2, rank=3, alpha=None, shared_layers=1, seed=0)
    dice = torch.Generator().manual_seed(5)
    adapted = {name: m for name, m in model.named_modules() if isinstance(m, MemberLinear)}
    assert len(adapted) == 7
    for module in adapted.values():
        module.up.data.normal_(0, 0.1, generator=dice)
    weights = {name: x.detach() for name, x in model.state_dict().items()}
    for m, one in enumerate(alone):
        one.score.weight.data = model.score.weight.data[m].clone()
        for name, module in adapted.items():
            one.get_submodule(name).weight.data = module.merged(m, weights, name)
    ids = torch.tensor([[5, 6, 7, 8], [9, 10, 11, 12]])
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 1]])
    out = model(input_ids=ids, attention_mask=mask).logits
    for m, one in enumerate(alone):
        want = one(input_ids=ids, attention_mask=mask).logits[:, 0]
        assert torch.allclose(out[:, m], want, atol=1e-5)
        (slope,) = torch.autograd.grad(want.sum(), one.score.weight)
        (ours,) = torch.autograd.grad(out[:, m].sum(), model.score.weight, retain_graph=True)
        assert torch.allclose(ours[m], slope, atol=1e-4)
        assert ours[1 - m].abs().max() == 0
    trained = [name for name, p in model.named_parameters() if p.requires_grad]
    assert len(trained) == 15 and all("layers.0." not in name for name in trained)


def test_resuming_and_running_again(runs: dict[str, Any], tmp_path: Path, tiny_model_dir: Path):
    how = {**HOW, "model": tiny_model_dir, "data": cats(), "members_by": "seed"}
    again = train_reward("bradley_terry", out=runs["seed"].out, resume=True, **how)
    assert len(again.record["resumed"]) == 1
    with pytest.raises(RunError, match=r'members .* was "3 by seed" and is now "2 by seed"'):
        train_reward("bradley_terry", out=runs["seed"].out, resume=True, **{**how, "members": 2})
    with pytest.raises(RunError, match="already holds"):
        train_reward("bradley_terry", out=runs["seed"].out, **how)
    twice = rerun(runs["heads"].out, out=tmp_path / "again", data=cats())
    assert twice.record["results"]["members"] == runs["heads"].record["results"]["members"]


def test_what_contradicts_itself_is_refused(tmp_path: Path, tiny_model_dir: Path):
    how = {**HOW, "model": tiny_model_dir, "data": cats(), "out": tmp_path / "none"}
    for wrong, said in (
        ({"members": 0}, "members"),
        ({"members": 1, "pool": "worst_case"}, "several members"),
        ({"members_by": "lora"}, "rank"),
        ({"members_by": "luck"}, "members_by"),
        ({"members_by": "heads", "lora_rank": 4}, "heads"),
        ({"shared_layers": 1}, "shared_layers"),
        ({"pool": "median"}, "no pool"),
        ({"members_by": "lora", "lora_rank": 4, "shared_layers": 9}, "layers"),
    ):
        with pytest.raises(OptionError, match=said):
            train_reward("bradley_terry", **{**how, **wrong})
    with pytest.raises(OptionError, match="no one number"):
        train_reward("general_preference", **how)
    with pytest.raises(OptionError, match="no ensemble"):
        reward_from(f"{tiny_model_dir}@worst_case")
    with pytest.raises(ModelError, match="no ensemble"):
        RewardEnsemble.load(tiny_model_dir)
