"""Training from end to end on a tiny model: what it leaves behind, what it refuses, and what must
not change its result.
"""

from __future__ import annotations

import io
import json
import math
import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from rich.console import Console
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast
from transformers.models.llama.modeling_llama import LlamaMLP

from holdfast.card import Card, PairMethod, Paper
from holdfast.errors import DataError, ModelError, NeedError, OptionError, RunError
from holdfast.inputs import reference
from holdfast.methods import GROUPS, METHODS
from holdfast.models.load import load_policy
from holdfast.reductions import mean
from holdfast.scorers.text import TextScorer
from holdfast.training.progress import Progress
from holdfast.training.run import checkpoint
from holdfast.training.run.folder import Run
from holdfast.training.run.rerun import rerun, train
from holdfast.types import Pairs
from tests.conftest import build_model

QUICK: dict[str, Any] = {"learning_rate": 3e-3, "batch_size": 8, "max_steps": 3, "log_every": 1000}


@pytest.fixture
def setting(
    tmp_path: Path, tiny_model_dir: Path, pair_rows: list[dict[str, Any]]
) -> dict[str, Any]:
    """model and data for `train`; the data lie in tmp_path/rows.jsonl."""
    data = tmp_path / "rows.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in pair_rows))
    return {"model": tiny_model_dir, "data": data, **QUICK}


def weights(run: Run) -> dict[str, Tensor]:
    return load_file(next(run.model_path.glob("*.safetensors")))


def difference(one: Run, two: Run) -> float:
    a, b = weights(one), weights(two)
    assert a.keys() == b.keys()
    return max(float((a[name] - b[name]).abs().max()) for name in a)


def fragile(pairs: Pairs, *, too_long: float = 30.0) -> Tensor:
    """Cost of dpo, but NaN where the chosen answer is too long."""
    return torch.where(
        pairs.chosen.length_N > too_long, float("nan"), METHODS["dpo"].objective(pairs)
    )


def cliff(pairs: Pairs) -> Tensor:
    """A finite cost with an infinite slope."""
    return (pairs.margin_N - pairs.margin_N.detach()).abs().sqrt()


def method_of(objective: Any, **changes: Any) -> PairMethod:
    card = Card(
        "nothing", Paper("none", "nobody", 2024), equation="none", tokens="sum", needs=(reference,)
    )
    return PairMethod(objective, mean(), replace(card, **changes))


class CrashError(Exception):
    pass


# ------------------------------------------------------------------------------------------------
# what a run leaves


def test_a_run_leaves_a_record_metrics_a_card_and_a_model_that_anyone_can_load(
    tmp_path: Path, setting: dict[str, Any]
) -> None:
    run = train("rdpo", out=tmp_path / "run", flip_rate=0.2, eval_fraction=0.2, **setting)
    assert run.status == "finished"
    steps = [line for line in run.metrics if "loss" in line]
    assert [line["step"] for line in steps] == [1, 2, 3]
    assert steps[0]["loss"] == pytest.approx(math.log(2), abs=1e-5)
    assert steps[-1]["loss"] < steps[0]["loss"]
    evaluations = [line for line in run.metrics if "eval/loss" in line]
    assert [line["step"] for line in evaluations] == [0, 3]
    assert evaluations[0]["eval/log_ratios/chosen"] == pytest.approx(0.0, abs=1e-4)
    assert (
        abs(evaluations[1]["eval/log_ratios/chosen"]) > 1e-3
    )  # against the policy before training, not the trained one
    record = run.record
    assert (record["method"], record["settings"]) == ("rdpo", {"beta": 0.1, "flip_rate": 0.2})
    assert record["identity"].keys() == {
        "model",
        "data",
        "tokenizer",
        "template",
        "tokens",
        "eval_data",
        "reference",
    }
    assert record["results"]["eval_after"]["eval/loss"] == evaluations[1]["eval/loss"]
    assert record["scoring"]["used"] == "packed"
    assert record["scoring"]["fallbacks"] == 0
    assert record["departure_at_start"] < 1e-5
    assert record["data"]["retained"] == 48
    model = AutoModelForCausalLM.from_pretrained(run.model_path)
    assert {name: float(value.sum()) for name, value in model.state_dict().items()} == {
        name: float(value.sum()) for name, value in weights(run).items()
    }
    assert len(AutoTokenizer.from_pretrained(run.model_path)) == 300
    assert "holdfast" not in (run.model_path / "config.json").read_text()
    text = (run.model_path / "README.md").read_text()
    front = yaml.safe_load(text.split("---")[1])
    assert front["library_name"] == "transformers"
    assert front["tags"] == ["holdfast", "rdpo", "preference-optimization"]
    assert "base_model" not in front  # a folder is no name on a hub
    for words in (
        METHODS["rdpo"].card.equation,
        "| `flip_rate` | 0.2 |",
        "read 48 rows",
        "`ranking/accuracy`",
    ):
        assert words in text


