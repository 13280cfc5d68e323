"""The stress test on rows of text: small trainings, flaws in the training rows alone, held-out rows
as they were.
"""

from __future__ import annotations

import random
import signal
import tempfile
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np

from holdfast.card import settings_of
from holdfast.data import corrupt
from holdfast.data.examples import to_examples
from holdfast.data.read import Dataset
from holdfast.data.reading import Reading
from holdfast.errors import DataError
from holdfast.lab.stress.arms import FLAWS, Arm
from holdfast.lab.stress.result import Score
from holdfast.lab.worlds import text
from holdfast.parallel import Work
from holdfast.signals import Interrupted
from holdfast.stats.intervals import Estimate, mean_interval
from holdfast.stats.seeds import over_seeds
from holdfast.training.settings import read_reduction
from holdfast.types import Row, Text

MEASURE = "held-out pairs ranked as labeled, by implicit reward"
SMALL: dict[str, Any] = {"vocab": 1024, "hidden": 96, "layers": 2, "max_tokens": 1024}
OPTIONS: dict[str, Any] = {
    "epochs": 1.0,
    "learning_rate": 3e-4,
    "batch_size": 32,
    "save_every": 0,
}  # of small trainings
BETA = 0.1
CHANCE = 0.5  # of a policy that says of no pair which answer is better


