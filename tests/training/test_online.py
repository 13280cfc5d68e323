"""Answers that the policy draws while it is trained: its own, new at every step, the same again
after a crash.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import PreTrainedTokenizerFast

from holdfast.data import tokenize
from holdfast.data.examples import to_examples
from holdfast.errors import RunError
from holdfast.inputs import samples
from holdfast.methods import METHODS
from holdfast.scorers.text import TextScorer, score_in_chunks
from holdfast.training.distributed import Distributed
from holdfast.training.examples import Examples
from holdfast.training.policy import train
from holdfast.training.progress import Progress
from holdfast.training.run.folder import Run
from holdfast.training.sources.online import Sampler, sampler_for
from holdfast.types import Row, Where
from tests.conftest import build_model


@pytest.fixture
def rows(tiny_tokenizer: PreTrainedTokenizerFast, pair_rows: list[dict[str, Any]]) -> Examples:
    given = [
        Row(Where("rows", n), row["prompt"], row["chosen"], row["rejected"])
        for n, row in enumerate(pair_rows[:6], 1)
    ]
    made = tokenize(
        to_examples(given, METHODS["hypo"]).rows, tiny_tokenizer, needs=METHODS["hypo"].card.needs
    )
    return Examples(
        made.items,
        made.rows,
        [{"chosen": torch.zeros(1), "rejected": torch.zeros(1)} for _ in made.items],
    )


def sampler(policy: Any, tokenizer: Any, rows: Examples, **changes: Any) -> Sampler:
    how = {
        "asked": None,
        "tokenizer": tokenizer,
        "rows": rows,
        "seed": 3,
        "tokens": 200,
        "trust_remote_code": False,
        **changes,
    }
    found = sampler_for(METHODS["hypo"], Distributed(precision="fp32"), policy, **how)
    assert found is not None
    return found


def test_answers_are_drawn_beside_the_pair_and_scored_by_the_policy_as_it_was(
    tiny_tokenizer: PreTrainedTokenizerFast, rows: Examples
) -> None:
    policy = build_model(len(tiny_tokenizer))
    draws = sampler(policy, tiny_tokenizer, rows)
    before = build_model(len(tiny_tokenizer))
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter += 0.05 * torch.randn(
                parameter.shape, generator=torch.Generator().manual_seed(1)
            )
    first, again, later = draws.draw(rows, 1), draws.draw(rows, 1), draws.draw(rows, 2)
    assert first.items == again.items and first.items != later.items
    longest = max(len(ids) for item in rows.items for ids in item.branches.values())
    scored = score_in_chunks(TextScorer(before), first.items)
    for item, old, known, numbers in zip(
        first.items, rows.items, first.reference or [], scored, strict=True
    ):
        assert (
            list(item.branches) == ["chosen", "rejected", *samples.branches]
            and item.prompt == old.prompt
        )
        assert item.branches["chosen"] == old.branches["chosen"] and "chosen" in known
        for name in samples.branches:
            ids = item.branches[name]
            assert 1 <= len(ids) <= longest and (
                len(ids) == longest or ids[-1] == tiny_tokenizer.eos_token_id
            )
            torch.testing.assert_close(known[name], numbers[name], rtol=1e-4, atol=1e-5)


def test_only_methods_that_ask_hold_a_second_model() -> None:
    assert sampler_for(
        METHODS["dpo"],
        Distributed(precision="fp32"),
        None,
        asked=None,
        tokenizer=None,
        rows=Examples([], []),
        seed=0,
        tokens=1,
        trust_remote_code=False,
    ) is None  # fmt: skip


def test_what_cannot_be_drawn_from_is_refused(
    tiny_tokenizer: PreTrainedTokenizerFast, rows: Examples
) -> None:
    with pytest.raises(RunError, match="hint: name the base model as the reference"):
        sampler(build_model(len(tiny_tokenizer)), tiny_tokenizer, rows, asked="adapter-off")
    with pytest.raises(RunError, match="hint: use DDP, or one process"):
        sampler_for(
            METHODS["hypo"],
            SimpleNamespace(sharded=True),  # type: ignore[arg-type]
            None,
            asked=None,
            tokenizer=None,
            rows=rows,
            seed=0,
            tokens=1,
            trust_remote_code=False,
        )


class CrashError(Exception):
    pass


def losses(run: Run) -> list[float]:
    return [line["loss"] for line in run.metrics if "loss" in line]


def test_a_run_starts_at_its_known_value_and_goes_on_with_the_same_draws(
    tmp_path: Path,
    tiny_model_dir: Path,
    pair_rows: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = tmp_path / "rows.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in pair_rows))
    setting: dict[str, Any] = {
        "model": tiny_model_dir,
        "data": data,
        "batch_size": 8,
        "max_steps": 4,
        "eval_fraction": 0.1,
    }
    setting |= {"learning_rate": 3e-3, "weight": 0.1, "tokens_per_microbatch": 150}
    calm = train("hypo", out=tmp_path / "calm", **setting)
    assert losses(calm)[0] == pytest.approx(math.log(2), abs=1e-5) and losses(calm)[
        1
    ] != pytest.approx(math.log(2), abs=1e-4)
    kls = [line["kl"] for line in calm.metrics if "loss" in line]
    assert kls[0] == pytest.approx(0, abs=1e-4) and kls[-1] > 1e-3
    step = Progress.step

    def crash(self: Progress, number: int, metrics: dict[str, Any]) -> None:
        step(self, number, metrics)
        if number == 3:
            raise CrashError

    with monkeypatch.context() as patch:
        patch.setattr(Progress, "step", crash)
        with pytest.raises(CrashError):
            train("hypo", out=tmp_path / "crashed", save_every=2, **setting)
    resumed = train("hypo", out=tmp_path / "crashed", save_every=2, resume=True, **setting)
    assert losses(resumed) == losses(calm)
    one, two = (load_file(next(run.model_path.glob("*.safetensors"))) for run in (calm, resumed))
    assert all(torch.equal(one[name], two[name]) for name in one)
