"""Reward models, trained as a user would: from a folder and rows to a folder that others can
load.
"""

from __future__ import annotations

import itertools
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer
from typer.testing import CliRunner

import holdfast
from holdfast.errors import DataError, ModelError, OptionError, RunError
from holdfast.rewards.functions import judge_from, reward_from
from holdfast.rewards.model import RewardModel
from holdfast.training import execute
from holdfast.training.reward_model import train_reward
from holdfast.training.run.rerun import rerun

HOW: dict[str, Any] = {
    "learning_rate": 3e-3,
    "batch_size": 8,
    "warmup_ratio": 0.0,
    "eval_fraction": 0.25,
}


def cats() -> list[dict[str, Any]]:
    return [
        {
            "prompt": f"the {place} {n}",
            "chosen": f"{what} saw the {color} cat",
            "rejected": f"{what} saw the {color} dog",
            "group": color,
        }
        for n, (place, what, color) in enumerate(
            itertools.product(
                ("mat", "hill", "tree", "bird"),
                ("a", "the", "very happy", "slow"),
                ("red", "blue", "sad"),
            )
        )
    ]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, tiny_model_dir: Path) -> dict[str, Any]:
    """One short run of each kind. The chosen answer ends in a cat, the rejected one in a dog."""
    out = tmp_path_factory.mktemp("rewards")
    how = {**HOW, "model": tiny_model_dir, "data": cats(), "epochs": 5}
    return {
        "bradley_terry": train_reward("bradley_terry", out=out / "bt", **how),
        "general_preference": train_reward(
            "general_preference", out=out / "gpm", dim=4, tau=0.5, **how
        ),
    }


@pytest.mark.parametrize("kind", ["bradley_terry", "general_preference"])
def test_it_learns_and_says_how_well_on_held_out_rows(runs: dict[str, Any], kind: str):
    run = runs[kind]
    record = run.record
    held = record["results"]["held_out"]
    assert (
        record["status"] == "finished"
        and record["task"] == "reward_model"
        and record["method"] == kind
    )
    assert (
        held["n"] == 12 and held["accuracy"]["value"] > 0.8 and held["accuracy"]["low"] is not None
    )
    assert {
        "log_loss",
        "brier",
        "ece",
        "ece_perfect",
        "ece_p",
        "bins",
        "prefers_longer",
    } <= held.keys()
    assert sum(b["n"] for b in held["bins"]) == 12 and set(held["groups"]) == {"red", "blue", "sad"}
    steps = [line for line in run.metrics if "loss" in line]
    assert steps[0]["loss"] > steps[-1]["loss"] and steps[-1]["rewards/accuracies"] > 0.9
    assert record["scoring"]["used"] == "packed"
    page = (run.out / "report.html").read_text()
    assert (
        "Is it as right as it is sure?" in page
        and (run.out / "reliability.png").stat().st_size > 1000
    )
    readme = (run.model_path / "README.md").read_text()
    assert (
        "pipeline_tag: text-classification" in readme
        and "held-out pairs the model prefers" in readme
    )


def test_any_hugging_face_user_can_load_it(runs: dict[str, Any], pair_rows: list[dict[str, Any]]):
    """The plain reading of the saved folder, row by row, is what Holdfast's own says."""
    folder = runs["bradley_terry"].model_path
    assert sorted(path.suffix for path in folder.iterdir() if path.stem == "model") == [
        ".safetensors"
    ]
    model, tokenizer = (
        AutoModelForSequenceClassification.from_pretrained(folder).eval(),
        AutoTokenizer.from_pretrained(folder),
    )
    assert model.config.num_labels == 1 and model.config.pad_token_id is not None
    rows = pair_rows[:5]
    prompts, answers = [row["prompt"] for row in rows], [row["chosen"] for row in rows]
    own = RewardModel.load(folder).reward(prompts, answers)
    for prompt, answer, score in zip(prompts, answers, own, strict=True):
        ids = (
            tokenizer(prompt)["input_ids"]
            + tokenizer(answer, add_special_tokens=False)["input_ids"]
            + [tokenizer.eos_token_id]
        )
        with torch.no_grad():
            assert float(model(torch.tensor([ids])).logits) == pytest.approx(score, abs=1e-4)
    assert reward_from(runs["bradley_terry"].out)(prompts, answers) == pytest.approx(own, abs=1e-5)


