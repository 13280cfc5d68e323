"""Where the answers of self-play come from: one small protocol, and Hugging Face's `generate`
behind it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from rich.progress import Progress

from holdfast.evaluation.generate import Generated, generate
from holdfast.models.load import load_policy, load_tokenizer
from holdfast.terminal import Terminal


class Sampler(Protocol):
    """Draws answers from the policy in a folder. The same arguments must give the same answers, or
    a run cannot be resumed to the same numbers. A server of the policy (vLLM, say) fits behind
    it."""

    def __call__(
        self, policy: Path, prompts: Sequence[Sequence[int]], *, samples: int, seed: int
    ) -> list[list[Generated]]:
        """`samples` answers to each prompt, given as token ids."""
        ...


@dataclass(frozen=True)
class HFSampler:
    """Hugging Face generate, on the GPU if there is one."""

    max_new_tokens: int = 128
    temperature: float = 1.0
    batch: int = 64
    progress: bool = True

    def __call__(
        self, policy: Path, prompts: Sequence[Sequence[int]], *, samples: int, seed: int
    ) -> list[list[Generated]]:
        device = "cuda" if torch.cuda.is_available() else "cpu"
        model = load_policy(policy, trainable_adapter=False).to(device).eval()
        console = Terminal(stderr=True)
        with Progress(
            console=console, transient=True, disable=not (self.progress and console.is_terminal)
        ) as bar:
            task = bar.add_task("drawing answers", total=len(prompts) * samples)
            return generate(
                model,
                load_tokenizer(policy, model=model),
                prompts,
                max_new_tokens=self.max_new_tokens,
                temperature=self.temperature,
                samples=samples,
                seed=seed,
                batch=self.batch,
                progress=lambda n: bar.advance(task, n),
            )