def test_a_record_is_enough_to_do_it_again(tmp_path: Path, setting: dict[str, Any]) -> None:
    run = train("dpo", out=tmp_path / "run", reduction="kl:temperature=0.5", beta=0.3, **setting)
    again = rerun(tmp_path / "run" / "run.json", out=tmp_path / "again")
    assert difference(run, again) == 0
    in_memory = train(
        "dpo",
        out=tmp_path / "memory",
        **{**setting, "data": [json.loads(line) for line in setting["data"].open()]},
    )
    with pytest.raises(RunError, match="data was given as a Python object"):
        rerun(in_memory.out, out=tmp_path / "never")
    assert (
        difference(rerun(in_memory.out, out=tmp_path / "with", data=setting["data"]), in_memory)
        == 0
    )


# those of diffusion models train pipelines: test_diffusion.py
@pytest.mark.parametrize(
    "name", [name for name in METHODS if name not in GROUPS["Diffusion models"]]
)
def test_every_method_trains(
    name: str, tmp_path: Path, setting: dict[str, Any], pair_rows: list[dict[str, Any]]
) -> None:
    numbers = {
        "confidence": 0.9,
        "reward_gap": 0.3,
        "chosen_win_rate": 0.7,
        "rejected_win_rate": 0.2,
        "earlier_gap": 1.5,
    }
    numbers |= {
        "chosen_earlier_win_rate": 0.6,
        "rejected_earlier_win_rate": 0.3,
        "chosen_log_odds": 0.8,
        "rejected_log_odds": -1.4,
    }
    rows = [
        {**row, **numbers, "rater": "xy"[n % 2], "rationale": "cats are red"}
        for n, row in enumerate(pair_rows[:12])
    ]
    setting["data"].write_text("".join(json.dumps(row) + "\n" for row in rows))
    run = train(
        name,
        out=tmp_path / "run",
        eval_fraction=0.2,
        **{**setting, "max_steps": 2, "tokens_per_microbatch": 120},
    )
    lines = run.metrics
    assert lines[0]["eval/loss"] != lines[-1]["eval/loss"]
    assert all(math.isfinite(value) for line in lines for value in line.values())


def test_a_model_in_memory_is_trained_in_place(
    tmp_path: Path, setting: dict[str, Any], tiny_tokenizer: PreTrainedTokenizerFast
) -> None:
    model = load_policy(setting["model"])
    with_folder = train("dpo", out=tmp_path / "folder", **setting)
    run = train(
        "dpo", out=tmp_path / "object", **{**setting, "model": model, "tokenizer": tiny_tokenizer}
    )
    assert difference(run, with_folder) == 0
    assert all(
        torch.equal(parameter, weights(run)[name]) for name, parameter in model.named_parameters()
    )


# ------------------------------------------------------------------------------------- what changes
# memory but not the result


