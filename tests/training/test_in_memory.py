"""Runs with the reference in memory and a head beside the policy: exact however cut up, resumed to
the same numbers, saved and refused.
"""

from __future__ import annotations

import json
from math import log
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from holdfast.errors import ModelError, NeedError, OptionError, RunError
from holdfast.methods import get
from holdfast.training import in_memory
from holdfast.training.distributed import Distributed
from holdfast.training.policy import train
from holdfast.training.progress import Progress
from holdfast.training.run.folder import Run
from tests.conftest import build_model

UNTIMED = ("seconds", "tokens_per_second", "memory/peak_gib")


@pytest.fixture
def common(tmp_path: Path, tiny_model_dir: Path, pair_rows: list[dict[str, Any]]) -> dict[str, Any]:
    data = tmp_path / "rows.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in pair_rows[:12]))
    return {
        "model": str(tiny_model_dir),
        "data": str(data),
        "learning_rate": 3e-3,
        "batch_size": 6,
        "max_steps": 4,
        "warmup_steps": 0,
    }


def numbers(run: Run) -> list[dict[str, float]]:
    return [
        {key: value for key, value in line.items() if key not in UNTIMED} for line in run.metrics
    ]


def alike(one: Run, two: Run, *, rel: float = 2e-4, ab: float = 2e-5) -> None:
    """To rounding. Shares of rows are left out: at the reference a margin of rounding decides
    them.
    """
    for first, second in zip(numbers(one), numbers(two), strict=True):
        assert first.keys() == second.keys()
        for key, value in first.items():
            assert "accurac" in key or second[key] == pytest.approx(value, rel=rel, abs=ab), (
                first["step"],
                key,
            )


@pytest.mark.parametrize("method", ["mapo", "sparsepo", "sparsepo_independent", "spo"])
@pytest.mark.parametrize("reduction", [None, "kl:temperature=1"], ids=["mean", "kl"])
def test_a_batch_is_a_batch_however_it_is_cut(
    method: str, reduction: str | None, tmp_path: Path, common: dict[str, Any]
):
    """One pass, two passes and a whole batch at once give the same steps; packed and plain too."""
    whole = train(
        method, out=tmp_path / "whole", tokens_per_microbatch=10**6, reduction=reduction, **common
    )
    alike(
        whole,
        train(
            method, out=tmp_path / "cut", tokens_per_microbatch=90, reduction=reduction, **common
        ),
    )
    alike(
        whole,
        train(
            method,
            out=tmp_path / "padded",
            scoring="padded",
            tokens_per_microbatch=10**6,
            reduction=reduction,
            **common,
        ),
    )


def test_what_a_run_says_and_measures(
    tmp_path: Path, common: dict[str, Any], capsys: pytest.CaptureFixture[str]
):
    run = train("sparsepo", out=tmp_path / "run", eval_fraction=0.2, **common)
    assert (
        "the reference stays in memory and is run at every step: sparsepo reads token_kl "
        "and a head from it" in capsys.readouterr().out
    )
    first, *_, last = [line for line in run.metrics if "loss" in line]
    assert (
        first["head/mean"] == 1
        and first["head/zeros"] == 0
        and first["kl/forward_on_data"] == pytest.approx(0, abs=1e-6)
    )
    assert last["head/mean"] != 1 and last["kl/forward_on_data"] > 1e-4
    tokens = first["length/chosen"] + first["length/rejected"]
    assert first["loss"] == pytest.approx(log(2) + 0.01 * tokens, rel=1e-5)
    degrees = train("spo", out=tmp_path / "degrees", gamma=0.5, **common)
    assert degrees.metrics[0]["loss"] == pytest.approx(log(2) + 0.5 * log(3), rel=1e-5)
    assert (
        0 <= degrees.metrics[-1]["corruption_levels/accuracy"] <= 1
        and "head/mean" not in degrees.metrics[-1]
    )


def test_enough_price_makes_zeros(tmp_path: Path, common: dict[str, Any]):
    run = train(
        "sparsepo",
        out=tmp_path / "run",
        sparsity=1.0,
        head_learning_rate=0.1,
        **common | {"max_steps": 20},
    )
    assert run.metrics[-1]["head/zeros"] > 0.5


