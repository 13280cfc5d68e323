"""What a method remembers is part of a run: it moves once a step, whatever the cutting, and comes
back from a checkpoint.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from holdfast.card import costs, initial_state
from holdfast.inputs import rater
from holdfast.methods import METHODS
from holdfast.scorers.text import TextScorer
from holdfast.training.batching import split
from holdfast.training.distributed import Distributed
from holdfast.training.examples import Examples
from holdfast.training.gradient import gradient
from holdfast.training.metrics import state_metrics
from holdfast.training.objective import BoundObjective
from holdfast.training.policy import train
from holdfast.training.progress import Progress
from holdfast.training.run.folder import Run
from holdfast.types import Pairs, Row, Tokenized, Where
from tests.conftest import build_model

REMEMBERING = ["beta_dpo", "lcpo_dpo", "lcpo_simpo"]


@pytest.fixture
def setting(
    tmp_path: Path, tiny_model_dir: Path, pair_rows: list[dict[str, Any]]
) -> dict[str, Any]:
    """48 pairs by three raters, six steps."""
    data = tmp_path / "rows.jsonl"
    data.write_text(
        "".join(json.dumps({**row, "rater": f"r{i % 3}"}) + "\n" for i, row in enumerate(pair_rows))
    )
    return {
        "model": tiny_model_dir,
        "data": data,
        "learning_rate": 3e-3,
        "batch_size": 8,
        "max_steps": 6,
        "log_every": 1000,
    }


def weights(run: Run) -> dict[str, Tensor]:
    return load_file(next(run.model_path.glob("*.safetensors")))


def losses(run: Run) -> list[float]:
    return [line["loss"] for line in run.metrics if "loss" in line]


class CrashError(Exception):
    pass


@pytest.mark.parametrize("name", REMEMBERING)
def test_a_crashed_run_ends_where_a_calm_one_does(
    name: str, tmp_path: Path, setting: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the bit, losses along the way included: they depend on what was remembered before the
    crash.
    """
    calm = train(name, out=tmp_path / "calm", **setting)
    step = Progress.step

    def crash(self: Progress, number: int, metrics: dict[str, Any]) -> None:
        step(self, number, metrics)
        if number == 4:
            raise CrashError

    with monkeypatch.context() as patch:
        patch.setattr(Progress, "step", crash)
        with pytest.raises(CrashError):
            train(name, out=tmp_path / "crashed", save_every=3, **setting)
    kept = load_file(tmp_path / "crashed" / "checkpoints" / "step-00000003" / "state.safetensors")
    remembered = [tensor for key, tensor in kept.items() if key.startswith("state.method.")]
    assert (
        len(remembered) == 1
        and remembered[0].isfinite().all()
        and remembered[0].numel() == (1 if name == "beta_dpo" else 3)
    )
    told = {key for key in calm.metrics[-1] if key.startswith("state/")}
    assert told == (
        {"state/margin"} if name == "beta_dpo" else {f"state/reliability/r{i}" for i in range(3)}
    )
    resumed = train(name, out=tmp_path / "crashed", save_every=3, resume=True, **setting)
    assert losses(resumed) == losses(calm)
    assert all(torch.equal(tensor, weights(calm)[key]) for key, tensor in weights(resumed).items())


def test_of_many_raters_the_range_is_told_and_of_strangers_nothing() -> None:
    reliability_R = torch.full((30,), float("nan"))
    assert state_metrics({"reliability_R": reliability_R}, [f"r{i}" for i in range(30)]) == {}
    reliability_R[:3] = torch.tensor([0.5, 1.0, 0.75])
    told = state_metrics({"reliability_R": reliability_R}, [f"r{i}" for i in range(30)])
    assert told == {
        "state/reliability/least": 0.5,
        "state/reliability/mean": 0.75,
        "state/reliability/greatest": 1.0,
    }
    assert state_metrics({"reliability_R": reliability_R[:3]}, ["ann", None, "zoe"]) == {
        "state/reliability/ann": 0.5,
        "state/reliability/unnamed": 1.0,
        "state/reliability/zoe": 0.75,
    }
    assert state_metrics({"reliability_R": reliability_R[:1]}, []) == {"state/reliability": 0.5}
    assert state_metrics({}, ["ann"]) == {}


@pytest.mark.parametrize("name", REMEMBERING)
def test_memory_moves_once_a_batch_however_it_is_cut(name: str) -> None:
    """Microbatches of one row and the whole batch at once: the same gradient and the same memory,
    that of the method itself.
    """
    generator = torch.Generator().manual_seed(0)
    ids = lambda n: torch.randint(2, 40, (n,), generator=generator).tolist()  # noqa: E731
    items = [
        Tokenized(ids(3), {"chosen": ids(2 + n % 4), "rejected": ids(5 - n % 3)}) for n in range(9)
    ]
    rows = [Row(Where("rows", n + 1), rater="ab"[n % 2]) for n in range(9)]
    reference = [
        {
            key: torch.randn(len(value), generator=generator) - 3
            for key, value in item.branches.items()
        }
        for item in items
    ]
    objective = BoundObjective(
        METHODS[name], {}, METHODS[name].reduction, raters=["a", "b", "nobody"]
    )
    found = []
    for budget in (1, 10_000):
        scorer = TextScorer(build_model(40))
        result = gradient(
            Distributed(precision="fp32"),
            scorer,
            objective,
            Examples(items, rows, reference),
            objective.first_state(),
            split([item.tokens for item in items], processes=1, budget=budget),
        )
        found.append(
            (result.state.method, [p.grad for p in scorer.parameters() if p.grad is not None])
        )
    (cut, cut_slopes), (whole, whole_slopes) = found
    batch = objective.batch(TextScorer(build_model(40))(items), Examples(items, rows, reference))
    assert isinstance(batch, Pairs) and rater.of(batch) is not None
    _, by_hand = costs(METHODS[name], batch, {}, initial_state(METHODS[name], 3))
    for key, tensor in by_hand.items():
        torch.testing.assert_close(cut[key], tensor, equal_nan=True, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(whole[key], tensor, equal_nan=True, rtol=1e-4, atol=1e-4)
        assert not torch.equal(tensor, initial_state(METHODS[name], 3)[key])
    for one, other in zip(cut_slopes, whole_slopes, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)
