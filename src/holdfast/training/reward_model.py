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
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from holdfast.card import Reduction
from holdfast.files import path_of
from holdfast.models.protocols import ModelSource, TokenizerSource
from holdfast.rewards.kind import RewardMethod
from holdfast.rewards.table import get
from holdfast.training import reward_members
from holdfast.training.execute import carry_out
from holdfast.training.options import split_options
from holdfast.training.request import RunRequest
from holdfast.training.reward_plan import MembersBy, plan_of
from holdfast.training.reward_task import RewardModel
from holdfast.training.run.folder import Run
from holdfast.training.run.record import recorded_call

if TYPE_CHECKING:
    pass

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
    return reward_members.train(request, plan, resume=resume)


def with_defaults(given: Mapping[str, Any], eval_data: Any) -> dict[str, Any]:
    """What was given on top of the defaults of `train_reward`; nothing is held out where rows to
    evaluate on were given.
    """
    defaults = dict(DEFAULTS)
    if eval_data is not None:
        defaults.pop("eval_fraction")
    return defaults | dict(given)
