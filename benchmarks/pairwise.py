"""DPO steps: Holdfast beside TRL's DPOTrainer on the same model, the same pairs, the same machine.

    python benchmarks/pairwise.py [--rounds 3] [--steps 4]

Every measurement is a fresh process; the sides take turns, so that a machine whose speed drifts is
unfair to nobody. TRL runs with and without gradient checkpointing, with its reference computed in
the step and before it; the fastest of the four counts. Peak memory is the process's high-water mark
during training over what it held before the first step. Prints medians, and last one line of JSON.
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

from work import build_model, build_rows

TRL_VARIANTS = {
    "trl": {"gradient_checkpointing": False, "precompute_ref_log_probs": False},
    "trl, reference before": {"gradient_checkpointing": False, "precompute_ref_log_probs": True},
    "trl, checkpointing": {"gradient_checkpointing": True, "precompute_ref_log_probs": False},
    "trl, checkpointing, reference before": {
        "gradient_checkpointing": True,
        "precompute_ref_log_probs": True,
    },
}
OURS = "holdfast"
BATCH, BETA, RATE = 8, 0.1, 1e-6


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
        for side in (OURS, *TRL_VARIANTS):
            command = [
                sys.executable,
                __file__,
                "--one",
                side,
                "--steps",
                str(args.steps),
                "--threads",
                str(args.threads),
            ]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                sys.exit(f"{side} failed:\n{done.stderr[-4000:]}")
            results.setdefault(side, []).append(json.loads(done.stdout.strip().splitlines()[-1]))
            last = results[side][-1]
            print(
                f"round {turn + 1}: {side:38s} {statistics.median(last['seconds']):6.2f} "
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
    print(f"\n{'':38s} {'s/step':>8s} {'pairs/s':>8s} {'peak MiB':>9s}")
    for side in results:
        print(f"{side:38s} {seconds[side]:8.2f} {BATCH / seconds[side]:8.2f} {peak[side]:9.0f}")
    best = min(TRL_VARIANTS, key=lambda side: seconds[side])
    live = min(
        (side for side in TRL_VARIANTS if "before" not in side), key=lambda side: seconds[side]
    )
    fractions = [f for run in results[OURS] for f in run["matmul_fractions"]]
    once = statistics.median(run["reference_seconds_per_step"] for run in results[OURS])
    print(
        f"\nTRL's fastest setting: {best}. Over one epoch, with the reference scored once "
        "inside our time and in each of TRL's steps,"
    )
    print(
        f"the ratio is {seconds[live] / (seconds[OURS] + once):.2f} ({once:.2f} s a step "
        "for our reference)."
    )
    frugal = min(TRL_VARIANTS, key=lambda side: peak[side])
    print(
        f"Against TRL's most frugal setting ({frugal}) the memory ratio is "
        f"{peak[OURS] / peak[frugal]:.3f}."
    )
    print(
        "Loss of the first step on the same weights and rows, ours and TRL's: "
        f"{loss_difference():.1e} apart."
    )
    line = {
        "throughput_ratio": round(seconds[best] / seconds[OURS], 3),
        "memory_ratio": round(peak[OURS] / peak[best], 3),
        "matmul_fraction": round(statistics.median(fractions), 3),
    }
    print(json.dumps(line))


# ------------------------------------------------------------ one measurement, in its own process


def measure(side: str, folder: Path, steps: int, threads: int) -> dict[str, Any]:
    import torch

    if threads:
        torch.set_num_threads(threads)
    rows = build_rows(BATCH * (steps + 1), seed=1)
    with tempfile.TemporaryDirectory() as scratch:
        return (
            measure_ours(folder, rows, steps, scratch)
            if side == OURS
            else measure_trl(folder, rows, steps, scratch, TRL_VARIANTS[side])
        )


def measure_ours(
    folder: Path, rows: list[dict[str, Any]], steps: int, scratch: str
) -> dict[str, Any]:
    """`train` itself: its checks, metrics and record are inside the time, and reading,
    hashing and the reference in the peak.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from holdfast.data import read, tokenize
    from holdfast.training.batching import rows_of_step
    from holdfast.training.policy import train

    model, tokenizer = (
        AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32),
        AutoTokenizer.from_pretrained(folder),
    )
    memory = Memory()
    memory.rest(model)
    with contextlib.redirect_stdout(sys.stderr):
        run = train(
            "dpo",
            model=model,
            tokenizer=tokenizer,
            data=rows,
            out=Path(scratch) / "run",
            beta=BETA,
            learning_rate=RATE,
            batch_size=BATCH,
            schedule="constant",
            warmup_ratio=0.0,
            save_every=0,
            max_steps=steps + 1,
        )
    peak = memory.peak_mib()
    clock = [line["seconds"] for line in run.metrics if "loss" in line]
    seconds = [after - before for before, after in itertools.pairwise(clock)]
    items = tokenize(read(rows), tokenizer).items
    flops = [
        useful_flops([items[i] for i in rows_of_step(s, rows=len(rows), batch_size=BATCH, seed=0)])
        for s in range(1, steps + 1)
    ]
    rate = matmul_rate()
    return {
        "seconds": seconds,
        "peak_mib": peak,
        "matmul_fractions": [f / s / rate for f, s in zip(flops, seconds, strict=True)],
        "matmul_gflops": rate / 1e9,
        "reference_seconds_per_step": reference_seconds(model, items) / (steps + 1),
        "threads": torch.get_num_threads(),
    }