@pytest.mark.parametrize("method", ["sparsepo_independent", "spo"])
def test_resuming_gives_the_same_numbers_and_the_head_stays_with_checkpoints(
    method: str, tmp_path: Path, common: dict[str, Any]
):
    more = {"save_every": 2, "keep_checkpoints": 5, "dropout": True, "lora_rank": 2}
    straight = train(method, out=tmp_path / "straight", **common, **more)
    halted = tmp_path / "halted"
    step = Progress.step

    def stop(self: Any, number: int, metrics: Any) -> None:
        step(self, number, metrics)
        if number == 3:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Progress, "step", stop)
        with pytest.raises(KeyboardInterrupt):
            train(method, out=halted, **common, **more)
    saved = load_file(halted / "checkpoints" / "step-00000002" / "weights.safetensors")
    assert any(name.startswith("head.") for name in saved)
    assert any(
        "head." in name
        for name in load_file(halted / "checkpoints" / "step-00000002" / "optimizer.safetensors")
    )
    resumed = train(method, out=halted, resume=True, **common, **more)
    assert numbers(resumed) == numbers(straight)
    weights = [
        load_file(next((run.out / "model").glob("*.safetensors"))) for run in (straight, resumed)
    ]
    assert weights[0].keys() == weights[1].keys() and not any(
        "head." in name and "lm_head" not in name for name in weights[0]
    )
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_an_adapter_is_its_own_reference_and_needs_no_second_model(
    tmp_path: Path, common: dict[str, Any], tiny_model_dir: Path, monkeypatch: pytest.MonkeyPatch
):
    named = train(
        "sparsepo", out=tmp_path / "named", lora_rank=2, reference=str(tiny_model_dir), **common
    )
    off = train(
        "sparsepo",
        out=tmp_path / "off",
        lora_rank=2,
        reference="adapter-off",
        gradient_checkpointing=True,
        **common,
    )
    monkeypatch.setattr(in_memory, "copy", None)  # so that no second model can be made
    default = train("sparsepo", out=tmp_path / "default", lora_rank=2, **common)
    alike(named, default, rel=1e-4, ab=1e-5)
    alike(named, off, rel=1e-4, ab=1e-5)


def test_a_head_that_no_gradient_reaches_leaves_dpo(tmp_path: Path, common: dict[str, Any]):
    plain = train("dpo", out=tmp_path / "dpo", **common)
    spo = train("spo", out=tmp_path / "spo", gamma=0.0, **common)
    for one, two in zip(plain.metrics, spo.metrics, strict=True):
        assert two["loss"] == pytest.approx(one["loss"], rel=1e-4)
        assert two["log_ratios/margin"] == pytest.approx(
            one["log_ratios/margin"], rel=1e-3, abs=1e-5
        )


def test_refusals(
    tmp_path: Path, common: dict[str, Any], tiny_tokenizer: Any, monkeypatch: pytest.MonkeyPatch
):
    with pytest.raises(
        OptionError,
        match=r"dpo has no head.*\nhint: it is read by sparsepo, sparsepo_independent, spo",
    ):
        train("dpo", out=tmp_path / "a", head_learning_rate=0.1, **common)
    with pytest.raises(ModelError, match="token by token; they have"):
        train("tdpo", out=tmp_path / "b", reference=build_model(len(tiny_tokenizer) + 8), **common)
    with pytest.raises(ModelError, match="has no adapter"):
        train("tdpo", out=tmp_path / "c", reference="adapter-off", **common)
    monkeypatch.setattr(Distributed, "sharded", property(lambda self: True))
    with pytest.raises(
        RunError, match="tdpo keeps its reference in memory, which FSDP does not allow"
    ):
        train("tdpo", out=tmp_path / "d", **common)


@pytest.mark.parametrize("method", ["tdpo", "mapo", "sparsepo", "spo"])
def test_trl_refuses_them_by_name(method: str):
    refusals = pytest.importorskip("holdfast.integrations.refusals")
    with pytest.raises(
        NeedError, match=f"{method} needs .*DPOTrainer has no place for it\nhint: holdfast.train"
    ):
        refusals.refuse_needs(get(method), get(method).reduction)
