"""A run that is killed, at any moment and as often as one likes, ends with the very weights of one
that never was.

One process forks the runs and kills them, so that libraries are imported once. Every run is a
process of its own and SIGKILL is SIGKILL.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = '''
import json, os, random, signal, sys, time, traceback
from pathlib import Path
import torch
torch.set_num_threads(1)
from holdfast import files
from holdfast.training.progress import Progress
from holdfast.training.policy import train
from holdfast.signals import Interrupted

Progress.step = lambda *_: time.sleep(0.02)  # tiny steps are over before anyone can interrupt them
flush = files.flush
# and so are writes, where a busy machine wakes the killer late
files.flush = lambda path: (time.sleep(0.01), flush(path))[1]
model, data, base = map(Path, sys.argv[1:4])
SETTINGS = dict(model=str(model), data=str(data), learning_rate=3e-3, batch_size=4, epochs=3,
    save_every=1, keep_checkpoints=2, tokens_per_microbatch=100, eval_fraction=0.1, eval_every=3,
    reduction="groups:step=0.1", weight_decay=0.01, log_every=1000,
    optimizer=sys.argv[4])

def start(out, **changes):
    pid = os.fork()
    if pid:
        return pid
    sys.stdout = open(base / "output.txt", "a")
    code = 1
    try:
        train("dpo", out=out, resume=True, **{**SETTINGS, **changes})
        code = 0
    except Interrupted as stopped:
        print(stopped)
        code = stopped.exit_code
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)

def lines(out):
    path = out / "metrics.jsonl"
    return path.read_bytes().count(b"\\n") if path.exists() else 0

def wait_until(pid, condition):
    """True once the condition holds, False if the run ended before."""
    while not condition():
        if os.waitpid(pid, os.WNOHANG)[0]:
            return False
        time.sleep(0.0002)
    return True

def kill(out, condition, delay):
    pid = start(out)
    if not wait_until(pid, condition):
        return False
    time.sleep(delay)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return True

def finish(out, **changes):
    return os.waitstatus_to_exitcode(os.waitpid(start(out, **changes), 0)[1])

report = {}
began = time.monotonic()
report["calm"] = finish(base / "calm")
took = time.monotonic() - began

out, rng = base / "killed", random.Random(0)
report["kills"] = 0
for _ in range(3):  # before the first step, most likely
    report["kills"] += kill(out, lambda: True, rng.uniform(0, took / 4))
# in the middle of writing a checkpoint: first, while there are surely steps left
for _ in range(4):
    seen = lines(out)
    writing = lambda: lines(out) > seen and any((out / "checkpoints").glob(".part-*/*.safetensors"))
    done = kill(out, writing, 0)
    report["kills"] += done
    report["kills_while_writing"] = report.get("kills_while_writing", 0) + done
for _ in range(6):  # somewhere around a step
    seen = lines(out)
    report["kills"] += kill(out, lambda: lines(out) > seen, rng.uniform(0, 0.05))
report["killed"] = finish(out)

out = base / "asked"
for name, number in (("SIGTERM", signal.SIGTERM), ("SIGINT", signal.SIGINT)):
    seen = lines(out)
    pid = start(out, save_every=0)
    wait_until(pid, lambda: lines(out) >= seen + 2)
    os.kill(pid, number)
    report[name] = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    report[name + "_status"] = json.loads((out / "run.json").read_text())["status"]
    report[name + "_checkpoints"] = len(list((out / "checkpoints").glob("step-*")))
report["asked"] = finish(out, save_every=0)
print(json.dumps(report))
'''

TIMES = ("seconds", "tokens_per_second", "memory/peak_gib")


def told(out: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name not in TIMES} for line in lines]


@pytest.mark.parametrize("optimizer", ["adamw", "root"])
def test_killed_and_interrupted_runs_end_with_the_same_bytes(
    optimizer: str, tmp_path: Path, tiny_model_dir: Path, pair_rows: list[dict[str, Any]]
) -> None:
    data = tmp_path / "rows.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in pair_rows))
    (tmp_path / "run.py").write_text(SCRIPT)
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
        "PYTHONWARNINGS": "ignore",
    }
    done = subprocess.run(
        [
            sys.executable,
            str(tmp_path / "run.py"),
            str(tiny_model_dir),
            str(data),
            str(tmp_path),
            optimizer,
        ],
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["calm"] == report["killed"] == report["asked"] == 0, (report, done.stderr)
    assert report["kills"] >= 9
    assert report["kills_while_writing"] >= 1
    assert (report["SIGTERM"], report["SIGINT"]) == (143, 130)
    assert report["SIGTERM_status"] == report["SIGINT_status"] == "interrupted"
    assert report["SIGTERM_checkpoints"] >= 1
    calm = (tmp_path / "calm" / "model" / "model.safetensors").read_bytes()
    for name in ("killed", "asked"):
        out = tmp_path / name
        assert (out / "model" / "model.safetensors").read_bytes() == calm
        assert told(out) == told(tmp_path / "calm")  # nothing doubled, nothing lost
        record = json.loads((out / "run.json").read_text())
        assert record["status"] == "finished"
        assert record["resumed"]
        assert not list(out.rglob(".part-*"))
    output = (tmp_path / "output.txt").read_text()
    assert "a checkpoint was written" in output
    assert "resume=True" in output
