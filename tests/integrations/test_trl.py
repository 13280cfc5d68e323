"""Our methods inside TRL's DPOTrainer, against our own loop and against TRL's own loss."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("trl")

from datasets import Dataset, IterableDataset
from peft import LoraConfig
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModelForCausalLM, MixtralConfig, MixtralForCausalLM
from trl import DPOConfig, DPOTrainer

from holdfast.errors import DataError, NeedError, OptionError, RunError
from holdfast.inputs import confidence, group, reference, reward_gap
from holdfast.integrations.refusals import UNREAD
from holdfast.integrations.trl import MEMORY, HoldfastDPOTrainer
from holdfast.methods import METHODS
from holdfast.training import batching
from holdfast.training.policy import train
from holdfast.types import Pairs
from tests.conftest import build_model

ROWS, BATCH, SEED, RATE = 12, 4, 3, 1e-2
# of Adam, which divides: under it, gradients that are rounding alone would move weights as far as
# any
EPSILON = 1e-4
NEVER_TOUCHED = object()  # in the place of a model: a refusal comes before anything is loaded
RATERS = ("ann", "bob", "eve")


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """No telemetry, no progress bars."""
    monkeypatch.setenv("CI", "true")
    monkeypatch.setenv("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")


@pytest.fixture
def rows(pair_rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    more = lambda i: {"rater": RATERS[i % 3], "reward_gap": 0.5 + 0.1 * i, "confidence": 0.9}  # noqa: E731
    return [{**row, **more(i)} for i, row in enumerate(pair_rows[:ROWS])]


def config(folder: Path, **changes: Any) -> DPOConfig:
    """As our loop trains by default, rows in the order they are given."""
    settings = {
        "per_device_train_batch_size": BATCH,
        "max_steps": 3,
        "learning_rate": RATE,
        "adam_epsilon": EPSILON,
        "lr_scheduler_type": "constant",
        "bf16": False,
        "gradient_checkpointing": False,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "train_sampling_strategy": "sequential",
        "use_cpu": True,
        "max_length": None,
    }
    return DPOConfig(str(folder), **{**settings, **changes})


def policy(model_dir: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(model_dir)


def trainer(
    model_dir: Path,
    tokenizer: Any,
    rows: list[dict[str, Any]],
    out: Path,
    *,
    method: Any,
    **given: Any,
) -> HoldfastDPOTrainer:
    ours = {
        name: given.pop(name)
        for name in (
            "settings",
            "reduction",
            "eval_dataset",
            "ref_model",
            "peft_config",
            "compute_metrics",
        )
        if name in given
    }
    data = given.pop("data", None) or Dataset.from_list(rows)
    model = given.pop("model", None) or policy(model_dir)
    return HoldfastDPOTrainer(
        model,
        method=method,
        args=config(out, **given),
        train_dataset=data,
        processing_class=tokenizer,
        **ours,
    )


def in_our_order(rows: list[dict[str, Any]], steps: int) -> list[dict[str, Any]]:
    return [
        rows[i]
        for step in range(steps)
        for i in batching.rows_of_step(step, rows=len(rows), batch_size=BATCH, seed=SEED)
    ]


def logged(ran: Any, name: str) -> list[float]:
    return [line[name] for line in ran.state.log_history if name in line]


def weights(model: Any) -> Mapping[str, Tensor]:
    return {name: value.detach().clone() for name, value in model.named_parameters()}


def one_gradient(ran: Any, samples: list[list[int]]) -> dict[str, Tensor]:
    """The gradient of one optimizer step over microbatches of these rows, as the Trainer takes
    it.
    """
    loader = [
        ran._prepare_inputs(ran.data_collator([ran.train_dataset[i] for i in rows]))
        for rows in samples
    ]
    batches, items = ran.get_batch_samples(iter(loader), len(loader), torch.device("cpu"))
    ran.current_gradient_accumulation_steps = len(batches)
    ran.model.zero_grad()
    for inputs in batches:
        ran.training_step(ran.model, inputs, items)
    return {name: value.grad.clone() for name, value in ran.model.named_parameters()}


# ------------------------------------------------------------------------------------------------
# agreement


CASES: list[tuple[str, dict[str, Any], str | None]] = [
    ("dpo", {"beta": 0.3}, None),
    ("rdpo", {"flip_rate": 0.2}, None),
    ("ipo", {"tau": 0.3}, None),
    ("simpo", {}, None),
    ("cpo", {}, None),
    ("orpo", {"weight": 0.5}, None),
    ("madpo", {}, None),
    ("beta_dpo", {}, None),
    ("lcpo_dpo", {"rate": 0.5}, None),
    ("dr_dpo", {}, None),
    ("dpo", {}, "groups:step=0.5"),
]


@pytest.mark.parametrize(("method", "settings", "reduction"), CASES)
def test_agrees_with_our_loop(
    method, settings, reduction, tiny_model_dir, tiny_tokenizer, rows, tmp_path
):
    ours = train(
        method,
        model=str(tiny_model_dir),
        data=rows,
        out=tmp_path / "ours",
        reduction=reduction,
        batch_size=BATCH,
        max_steps=3,
        learning_rate=RATE,
        adam_epsilon=EPSILON,
        schedule="constant",
        warmup_ratio=0.0,
        seed=SEED,
        save_every=0,
        **settings,
    )
    theirs = trainer(
        tiny_model_dir,
        tiny_tokenizer,
        in_our_order(rows, 3),
        tmp_path / "theirs",
        method=method,
        settings=settings,
        reduction=reduction,
    )
    before = weights(theirs.model)
    theirs.train()

    lines = [line for line in ours.metrics if "loss" in line]
    assert len(lines) == len(logged(theirs, "loss")) == 3
    names = ["loss", "cost/mean", "logps_per_token/chosen", "length/rejected", "ranking/accuracy"]
    names += ["logps/chosen", "logps/rejected"]  # TRL's own, and ours under the same names
    if reference in METHODS[method].card.needs:
        names += ["rewards/chosen", "rewards/rejected", "rewards/margins"]
    for name in names:
        assert logged(theirs, name) == pytest.approx([line[name] for line in lines], abs=1e-4), name
    assert logged(theirs, "loss")[2] != pytest.approx(logged(theirs, "loss")[0], abs=1e-3)
    trained = weights(AutoModelForCausalLM.from_pretrained(ours.model_path))
    moved = max(float((trained[name] - value).abs().max()) for name, value in before.items())
    apart = max(
        float((trained[name] - value).abs().max()) for name, value in weights(theirs.model).items()
    )
    assert apart < 1e-4 < 3e-3 < moved


def test_dpo_is_trls_own_sigmoid(tiny_model_dir, tiny_tokenizer, rows, tmp_path):
    ours = trainer(tiny_model_dir, tiny_tokenizer, rows, tmp_path / "a", method="dpo")
    theirs = DPOTrainer(
        policy(tiny_model_dir),
        args=config(tmp_path / "b"),
        train_dataset=Dataset.from_list(rows),
        processing_class=tiny_tokenizer,
    )
    ours.train()
    theirs.train()
    for name in (
        "loss",
        "grad_norm",
        "rewards/margins",
        "rewards/accuracies",
        "entropy",
        "logps/chosen",
        "num_tokens",
    ):
        assert logged(ours, name) == pytest.approx(logged(theirs, name), rel=1e-5), name
    for name, value in theirs.model.named_parameters():
        torch.testing.assert_close(ours.model.get_parameter(name), value, rtol=0, atol=1e-6)
    assert logged(ours, "log_ratios/margin")[-1] == pytest.approx(
        logged(ours, "rewards/margins")[-1] / 0.1, rel=1e-5
    )


def test_adapter_is_its_own_reference_once_switched_off(
    tiny_model_dir, tiny_tokenizer, rows, tmp_path
):
    """A fresh adapter changes nothing: dpo starts at log 2, then moves away from the model
    beneath.
    """
    lora = LoraConfig(r=2, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
    ran = trainer(tiny_model_dir, tiny_tokenizer, rows, tmp_path, method="dpo", peft_config=lora)
    ran.train()
    assert ran.ref_model is None
    assert logged(ran, "loss")[0] == pytest.approx(torch.tensor(2.0).log().item(), abs=1e-6)
    assert abs(logged(ran, "log_ratios/margin")[1]) > 1e-4


def test_router_loss_of_a_mixture_of_experts_is_kept(tiny_tokenizer, rows, tmp_path):
    small = {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
    }
    torch.manual_seed(0)
    shape = MixtralConfig(
        vocab_size=len(tiny_tokenizer),
        num_local_experts=2,
        num_experts_per_tok=1,
        router_aux_loss_coef=0.5,
        **small,
    )
    model = MixtralForCausalLM(shape)
    given = {
        "train_dataset": Dataset.from_list(rows),
        "processing_class": tiny_tokenizer,
        "ref_model": MixtralForCausalLM(shape),
    }
    ours = HoldfastDPOTrainer(model, method="dpo", args=config(tmp_path), **given)
    inputs = ours._prepare_inputs(ours.data_collator([ours.train_dataset[i] for i in range(3)]))
    mine = ours.compute_loss(ours.model, inputs)
    inputs.pop("holdfast_row")
    theirs = DPOTrainer._compute_loss(ours, ours.model, inputs, False)
    assert mine.item() == pytest.approx(theirs.item(), rel=1e-5)
    assert mine.item() > 0.5 + 0.3  # the router's term alone is 0.5 at the least


def test_metrics_of_ones_own_see_the_logits(tiny_model_dir, tiny_tokenizer, rows, tmp_path):
    """TRL then runs the policy a third time; with an adapter, policy and reference are the same
    module. Both must be told apart.
    """
    lora = LoraConfig(r=2, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
    seen: list[Any] = []

    def shape(prediction: Any) -> dict[str, float]:
        seen.append(prediction.predictions.shape)
        return {}

    given = {
        "peft_config": lora,
        "eval_dataset": Dataset.from_list(rows[:4]),
        "per_device_eval_batch_size": 4,
    }
    ran = trainer(
        tiny_model_dir, tiny_tokenizer, rows, tmp_path, method="dpo", compute_metrics=shape, **given
    )
    ran.train()
    with_logits = ran.evaluate()
    assert seen[0][-1] == len(tiny_tokenizer)
    ran.compute_metrics = None
    assert ran.evaluate()["eval_loss"] == pytest.approx(with_logits["eval_loss"], rel=1e-6)
    assert with_logits["eval_loss"] != pytest.approx(torch.tensor(2.0).log().item(), abs=1e-4)


# ------------------------------------------------------------------------------------------------
# no reference


def test_without_reference_none_is_loaded_and_rewards_are_not_made_up(
    tiny_tokenizer, rows, tmp_path
):
    """A model made on the spot has no folder that a reference could come from."""
    ran = trainer(
        None, tiny_tokenizer, rows, tmp_path, method="simpo", model=build_model(len(tiny_tokenizer))
    )
    ran.train()
    ran.evaluate(Dataset.from_list(rows[:3]))
    assert sum(p.numel() for p in ran.ref_model.parameters()) == 0
    assert not [
        name
        for line in ran.state.log_history
        for name in line
        if "rewards/" in name or "implicit_reward" in name
    ]
    assert not ran.args.precompute_ref_log_probs


def test_a_reference_that_is_given_is_measured_against(
    tiny_model_dir, tiny_tokenizer, rows, tmp_path
):
    ran = trainer(
        tiny_model_dir,
        tiny_tokenizer,
        rows,
        tmp_path,
        method="simpo",
        ref_model=policy(tiny_model_dir),
    )
    ran.train()
    assert logged(ran, "log_ratios/chosen")[0] == pytest.approx(0, abs=1e-4)
    assert logged(ran, "rewards/margins")[2] == pytest.approx(
        2.0 * logged(ran, "log_ratios/margin")[2], rel=1e-5
    )  # its beta is 2


# ------------------------------------------------------------------------------------------------
# microbatches


@pytest.mark.parametrize("weigh", [False, True])
def test_microbatches_of_any_size_give_the_gradient_of_the_large_batch(
    weigh, tiny_model_dir, tiny_tokenizer, rows, tmp_path
):
    rows = [{**row, "weight": 0.25 * (i + 1)} for i, row in enumerate(rows)] if weigh else rows
    ran = trainer(
        tiny_model_dir, tiny_tokenizer, rows, tmp_path, method="rdpo", gradient_accumulation_steps=3
    )
    cut = one_gradient(ran, [[0, 1, 2, 3], [4, 5, 6, 7], [8]])
    whole = one_gradient(ran, [list(range(9))])
    plain = one_gradient(ran, [[0, 1, 2, 3]])
    assert max(float(value.abs().max()) for value in whole.values()) > 1e-2
    for name, value in whole.items():
        torch.testing.assert_close(cut[name], value, rtol=1e-4, atol=1e-6)
    assert any(float((plain[name] - value).abs().max()) > 1e-2 for name, value in whole.items())


@pytest.mark.parametrize(("method", "reduction", "says"), [
    ("beta_dpo", None, "depends on the rest"),
    ("lcpo_dpo", None, "remembers"),
    ("dr_dpo", None, "whole batches"),
    ("dpo", "cvar:alpha=0.5", "whole batches"),
])  # fmt: skip
def test_batches_that_are_more_than_their_rows_are_not_cut(
    method, reduction, says, tiny_model_dir, tiny_tokenizer, rows, tmp_path
):
    with pytest.raises(OptionError, match=says):
        trainer(
            tiny_model_dir,
            tiny_tokenizer,
            rows,
            tmp_path,
            method=method,
            reduction=reduction,
            gradient_accumulation_steps=2,
            model=NEVER_TOUCHED,
        )


# ------------------------------------------------------------------------------------------------
# memory


def test_resuming_goes_on_with_the_same_memory(tiny_model_dir, tiny_tokenizer, rows, tmp_path):
    def again(name: str, **changes: Any) -> HoldfastDPOTrainer:
        given = {
            "method": "lcpo_dpo",
            "settings": {"rate": 0.5},
            "reduction": "groups:step=0.5",
            "save_strategy": "steps",
            **changes,
        }
        return trainer(tiny_model_dir, tiny_tokenizer, rows, tmp_path / name, save_steps=2, **given)

    straight = again("straight")
    straight.train()
    saved = load_file(tmp_path / "straight" / "checkpoint-2" / MEMORY)
    kept = {f"method.{name}": value for name, value in straight.method_state.method.items()}
    assert (
        set(saved) == {*kept, "reduction.log_weight_K"}
        and saved["reduction.log_weight_K"].std() > 0
    )
    assert all(
        value.shape == (len(RATERS),) and not torch.equal(value, saved[name])
        for name, value in kept.items()
    )

    broken = again("broken")
    broken.train(resume_from_checkpoint=str(tmp_path / "straight" / "checkpoint-2"))
    torch.testing.assert_close(
        broken.method_state.method, straight.method_state.method, rtol=0, atol=0
    )
    torch.testing.assert_close(
        broken.method_state.reduction, straight.method_state.reduction, rtol=0, atol=0
    )
    for name, value in straight.model.named_parameters():
        torch.testing.assert_close(broken.model.get_parameter(name), value, rtol=0, atol=0)

    other = again("other", settings={"rate": 0.4})
    with pytest.raises(RunError, match="settings"):
        other.train(resume_from_checkpoint=str(tmp_path / "straight" / "checkpoint-2"))
    (tmp_path / "straight" / "checkpoint-2" / MEMORY).unlink()
    with pytest.raises(RunError, match="another trainer"):
        again("third").train(resume_from_checkpoint=str(tmp_path / "straight" / "checkpoint-2"))


def test_evaluation_moves_no_memory(tiny_model_dir, tiny_tokenizer, rows, tmp_path):
    ran = trainer(
        tiny_model_dir,
        tiny_tokenizer,
        rows,
        tmp_path,
        method="beta_dpo",
        eval_dataset=Dataset.from_list(rows[:5]),
    )
    ran.train()
    before = ran.method_state
    found = ran.evaluate()
    assert ran.method_state is before and before.method["margin"] != 0
    assert found["eval_log_ratios/margin"] == pytest.approx(
        found["eval_rewards/margins"] / 0.1, rel=1e-4
    )
    with pytest.raises(DataError, match="unknown in column rater: zoe"):
        ran.evaluate(Dataset.from_list([{**rows[0], "rater": "zoe"}]))


# ------------------------------------------------------------------------------------------------
# refusals


@pytest.mark.parametrize("name", sorted(METHODS))
def test_every_method_is_taken_or_refused_by_name(
    name, tiny_model_dir, tiny_tokenizer, rows, tmp_path
):
    method = METHODS[name]
    if method.takes is Pairs and set(method.card.needs) <= {
        reference,
        reward_gap,
        group,
        confidence,
    }:
        ran = trainer(tiny_model_dir, tiny_tokenizer, rows, tmp_path, method=name)
        slope = one_gradient(ran, [[0, 1, 2]])
        assert all(torch.isfinite(value).all() for value in slope.values())
        assert any(float(value.abs().max()) > 1e-3 for value in slope.values())
    else:
        with pytest.raises((OptionError, NeedError), match=name):
            trainer(
                tiny_model_dir, tiny_tokenizer, rows, tmp_path, method=name, model=NEVER_TOUCHED
            )


NOT_USUAL = {
    "loss_type": ["ipo"],
    "loss_weights": [2.0],
    "beta": 0.2,
    "label_smoothing": 0.1,
    "ld_alpha": 0.5,
    "f_divergence_type": "forward_kl",
    "f_alpha_divergence_coef": 0.1,
    "use_weighting": True,
    "discopop_tau": 0.1,
    "sync_ref_model": True,
    "ref_model_mixup_alpha": 0.1,
    "ref_model_sync_steps": 3,
    "precompute_ref_log_probs": True,
    "precompute_ref_batch_size": 2,
    "padding_free": True,
}


@pytest.mark.parametrize("name", sorted(UNREAD))
def test_trls_own_options_of_loss_are_refused(name, tiny_model_dir, tiny_tokenizer, rows, tmp_path):
    with pytest.raises(OptionError, match=rf"(?s)^{name}=.*hint: "):
        trainer(
            tiny_model_dir,
            tiny_tokenizer,
            rows,
            tmp_path,
            method="dpo",
            model=NEVER_TOUCHED,
            **{name: NOT_USUAL[name]},
        )


@pytest.mark.parametrize(("given", "error", "says"), [
    ({"method": "dop"}, OptionError, "did you mean dpo"),
    ({"method": "kto"}, OptionError, "kto takes single answers"),
    ({"method": "srpo"}, NeedError, "srpo needs revision"),
    ({"method": "dpo", "settings": {"flip_rate": 0.1}}, OptionError, "flip_rate"),
    ({"method": "dpo", "settings": {"learning_rate": 0.1}}, OptionError, "DPOConfig"),
    ({"method": "rdpo", "settings": {"flip_rate": 0.5}}, OptionError, "flip_rate"),
    ({"method": "dpo", "reduction": "klx"}, OptionError, "did you mean kl"),
])  # fmt: skip
def test_what_cannot_be_is_refused(
    given, error, says, tiny_model_dir, tiny_tokenizer, rows, tmp_path
):
    with pytest.raises(error, match=says):
        trainer(tiny_model_dir, tiny_tokenizer, rows, tmp_path, model=NEVER_TOUCHED, **given)


def test_columns_are_checked_by_row(tiny_model_dir, tiny_tokenizer, rows, tmp_path):
    def attempt(**given: Any) -> HoldfastDPOTrainer:
        return trainer(tiny_model_dir, tiny_tokenizer, rows, tmp_path, **given)

    bare = [{name: row[name] for name in ("prompt", "chosen", "rejected")} for row in rows]
    with pytest.raises(NeedError, match="madpo needs reward_gap: a reward model's opinion"):
        attempt(method="madpo", data=Dataset.from_list(bare))
    with pytest.raises(NeedError, match="group"):
        attempt(method="dpo", reduction="groups", data=Dataset.from_list(bare))
    with pytest.raises(DataError, match=r"train dataset:2: field `weight`: .*out of range"):
        attempt(
            method="dpo",
            data=Dataset.from_list([{**bare[0], "weight": 1.0}, {**bare[1], "weight": -1.0}]),
        )
    with pytest.raises(DataError, match="1 of 2 rows of train dataset are ties"):
        attempt(
            method="dpo",
            data=Dataset.from_list([{**bare[0], "tie": False}, {**bare[1], "tie": True}]),
        )
    with pytest.raises(OptionError, match="stream"):
        attempt(method="dpo", data=IterableDataset.from_generator(lambda: iter(rows)))
    with pytest.raises(OptionError, match="images"):
        attempt(method="dpo", data=Dataset.from_list([{**row, "images": []} for row in bare]))


def test_a_stream_without_columns_of_ours_trains(tiny_model_dir, tiny_tokenizer, rows, tmp_path):
    bare = [{name: row[name] for name in ("prompt", "chosen", "rejected")} for row in rows]
    ran = trainer(
        tiny_model_dir,
        tiny_tokenizer,
        rows,
        tmp_path,
        method="dpo",
        data=IterableDataset.from_generator(lambda: iter(bare)),
    )
    ran.train()
    same = trainer(tiny_model_dir, tiny_tokenizer, bare, tmp_path, method="dpo")
    same.train()
    assert logged(ran, "loss") == pytest.approx(logged(same, "loss"), abs=1e-6)


def test_rows_cut_or_dropped_are_counted(tiny_model_dir, tiny_tokenizer, rows, tmp_path):
    rows = [
        {**rows[0], "prompt": "the cat sat " * 20},
        {**rows[1], "chosen": " cat" * 30},
        *rows[2:],
    ]
    count = lambda text: len(tiny_tokenizer(text)["input_ids"])  # noqa: E731
    lengths = [
        max(count(row["prompt"] + row[name]) for name in ("chosen", "rejected")) + 1
        for row in rows[1:]
    ]  # and the end token
    limit = sorted(lengths)[-3]  # two answers are longer
    assert limit < count(rows[0]["prompt"]) and limit < sorted(lengths)[-2]
    with pytest.warns(
        UserWarning,
        match=(
            "train dataset: 1 rows are dropped and 2 rows have answers cut short, at "
            f"max_length {limit}"
        ),
    ):
        trainer(tiny_model_dir, tiny_tokenizer, rows, tmp_path, method="dpo", max_length=limit)


def test_card_speaks_of_the_method(tiny_model_dir, tiny_tokenizer, rows, tmp_path):
    ran = trainer(tiny_model_dir, tiny_tokenizer, rows, tmp_path, method="rdpo")
    ran.create_model_card(model_name="tried")
    text = (tmp_path / "README.md").read_text()
    assert (
        METHODS["rdpo"].card.paper.title in text
        and "rdpo" in text
        and "Your Language Model is Secretly" not in text
    )


def test_a_method_of_ones_own(tiny_model_dir, tiny_tokenizer, rows, tmp_path):
    def twice_dpo(pairs: Any, *, beta: float = 0.1) -> Tensor:
        return 2 * METHODS["dpo"].objective(pairs, beta=beta)

    ran = trainer(
        tiny_model_dir,
        tiny_tokenizer,
        rows,
        tmp_path,
        method=replace(METHODS["dpo"], objective=twice_dpo),
        max_steps=1,
    )
    ran.train()
    assert logged(ran, "loss") == pytest.approx([2 * torch.tensor(2.0).log().item()], abs=1e-5)


# ------------------------------------------------------------------------------------------------
# the page


def test_the_page_runs(tiny_model_dir, tiny_tokenizer, rows, tmp_path, monkeypatch):
    page = Path(__file__).parents[2] / "docs" / "trl.md"
    (code,) = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.S)
    tiny = policy(tiny_model_dir)
    tiny.save_pretrained(tmp_path / "my-model")
    tiny_tokenizer.save_pretrained(tmp_path / "my-model")
    Dataset.from_list(rows).to_json(tmp_path / "prefs.jsonl")
    monkeypatch.chdir(tmp_path)
    found: dict[str, Any] = {}
    exec(compile(code, str(page), "exec"), found)
    assert found["trainer"].state.global_step > 0
    assert (tmp_path / "runs" / "rdpo" / "model.safetensors").is_file()
