"""Training a diffusion model as a user would: a folder with a pipeline, rows that name images."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from holdfast.errors import DataError, ModelError, OptionError
from holdfast.scorers.diffusion.pipeline import load_pipeline
from holdfast.scorers.diffusion.small import small_pipeline
from holdfast.signals import Interrupted
from holdfast.training.policy import train
from holdfast.training.progress import Progress
from holdfast.training.run.folder import Run
from holdfast.training.run.rerun import rerun

HOW = {"batch_size": 4, "learning_rate": 1e-3, "epochs": 2.0, "beta": 50.0, "warmup_ratio": 0.0}


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pipeline")
    small_pipeline(size=8, width=8, labels=("dark", "light")).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """Twelve pairs: the lighter image is preferred."""
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    made = []
    for i in range(12):
        names = {}
        for side, low in (("chosen", 120), ("rejected", 0)):
            names[side] = f"{i}_{side}.png"
            pixels = rng.integers(low, low + 120, (8, 8), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / names[side])
        made.append({"prompt": "light", **names, "reward_gap": 0.5})
    file = folder / "pairs.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in made))
    return file


def weights(run):
    return load_file(next((run.out / "model" / "unet").glob("*.safetensors")))


def test_a_run_trains_and_its_model_is_a_pipeline(tmp_path, pipeline, rows):
    run = train("diffusion_dpo", model=str(pipeline), data=str(rows), out=tmp_path / "run", **HOW)
    record = run.record
    assert record["status"] == "finished" and record["task"] == "diffusion"
    first, *_, last = [line for line in run.metrics if "loss" in line]
    assert first["loss"] == pytest.approx(np.log(2)) and last["loss"] < 0.67
    assert last["denoising_error/rejected"] > 0
    pipe, tokenizer = Run(run.out).load()
    assert tokenizer is None
    images = pipe(["light"] * 2, num_inference_steps=3)
    assert images.shape == (2, 1, 8, 8) and bool(torch.isfinite(images).all())
    again = rerun(run.out, out=tmp_path / "again")
    for name, x in weights(run).items():
        assert torch.equal(x, weights(again)[name])


def test_a_run_that_was_stopped_goes_on_to_the_same_bits(tmp_path, pipeline, rows, monkeypatch):
    how = {"model": str(pipeline), "data": str(rows), **HOW}
    whole = train("diffusion_dpo", out=tmp_path / "whole", **how)
    step = Progress.step

    def stop(self, number, metrics):
        if number == 3:
            raise KeyboardInterrupt
        step(self, number, metrics)

    monkeypatch.setattr(Progress, "step", stop)
    with pytest.raises((Interrupted, KeyboardInterrupt)):
        train("diffusion_dpo", out=tmp_path / "half", save_every=1, **how)
    monkeypatch.setattr(Progress, "step", step)
    half = train("diffusion_dpo", out=tmp_path / "half", save_every=1, resume=True, **how)
    for name, x in weights(whole).items():
        assert torch.equal(x, weights(half)[name]), name


@pytest.mark.parametrize(
    ("method", "changes"),
    [
        ("smpo", {}),
        ("self_npo", {"beta": None}),
        ("rdpo", {"flip_rate": 0.2}),
        ("cdpo", {"flip_rate": 0.2}),
        ("diffusion_dpo", {"lora_rank": 2, "learning_rate": 1e-2}),
    ],
)
def test_other_methods_and_adapters_train_images(tmp_path, pipeline, rows, method, changes):
    how = {name: value for name, value in {**HOW, **changes}.items() if value is not None}
    before = load_file(next((pipeline / "unet").glob("*.safetensors")))
    run = train(method, model=str(pipeline), data=str(rows), out=tmp_path / "run", **how)
    after = weights(run)
    assert run.record["status"] == "finished"
    assert any(not torch.equal(before[name], x) for name, x in after.items())
    assert load_pipeline(run.out / "model").label("light") == 1


def test_bytes_and_held_out_rows_are_read(tmp_path, pipeline, rows):
    made = [json.loads(line) for line in rows.read_text().splitlines()]
    held = [
        row | {side: (rows.parent / row[side]).read_bytes() for side in ("chosen", "rejected")}
        for row in made
    ]
    run = train(
        "diffusion_dpo",
        model=str(pipeline),
        data=held[:8],
        eval_data=held[8:],
        out=tmp_path / "run",
        **HOW,
    )
    assert any("eval/loss" in line or "eval_loss" in line for line in run.metrics)


def changed(rows, folder, number, **columns):
    made = [json.loads(line) for line in rows.read_text().splitlines()]
    for row in made:
        for side in ("chosen", "rejected"):
            row[side] = str(rows.parent / row[side])
    made[number] |= columns
    file = folder / "changed.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in made))
    return str(file)


def test_bad_images_are_named_by_row_and_field(tmp_path, pipeline, rows):
    (tmp_path / "broken.png").write_bytes(b"no image")
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(tmp_path / "large.png")
    cases = {
        r"changed.jsonl:3: `chosen` names .*there is no such file": {"chosen": "gone.png"},
        r"changed.jsonl:3: `rejected` cannot be read as an image": {
            "rejected": str(tmp_path / "broken.png")
        },
        r"changed.jsonl:3: `chosen` has 9 x 9 pixels": {"chosen": str(tmp_path / "large.png")},
        r"none of the model's labels": {"prompt": "green"},
    }
    for n, (said, columns) in enumerate(cases.items()):
        data = changed(rows, tmp_path, 2, **columns)
        with pytest.raises(DataError, match=said):
            train("diffusion_dpo", model=str(pipeline), data=data, out=tmp_path / f"r{n}", **HOW)


def test_a_method_of_images_and_a_model_of_text_do_not_meet(tmp_path, tiny_model_dir, rows):
    with pytest.raises(ModelError, match="trains a pipeline of diffusers"):
        train("smpo", model=str(tiny_model_dir), data=str(rows), out=tmp_path / "a")
    with pytest.raises(OptionError, match="resolution: read where a diffusion model is trained"):
        train("dpo", model=str(tiny_model_dir), data=str(rows), out=tmp_path / "b", resolution=8)