def test_it_judges_pairs_and_whole_tables(runs: dict[str, Any]):
    rows = cats()[:6]
    prompts, first, second = (
        [row[key] for row in rows] for key in ("prompt", "chosen", "rejected")
    )
    for run in runs.values():
        judge = judge_from(str(run.out))
        there, back = judge(prompts, first, second), judge(prompts, second, first)
        assert there + back == pytest.approx(np.ones(6), abs=1e-6) and there.mean() > 0.7
        model = RewardModel.load(run.out)
        table = model.logits(prompts, [[a, b, ""] for a, b in zip(first, second, strict=True)])
        assert table.shape == (6, 3, 3) and np.abs(table + table.transpose(0, 2, 1)).max() < 1e-9
        assert 1 / (1 + np.exp(-table[:, 0, 1])) == pytest.approx(there, abs=1e-6)
        games = model.games(prompts, [[a, b, ""] for a, b in zip(first, second, strict=True)])
        assert games[0].pref_AA[0, 1] == pytest.approx(there[0], abs=1e-6) and games[0].names == (
            first[0],
            second[0],
            "",
        )
    with pytest.raises(OptionError, match="compares answers and has no reward"):
        model.reward(prompts, first)
    with pytest.raises(OptionError, match="as many answers"):
        model.outputs(prompts[:2], [["a"], ["a", "b"]])
    with pytest.raises(ModelError, match="prompt 1 with an answer is"):
        model.outputs(["the cat"], [["the cat " * 300]])
    with pytest.raises(DataError, match="prompt 2 cannot be rendered"):
        model.outputs(["the cat", "the </s> cat"], [["yes"], ["no"]])


def test_an_interrupted_run_goes_on_to_the_same_numbers(
    tmp_path: Path,
    tiny_model_dir: Path,
    pair_rows: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
):
    how = {
        **HOW,
        "model": tiny_model_dir,
        "data": pair_rows,
        "max_steps": 6,
        "save_every": 2,
        "dim": 4,
    }
    whole = train_reward("general_preference", out=tmp_path / "whole", **how)
    note, seen = execute.log_metrics, []

    def stop(run: Any, log: Any, metrics: dict[str, Any]) -> None:
        note(run, log, metrics)
        seen.append(metrics["step"])
        if metrics["step"] == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(execute, "log_metrics", stop)
    with pytest.raises(KeyboardInterrupt):
        train_reward("general_preference", out=tmp_path / "cut", **how)
    monkeypatch.setattr(execute, "log_metrics", note)
    cut = train_reward("general_preference", out=tmp_path / "cut", resume=True, **how)
    assert cut.record["results"]["held_out"] == whole.record["results"]["held_out"]
    one, two = (run.load()[0].state_dict() for run in (whole, cut))
    assert all(torch.equal(one[name], two[name]) for name in one)
    with pytest.raises(RunError, match="dim was 4 and is now 6"):
        record = json.loads((tmp_path / "cut" / "run.json").read_text())
        (tmp_path / "cut" / "run.json").write_text(json.dumps({**record, "status": "interrupted"}))
        train_reward("general_preference", out=tmp_path / "cut", resume=True, **{**how, "dim": 6})


def test_microbatches_change_nothing(
    tmp_path: Path, tiny_model_dir: Path, pair_rows: list[dict[str, Any]]
):
    """One microbatch or many, a mean or a worst case: the same steps."""
    for reduction in (None, "kl:temperature=0.5"):
        how = {
            **HOW,
            "model": tiny_model_dir,
            "data": pair_rows,
            "max_steps": 3,
            "reduction": reduction,
            "dim": 4,
        }
        losses = []
        for tokens in (40, 100_000):
            run = train_reward(
                "general_preference",
                out=tmp_path / f"{reduction}{tokens}",
                tokens_per_microbatch=tokens,
                **how,
            )
            losses.append([line["loss"] for line in run.metrics if "loss" in line])
        assert losses[0] == pytest.approx(losses[1], abs=1e-4)


def test_lora_trains_adapter_and_head_and_loads_again(
    tmp_path: Path, tiny_model_dir: Path, pair_rows: list[dict[str, Any]]
):
    run = train_reward(
        "bradley_terry",
        model=tiny_model_dir,
        data=pair_rows,
        out=tmp_path / "lora",
        lora_rank=4,
        epochs=3,
        **HOW,
    )
    assert (run.model_path / "adapter_model.safetensors").is_file()
    weights = run.record["weights"]
    assert 0 < weights["trained"] < weights["all"] / 2
    prompts, first, second = (
        [row[key] for row in pair_rows[:12]] for key in ("prompt", "chosen", "rejected")
    )
    model = RewardModel.load(run.out)
    assert (model.reward(prompts, first) > model.reward(prompts, second)).mean() > 0.7


