"""What a run trains, as far as the loop must know: how it is loaded, scored, measured and
described. The loop itself knows no more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from holdfast.card import Method
from holdfast.scorers.branches import BranchScorer
from holdfast.scorers.branches import Path as ScoringPath
from holdfast.training.gradient import BatchResult, Examples
from holdfast.training.options import Options

if TYPE_CHECKING:
    from holdfast.report import Page
    from holdfast.training.run.folder import Run


class Scorer(Protocol):
    def __call__(self, model: Any, *, path: ScoringPath) -> BranchScorer: ...


class Metrics(Protocol):
    def __call__(
        self, result: BatchResult, *, groups: Sequence[str], robust: bool
    ) -> dict[str, float]: ...


@dataclass(frozen=True)
class Task:
    """A policy, or a model that judges.

    Attributes:
        name: in the record, and in `holdfast.models.trained.LOADERS`.
        load: `load(source, options)`, the model before its first step; the same source, options and
            seed give the same model.
        scorer: `scorer(model, path=...)`, items in, a `Scored` a branch out.
        metrics: what is measured of a batch.
        adapter_task: peft's name for what an adapter is put on.
        card: `card(record, method)`, the README beside the weights.
        ready: `ready(model, tokenizer, options)`, last touches once the tokenizer is there.
        page: `page(method, run)`, what a finished run says of itself, as report.html in its folder;
            None where it has nothing to say.
        router_loss: whether the load-balancing loss of a mixture of experts is added, as Hugging
            Face does for language models.
        pictures: whether the charts of that page also lie beside it as pictures.
        results: `results(result, rows)`, what the last look at the held-out rows adds to the
            record.
    """

    name: str
    load: Callable[[Any, Options], Any]
    scorer: Scorer
    metrics: Metrics
    adapter_task: str
    card: Callable[[dict[str, Any], Method], str]
    ready: Callable[[Any, Any, Options], None] = lambda model, tokenizer, options: None
    results: Callable[[BatchResult, Examples], dict[str, Any]] = lambda result, rows: {}
    page: Callable[[Any, Run], Page | None] = lambda method, run: None
    router_loss: bool = False
    pictures: bool = False
