"""Steps of a reward model: Holdfast beside TRL's RewardTrainer on the same model, the same pairs,
the same machine; and an ensemble of four LoRA members beside one model.

    python benchmarks/reward.py [--rounds 3] [--steps 4]

Every measurement is a fresh process and the sides take turns, as in pairwise.py. TRL runs with and
without gradient checkpointing; the faster counts for time and for memory. Prints medians, and last
one line of JSON: throughput_ratio (TRL's seconds a step over ours), memory_ratio (our peak over
TRL's), ensemble_ratio (four LoRA members on the upper third of the layers, over one model whose
weights are all trained), ensemble_lora_ratio (the same over one model with LoRA on all layers).
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from pairwise import Memory
from work import build_model, build_rows

TRL_VARIANTS = {
    "trl": {"gradient_checkpointing": False},
    "trl, checkpointing": {"gradient_checkpointing": True},
}
OURS = "holdfast"
OWN_VARIANTS: dict[str, dict[str, Any]] = {
    OURS: {},
    "holdfast, lora": {"lora_rank": 8},
    "holdfast, four lora members": {"lora_rank": 8, "members": 4, "members_by": "lora"},
}
BATCH, RATE = 8, 1e-6


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3, help="times each side is measured")
    parser.add_argument(
        "--steps", type=int, default=4, help="steps a measurement, after one that is not counted"
    )
    parser.add_argument(
        "--threads", type=int, default=0, help="processor threads; 0 leaves torch's choice"
    )
    parser.add_argument("--one", help=argparse.SUPPRESS)
    args = parser.parse_args()
    folder = build_model(Path(tempfile.gettempdir()) / "holdfast-bench-model")
    if args.one:
        print(json.dumps(measure(args.one, folder, args.steps, args.threads)))
        return
    results: dict[str, list[dict[str, Any]]] = {}
    for turn in range(args.rounds):
        for side in (*OWN_VARIANTS, *TRL_VARIANTS):
            told = ["--one", side, "--steps", str(args.steps), "--threads", str(args.threads)]
            done = subprocess.run(
                [sys.executable, __file__, *told], capture_output=True, text=True, check=False
            )
            if done.returncode:
                sys.exit(f"{side} failed:\n{done.stderr[-4000:]}")
            results.setdefault(side, []).append(json.loads(done.stdout.strip().splitlines()[-1]))
            last = results[side][-1]
            print(
                f"round {turn + 1}: {side:30s} {statistics.median(last['seconds']):6.2f} "
                f"s a step, {last['peak_mib']:6.0f} MiB",
                flush=True,
            )
    report(results)


def report(results: dict[str, list[dict[str, Any]]]) -> None:
    seconds = {
        side: statistics.median(s for run in runs for s in run["seconds"])
        for side, runs in results.items()
    }
    peak = {
        side: statistics.median(run["peak_mib"] for run in runs) for side, runs in results.items()
    }
    print(f"\n{'':30s} {'s/step':>8s} {'pairs/s':>8s} {'peak MiB':>9s}")
    for side in results:
        print(f"{side:30s} {seconds[side]:8.2f} {BATCH / seconds[side]:8.2f} {peak[side]:9.0f}")
    four = seconds["holdfast, four lora members"]
    line = {
        "throughput_ratio": min(seconds[side] for side in TRL_VARIANTS) / seconds[OURS],
        "memory_ratio": peak[OURS] / min(peak[side] for side in TRL_VARIANTS),
        "ensemble_ratio": four / seconds[OURS],
        "ensemble_lora_ratio": four / seconds["holdfast, lora"],
    }
    print(json.dumps({name: round(value, 3) for name, value in line.items()}))


# ------------------------------------------------------------ one measurement, in its own process


def measure(side: str, folder: Path, steps: int, threads: int) -> dict[str, Any]:
    import torch

    if threads:
        torch.set_num_threads(threads)
    rows = build_rows(BATCH * (steps + 1), seed=1)
    with tempfile.TemporaryDirectory() as scratch:
        if side in OWN_VARIANTS:
            return measure_ours(folder, rows, steps, scratch, OWN_VARIANTS[side])
        return measure_trl(folder, rows, steps, scratch, TRL_VARIANTS[side])


def measure_ours(
    folder: Path, rows: list[dict[str, Any]], steps: int, scratch: str, how: dict[str, Any]
) -> dict[str, Any]:
    """`train_reward` itself: its checks, metrics and record are inside the time, and reading and
    hashing in the peak.
    """
    from transformers import AutoTokenizer

    from holdfast.training.reward_model import train_reward

    model = classifier(folder, how.get("members", 1))
    memory = Memory()
    memory.rest(model)
    with contextlib.redirect_stdout(sys.stderr):
        run = train_reward(
            "bradley_terry",
            model=model,
            tokenizer=AutoTokenizer.from_pretrained(folder),
            data=rows,
            out=Path(scratch) / "run",
            learning_rate=RATE,
            batch_size=BATCH,
            schedule="constant",
            warmup_ratio=0.0,
            eval_fraction=0.0,
            save_every=0,
            max_steps=steps + 1,
            **how,
        )
    peak = memory.peak_mib()
    clock = [line["seconds"] for line in run.metrics if "loss" in line]
    return {
        "seconds": [after - before for before, after in itertools.pairwise(clock)],
        "peak_mib": peak,
    }


def classifier(folder: Path, outputs: int) -> Any:
    import torch
    from transformers import AutoModelForSequenceClassification

    return AutoModelForSequenceClassification.from_pretrained(
        folder, dtype=torch.float32, num_labels=outputs
    )


def measure_trl(
    folder: Path, rows: list[dict[str, Any]], steps: int, scratch: str, settings: dict[str, bool]
) -> dict[str, Any]:
    import torch
    from datasets import Dataset
    from transformers import AutoTokenizer, TrainerCallback
    from trl import RewardConfig, RewardTrainer

    config = RewardConfig(
        output_dir=scratch,
        per_device_train_batch_size=BATCH,
        learning_rate=RATE,
        lr_scheduler_type="constant",
        bf16=False,
        fp16=False,
        use_cpu=not torch.cuda.is_available(),
        report_to=[],
        save_strategy="no",
        disable_tqdm=True,
        logging_steps=1,
        max_length=None,
        max_steps=steps + 1,
        **settings,
    )
    trainer = RewardTrainer(
        classifier(folder, 1),
        args=config,
        train_dataset=Dataset.from_list(rows),
        processing_class=AutoTokenizer.from_pretrained(folder),
    )
    seconds: list[float] = []

    class Clock(TrainerCallback):
        def on_step_begin(self, *_: Any, **__: Any) -> None:
            self.began = time.perf_counter()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            seconds.append(time.perf_counter() - self.began)

    trainer.add_callback(Clock())
    memory = Memory()
    memory.rest(trainer.model)
    trainer.train()
    return {"seconds": seconds[1:], "peak_mib": memory.peak_mib()}


if __name__ == "__main__":
    main()
