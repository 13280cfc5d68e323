"""What a run trains, as far as the loop, its setup and its record must know."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from torch import Tensor, nn

from holdfast.card import Method
from holdfast.data.read import Dataset as Rows
from holdfast.models.protocols import ModelSource, Saved, TokenizerSource
from holdfast.scorers.live import InMemoryReference
from holdfast.scorers.scorer import Scorer
from holdfast.training.examples import Examples
from holdfast.training.model import save_pretrained, with_adapter
from holdfast.training.objective import BatchResult
from holdfast.training.options import Options
from holdfast.training.router import RouterLoss
from holdfast.types import Tokenized

if TYPE_CHECKING:
    from holdfast.report import Page
    from holdfast.training.run.folder import Run
    from holdfast.training.sources.source import Source


P = TypeVar("P", bound=Saved)  # what turns rows into what the model reads: a tokenizer, say


@dataclass(frozen=True)
class Encoded:
    """Rows as the scorer reads them.

    Attributes:
        examples: one item for each row that is left, aligned with it.
        counts: for the record: how many rows were read, skipped and why.
        said: the same for the reader's eyes.
    """

    examples: Examples
    counts: Mapping[str, Any]
    said: Sequence[str] = ()


class Task(ABC, Generic[P]):
    """What a run trains: how it is loaded, encoded, scored, measured and described.

    A new task (a diffusion model, say) is one file: a final subclass, and the function that starts
    its runs: `carry_out(RunRequest(..., task=...), resume=resume)`, as `policy.train` does. It
    touches two tables besides: `holdfast.models.trained.LOADERS`, by which `Run.load` finds its
    model, and `run/rerun.py`. What it must give are the abstract methods; the others have a default
    that fits most.

    What flows through them is the task's own business, as long as
        1. an item has `tokens` (what it costs to score), `answers` (a sized value for each branch)
           and `select(names)`, as `Tokenized` has;
        2. the scorer maps items to a `Scored` for each branch, on which the method's objective is
           defined, and gives the same numbers for the same items: noise that a step draws anew
           belongs to the items (`source`), so that both passes over a batch and a resumed run see
           the same.

    Attributes:
        name: in the record, and in `LOADERS`: "policy".
        adapter: peft's name for what an adapter is put on: "CAUSAL_LM".
        pictures: whether the charts of the run's page also lie beside it as pictures.
    """

    name: str
    adapter: str
    pictures: bool = False

    # ------------------------------------------------------------ loaded

    @abstractmethod
    def load(self, source: ModelSource, options: Options) -> nn.Module:
        """The model before its first step; the same source, options and seed give the same."""

    @abstractmethod
    def processor(
        self,
        given: TokenizerSource | None,
        source: ModelSource,
        model: nn.Module,
        options: Options,
        notes: list[str],
    ) -> P:
        """What turns rows into what the model reads, and is saved beside it: a tokenizer, say.

        Args:
            given: `tokenizer=` as it was given; None for the one that lies with the model.
            source: `model=` as it was given.
            model: the model that was loaded.
            options: the run's.
            notes: what the reader should know is added here.
        """

    def fit_options(self, options: Options, model: nn.Module) -> Options:
        """Options that were left open, as the model has it: such as its longest row."""
        return options

    def ready(self, model: nn.Module, processor: P, options: Options) -> None:
        """Last touches on the model once its processor is there."""
        return

    def adapted(self, model: nn.Module, options: Options) -> nn.Module:
        """The model with a new adapter, where `lora_rank` asks for one."""
        return with_adapter(model, options, self.adapter)

    # ------------------------------------------------------------ encoded

    @abstractmethod
    def encode(
        self, rows: Rows, method: Method, processor: P, options: Options, quarantine: Path | None
    ) -> Encoded:
        """Rows as the scorer reads them.

        Args:
            rows: what was read.
            method: whose inputs are to be made.
            processor: this task's.
            options: the run's.
            quarantine: where rows that cannot be used are written; None makes them an error.

        Raises:
            DataError, NeedError: rows that cannot be used, or lack what the method reads.
        """

    @abstractmethod
    def identity(
        self, processor: P, options: Options, items: Sequence[Tokenized]
    ) -> dict[str, str]:
        """Hashes of all that the items were made with, by name, and at last of the items: a run is
        only continued if they are as they were.
        """

    def source(self, dataset: Source, options: Options) -> Source:
        """Where the examples of a step come from, out of the rows' own: a task that draws something
        anew at each step (noise, timesteps) adds it to the items here, from (seed, step, row)
        alone.
        """
        return dataset

    # ------------------------------------------------------------ scored

    @abstractmethod
    def scorer(
        self,
        model: nn.Module,
        method: Method,
        reference: InMemoryReference | None,
        options: Options,
    ) -> Scorer:
        """Items in, a `Scored` for each branch out, as method and reduction ask for. `reference` is
        there where `keeps_reference` says so. A scorer verifies itself (`Scorer.verify`).
        """

    def router(self, model: nn.Module, options: Options) -> tuple[RouterLoss | None, list[str]]:
        """The load-balancing loss of a mixture of experts, where one is added, and what the reader
        is told of it.
        """
        return None, []

    def keeps_reference(self, method: Method) -> str:
        """Why the reference stays in memory and is run at every step; "" where it does not."""
        return ""

    def caches_reference(self, method: Method) -> bool:
        """Whether the reference's log-probabilities are scored once, before the first step. If not,
        the scorer gives `ref_logp_NT` itself.
        """
        return True

    # ------------------------------------------------------------ measured and described

    @abstractmethod
    def metrics(
        self, result: BatchResult, *, groups: Sequence[str], robust: bool
    ) -> dict[str, float]:
        """What is measured of a batch; `robust` where the reduction weighs rows by their costs."""

    def results(self, result: BatchResult, examples: Examples) -> dict[str, Any]:
        """What the last evaluation of the held-out rows adds to the record."""
        return {}

    @abstractmethod
    def card(self, record: dict[str, Any], method: Method) -> str:
        """The README beside the weights."""

    def save(
        self, model: nn.Module, processor: P, weights: dict[str, Tensor], folder: Path
    ) -> None:
        """Write into `folder` what `from_pretrained` reads: the model, or the adapter with its base
        named, and the processor. `weights` are the model's, whole and on CPU.
        """
        save_pretrained(model, processor, weights, folder)

    def page(self, method: Method, run: Run) -> Page | None:
        """What a finished run says of itself, `report.html` in its folder."""
        return None