@dataclass(frozen=True)
class TextPlan:
    """What every training shares: where it starts, the rows it may see, the rows it is judged by.

    On the text world each comparison carries the gold reward's gap and a reason, as it is labeled
    after the flaw; on rows of one's own whatever a method asks for must be in them.
    """

    start: str
    train: tuple[Row, ...]
    held: tuple[Row, ...]
    options: Mapping[str, Any]
    beta: float
    seeds: int
    about: Mapping[str, Any]
    known: bool = False  # whether the rows are of the text world, which knows its gold reward
    measure: str = MEASURE

    @classmethod
    def prepare(
        cls,
        data: Any,
        folder: Path,
        *,
        flaws: Sequence[str],
        rates: Sequence[float],
        arms: Sequence[Arm],
        model: str | None,
        rows: int,
        held_out: int,
        epochs: float,
        learning_rate: float,
        beta: float | None,
        seeds: int,
        reading: Reading,
    ) -> TextPlan:
        """Read and split the rows; make and teach a small model unless one is given."""
        aside = reading.quarantine_file(folder)
        every = (
            world_rows(rows * 3 // 2 + held_out * 8)
            if data == "text-world"
            else reading.rows(data, aside)
        )
        train, held, unit = split(every.rows, rows, held_out)
        known = data == "text-world"
        refuse(train, flaws, max(rates), arms, known)
        start = model or small_start(train, folder, aside is not None)
        before = len(train), len(held)
        if aside is not None:
            train, held = (fitting(part, start, aside) for part in (train, held))
        about = {
            "data": str(data) if isinstance(data, str | Path) else "rows",
            "training rows": len(train),
            "held-out rows": len(held),
            "held out by": unit,
            "skipped": sum(every.report.skipped.values()) + sum(before) - len(train) - len(held),
            "model": start,
        }
        options = {
            **OPTIONS,
            "epochs": epochs,
            "learning_rate": learning_rate,
            "quarantine": aside is not None,
        }
        return cls(start, train, held, options, beta or BETA, seeds, about, known)

    @property
    def units(self) -> list[Hashable]:
        """What each held-out row shares with no training row: its prompt, its rater, or itself."""
        return [dict(UNITS)[self.about["held out by"]](row) for row in self.held]

    def work(self, flaw: str, rate: float, arm: Arm) -> list[Work]:
        shared = {
            "flaw": flaw,
            "rate": rate,
            "arm": arm,
            "start": self.start,
            "train_rows": self.train,
            "held": self.held,
        }
        shared["known"] = self.known
        settings = own_settings(arm, rate, self.beta)
        return [
            Work(
                f"{arm.label}, {flaw} {rate:g}, seed {seed}",
                accuracy,
                {**shared, "seed": seed, "settings": settings, "options": dict(self.options)},
            )
            for seed in range(self.seeds)
        ]

    def scores(self, work: Sequence[Work], results: Sequence[Mapping[str, Any]]) -> list[Score]:
        cells: dict[tuple[str, float, str], list[Mapping[str, Any]]] = defaultdict(list)
        for piece, found in zip(work, results, strict=True):
            cells[
                piece.keywords["flaw"], piece.keywords["rate"], piece.keywords["arm"].label
            ].append(found)
        out = []
        for (flaw, rate, label), runs in cells.items():
            values = tuple(float(np.mean(f["right"])) for f in runs)
            per_row = np.mean([f["right"] for f in runs], axis=0)
            by_rows = mean_interval(per_row, self.units)
            rows = (
                None
                if by_rows.low is None or by_rows.high is None
                else replace(by_rows, value=float(per_row.mean()))
            )
            seeds = _share(over_seeds(values)) if len(values) > 1 else None
            realized = float(np.mean([f["realized"] for f in runs]))
            out.append(
                Score(
                    flaw,
                    rate,
                    label,
                    values,
                    seeds,
                    rows,
                    tuple(map(float, per_row)),
                    realized,
                    CHANCE,
                )
            )
        return out

    def facts(self) -> dict[str, Any]:
        return {**self.about, "seeds": self.seeds, "beta": self.beta, **self.options}


def _share(interval: Estimate) -> Estimate:
    """The interval of a share, which cannot leave 0 to 1."""
    low, high = interval.ends
    return replace(interval, low=max(low, 0.0), high=min(high, 1.0))


def own_settings(arm: Arm, rate: float, beta: float = BETA) -> dict[str, float]:
    """Its settings when labels are flipped at this rate. Of the betas only those that multiply
    sums, as DPO's does, are on one scale.
    """
    shared = "beta" in settings_of(arm.method.objective) and arm.method.card.tokens == "sum"
    return {**({"beta": beta} if shared else {}), **arm.told(rate)}


UNITS: tuple[tuple[str, Callable[[Row], Hashable]], ...] = (
    ("prompt", lambda row: _key(row.prompt)),
    ("rater", lambda row: (row.rater,)),
    ("row", lambda row: str(row.where)),
)


def split(
    rows: Sequence[Row], most: int, held_out: int
) -> tuple[tuple[Row, ...], tuple[Row, ...], str]:
    """A fifth of the prompts is held out, drawn with a fixed seed; both sides are cut to size by a
    draw that keeps their order. Rows that all have one prompt are held out by rater, or else one by
    one. Ties and single answers stay out.

    Returns:
        rows to train on, rows to judge by, and what no two of them share: "prompt", "rater" or
            "row"

    Raises:
        DataError: fewer than two comparisons.
    """
    pairs = [
        row for row in rows if row.chosen is not None and row.rejected is not None and not row.tie
    ]
    if len(pairs) < 2:
        raise DataError(
            f"{len(pairs)} rows are comparisons; at least two are needed, to hold one out",
            hint="give more rows",
        )
    unit, of = next(
        (name, of) for name, of in UNITS if name == "row" or len({of(row) for row in pairs}) > 1
    )
    names = list(dict.fromkeys(of(row) for row in pairs))
    dice = random.Random("stress")
    dice.shuffle(names)
    aside = set(names[: max(1, len(names) // 5)])
    sides = [[row for row in pairs if (of(row) in aside) == away] for away in (False, True)]
    train, held = (
        tuple(side[i] for i in sorted(dice.sample(range(len(side)), min(n, len(side)))))
        for side, n in zip(sides, (most, held_out), strict=True)
    )
    return train, held, unit


def _key(text: Text) -> Hashable:
    return text if isinstance(text, str) else tuple((m["role"], m["content"]) for m in text)


def fitting(rows: Sequence[Row], model: str, quarantine: Path) -> tuple[Row, ...]:
    """The rows that the model's window takes; the others go to the quarantine."""
    from transformers import AutoConfig

    from holdfast.data.render import tokenize
    from holdfast.models.load import load_tokenizer, resolve

    window = getattr(
        AutoConfig.from_pretrained(resolve(model)).get_text_config(),
        "max_position_embeddings",
        None,
    )
    return tuple(
        tokenize(
            rows, load_tokenizer(model), max_tokens=window, quarantine=quarantine, progress=False
        ).rows
    )


def world_rows(n: int) -> Dataset:
    return Dataset.of(text.preferences(text.all_prompts(), max(n, 10), seed=0))


def small_start(train: Sequence[Row], folder: Path, quarantine: bool) -> str:
    """A small model taught on both answers of each training row, so that no label reaches it before
    the flaw does.
    """
    from holdfast.models.small import small_model
    from holdfast.training.policy import train as fit

    answers = [
        replace(
            row,
            chosen=None,
            rejected=None,
            answer=answer,
            desirable=None,
            strength=None,
            confidence=None,
        )
        for row in train
        for answer in (row.chosen, row.rejected)
    ]
    texts = [f"{_plain(row.prompt)} {_plain(row.answer or '')}" for row in answers]
    with _silence(), _thrown_away():
        blank = small_model(texts, folder / "start" / "blank", **SMALL)
        run = fit(
            "sft",
            model=str(blank),
            data=Dataset.of(answers),
            out=folder / "start" / "sft",
            learning_rate=2e-3,
            batch_size=16,
            save_every=0,
            resume=True,
            quarantine=quarantine,
        )
    return str(run.model_path)


def _plain(text: Text) -> str:
    return text if isinstance(text, str) else "\n".join(str(m["content"]) for m in text)


def accuracy(
    *,
    flaw: str,
    rate: float,
    arm: Arm,
    start: str,
    train_rows: Sequence[Row],
    held: Sequence[Row],
    known: bool,
    seed: int,
    settings: Mapping[str, Any],
    options: Mapping[str, Any],
) -> dict[str, Any]:
    """One training on flawed rows, judged by clean ones: 1, 1/2 or 0 for each held-out row."""
    from holdfast.evaluation.evaluation import evaluate
    from holdfast.training.policy import train

    flawed, planted = plant(train_rows, flaw, rate, seed, known)
    with (
        tempfile.TemporaryDirectory(prefix="holdfast-stress-") as folder,
        _silence(),
        _thrown_away(),
    ):
        run = train(
            arm.name,
            model=start,
            data=Dataset.of(flawed),
            out=folder,
            seed=seed,
            reduction=arm.reduction,
            **options,
            **settings,
        )
        found = evaluate(
            run.out, data=Dataset.of(held), reference=start, prompts=0, bootstrap=0, progress=False
        )
        right = found.per_row["implicit_reward"]
    return {"right": [float(x) for x in right], "realized": planted.realized}


def plant(rows: Sequence[Row], flaw: str, rate: float, seed: int, known: bool) -> corrupt.Planting:
    """The flaw, by its short name. Cycles close over answers to other prompts where no prompt has
    three answers of its own. `known`: the rows are of the text world, which says of each
    comparison, as it then is, what it knows."""
    try:
        flawed, planted = corrupt.FLAWS[FLAWS[flaw]](rows, rate=rate, seed=seed)
    except DataError:
        if flaw != "cycles":
            raise
        flawed, planted = corrupt.triples(rows, rate=rate, seed=seed)
    return tuple(text.judged(flawed)) if known else flawed, planted


def refuse(
    rows: Sequence[Row], flaws: Sequence[str], rate: float, arms: Sequence[Arm], known: bool
) -> None:
    """Before anything is trained: raises the NeedError of a method that asks for what these rows,
    so flawed, do not have.
    """
    for flaw in flaws:
        flawed, _ = plant(rows, flaw, rate, 0, known)
        for arm in arms:
            groups = len({row.group for row in flawed if row.group is not None})
            to_examples(
                flawed,
                replace(arm.method, reduction=read_reduction(arm.reduction, arm.method, groups)),
            )


@contextmanager
def _thrown_away() -> Iterator[None]:
    """A training that nobody can resume: asked to stop, it ends as any program does."""
    try:
        yield
    except Interrupted as stopped:
        raise (
            KeyboardInterrupt
            if stopped.exit_code == 128 + signal.SIGINT
            else SystemExit(stopped.exit_code)
        ) from None


@contextmanager
def _silence() -> Iterator[None]:
    """Many trainings at once would print over each other."""
    from transformers.utils import logging

    before = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            yield
    finally:
        if before:
            logging.enable_progress_bar()
