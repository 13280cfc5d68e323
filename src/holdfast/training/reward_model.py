"""Train a reward or preference model on comparisons: the same loop as a policy's, another model and
another objective.

    run = train_reward("bradley_terry", model="folder", data="prefs.jsonl", out="runs/rewards") run
    = train_reward("general_preference", model="folder", data="prefs.jsonl", out="runs/judge",
    dim=6)

What is left is a folder that `AutoModelForSequenceClassification.from_pretrained` reads, a record
with held-out accuracy and calibration, and report.html. Packed rows share their prompt between both
answers, as a policy's do.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from holdfast.card import Method, Reduction
from holdfast.files import path_of
from holdfast.inputs import group
from holdfast.models.judges import load_judge, mark, remark
from holdfast.models.protocols import ModelSource, Tokenizer, TokenizerSource
from holdfast.models.trained import REWARD_MODEL
from holdfast.rewards.kind import PROMPT, RewardMethod, heads
from holdfast.rewards.table import get
from holdfast.scorers.judge import JudgeScorer
from holdfast.scorers.live import InMemoryReference
from holdfast.training.examples import Examples
from holdfast.training.execute import carry_out
from holdfast.training.metrics import accuracy, adversary_metrics
from holdfast.training.objective import BatchResult
from holdfast.training.options import Options, split_options
from holdfast.training.prepare import prompt_key
from holdfast.training.request import RunRequest
from holdfast.training.reward_held_out import HELD_OUT, HeldOut
from holdfast.training.reward_plan import MembersBy, plan_of
from holdfast.training.reward_report import reward_card, reward_page
from holdfast.training.run.folder import Run
from holdfast.training.run.record import recorded_call
from holdfast.training.sources.dataset import Dataset
from holdfast.training.sources.source import Source
from holdfast.training.text_task import TextTask
from holdfast.types import Pairs, Tokenized

if TYPE_CHECKING:
    from holdfast.report import Page

DEFAULTS: Mapping[str, Any] = {
    "learning_rate": 1e-5,
    "eval_fraction": 0.1,
}  # where they differ from a policy's


def train_reward(
    kind: str | RewardMethod,
    *,
    model: ModelSource,
    data: Any,
    out: str | os.PathLike[str],
    eval_data: Any = None,
    tokenizer: TokenizerSource | None = None,
    reduction: str | Reduction | None = None,
    members: int = 1,
    members_by: MembersBy = "seed",
    shared_layers: int | None = None,
    pool: str = "mean",
    resume: bool = False,
    **options_and_settings: Any,
) -> Run:
    """Train a reward or preference model and leave a run in `out`: run.json, metrics.jsonl,
    report.html, checkpoints/, model/.

    Args:
        kind: a name of the table: bradley_terry, general_preference, ldr, ...
        model: name on the hub, folder of a model, or folder of a run: a language model, which gets
            a new head, or a reward model of the same width. In Python also a loaded model.
        data: the comparisons: a file (JSON Lines, JSON, CSV, Parquet; also compressed), a folder,
            or the name of a dataset on the hub; several are read as one. A `confidence` column
            makes labels soft. In Python also rows as `holdfast.read` returns them, a
            `datasets.Dataset`, or an iterable of dicts.
        out: folder of the run: its record, metrics, checkpoints and the trained model.
        eval_data: held-out rows to evaluate on, read as `data` is; a tenth of the prompts unless
            given, or the share that `eval_fraction` says.
        tokenizer: a tokenizer, where it is not with the model.
        reduction: how costs are averaged, such as "kl:temperature=0.5"; the mean unless given.
        members: how many reward models to train, an ensemble. Its folder holds each as a plain
            model, in model/members.
        members_by: what makes members differ. seed: head and order of rows; bootstrap: also the
            prompts, drawn with replacement; both train one model after the other. lora: adapters of
            rank lora_rank on the upper layers of one trunk, trained together, the lower layers run
            once for all; heads: heads alone, on one trunk that is trained.
        shared_layers: how many lower layers the members of `lora` share; two thirds unless given.
        pool: how members become one score: mean, worst_case, uncertainty_weighted:weight=0.5,
            quantile:q=0.25. Written into the ensemble; whoever reads it may name another.
        resume: go on with the run in `out`, if there is one, to the same numbers.
        **options_and_settings: fields of `Options`, and the kind's own settings. The learning rate
            is 1e-5 unless given.

    Raises:
        OptionError: an option that nobody reads, or a value out of range.
        DataError, ModelError: what the rows or the model lack.
        RunError: `out` holds a run and `resume` is off, or another run than this one, or another
            process is at work in it; a loss that is not finite; a full disk.
        Interrupted: SIGINT or SIGTERM; a checkpoint was written.
    """
    method = get(kind) if isinstance(kind, str) else kind
    given = {
        "model": model,
        "data": data,
        "eval_data": eval_data,
        "tokenizer": tokenizer,
        "reduction": reduction,
    }
    options, settings = split_options(method, with_defaults(options_and_settings, eval_data))
    plan = plan_of(members, members_by, shared_layers, pool, options, method)
    request = RunRequest(
        RewardModel(method, settings),
        method,
        settings,
        options,
        model,
        data,
        path_of(out),
        recorded_call(method, given | plan.call(), options_and_settings),
        eval_data=eval_data,
        tokenizer=tokenizer,
        reduction=reduction,
    )
    if plan.members == 1:
        return carry_out(request, resume=resume)
    from holdfast.training import reward_members

    return reward_members.train(request, plan, resume=resume)


def with_defaults(given: Mapping[str, Any], eval_data: Any) -> dict[str, Any]:
    """What was given on top of the defaults of `train_reward`; nothing is held out where rows to
    evaluate on were given.
    """
    defaults = dict(DEFAULTS)
    if eval_data is not None:
        defaults.pop("eval_fraction")
    return defaults | dict(given)


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
