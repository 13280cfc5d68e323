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
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor, nn

from holdfast.card import Method, Reduction
from holdfast.evaluation.calibration import calibration
from holdfast.files import path_of
from holdfast.inputs import group
from holdfast.models.judges import load_judge, mark
from holdfast.models.protocols import ModelSource, Tokenizer, TokenizerSource
from holdfast.models.trained import REWARD_MODEL
from holdfast.rewards.kind import PROMPT, RewardMethod, heads
from holdfast.rewards.table import get
from holdfast.scorers.judge import JudgeScorer
from holdfast.scorers.live import InMemoryReference
from holdfast.stats.intervals import mean_interval
from holdfast.training.examples import Examples
from holdfast.training.execute import carry_out
from holdfast.training.metrics import accuracy, adversary_metrics
from holdfast.training.objective import BatchResult
from holdfast.training.options import Options, split_options
from holdfast.training.prepare import prompt_key
from holdfast.training.request import RunRequest
from holdfast.training.reward_report import reward_card, reward_page
from holdfast.training.run.folder import Run
from holdfast.training.run.record import recorded_call
from holdfast.training.text_task import TextTask
from holdfast.types import Pairs

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
    resume: bool = False,
    **options_and_settings: Any,
) -> Run:
    """Train a reward or preference model and leave a run in `out`: run.json, metrics.jsonl,
    report.html, checkpoints/, model/.

    Args:
        kind: a name of the table: bradley_terry or general_preference.
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
    request = RunRequest(
        RewardModel(method, settings),
        method,
        settings,
        options,
        model,
        data,
        path_of(out),
        recorded_call(method, given, options_and_settings),
        eval_data=eval_data,
        tokenizer=tokenizer,
        reduction=reduction,
    )
    return carry_out(request, resume=resume)


def with_defaults(given: Mapping[str, Any], eval_data: Any) -> dict[str, Any]:
    """What was given on top of the defaults of `train_reward`; nothing is held out where rows to
    evaluate on were given.
    """
    defaults = dict(DEFAULTS)
    if eval_data is not None:
        defaults.pop("eval_fraction")
    return defaults | dict(given)


class RewardModel(TextTask):
    """A sequence classifier of one kind at these settings, trained on what its head puts out."""

    name, adapter, pictures = REWARD_MODEL, "SEQ_CLS", True

    def __init__(self, method: RewardMethod, settings: Mapping[str, Any]):
        self.method, self.settings = method, settings

    def load(self, source: ModelSource, options: Options) -> nn.Module:
        model: nn.Module = load_judge(
            source,
            outputs=self.method.width(**self.settings),
            seed=options.seed,
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

    def results(self, result: BatchResult, examples: Examples) -> dict[str, Any]:
        return {"held_out": held_out(self._logits(result).double().cpu().numpy(), examples)}

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


def held_out(logit_N: np.ndarray, examples: Examples) -> dict[str, Any]:
    """Accuracy and calibration on held-out rows, by group, and how often the longer answer is
    preferred: by the model, by the labels.
    """
    clusters = [prompt_key(row) for row in examples.rows]
    found = calibration(logit_N, clusters).to_dict()
    longer_N = np.sign(
        [len(item.branches["chosen"]) - len(item.branches["rejected"]) for item in examples.items]
    )
    unequal = np.flatnonzero(longer_N)
    there = [clusters[i] for i in unequal]
    found["prefers_longer"] = {
        "labels": mean_interval(longer_N[unequal] > 0, there).to_dict(),
        "model": mean_interval(
            np.sign(logit_N[unequal]) * longer_N[unequal] / 2 + 0.5, there
        ).to_dict(),
    }
    names = sorted({row.group for row in examples.rows if row.group is not None})
    right_N = np.sign(logit_N) / 2 + 0.5
    found["groups"] = {}
    for name in names if len(names) > 1 else ():
        at = [i for i, row in enumerate(examples.rows) if row.group == name]
        found["groups"][name] = mean_interval(right_N[at], [clusters[i] for i in at]).to_dict()
    return found
