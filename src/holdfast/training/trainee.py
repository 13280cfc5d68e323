"""What a run trains, as far as the loop must know: how it is loaded, scored, measured and
described. The loop itself knows no more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from holdfast.card import Method
from holdfast.models.load import load_policy
from holdfast.scorers.branches import BranchScorer
from holdfast.scorers.branches import Path as ScoringPath
from holdfast.scorers.text import TextScorer
from holdfast.training.metrics import batch_metrics
from holdfast.training.model_card import model_card
from holdfast.training.options import Options
from holdfast.training.step import Outcome, Rows

if TYPE_CHECKING:
    from holdfast.report import Page
    from holdfast.training.run import Run

POLICY_NAME, JUDGE = "policy", "reward model"  # `trains` in a run's record


class Scorer(Protocol):
    def __call__(self, model: Any, *, path: ScoringPath) -> BranchScorer: ...


class Metrics(Protocol):
    def __call__(
        self, outcome: Outcome, *, groups: Sequence[str], robust: bool
    ) -> dict[str, float]: ...


@dataclass(frozen=True)
class Trainee:
    """A policy, or a model that judges.

    Attributes:
        what: its name in the record.
        load: `load(source, options)`, the model before its first step; the same source, options and
            seed give the same model.
        scorer: `scorer(model, path=...)`, items in, a `Scored` a branch out.
        metrics: what is measured of a batch.
        adapter_task: peft's name for what an adapter is put on.
        card: `card(record, method)`, the README beside the weights.
        ready: `ready(model, tokenizer, options)`, last touches once the tokenizer is there.
        page: `page(method, run)`, what a finished run says of itself, as report.html in its folder;
            None where it has nothing to say.
        pictures: whether the charts of that page also lie beside it as pictures.
        results: `results(outcome, rows)`, what the last look at the held-out rows adds to the
            record.
    """

    what: str
    load: Callable[[Any, Options], Any]
    scorer: Scorer
    metrics: Metrics
    adapter_task: str
    card: Callable[[dict[str, Any], Method], str]
    ready: Callable[[Any, Any, Options], None] = lambda model, tokenizer, options: None
    results: Callable[[Outcome, Rows], dict[str, Any]] = lambda outcome, rows: {}
    page: Callable[[Any, Run], Page | None] = lambda method, run: None
    pictures: bool = False


def _page(method: Any, run: Run) -> Page:
    from holdfast.training.run_report import (
        run_page,
    )  # with its chart library, only once a run is finished

    return run_page(method, run)


POLICY = Trainee(
    what=POLICY_NAME,
    load=lambda source, options: load_policy(source, trust_remote_code=options.trust_remote_code),
    scorer=TextScorer,
    metrics=batch_metrics,
    adapter_task="CAUSAL_LM",
    card=model_card,
    page=_page,
)
