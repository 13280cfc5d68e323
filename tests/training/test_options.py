"""Options: their ranges, their help, and that nothing given is left unread."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from holdfast.errors import OptionError
from holdfast.methods import METHODS
from holdfast.training.options import (
    FREE_ON_RESUME,
    INSTEAD_OF,
    ONLY_WITH,
    RANGES,
    Options,
    helps,
    split_options,
)
from holdfast.training.policy import train

DPO, RDPO = METHODS["dpo"], METHODS["rdpo"]


def test_every_option_has_one_line_of_help_and_the_tables_name_options() -> None:
    names = {field.name for field in dataclasses.fields(Options)}
    assert helps().keys() == names
    assert all(text and "\n" not in text and len(text) < 120 for text in helps().values())
    assert names >= {
        *RANGES,
        *FREE_ON_RESUME,
        *ONLY_WITH,
        *ONLY_WITH.values(),
        *INSTEAD_OF,
        *INSTEAD_OF.values(),
    }


def test_options_and_settings_are_told_apart_and_defaults_filled_in() -> None:
    options, settings = split_options(
        RDPO, {"flip_rate": 0.2, "learning_rate": 1e-4, "track": ["tensorboard"]}
    )
    assert options.learning_rate == 1e-4
    assert options.track == ("tensorboard",)
    assert settings["flip_rate"] == 0.2
    assert settings["beta"] == 0.1


def test_no_method_has_a_setting_named_like_an_option() -> None:
    for method in METHODS.values():
        split_options(method, {})


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"flip_rat": 0.2}, ["rdpo does not read flip_rat", "beta, flip_rate", "mean flip_rate?"]),
        ({"learning_rat": 0.2}, ["did you mean learning_rate?"]),
        ({"tau": 0.2}, ["tau is read by ipo"]),
        ({"label_smoothing": 0.2}, ["holdfast methods rdpo"]),
    ],
)
def test_a_name_that_nobody_reads_is_refused_with_the_nearest(
    given: dict[str, Any], words: list[str]
) -> None:
    with pytest.raises(OptionError) as error:
        split_options(RDPO, given)
    for word in words:
        assert word in str(error.value)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"batch_size": 0}, "batch_size must be at least 1, not 0"),
        ({"batch_size": 2.0}, "batch_size must be a whole number, not 2.0"),
        ({"batch_size": True}, "batch_size must be a whole number"),
        ({"learning_rate": float("nan")}, "learning_rate must be a finite number"),
        ({"learning_rate": -1.0}, "learning_rate must be at least 0"),
        ({"epochs": 0}, "epochs must be above 0"),
        ({"schedule": "step"}, "schedule must be one of linear, cosine, constant"),
        ({"precision": "fp16"}, "precision must be one of fp32, bf16"),
        ({"eval_fraction": 1.0}, "eval_fraction must be below 1"),
        ({"adam_beta2": 1.0}, "must be below 1"),
        ({"track": ("mlflow",)}, "track must be a list of tensorboard, wandb, trackio"),
        ({"lora_alpha": 8.0}, "lora_alpha is not read without lora_rank"),
        ({"lora_rank": 4, "lora_dropout": 0.1}, "lora_dropout is not read while dropout is off"),
        ({"max_steps": 5, "epochs": 2}, "max_steps and epochs say the same thing twice"),
        ({"warmup_steps": 5, "warmup_ratio": 0.1}, "warmup_steps and warmup_ratio"),
        ({"beta": float("inf")}, "beta must be a finite number"),
    ],
)
def test_values_out_of_range_are_refused_in_words(given: dict[str, Any], words: str) -> None:
    with pytest.raises(OptionError) as error:
        split_options(DPO, given)
    assert words in str(error.value)


def test_an_integer_is_a_number() -> None:
    assert Options(epochs=2).epochs == 2


@pytest.mark.parametrize(
    ("option", "value"), [("resume", "yes"), ("resume", "no"), ("resume", 1), ("reduction", 5)]
)
def test_what_is_no_option_of_training_itself_is_refused_before_anything_is_loaded(
    tmp_path: Path, option: str, value: Any
):
    with pytest.raises(OptionError, match=f"{option} must be"):
        train(
            "dpo",
            model="nowhere",
            data=[{"prompt": "a", "chosen": "b", "rejected": "c"}],
            out=tmp_path / "run",
            **{option: value},
        )
