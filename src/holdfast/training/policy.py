"""Train a policy on comparisons or on single answers.

    run = train("rdpo", model="folder", data="prefs.jsonl", out="runs/first", flip_rate=0.2)

With `resume=True` it goes on after a crash, or a Ctrl-C.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torch import nn

from holdfast.card import Average, Method, Reduction
from holdfast.errors import ModelError, OptionError, shown
from holdfast.extras import require
from holdfast.files import path_of
from holdfast.inputs.base import TokenValue
from holdfast.methods import GROUPS, get
from holdfast.models.load import load_policy
from holdfast.models.protocols import ModelSource, TokenizerSource
from holdfast.models.trained import POLICY as NAME
from holdfast.reductions import with_average
from holdfast.scorers.diffusion.pipeline import is_pipeline
from holdfast.scorers.live import InMemoryReference, LiveScorer
from holdfast.scorers.padded import causal_model
from holdfast.scorers.text import TextScorer
from holdfast.training.execute import carry_out
from holdfast.training.metrics import batch_metrics
from holdfast.training.objective import BatchResult
from holdfast.training.options import OF_DIFFUSION, Options, split_options
from holdfast.training.request import RunRequest
from holdfast.training.run.folder import Run
from holdfast.training.run.model_card import model_card
from holdfast.training.run.record import recorded_call
from holdfast.training.task import Task
from holdfast.training.text_task import TextTask
from holdfast.visible import listed

if TYPE_CHECKING:
    from holdfast.report import Page


class Policy(TextTask):
    """A causal language model, trained on the log-probabilities of answers."""

    name, adapter, language_model = NAME, "CAUSAL_LM", True

    def load(self, source: ModelSource, options: Options) -> nn.Module:
        model: nn.Module = load_policy(source, trust_remote_code=options.trust_remote_code)
        return model

    def keeps_reference(self, method: Method) -> str:
        """Where the method, or its head, reads from it what no cache could hold."""
        wants = method.card.needs
        read = [need.name for need in wants if isinstance(need, TokenValue) and need.in_memory]
        if not read and (method.head is None or method.head.of != "reference"):
            return ""
        read += ["a head"] if method.head else []
        return f"{method.name} reads {' and '.join(read)} from it, which no cache could hold"

    def scorer(
        self,
        model: nn.Module,
        method: Method,
        reference: InMemoryReference | None,
        options: Options,
    ) -> TextScorer:
        if reference is None and method.head is None:
            return TextScorer(model, scoring=options.scoring)
        if reference is not None:
            _refuse_another_vocabulary(method.name, model, reference.model)
        return LiveScorer(
            model,
            wants=method.card.needs,
            reference=reference,
            head=method.head,
            scoring=options.scoring,
        )

    def metrics(
        self, result: BatchResult, *, groups: Sequence[str], robust: bool
    ) -> dict[str, float]:
        return batch_metrics(result, groups=groups, robust=robust)

    def card(self, record: dict[str, Any], method: Method) -> str:
        return model_card(record, method)

    def page(self, method: Method, run: Run) -> Page:
        # with its chart library, only once a run is finished
        from holdfast.training.run.report import run_page

        return run_page(method, run)


POLICY = Policy()


def _refuse_another_vocabulary(method: str, model: nn.Module, reference: nn.Module) -> None:
    ours, theirs = (
        causal_model(one).config.get_text_config().vocab_size for one in (model, reference)
    )
    if ours != theirs:
        raise ModelError(
            f"{method} compares policy and reference token by token; they have "
            f"{ours} and {theirs} tokens",
            hint=(
                "a reference of the same family, or none: the policy before training is the default"
            ),
        )


def train(
    method: str | Method,
    *,
    model: ModelSource,
    data: Any,
    out: str | os.PathLike[str],
    reference: ModelSource | None = None,
    eval_data: Any = None,
    tokenizer: TokenizerSource | None = None,
    reduction: str | Reduction | None = None,
    average: str | Average | None = None,
    resume: bool = False,
    **options_and_settings: Any,
) -> Run:
    """Train a policy and leave a run in `out`: run.json, metrics.jsonl, checkpoints/, model/. Seeds
    torch's random numbers.

    Args:
        method: a name of the table (`holdfast methods`), or a method.
        model: name on the hub, folder of a model, or folder of a run. In Python also a loaded
            model, which is then trained in place.
        data: the comparisons: a file (JSON Lines, JSON, CSV, Parquet; also compressed), a folder,
            or the name of a dataset on the hub; several are read as one. In Python also rows as
            `holdfast.read` returns them, a `datasets.Dataset`, or an iterable of dicts.
        out: folder of the run: its record, metrics, checkpoints and the trained model.
        reference: name on the hub or folder; "adapter-off" for the model under an adapter; the
            policy before training unless given. A method that needs no reference scores it for the
            metrics alone. In Python also a loaded model.
        eval_data: held-out rows to evaluate on, read as `data` is.
        tokenizer: a tokenizer, where it is not with the model.
        reduction: how costs are averaged, such as "kl:temperature=0.5"; the method's own unless
            given.
        average: how the costs of an answer's tokens become one, for methods whose cost is a sum
            over tokens: "sum", "sequence_mean", "token_mean" of the whole batch, or
            "constant:length=512"; the method's own unless given.
        resume: go on with the run in `out`, if there is one, to the same numbers.
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
    task, data, eval_data = _task(method, model, data, eval_data, options_and_settings)
    request = RunRequest(
        task,
        method,
        settings,
        options,
        model,
        data,
        path_of(out),
        recorded_call(method, given, options_and_settings),
        reference=reference,
        eval_data=eval_data,
        tokenizer=tokenizer,
        reduction=reduction,
    )
    return carry_out(request, resume=resume)


def _task(
    method: Method, model: Any, data: Any, eval_data: Any, given: Mapping[str, Any]
) -> tuple[Task[Any], Any, Any]:
    """What is trained, as the model tells, and its rows: text, or images where the model is a
    pipeline of diffusers.

    Raises:
        ModelError: a method of diffusion models, and a model that is none.
        OptionError: an option of diffusion models, and a model that is none.
    """
    if is_pipeline(model):
        require("diffusion")
        # with diffusers, only where it is asked for
        from holdfast.training.diffusion import task_of

        return task_of(data, eval_data)
    if method.name in GROUPS["Diffusion models"]:
        raise ModelError(
            f"{method.name} trains a pipeline of diffusers, and {shown(str(model))} is none",
            hint="a folder with model_index.json, as pipeline.save_pretrained writes it",
        )
    unread = [name for name in OF_DIFFUSION if name in given]
    if unread:
        raise OptionError(
            f"{listed(unread)}: read where a diffusion model is trained, and this is none",
            hint=f"leave {unread[0]} out",
        )
    return POLICY, data, eval_data
