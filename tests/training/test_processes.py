"""Two processes on CPU, DDP and FSDP2, take the steps that one process takes: same losses, same
gradient norms, same final weights.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from holdfast.training.policy import train

SCRIPT = """
import os, signal, sys
from pathlib import Path
from holdfast.training import policy
from holdfast.training.progress import Progress
from holdfast import signals

arguments = eval(sys.argv[1])
for name, (method, changes) in arguments["runs"].items():
    policy.train(method, out=Path(arguments["out"]) / name, **arguments["common"], **changes)

step = Progress.step
def interrupt(self, number, metrics):  # one process alone is asked to stop, after step 3
    if number == 3 and os.environ["RANK"] == "1":
        signal.raise_signal(signal.SIGTERM)
Progress.step = interrupt
name, (method, changes) = next(iter(arguments["runs"].items()))
out = Path(arguments["out"]) / "resumed"
try:
    policy.train(method, out=out, **arguments["common"], **changes)
    raise SystemExit("it was not interrupted")
except signals.Interrupted:
    Progress.step = step
    policy.train(method, out=out, resume=True, **arguments["common"], **changes)
"""

RUNS: dict[str, tuple[str, dict[str, Any]]] = {
    "mean": ("dpo", {"beta": 0.5}),
    "kto": ("kto", {"beta": 0.5}),
    "lora": ("dpo", {"beta": 0.5, "lora_rank": 2, "gradient_checkpointing": True}),
    "spo": ("spo", {"gamma": 0.5}),
    "tokens": ("sft", {"average": "token_mean"}),
    "root": ("dpo", {"optimizer": "root", "weight_decay": 0.1}),
    "muon": ("dpo", {"optimizer": "muon"}),
}
IN_MEMORY: dict[
    str, tuple[str, dict[str, Any]]
] = {  # what keeps its reference in memory, which FSDP refuses
    "sparsepo": ("sparsepo", {"sparsity": 0.02}),
    "independent": ("sparsepo_independent", {"lora_rank": 2, "reduction": "kl:temperature=1"}),
}
# Newton-Schulz runs in bfloat16: where float32 sums differ in their last bit, it rounds otherwise.
ROUNDED = {"root", "muon"}
LAUNCH = {"ddp": ["--multi_gpu"], "fsdp2": ["--use_fsdp", "--fsdp_version", "2"]}


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.fixture(scope="module")
def common(
    tmp_path_factory: pytest.TempPathFactory, tiny_model_dir: Path, pair_rows: list[dict[str, Any]]
) -> dict[str, Any]:
    data = tmp_path_factory.mktemp("data") / "rows.jsonl"
    # 29 rows: batches of 8 that two processes cannot halve by tokens, and a last one of 3
    data.write_text("".join(json.dumps(row) + "\n" for row in pair_rows[:29]))
    return {
        "model": str(tiny_model_dir),
        "data": str(data),
        "learning_rate": 3e-3,
        "batch_size": 8,
        "tokens_per_microbatch": 110,
        "eval_fraction": 0.1,
        "epochs": 1,
        "log_every": 1000,
    }


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory, common: dict[str, Any]) -> Path:
    out = tmp_path_factory.mktemp("alone")
    for name, (method, changes) in (RUNS | IN_MEMORY).items():
        train(method, out=out / name, **common, **changes)
    return out


@pytest.mark.parametrize("wrapping", LAUNCH)
def test_two_processes_take_the_steps_of_one(
    wrapping: str, tmp_path: Path, common: dict[str, Any], alone: Path
) -> None:
    script = tmp_path / "run.py"
    script.write_text(SCRIPT)
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
        "PYTHONWARNINGS": "ignore",
    }
    launch = [
        sys.executable,
        "-m",
        "accelerate.commands.launch",
        *LAUNCH[wrapping],
        "--num_processes",
        "2",
        "--num_machines",
        "1",
    ]
    launch += [
        "--mixed_precision",
        "no",
        "--dynamo_backend",
        "no",
        "--main_process_port",
        str(free_port()),
    ]
    runs = RUNS | IN_MEMORY if wrapping == "ddp" else RUNS
    arguments = {"out": str(tmp_path), "common": common, "runs": runs}
    done = subprocess.run(
        [*launch, str(script), repr(arguments)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    for name in (*runs, "resumed"):
        single = alone / ("mean" if name == "resumed" else name)
        record = json.loads((tmp_path / name / "run.json").read_text())
        assert record["distributed"] == {"processes": 2, "wrapping": wrapping, "device": "cpu:0"}
        curves = [
            [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
            for folder in (single, tmp_path / name)
        ]
        scale = 50 if name in ROUNDED else 1
        assert [line["step"] for line in curves[0]] == [line["step"] for line in curves[1]]
        for one, two in zip(*curves, strict=True):
            assert one.keys() == two.keys()
            for key in one.keys() - {"seconds", "tokens_per_second", "memory/peak_gib"}:
                assert two[key] == pytest.approx(one[key], rel=scale * 2e-4, abs=scale * 2e-5), (
                    name,
                    one["step"],
                    key,
                )
        weights = [
            load_file(next((folder / "model").glob("*.safetensors")))
            for folder in (single, tmp_path / name)
        ]
        assert weights[0].keys() == weights[1].keys()
        assert all(
            float((weights[0][key] - weights[1][key]).abs().max()) < scale * 1e-4
            for key in weights[0]
        )
    assert json.loads((tmp_path / "resumed" / "run.json").read_text())["resumed"]
