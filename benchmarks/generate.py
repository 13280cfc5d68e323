"""Answers on this machine: Holdfast's generator beside `model.generate` on the same weights,
prompts and number of tokens.

    python benchmarks/generate.py [--model FOLDER] [--rounds 5] [--prompts 8] [--samples 8]
    [--tokens 128] [--threads 0]

The model is the 33M Llama of `work.py`, and then the one of --model or of HOLDFAST_BENCH_MODEL, if
there is one. All prompts have 135 tokens, no answer ends early, and float32 is used by both.
`generate` runs with a dynamic and with a static cache, the prompts repeated for their samples; the
fastest counts. The sides take turns in one process and medians are compared, so that a machine
whose speed drifts is unfair to nobody. With one thread the time is the process's own, which other
work on the machine changes less.

Bandwidth is what the weights that a step reads once (linear layers and head) would need, over what
this machine reads with the same threads. A step of many rows is bound by arithmetic before it is
bound by memory: the share that the machine's own matrix products of that many rows allow is printed
beside it. The last line is JSON, of the 33M Llama.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM
from work import PROMPT_TOKENS, build_model

from holdfast.generation import Generation, HuggingFaceGenerator

OURS, THEIRS = "holdfast", ("generate, dynamic cache", "generate, static cache")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--model",
        default=os.environ.get("HOLDFAST_BENCH_MODEL"),
        help="a folder with a second model",
    )
    parser.add_argument(
        "--rounds",
        type=int,
        default=5,
        help="times each side is measured, after one that is not counted",
    )
    parser.add_argument("--prompts", type=int, default=8)
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=128, help="tokens of each answer")
    parser.add_argument(
        "--threads", type=int, default=0, help="processor threads; 0 leaves torch's choice"
    )
    parser.add_argument("--only-model", action="store_true", help="leave the 33M Llama out")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    small = build_model(Path(tempfile.gettempdir()) / "holdfast-bench-model")
    folders = [] if args.only_model else [small]
    if args.model and (Path(args.model) / "config.json").exists():
        folders.append(Path(args.model))
    else:
        print("no second model: give its folder by --model or HOLDFAST_BENCH_MODEL")
    lines = [measure(folder, args) for folder in folders]
    if lines:
        print(json.dumps(lines[0]))


@torch.no_grad()
def measure(folder: Path, args: argparse.Namespace) -> dict[str, float]:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    weights = sum(
        module.weight.numel() for module in model.modules() if isinstance(module, nn.Linear)
    )
    rows, tokens = args.prompts * args.samples, args.tokens
    size, threads = sum(p.numel() for p in model.parameters()) / 1e6, torch.get_num_threads()
    print(
        f"\n{folder.name}: {size:.0f}M parameters, {weights * 4 / 1e6:.0f} MB read a "
        f"step, {threads} thread{'s' * (threads > 1)}"
    )
    print(
        f"{args.prompts} prompts of {PROMPT_TOKENS} tokens x {args.samples} answers of "
        f"{tokens} tokens"
    )
    torch.manual_seed(0)
    prompt_PL = torch.randint(4, model.config.vocab_size, (args.prompts, PROMPT_TOKENS))
    generator = HuggingFaceGenerator(model, rows=rows)

    def ours(tokens: int) -> None:
        how = Generation(max_new_tokens=tokens, stop_ids=())
        generator(
            prompt_PL.tolist(),
            samples=args.samples,
            seeds=how.seeds(args.prompts),
            generation=how,
        )

    sides: dict[str, Callable[[], None]] = {
        OURS: lambda: ours(tokens),
        "holdfast, first token": lambda: ours(1),
        THEIRS[0]: lambda: theirs(model, prompt_PL, args.samples, tokens, None),
        THEIRS[1]: lambda: theirs(model, prompt_PL, args.samples, tokens, "static"),
    }
    seconds: dict[str, list[float]] = {side: [] for side in sides}
    bandwidth, products = [], []
    for turn in range(args.rounds + 1):
        for side, run in sides.items():
            passed = timed(run)
            if turn:
                seconds[side].append(passed)
        if turn:
            bandwidth.append(read_bandwidth())
            products.append(
                product_rate(rows, model.config.hidden_size, 4 * model.config.hidden_size)
            )
            last = ", ".join(f"{side} {seconds[side][-1]:.2f} s" for side in (OURS, *THEIRS))
            print(f"round {turn}: {last}; load {os.getloadavg()[0]:.1f}", flush=True)
    assert not generator.reasons, generator.reasons
    median = {side: statistics.median(values) for side, values in seconds.items()}
    best = min(THEIRS, key=lambda side: median[side])
    step = (median[OURS] - median["holdfast, first token"]) / (tokens - 1)
    read, rate = statistics.median(bandwidth), statistics.median(products)
    for side in (OURS, *THEIRS):
        print(f"{side:26s} {median[side]:7.2f} s   {rows * tokens / median[side]:8,.0f} tokens/s")
    print(
        f"prompts and first token: {median['holdfast, first token']:.2f} s; a step after "
        f"it: {1e3 * step:.1f} ms"
    )
    needed, arithmetic = weights * 4 / read, 2 * weights * rows / rate
    print(f"memory reads {read / 1e9:.1f} GB/s: {1e3 * needed:.1f} ms for the weights of a step")
    print(
        f"products of {rows} rows run at {rate / 1e9:.0f} GFLOP/s: {1e3 * arithmetic:.1f} "
        "ms for those of a step"
    )
    print(
        f"so a step of {rows} rows can use {min(1, needed / arithmetic):.2f} of the "
        "bandwidth at most"
    )
    print(
        f"sampled tokens: log-probabilities at most {generator.worst_nats:.1e} nats from "
        "a plain forward's"
    )
    print(
        f"greedy tokens: {agreement(model, generator, prompt_PL, min(tokens, 64)):.4f} "
        "are those of generate"
    )
    return {
        "speedup_over_generate": round(median[best] / median[OURS], 3),
        "fraction_of_bandwidth": round(needed / step, 3),
    }


def theirs(model: Any, prompt_PL: Tensor, samples: int, tokens: int, cache: str | None) -> Tensor:
    settings = {"cache_implementation": cache, "disable_compile": True} if cache else {}
    out: Tensor = model.generate(
        prompt_PL,
        attention_mask=torch.ones_like(prompt_PL),
        num_return_sequences=samples,
        do_sample=True,
        top_k=0,
        top_p=1.0,
        temperature=1.0,
        max_new_tokens=tokens,
        min_new_tokens=None,
        eos_token_id=None,
        pad_token_id=3,
        **settings,
    )
    assert out.shape == (len(prompt_PL) * samples, prompt_PL.shape[1] + tokens), (
        "an answer ended early"
    )
    return out


def agreement(model: Any, generator: HuggingFaceGenerator, prompt_PL: Tensor, tokens: int) -> float:
    """The share of greedy tokens that are `generate`'s."""
    right = model.generate(
        prompt_PL,
        attention_mask=torch.ones_like(prompt_PL),
        do_sample=False,
        max_new_tokens=tokens,
        eos_token_id=None,
        pad_token_id=3,
    )[:, prompt_PL.shape[1] :]
    how = Generation(max_new_tokens=tokens, temperature=0.0, stop_ids=())
    seeds = how.seeds(len(prompt_PL))
    answers = generator(prompt_PL.tolist(), samples=1, seeds=seeds, generation=how)
    return float((torch.tensor([row[0].ids_T for row in answers]) == right).float().mean())


def read_bandwidth(megabytes: int = 512, repeats: int = 5) -> float:
    """Bytes a second that this machine reads from memory with torch's threads: the best of several
    sums over a large array.
    """
    x = torch.ones(megabytes * 2**20 // 4)
    return max(x.numel() * 4 / timed(x.sum) for _ in range(repeats))


def product_rate(rows: int, width: int, out: int, repeats: int = 5) -> float:
    """FLOP/s of oneDNN's float32 products of that many rows with weights that are not in any
    cache.
    """
    weights = [
        torch.ops.mkldnn._reorder_linear_weight(torch.randn(out, width), rows)
        for _ in range(max(2, 2**28 // (4 * out * width)))
    ]
    x = torch.randn(rows, width)

    def run() -> None:
        for weight in weights:
            torch.ops.mkldnn._linear_pointwise(x, weight, None, "none", [], "")

    return max(2 * rows * width * out * len(weights) / timed(run) for _ in range(repeats))


def timed(run: Callable[[], Any]) -> float:
    clock = time.perf_counter if torch.get_num_threads() > 1 else time.process_time
    began = clock()
    run()
    return clock() - began


if __name__ == "__main__":
    main()
