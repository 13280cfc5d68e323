"""Train a policy on comparisons or on single answers.

    run = train("rdpo", model="folder", data="prefs.jsonl", out="runs/first", flip=0.2)

With `resume=True` it goes on after a crash, or a Ctrl-C.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from holdfast.card import Average, Method, Reduction
from holdfast.files import path_of
from holdfast.methods import get
from holdfast.models.load import load_policy
from holdfast.models.trained import POLICY as NAME
from holdfast.reductions import with_average
from holdfast.scorers.text import TextScorer
from holdfast.training.loop import carry_out
from holdfast.training.metrics import batch_metrics
from holdfast.training.options import split_options
from holdfast.training.run.folder import Run
from holdfast.training.run.model_card import model_card
from holdfast.training.run.record import recorded_call
from holdfast.training.setup import RunRequest
from holdfast.training.task import Task

if TYPE_CHECKING:
    from holdfast.report import Page


def _page(method: Method, run: Run) -> Page:
    # with its chart library, only once a run is finished
    from holdfast.training.run.report import run_page

    return run_page(method, run)


POLICY = Task(
    name=NAME,
    load=lambda source, options: load_policy(source, trust_remote_code=options.trust_remote_code),
    scorer=TextScorer,
    metrics=batch_metrics,
    adapter_task="CAUSAL_LM",
    card=model_card,
    router_loss=True,
    page=_page,
)


def train(
    method: str | Method,
    *,
    model: Any,
    data: Any,
    out: str | os.PathLike[str],
    reference: Any = None,
    eval_data: Any = None,
    tokenizer: Any = None,
    reduction: str | Reduction | None = None,
    average: str | Average | None = None,
    resume: bool = False,
    **options_and_settings: Any,
) -> Run:
    """Train a policy and leave a run in `out`: run.json, metrics.jsonl, checkpoints/, model/. Seeds
    torch's random numbers.

    Args:
        method: a name of the table (`holdfast methods`), or a method.
        model: hub name, folder, run folder, or a model (which is then trained in place).
        data: whatever `holdfast.read` takes.
        out: the run's folder.
        reference: hub name, folder or model; "adapter-off" for the model under an adapter; the
            policy before training unless given. Given to a method that needs none, it is scored for
            the metrics' sake.
        eval_data: rows to evaluate on, as `data`.
        tokenizer: where it is not with the model.
        reduction: how costs are averaged, such as "kl:temperature=0.5"; the method's own unless
            given.
        average: how the costs of an answer's tokens become one, for methods whose cost is a sum
            over tokens: "sum", "sequence_mean", "token_mean" of the whole batch, or
            "constant:length=512"; the method's own unless given.
        resume: go on with the run in `out` if there is one.
        **options_and_settings: fields of `Options`, and the method's own settings.

    Raises:
        OptionError: an option that nobody reads, or a value out of range.
        DataError, NeedError, ModelError: what the rows or the model lack.
        RunError: `out` holds a run and `resume` is off, or another run than this one, or another
            process is at work in it; a loss that is not finite; a full disk.
        Interrupted: SIGINT or SIGTERM; a checkpoint was written.
    """
    method = with_average(get(method) if isinstance(method, str) else method, average)
    options, settings = split_options(method, options_and_settings)
    given = {
        "model": model,
        "data": data,
        "eval_data": eval_data,
        "reference": reference,
        "tokenizer": tokenizer,
        "reduction": reduction,
        "average": average.name if isinstance(average, Average) else average,
    }
    call = recorded_call(method, given, options_and_settings)
    return carry_out(
        RunRequest(
            method,
            options,
            settings,
            model,
            data,
            path_of(out),
            reference,
            eval_data,
            tokenizer,
            reduction,
            call,
            POLICY,
        ),
        resume=resume,
    )