def test_accumulation_and_recomputation_change_nothing(
    tmp_path: Path, setting: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = {"now": 0}
    forward = LlamaMLP.forward

    def counted(self: LlamaMLP, x: Tensor) -> Tensor:
        calls["now"] += torch.is_grad_enabled()
        return forward(self, x)

    monkeypatch.setattr(LlamaMLP, "forward", counted)
    runs, counts = {}, {}
    for name, options in {
        "large": {},
        "small": {"tokens_per_microbatch": 60},
        "again": {"gradient_checkpointing": True},
    }.items():
        calls["now"] = 0
        runs[name] = train(
            "dpo", out=tmp_path / name, reduction="cvar:alpha=0.5", **setting, **options
        )
        counts[name] = calls["now"] - 2 * (
            2 * 5 + 3
        )  # layers x verification: both answers of 5 rows, and three packed rows
    assert counts["large"] == 2 * 3  # layers x steps
    assert counts["again"] == 2 * counts["large"]
    assert counts["small"] > 2 * counts["large"]
    assert difference(runs["large"], runs["small"]) < 2e-5
    assert difference(runs["large"], runs["again"]) < 2e-5


def test_the_reference_cache_leaves_the_random_state_alone(
    tmp_path: Path, setting: dict[str, Any], tiny_tokenizer: PreTrainedTokenizerFast
) -> None:
    """With dropout every draw matters: a run that scores its reference and one that reads it from
    disk must draw the same.
    """
    build_model(300, attention_dropout=0.2).save_pretrained(tmp_path / "model")
    tiny_tokenizer.save_pretrained(tmp_path / "model")
    setting = {
        **setting,
        "model": tmp_path / "model",
        "dropout": True,
        "reference_cache": str(tmp_path / "cache"),
    }
    cold = train("dpo", out=tmp_path / "cold", **setting)
    assert len(list((tmp_path / "cache").iterdir())) == 1
    warm = train("dpo", out=tmp_path / "warm", **setting)
    assert difference(cold, warm) == 0
    calm = train("dpo", out=tmp_path / "calm", **{**setting, "dropout": False})
    assert difference(cold, calm) > 0


def test_bfloat16_starts_at_its_known_value_and_keeps_float32_weights(
    tmp_path: Path, setting: dict[str, Any]
) -> None:
    run = train("dpo", out=tmp_path / "run", precision="bf16", **setting)
    assert run.metrics[0]["loss"] == pytest.approx(math.log(2), abs=0.02)
    assert {value.dtype for value in weights(run).values()} == {torch.float32}
    assert train("dpo", out=tmp_path / "after", **setting).metrics[0]["loss"] == pytest.approx(
        math.log(2), abs=1e-6
    )


# ------------------------------------------------------------------------------------------------
# the reference


def test_an_adapter_is_saved_with_its_base_named(tmp_path: Path, setting: dict[str, Any]) -> None:
    run = train("dpo", out=tmp_path / "run", lora_rank=4, **setting)
    assert (run.model_path / "adapter_model.safetensors").is_file()
    assert json.loads((run.model_path / "adapter_config.json").read_text())[
        "base_model_name_or_path"
    ] == str(setting["model"])
    assert run.record["weights"]["trained"] < run.record["weights"]["all"]
    assert run.metrics[-1]["loss"] < run.metrics[0]["loss"]
    model, _ = run.load()
    assert any(
        "lora_B" in name and bool(value.abs().sum() > 0) for name, value in model.named_parameters()
    )


def test_a_trained_adapter_is_its_own_reference_unless_it_is_to_be_off(
    tmp_path: Path, setting: dict[str, Any]
) -> None:
    first = train("dpo", out=tmp_path / "first", lora_rank=4, **setting)
    setting = {**setting, "model": first.out}
    kept = train("dpo", out=tmp_path / "kept", **setting)
    assert kept.metrics[0]["loss"] == pytest.approx(math.log(2), abs=1e-5)
    off = train("dpo", out=tmp_path / "off", reference="adapter-off", **setting)
    assert abs(off.metrics[0]["loss"] - math.log(2)) > 1e-4
    assert off.record["reference"] == "the model with its adapter off"
    with pytest.raises(ModelError, match="has no adapter"):
        train(
            "dpo",
            out=tmp_path / "none",
            reference="adapter-off",
            **{**setting, "model": load_policy(first.record["call"]["model"])},
            tokenizer=first.model_path,
        )


def test_a_reference_of_ones_own_is_scored_and_let_go(
    tmp_path: Path, setting: dict[str, Any]
) -> None:
    build_model(300, seed=9).save_pretrained(tmp_path / "other")
    run = train("dpo", out=tmp_path / "run", reference=tmp_path / "other", **setting)
    assert abs(run.metrics[0]["log_ratios/chosen"]) > 0.1
    assert abs(run.metrics[0]["loss"] - math.log(2)) > 1e-3
    assert "departure_at_start" not in run.record
    same = train("dpo", out=tmp_path / "same", reference=setting["model"], **setting)
    assert same.metrics[0]["loss"] == pytest.approx(math.log(2), abs=1e-5)
    assert "departure_at_start" in same.record  # known to be the starting policy by its content


def test_only_methods_that_need_a_reference_pay_for_one(
    tmp_path: Path, setting: dict[str, Any]
) -> None:
    run = train("simpo", out=tmp_path / "run", **setting)
    assert not (run.out / "reference").exists()
    assert "log_ratios/chosen" not in run.metrics[0]
    watched = train("simpo", out=tmp_path / "watched", reference=setting["model"], **setting)
    assert watched.metrics[0]["log_ratios/chosen"] == pytest.approx(0.0, abs=1e-4)
    assert difference(run, watched) == 0


def test_a_wrong_reference_is_found_at_step_zero(tmp_path: Path, setting: dict[str, Any]) -> None:
    cache = tmp_path / "cache"
    train("dpo", out=tmp_path / "run", reference_cache=str(cache), **setting)
    (path,) = cache.iterdir()
    tensors = load_file(path)
    save_file({**tensors, "chosen.logp": tensors["chosen.logp"] + 0.01}, path)
    with pytest.raises(RunError, match=r"mean cost of dpo must be 0\.6931472") as error:
        train("dpo", out=tmp_path / "wrong", reference_cache=str(cache), **setting)
    assert "hint:" in str(error.value)
    assert Run(tmp_path / "wrong").status == "failed"


# ------------------------------------------------------------------------------------------------
# refusals and stops


def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_rows(
    tmp_path: Path, setting: dict[str, Any], pair_rows: list[dict[str, Any]]
) -> None:
    rows = [dict(row) for row in pair_rows]
    rows[16]["chosen"] = " cat" + " zebra" * 10
    setting["data"].write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(RunError) as error:
        train(method_of(fragile), out=tmp_path / "run", **{**setting, "max_steps": 6})
    text = str(error.value)
    assert f"rows whose cost is not finite: {setting['data']}:17." in text
    assert "so the step was not taken" in text
    assert text.count(f"{setting['data']}:") == 1 + 8
    assert "(cost nan)" in text
    record = Run(tmp_path / "run").record
    assert record["status"] == "failed"
    assert "not finite" in record["error"]
    assert not (tmp_path / "run" / "model").exists()


def test_a_gradient_that_is_not_finite_stops_the_run(
    tmp_path: Path, setting: dict[str, Any]
) -> None:
    with pytest.raises(
        RunError, match=r"the gradient of step 1 has norm .* though its loss is 0\.0"
    ) as error:
        train(method_of(cliff), out=tmp_path / "run", **setting)
    assert "every row's own cost is finite" in str(error.value)


def test_a_folder_that_holds_a_run_is_not_written_over(
    tmp_path: Path, setting: dict[str, Any]
) -> None:
    run = train("dpo", out=tmp_path / "run", **setting)
    before = (run.out / "run.json").read_bytes()
    with pytest.raises(RunError, match=r"already holds a run \(finished\)"):
        train("dpo", out=run.out, **setting)
    assert train("dpo", out=run.out, resume=True, **setting) == run
    assert (run.out / "run.json").read_bytes() == before
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").touch()
    with pytest.raises(RunError, match="is not empty and holds no run"):
        train("dpo", out=tmp_path / "other", **setting)


@pytest.fixture
def crashed(tmp_path: Path, setting: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run that ended in the middle of its second step, with a checkpoint at its first."""

    def crash(self: Progress, step: int, metrics: Any) -> None:
        if step == 2:
            raise CrashError

    with monkeypatch.context() as patch:
        patch.setattr(Progress, "step", crash)
        with pytest.raises(CrashError):
            train("dpo", out=tmp_path / "run", save_every=1, **setting)
    return tmp_path / "run"


def test_a_crashed_run_goes_on_and_only_as_itself(
    crashed: Path, tmp_path: Path, setting: dict[str, Any]
) -> None:
    assert Run(crashed).status == "failed"
    assert len(Run(crashed).metrics) == 2  # the second step was noted, but is not in a checkpoint
    go_on = {"out": crashed, "resume": True, "save_every": 1}
    for changes, words in (
        ({"learning_rate": 1e-4}, "learning_rate was 0.003 and is now 0.0001"),
        ({"beta": 0.2}, "beta was 0.1 and is now 0.2"),
        ({"reduction": "kl:temperature=1"}, 'reduction was "mean" and is now "kl:temperature=1"'),
    ):
        with pytest.raises(RunError) as error:
            train("dpo", **{**setting, **go_on, **changes})
        assert words in str(error.value)
    with pytest.raises(RunError, match='method was "dpo" and is now "ipo"'):
        train("ipo", **{**setting, **go_on})
    lines = setting["data"].read_text().splitlines()
    changed = tmp_path / "changed.jsonl"
    changed.write_text("\n".join([*lines[:-1], lines[-1].replace("cat", "cow")]))
    with pytest.raises(RunError, match=r"data \(its content\) was"):
        train("dpo", **{**setting, **go_on, "data": changed})
    other = Path(shutil.copytree(setting["model"], tmp_path / "other"))
    build_model(300, seed=5).save_pretrained(other)
    with pytest.raises(RunError, match=r"model \(its content\) was"):
        train("dpo", **{**setting, **go_on, "model": other})
    run = train("dpo", **{**setting, **go_on, "tokens_per_microbatch": 2000, "log_every": 1})
    assert [line["step"] for line in run.metrics] == [1, 2, 3]
    assert len(run.record["resumed"]) == 1
    assert difference(run, train("dpo", out=tmp_path / "calm", **setting)) == 0


@pytest.mark.parametrize(
    ("name", "reduction"), [("lcpo_dpo", "mean"), ("beta_dpo", "groups:step=0.5")]
)
def test_what_method_and_reduction_remember_survives_a_crash(
    name: str,
    reduction: str,
    tmp_path: Path,
    setting: dict[str, Any],
    pair_rows: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Raters y and z first appear late or never in a batch: what is remembered of them starts as
    NaN and must stay apart.
    """
    rows = [{**row, "rater": "xyz"[n * n % 3]} for n, row in enumerate(pair_rows)]
    setting["data"].write_text("".join(json.dumps(row) + "\n" for row in rows))
    setting = {
        **setting,
        "reduction": reduction,
        "tokens_per_microbatch": 150,
        "save_every": 1,
        "max_steps": 4,
    }

    def crash(self: Progress, step: int, metrics: Any) -> None:
        if step == 3:
            raise CrashError

    with monkeypatch.context() as patch:
        patch.setattr(Progress, "step", crash)
        with pytest.raises(CrashError):
            train(name, out=tmp_path / "run", **setting)
    saved = load_file(max((tmp_path / "run" / "checkpoints").iterdir()) / "state.safetensors")
    assert any(key.startswith("state.method.") for key in saved)
    run = train(name, out=tmp_path / "run", resume=True, **setting)
    assert difference(run, train(name, out=tmp_path / "calm", **setting)) == 0


@contextmanager
def files_at_most(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_disk_that_takes_no_more_leaves_earlier_checkpoints_alone(
    tmp_path: Path,
    setting: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    save = checkpoint.save

    def on_a_small_disk(
        context: Any,
        folder: Path,
        scorer: Any,
        optimizer: Any,
        state: Any,
        progress: Any,
        *,
        keep: int,
    ) -> None:
        with files_at_most(100_000 if progress.step == 2 else resource.RLIM_INFINITY):
            save(context, folder, scorer, optimizer, state, progress, keep=keep)

    monkeypatch.setattr(checkpoint, "save", on_a_small_disk)
    run = train("dpo", out=tmp_path / "run", save_every=1, **{**setting, "max_steps": 3})
    said = "no checkpoint was written at step 2: File too large; earlier ones are untouched"
    assert said in capsys.readouterr().out
    assert said in run.record["notes"]
    assert [path.name for path in (run.out / "checkpoints").iterdir()] == ["step-00000001"]
    assert checkpoint.damage(run.out / "checkpoints" / "step-00000001") is None
    assert run.status == "finished"


def test_groups_are_counted_in_the_data_and_asked_for_where_missing(
    tmp_path: Path, setting: dict[str, Any], pair_rows: list[dict[str, Any]]
) -> None:
    run = train("dpo", out=tmp_path / "run", reduction="groups:step=0.5", **setting)
    assert sum(run.metrics[-1][f"adversary/group/{name}"] for name in "abc") == pytest.approx(
        1.0, abs=1e-6
    )
    setting["data"].write_text(
        "".join(json.dumps({**row, "group": None}) + "\n" for row in pair_rows)
    )
    with pytest.raises((NeedError, OptionError), match="group"):
        train("dpo", out=tmp_path / "none", reduction="groups:step=0.5", **setting)


def test_settings_out_of_range_are_refused_before_anything_is_loaded(tmp_path: Path) -> None:
    for name, settings in (
        ("dpo", {"beta": -1.0}),
        ("rdpo", {"flip_rate": 0.5}),
        ("kto", {"desirable": -1.0}),
    ):
        with pytest.raises(OptionError, match=next(iter(settings))):
            train(
                name,
                model="no/such/model",
                data="no-such-file.jsonl",
                out=tmp_path / "run",
                **settings,
            )
    assert not (tmp_path / "run").exists()


def test_bad_rows_are_set_aside_and_counted_also_by_a_run_that_goes_on(
    tmp_path: Path, setting: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with setting["data"].open("a") as file:
        file.write('{"prompt": "same", "chosen": " yes", "rejected": " yes"}\n')
    setting = {**setting, "out": tmp_path / "run", "quarantine": True, "save_every": 1}

    def crash(self: Progress, step: int, metrics: Any) -> None:
        if step == 2:
            raise CrashError

    with monkeypatch.context() as patch:
        patch.setattr(Progress, "step", crash)
        with pytest.raises(CrashError):
            train("dpo", **setting)
    run = train("dpo", resume=True, **setting)
    assert run.record["data"]["retained"] == 48
    assert sum(run.record["data"]["skipped"].values()) == 1
    assert len((run.out / "quarantine.jsonl").read_text().splitlines()) == 1
    assert "- skipped 1: " in (run.model_path / "README.md").read_text()


def test_options_about_evaluation_must_have_something_to_evaluate_on(
    tmp_path: Path, setting: dict[str, Any]
) -> None:
    for options, words in (
        ({"eval_every": 2}, "eval_every is not read"),
        ({"eval_split": "test"}, "eval_split is not read"),
        ({"eval_data": setting["data"], "eval_fraction": 0.1}, "both say what to evaluate on"),
    ):
        with pytest.raises(OptionError, match=words):
            train("dpo", out=tmp_path / "run", **setting, **options)
    assert not (tmp_path / "run" / "run.json").exists()


def test_held_out_prompts_are_not_trained_on(
    tmp_path: Path, setting: dict[str, Any], pair_rows: list[dict[str, Any]]
) -> None:
    doubled = [*pair_rows, *({**row, "chosen": row["chosen"] + " yes"} for row in pair_rows)]
    setting["data"].write_text("".join(json.dumps(row) + "\n" for row in doubled))
    run = train("dpo", out=tmp_path / "run", eval_fraction=0.25, eval_every=2, **setting)
    lines = {int(where.rsplit(":", 1)[1]) for where in run.record["held_out"]["rows"]}
    assert len(lines) == 24
    assert all((line + 48 if line <= 48 else line - 48) in lines for line in lines)
    assert run.record["rows"] == 72
    assert [line["step"] for line in run.metrics if "eval/loss" in line] == [0, 2, 3]


# ------------------------------------------------------------------------------------------------
# what is seen


def test_a_fall_back_is_counted_and_said(
    tmp_path: Path,
    setting: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    packed = train("dpo", out=tmp_path / "packed", **setting)

    def broken(self: TextScorer, items: Any) -> Any:
        raise RuntimeError("no such kernel")

    monkeypatch.setattr(TextScorer, "packed", broken)
    run = train("dpo", out=tmp_path / "run", **setting)
    said = capsys.readouterr().out
    assert (
        "scoring: one padded forward per answer instead of packed rows, because the "
        "packed forward failed: RuntimeError: no such" in said
    )
    assert run.record["scoring"]["used"] == "padded"
    assert run.record["scoring"]["fallbacks"] == 1
    assert "one padded forward per answer" in (run.model_path / "README.md").read_text()
    assert difference(packed, run) < 1e-4  # Adam divides by gradients that are partly rounding


def test_trackers_get_the_numbers(tmp_path: Path, setting: dict[str, Any]) -> None:
    run = train("dpo", out=tmp_path / "run", track=("tensorboard",), **setting)
    assert list(run.out.rglob("events.out.tfevents*"))


def test_the_view_on_a_terminal_and_off_it() -> None:
    metrics = {
        "loss": 0.5,
        "rewards/margins": 1.25,
        "ranking/accuracy": 0.75,
        "tokens_per_second": 12345.0,
    }
    for terminal in (True, False):
        out = io.StringIO()
        console = Console(file=out, force_terminal=terminal, width=100)
        with Progress(title="dpo", total=4, log_every=2, active=True, console=console) as progress:
            progress.evaluation(0, {"eval/loss": 0.7, "step": 0})
            for step in (1, 2, 3, 4):
                progress.step(step, metrics)
        text = out.getvalue()
        assert "12,345" in text
        assert "+1.250" in text
        assert ("held out" in text) == terminal
        if not terminal:
            assert [line.split()[1] for line in text.splitlines() if line.startswith("step")] == [
                "1/4",
                "2/4",
                "4/4",
            ]
    silent = io.StringIO()
    with Progress(
        title="dpo", total=4, log_every=1, active=False, console=Console(file=silent)
    ) as progress:
        progress.step(1, metrics)
        progress.say("nothing")
    assert silent.getvalue() == ""


def test_a_row_beyond_the_models_context_is_refused_unless_quarantined(
    tiny_model_dir: Path, pair_rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    rows = [*pair_rows[:8], {"prompt": "cat " * 300, "chosen": " yes", "rejected": " no"}]
    with pytest.raises(DataError, match="256"):
        train("dpo", model=tiny_model_dir, data=rows, out=tmp_path / "refused", max_steps=1)
    run = train(
        "dpo", model=tiny_model_dir, data=rows, out=tmp_path / "aside", max_steps=1, quarantine=True
    )
    assert run.record["options"]["max_tokens"] == 256 and run.record["rows"] == 8
    assert (tmp_path / "aside" / "quarantine.jsonl").read_text().count("\n") == 1
