"""What is trained when a reward model is: a sequence classifier of one kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from holdfast.card import Method
from holdfast.inputs import group
from holdfast.models.judges import load_judge, mark, remark
from holdfast.models.protocols import ModelSource, Tokenizer
from holdfast.models.trained import REWARD_MODEL
from holdfast.rewards.kind import PROMPT, RewardMethod, heads
from holdfast.scorers.judge import JudgeScorer
from holdfast.scorers.live import InMemoryReference
from holdfast.training.examples import Examples
from holdfast.training.metrics import accuracy, adversary_metrics
from holdfast.training.objective import BatchResult
from holdfast.training.options import Options
from holdfast.training.prepare import prompt_key
from holdfast.training.reward_held_out import HELD_OUT, HeldOut
from holdfast.training.reward_report import reward_card, reward_page
from holdfast.training.run.folder import Run
from holdfast.training.sources.dataset import Dataset
from holdfast.training.sources.source import Source
from holdfast.training.text_task import TextTask
from holdfast.types import Pairs, Tokenized

if TYPE_CHECKING:
    from holdfast.report import Page


class RewardModel(TextTask):
    """A sequence classifier of one kind at these settings, trained on what its head puts out.

    `member` is its number in an ensemble whose members are trained one after the other: their heads
    and orders of rows differ by it, and the prompts where `bootstrap` draws them.
    """

    name, adapter, pictures = REWARD_MODEL, "SEQ_CLS", True

    def __init__(
        self,
        method: RewardMethod,
        settings: Mapping[str, Any],
        member: int | None = None,
        *,
        bootstrap: bool = False,
    ):
        self.method, self.settings = method, settings
        self.member, self.bootstrap = member, bootstrap
        self.held: HeldOut | None = None  # of the last evaluation
        self.scale: dict[str, list[float]] = {}

    def seed(self, options: Options) -> int:
        return options.seed + 7919 * (self.member or 0)

    def load(self, source: ModelSource, options: Options) -> nn.Module:
        model: nn.Module = load_judge(
            source,
            outputs=self.method.width(**self.settings),
            seed=self.seed(options),
            trust_remote_code=options.trust_remote_code,
        )
        return model

    def ready(self, model: nn.Module, processor: Tokenizer, options: Options) -> None:
        """What kind of reward model it is stands in its config."""
        mark(
            model,
            kind=self.method.name,
            settings=self.settings,
            template=options.template,
            accept_loss=options.accept_loss,
            pad_token_id=processor.pad_token_id,
        )

    def scorer(
        self,
        model: nn.Module,
        method: Method,
        reference: InMemoryReference | None,
        options: Options,
    ) -> JudgeScorer:
        prompt = PROMPT if self.method.reads_prompt else None
        return JudgeScorer(model, scoring=options.scoring, prompt=prompt)

    def metrics(
        self, result: BatchResult, *, groups: Sequence[str], robust: bool
    ) -> dict[str, float]:
        logit_N = self._logits(result)
        out = {"loss": float(result.total), "cost/mean": float(result.cost_N.mean())}
        out |= {"rewards/accuracies": accuracy(logit_N), "rewards/margins": float(logit_N.mean())}
        if robust:
            out |= adversary_metrics(result.adversary_N, group.of(result.batch), groups)
        return out

    def adapted(self, model: nn.Module, options: Options) -> nn.Module:
        torch.manual_seed(self.seed(options))
        return super().adapted(model, options)

    def identity(
        self, processor: Tokenizer, options: Options, items: Sequence[Tokenized]
    ) -> dict[str, str]:
        found = super().identity(processor, options, items)
        if self.member is None:
            return found
        return {"member": f"{self.member}{', bootstrap' if self.bootstrap else ''}", **found}

    def source(self, dataset: Source, options: Options) -> Source:
        if self.member is None:
            return dataset
        assert isinstance(dataset, Dataset)
        train = dataset.examples
        if self.bootstrap:
            train = train.take(drawn_prompts(train, self.seed(options)))
        return replace(dataset, examples=train, seed=self.seed(options))

    def results(self, result: BatchResult, examples: Examples) -> dict[str, Any]:
        self.held = HeldOut.of(self._logits(result).double().cpu().numpy(), examples)
        assert isinstance(result.batch, Pairs)
        self.scale = scale_of(result.batch) if self.method.scalar else {}
        return {"held_out": self.held.found()}

    def save(
        self, model: nn.Module, processor: Tokenizer, weights: dict[str, Tensor], folder: Path
    ) -> None:
        remark(model, self.scale)
        super().save(model, processor, weights, folder)
        if self.member is not None and self.held is not None:
            self.held.write(folder / HELD_OUT)

    def card(self, record: dict[str, Any], method: Method) -> str:
        return reward_card(record, method)

    def page(self, method: Method, run: Run) -> Page | None:
        found = run.record["results"].get("held_out")
        return None if found is None else reward_page(self.method, found, run)

    def _logits(self, result: BatchResult) -> Tensor:
        assert isinstance(result.batch, Pairs)
        return logits(self.method, self.settings, result.batch)


def logits(method: RewardMethod, settings: Mapping[str, Any], pairs: Pairs) -> Tensor:
    """Log-odds that the chosen answer of each pair wins."""
    logit_N: Tensor = method.score(*heads(pairs), **settings)
    return logit_N


def scale_of(pairs: Pairs) -> dict[str, list[float]]:
    """Mean and spread of each output over the answers of these pairs: the scale on which members
    of an ensemble are pooled, and best-of-n thresholds can be read.
    """
    both_NH = torch.cat([pairs.chosen.logp_NT, pairs.rejected.logp_NT]).double()
    spread_H = both_NH.std(0, correction=0)
    return {
        "center": both_NH.mean(0).tolist(),
        "spread": torch.where(spread_H > 0, spread_H, 1.0).tolist(),
    }


def drawn_prompts(examples: Examples, seed: int) -> list[int]:
    """Positions of as many rows as there are, prompt by prompt, prompts drawn with replacement."""
    rows: dict[Any, list[int]] = {}
    for i, row in enumerate(examples.rows):
        rows.setdefault(prompt_key(row), []).append(i)
    prompts, rng, drawn = list(rows.values()), np.random.default_rng(seed), list[int]()
    while len(drawn) < len(examples):
        drawn += prompts[rng.integers(len(prompts))]
    return drawn[: len(examples)]