def test_soft_labels_are_read(
    tmp_path: Path, tiny_model_dir: Path, pair_rows: list[dict[str, Any]]
):
    """With confidence 1/2 a label says nothing: the best cost is ln 2 and the log-odds stay
    near 0.
    """
    rows = [{**row, "confidence": 0.5} for row in pair_rows]
    run = train_reward(
        "bradley_terry", model=tiny_model_dir, data=rows, out=tmp_path / "soft", epochs=8, **HOW
    )
    last = [line for line in run.metrics if "loss" in line][-1]
    assert last["loss"] == pytest.approx(np.log(2), abs=0.02) and abs(last["rewards/margins"]) < 0.3


def test_refusals(
    tmp_path: Path, tiny_model_dir: Path, pair_rows: list[dict[str, Any]], runs: dict[str, Any]
):
    how = {"model": tiny_model_dir, "data": pair_rows}
    with pytest.raises(OptionError, match="no kind of reward model 'bradly_terry'"):
        train_reward("bradly_terry", out=tmp_path / "a", **how)
    with pytest.raises(OptionError, match="bradley_terry does not read dim"):
        train_reward("bradley_terry", out=tmp_path / "b", dim=4, **how)
    with pytest.raises(OptionError, match="dim is 3"):
        train_reward("general_preference", out=tmp_path / "c", dim=3, **how)
    with pytest.raises(ModelError, match="does not load as a reward model"):
        train_reward(
            "general_preference",
            out=tmp_path / "d",
            model=runs["bradley_terry"].out,
            data=pair_rows,
        )
    with pytest.raises(ModelError, match="it has no head"):
        RewardModel.load(tiny_model_dir)
    with pytest.raises(OptionError, match="does not name a judge"):
        judge_from(str(tiny_model_dir))


def test_bad_rows_are_set_aside_and_counted(
    tmp_path: Path, tiny_model_dir: Path, pair_rows: list[dict[str, Any]]
):
    rows = [
        *pair_rows,
        {"prompt": "why", "chosen": "yes", "rejected": "yes"},
        {"prompt": "why", "chosen": "the </s> cat", "rejected": "no"},
    ]
    with pytest.raises(DataError):
        train_reward("bradley_terry", model=tiny_model_dir, data=rows, out=tmp_path / "a", **HOW)
    run = train_reward(
        "bradley_terry",
        model=tiny_model_dir,
        data=rows,
        out=tmp_path / "b",
        quarantine=True,
        max_steps=1,
        **HOW,
    )
    assert len((run.out / "quarantine.jsonl").read_text().splitlines()) == 2


def test_a_second_training_goes_on_from_the_first(tmp_path: Path, runs: dict[str, Any]):
    run = train_reward(
        "bradley_terry",
        model=runs["bradley_terry"].out,
        data=cats(),
        out=tmp_path / "more",
        max_steps=1,
        **HOW,
    )
    first = next(line for line in run.metrics if "loss" in line)
    assert first["rewards/accuracies"] > 0.8  # before its first step


def test_the_command_line_and_a_rerun(
    tmp_path: Path, tiny_model_dir: Path, pair_rows: list[dict[str, Any]]
):
    from holdfast.cli import app

    data = tmp_path / "prefs.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in pair_rows))
    shell = CliRunner()
    help_ = shell.invoke(
        app, ["train-reward", "general_preference", "--help"], env={"COLUMNS": "200"}
    ).output
    assert (
        "--dim" in help_
        and "--tau" in help_
        and "signed areas" in help_
        and "[default: 0.1]" in help_
    )
    line = [
        "train-reward",
        "bradley_terry",
        "--model",
        str(tiny_model_dir),
        "--data",
        str(data),
        "--out",
        str(tmp_path / "r"),
    ]
    done = shell.invoke(app, [*line, "--max-steps", "2", "--json"])
    assert done.exit_code == 0, done.output
    record = holdfast.training.run.folder.Run(tmp_path / "r").record
    assert record["options"]["learning_rate"] == 1e-5 and record["options"]["eval_fraction"] == 0.1
    again = rerun(tmp_path / "r", out=tmp_path / "again")
    assert again.record["results"]["held_out"] == record["results"]["held_out"]
    assert isinstance(shell.invoke(app, [*line, "--beta", "1"]).exception, OptionError)
    assert holdfast.train_reward is train_reward


@pytest.mark.parametrize(
    "damaged",
    [5, {"kind": "bradley_terry"}, {"kind": "bradley_terry", "settings": [1], "template": "auto"}],
)
def test_a_damaged_kind_is_named(tmp_path: Path, runs: dict[str, Any], damaged: Any):
    shutil.copytree(runs["bradley_terry"].model_path, tmp_path / "model")
    config = tmp_path / "model" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "holdfast_reward": damaged}))
    with pytest.raises(
        ModelError,
        match=r"config\.json is damaged: damaged or missing in its holdfast_reward are .*settings",
    ):
        RewardModel.load(tmp_path / "model")