def reference_seconds(model: Any, items: list[Any]) -> float:
    from holdfast.scorers.reference import score_reference
    from holdfast.scorers.text import TextScorer

    began = time.perf_counter()
    score_reference(TextScorer(model), items, key="", progress=False)
    return time.perf_counter() - began


def measure_trl(
    folder: Path, rows: list[dict[str, Any]], steps: int, scratch: str, settings: dict[str, bool]
) -> dict[str, Any]:
    from transformers import TrainerCallback

    trainer = trl_trainer(folder, rows, scratch, max_steps=steps + 1, **settings)
    seconds: list[float] = []

    class Clock(TrainerCallback):
        def on_step_begin(self, *_: Any, **__: Any) -> None:
            self.began = time.perf_counter()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            seconds.append(time.perf_counter() - self.began)

    trainer.add_callback(Clock())
    memory = Memory()
    memory.rest(trainer.model, trainer.ref_model)
    trainer.train()
    return {"seconds": seconds[1:], "peak_mib": memory.peak_mib()}


def trl_trainer(folder: Path, rows: list[dict[str, Any]], scratch: str, **settings: Any) -> Any:
    import torch
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import DPOConfig, DPOTrainer

    config = DPOConfig(
        output_dir=scratch,
        per_device_train_batch_size=BATCH,
        beta=BETA,
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
        **settings,
    )
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return DPOTrainer(
        model,
        args=config,
        train_dataset=Dataset.from_list(rows),
        processing_class=AutoTokenizer.from_pretrained(folder),
    )


class Memory:
    """The process's resident memory, and its high-water mark since `rest` (Linux)."""

    def rest(self, *models: Any) -> None:
        for model in models:  # weights read from a file are in memory only once they are touched
            sum(
                float(parameter.sum())
                for parameter in (model.parameters() if model is not None else ())
            )
        Path("/proc/self/clear_refs").write_text("5")
        self.resting = self._status("VmRSS")

    def peak_mib(self) -> float:
        return self._status("VmHWM") - self.resting

    @staticmethod
    def _status(field: str) -> float:
        line = next(
            line
            for line in Path("/proc/self/status").read_text().splitlines()
            if line.startswith(field)
        )
        return int(line.split()[1]) / 1024


# ------------------------------------------------------------ what the numbers are measured against


def matmul_rate(size: int = 2048, repeats: int = 9) -> float:
    """This machine's own float32 matrix-multiply rate, FLOP/s: the median of several products of
    square matrices.
    """
    import torch

    a, b = torch.randn(size, size), torch.randn(size, size)
    rates = []
    for _ in range(repeats):
        began = time.perf_counter()
        torch.mm(a, b)
        rates.append(2 * size**3 / (time.perf_counter() - began))
    return statistics.median(rates)


def useful_flops(
    items: list[Any],
    *,
    hidden: int = 512,
    layers: int = 8,
    intermediate: int = 1376,
    vocabulary: int = 8004,
) -> float:
    """Multiply-adds that the step cannot do without, times two: each prompt once, each answer once,
    the head on response tokens, attention on visible pairs only; three times the forward for
    forward and backward. Recomputation and padding are not useful."""
    matrices = layers * (4 * hidden * hidden + 3 * hidden * intermediate)
    forward = 0.0
    for item in items:
        prompt, answers = len(item.prompt), [len(ids) for ids in item.branches.values()]
        visible = prompt * (prompt + 1) / 2 + sum(a * prompt + a * (a + 1) / 2 for a in answers)
        forward += (
            2 * matrices * (prompt + sum(answers))
            + 2 * hidden * vocabulary * sum(answers)
            + 4 * layers * hidden * visible
        )
    return 3 * forward


def loss_difference() -> float:
    """|ours - TRL's| DPO loss on one batch, with a policy moved away from its reference."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    import holdfast

    folder = build_model(Path(tempfile.gettempdir()) / "holdfast-bench-model")
    rows = build_rows(BATCH, seed=2)
    with tempfile.TemporaryDirectory() as scratch:
        trainer = trl_trainer(folder, rows, scratch)
        reference = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        torch.manual_seed(3)
        with torch.no_grad():
            for parameter in trainer.model.parameters():
                parameter += (
                    0.05 * parameter.std() * torch.randn_like(parameter)
                    if parameter.ndim > 1
                    else 0
                )
        batch = next(
            iter(
                torch.utils.data.DataLoader(
                    trainer.train_dataset, batch_size=BATCH, collate_fn=trainer.data_collator
                )
            )
        )
        with torch.no_grad():
            theirs = float(trainer.compute_loss(trainer.model, batch))
            pairs = holdfast.score(
                trainer.model,
                AutoTokenizer.from_pretrained(folder),
                holdfast.read(rows),
                reference=reference,
            )
            ours = float(holdfast.preference.dpo(pairs, beta=BETA).mean())
    print(f"losses: ours {ours:.6f}, TRL's {theirs:.6f}")
    return abs(ours - theirs)


if __name__ == "__main__":
    main()
