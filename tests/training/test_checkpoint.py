"""Checkpoints: whole or not there, and what is done about those that are not."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

from holdfast.files import sweep, whole_folder, write_json
from holdfast.scorers.text import TextScorer
from holdfast.training.distributed import Distributed
from holdfast.training.optimizer import build_optimizer
from holdfast.training.options import Options
from holdfast.training.run import checkpoint
from holdfast.training.run.checkpoint import Position
from tests.conftest import build_model


def furnished(**changes: Any) -> tuple[TextScorer, torch.optim.Optimizer]:
    scorer = TextScorer(build_model(50, **changes))
    return scorer, build_optimizer(scorer, Options(weight_decay=0.1, learning_rate=1e-2))


def one_step(scorer: TextScorer, optimizer: torch.optim.Optimizer) -> None:
    scorer.model(torch.tensor([[1, 2, 3]])).logits.square().mean().backward()
    optimizer.step()
    optimizer.zero_grad()


@pytest.fixture
def context() -> Distributed:
    return Distributed(precision="fp32")


def save(
    context: Distributed,
    folder: Path,
    scorer: TextScorer,
    optimizer: torch.optim.Optimizer,
    step: int,
    keep: int = 2,
) -> None:
    state = {"log_weight_K": torch.arange(3.0) + step, "nested": {"mean": torch.tensor(0.5)}}
    checkpoint.save(
        context,
        folder,
        scorer,
        optimizer,
        state,
        Position("r", step, 10 * step, 1.5, {"last_epoch": step}),
        keep=keep,
    )


EMPTY = {"log_weight_K": torch.zeros(3), "nested": {"mean": torch.tensor(0.0)}}


@pytest.mark.parametrize("tied", [False, True])
def test_a_run_goes_on_from_a_checkpoint_as_if_it_had_not_stopped(
    context: Distributed, tmp_path: Path, tied: bool
) -> None:
    scorer, optimizer = furnished(tie_word_embeddings=tied)
    one_step(scorer, optimizer)
    save(context, tmp_path, scorer, optimizer, 1)
    torch.manual_seed(5)
    expected_draw = torch.rand(3)
    torch.manual_seed(5)
    save(context, tmp_path, scorer, optimizer, 2)
    one_step(scorer, optimizer)
    other, other_optimizer = furnished(tie_word_embeddings=tied)
    found = checkpoint.load(context, tmp_path, other, other_optimizer, EMPTY, run="r")
    assert found is not None
    position, state = found
    assert torch.equal(torch.rand(3), expected_draw)
    assert position == Position("r", 2, 20, 1.5, {"last_epoch": 2})
    assert state["log_weight_K"].tolist() == [2.0, 3.0, 4.0]
    assert float(state["nested"]["mean"]) == 0.5
    one_step(other, other_optimizer)
    for (name, one), (_, two) in zip(
        scorer.named_parameters(), other.named_parameters(), strict=True
    ):
        assert torch.equal(one, two), name


def test_only_the_newest_are_kept_and_no_pickle_is_written(
    context: Distributed, tmp_path: Path
) -> None:
    scorer, optimizer = furnished()
    one_step(scorer, optimizer)
    for step in (1, 2, 3, 4):
        save(context, tmp_path, scorer, optimizer, step, keep=2)
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["step-00000003", "step-00000004"]
    assert {path.suffix for path in tmp_path.rglob("*") if path.is_file()} == {
        ".safetensors",
        ".json",
    }


def spoil_bit(path: Path) -> None:
    data = bytearray((path / "optimizer.safetensors").read_bytes())
    data[-5] ^= 1
    (path / "optimizer.safetensors").write_bytes(bytes(data))


def spoil_length(path: Path) -> None:
    with (path / "weights.safetensors").open("ab") as file:
        file.truncate(100)


def spoil_missing(path: Path) -> None:
    (path / "state.safetensors").unlink()


def spoil_manifest(path: Path) -> None:
    (path / "manifest.json").write_text("{")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (spoil_bit, "optimizer.safetensors does not match its checksum"),
        (spoil_length, "weights.safetensors has 100 bytes"),
        (spoil_missing, "state.safetensors is missing"),
        (spoil_manifest, "manifest.json cannot be read"),
    ],
)
def test_a_damaged_checkpoint_is_passed_over_aloud(
    context: Distributed, tmp_path: Path, spoil: Any, words: str
) -> None:
    scorer, optimizer = furnished()
    one_step(scorer, optimizer)
    save(context, tmp_path, scorer, optimizer, 1)
    save(context, tmp_path, scorer, optimizer, 2)
    spoil(tmp_path / "step-00000002")
    with pytest.warns(UserWarning, match=words):
        found = checkpoint.load(context, tmp_path, scorer, optimizer, EMPTY, run="r")
    assert found is not None
    assert found[0].step == 1
    spoil(tmp_path / "step-00000001")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert checkpoint.load(context, tmp_path, scorer, optimizer, EMPTY, run="r") is None


def test_a_folder_or_a_file_is_whole_or_not_there(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), whole_folder(tmp_path / "a") as half:
        (half / "x").write_text("x")
        _ = 1 / 0
    assert list(tmp_path.iterdir()) == []
    with whole_folder(tmp_path / "a") as half:
        (half / "x").write_text("x")
    assert (tmp_path / "a" / "x").read_text() == "x"
    with pytest.raises(FileExistsError), whole_folder(tmp_path / "a"):
        pass
    write_json(tmp_path / "b.json", {"one": 1})
    with pytest.raises(TypeError):
        write_json(tmp_path / "b.json", {"one": object()})
    assert json.loads((tmp_path / "b.json").read_text()) == {"one": 1}
    (tmp_path / ".part-left").mkdir()
    (tmp_path / ".part-left.json").touch()
    sweep(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b.json"]
