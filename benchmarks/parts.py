"""What each part of the packed scorer is worth: the same forward and backward of DPO, one part
added at a time.

    python benchmarks/parts.py [--rounds 3]

Every rung is a fresh process, the rungs take turns, medians are printed. No optimizer and no
reference: the scorer alone.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from pairwise import BATCH, Memory
from work import build_model, build_rows

RUNGS = {
    "padded rows, whole logits": "one right-padded row an answer, logits at every position",
    "+ packing": "no padding: one row of all answers end to end, each under its own mask",
    "+ response-only head": "the LM head only where a response token is predicted",
    "+ prefix sharing": "each prompt once, its answers as branches",
    "+ chunked head": "logits made a few tokens at a time and again in backward",
    "+ microbatches of 384 tokens": "what `train` does on a CPU: gradients of parts, summed",
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one is not None:
        print(json.dumps(measure(args.one)))
        return
    results: dict[int, list[dict[str, Any]]] = {}
    for _ in range(args.rounds):
        for rung in range(len(RUNGS)):
            done = subprocess.run(
                [sys.executable, __file__, "--one", str(rung)],
                capture_output=True,
                text=True,
                check=True,
            )
            results.setdefault(rung, []).append(json.loads(done.stdout.strip().splitlines()[-1]))
    print(f"{'':34s} {'s/step':>7s} {'peak MiB':>9s} {'tokens':>7s}")
    for rung, name in enumerate(RUNGS):
        seconds = statistics.median(s for run in results[rung] for s in run["seconds"])
        print(
            f"{name:34s} {seconds:7.2f} "
            f"{statistics.median(r['peak_mib'] for r in results[rung]):9.0f} "
            f"{results[rung][0]['tokens']:7.0f}"
        )


def measure(rung: int) -> dict[str, Any]:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from holdfast.data import read, tokenize
    from holdfast.scorers import head
    from holdfast.scorers.padded import score_padded
    from holdfast.scorers.text import TextScorer, chunks_by_tokens

    steps = 4
    folder = build_model(Path(tempfile.gettempdir()) / "holdfast-bench-model")
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    items = tokenize(
        read(build_rows(BATCH * steps, seed=1)), AutoTokenizer.from_pretrained(folder)
    ).items
    scorer = TextScorer(model, scoring="padded" if rung == 0 else "packed")
    if rung < 4:
        head.CHUNK_ELEMENTS["cpu"] = 1 << 40
    memory, seconds, tokens = Memory(), [], []
    memory.rest(model)
    for step in range(steps):
        batch = items[step * BATCH : (step + 1) * BATCH]
        longest = max(len(i.prompt) + max(map(len, i.branches.values())) for i in batch)
        apart = [
            replace(i, branches={"answer": ids})
            for name in ("chosen", "rejected")
            for i in batch
            for ids in [i.branches[name]]
        ]
        began = time.perf_counter()
        if rung in (1, 2):
            if rung == 1:  # the prompt's own tokens take the head too, and weigh nothing
                whole = [
                    replace(
                        i,
                        prompt=i.prompt[:1],
                        branches={"answer": [*i.prompt[1:], *i.branches["answer"]]},
                    )
                    for i in apart
                ]
                logp_NT = scorer(whole)["answer"].logp_NT
                starts = [len(i.prompt) - 1 for i in apart]
                logp_N = torch.stack([logp_NT[n, start:].sum() for n, start in enumerate(starts)])
            else:
                logp_N = scorer(apart)["answer"].logp_N
            h_N = logp_N[:BATCH] - logp_N[BATCH:]
            torch.nn.functional.softplus(-0.1 * h_N).mean().backward()
            tokens.append(sum(i.tokens for i in apart))
        else:
            microbatches = (
                chunks_by_tokens(batch, tokens=384) if rung == 5 else [list(range(BATCH))]
            )
            for micro in microbatches:
                some = [batch[i] for i in micro]
                parts = (
                    score_padded(model, some, device=scorer.device) if rung == 0 else scorer(some)
                )
                h_N = parts["chosen"].logp_N - parts["rejected"].logp_N
                (torch.nn.functional.softplus(-0.1 * h_N).sum() / BATCH).backward()
            tokens.append(2 * BATCH * longest if rung == 0 else sum(i.tokens for i in batch))
        seconds.append(time.perf_counter() - began)
    return {
        "seconds": seconds[1:],
        "peak_mib": memory.peak_mib(),
        "tokens": statistics.mean(tokens),
    }


if __name__ == "__main__":
    main()
