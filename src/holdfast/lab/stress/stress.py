"""Plant a flaw at rising rates, train each method small, and see who survives.

    stress("prefs.jsonl", flaw=("uniform", "length"), rates=(0, 0.2, 0.4), methods=("dpo", "rdpo"),
    out="stress") stress("world", flaw=("uniform",), rates=(0, 0.1, 0.2, 0.3, 0.4), methods=("dpo",
    "rdpo", "ipo"), out="stress")

On rows of one's own the flaw is planted in the training rows alone; held-out rows keep their
labels, and what is measured is how often the trained policy's implicit reward ranks them as
labeled. On "world" policies are log-linear tables and what is measured is the exact gap to the
optimum. Methods that read `flip` are told the planted rate unless they are given another:
"rdpo:flip=0.2".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import inf
from pathlib import Path
from typing import Any

import numpy as np

from holdfast.card import Method, check, settings_of
from holdfast.data.reading import Reading
from holdfast.errors import OptionError
from holdfast.files import write_text
from holdfast.lab.verdict import Interval, number, over_seeds
from holdfast.methods import get
from holdfast.parallel import Engine, run_all
from holdfast.stats.arrays import whole
from holdfast.stats.intervals import mean_interval
from holdfast.terminal import Terminal
from holdfast.training.setup import read_reduction
from holdfast.visible import json_text

FLAWS = {  # short name -> holdfast.data.corrupt
    "uniform": "flip",
    "length": "flip_by_length",
    "group": "flip_by_group",
    "rater": "flip_by_rater",
    "cycle": "cycles",
}
ALIASES = {"flips": "uniform", "flip": "uniform", "cycles": "cycle", "groups": "group"}
TOLERANCE = (
    0.05  # a fall of less than this from its own score at the lowest rate counts as surviving
)
RULINGS = ("survives", "falls", "undecided", "inconclusive")
ABOVE_HALF = 0.49  # the highest flip rate that a method can be told


@dataclass(frozen=True)
class Arm:
    """A method with settings of its own: "rdpo:flip=0.2", "dpo:reduction=groups"."""

    label: str
    name: str
    settings: Mapping[str, float]
    reduction: str | None = None

    @property
    def method(self) -> Method:
        return get(self.name)

    def told(self, rate: float) -> dict[str, float]:
        """Its settings when labels are flipped at this rate."""
        knows = (
            {"flip": min(rate, ABOVE_HALF)} if "flip" in settings_of(self.method.objective) else {}
        )
        return {**knows, **self.settings}


@dataclass(frozen=True)
class Score:
    """One method under one flaw at one rate. Higher is better; `values` holds one number a seed."""

    flaw: str
    rate: float
    arm: str
    values: tuple[float, ...]
    seeds: Interval | None  # over seeds, with two or more
    rows: Interval | None  # bootstrap over held-out prompts, each row's mean over seeds
    per_row: tuple[float, ...] = ()
    realized: float | None = None  # share of training rows that were changed
    chance: float = -inf  # the score of a policy that learned nothing

    @property
    def mean(self) -> float:
        return float(np.mean(self.values))

    @property
    def interval(self) -> tuple[float, float]:
        """The wider of the two at each end: rows are a sample, and so are trainings."""
        ends = [(i.low, i.high) for i in (self.seeds, self.rows) if i is not None]
        return (
            (min(low for low, _ in ends), max(high for _, high in ends))
            if ends
            else (self.mean, self.mean)
        )


@dataclass(frozen=True)
class Stress:
    """Everything that came out."""

    measure: str
    scores: tuple[Score, ...]
    facts: Mapping[str, Any]

    def of(self, flaw: str, arm: str) -> list[Score]:
        return sorted(
            (s for s in self.scores if s.flaw == flaw and s.arm == arm), key=lambda s: s.rate
        )

    def survival(self) -> list[dict[str, Any]]:
        """For each flaw, method and rate: its fall from its own lowest rate, on the same seeds and
        rows, and what that means.

        What did not learn cannot fall: where the score at the lowest rate is not shown to be above
        chance, or is above it by so little that a fall to chance would count as surviving, the
        ruling is "inconclusive", and `why` says so.
        """
        out = []
        for flaw in dict.fromkeys(s.flaw for s in self.scores):
            for arm in dict.fromkeys(s.arm for s in self.scores):
                first, *rest = self.of(flaw, arm)
                for score in rest:
                    fall = difference(first, score)
                    ruling, why = ruled(first, fall)
                    row = {
                        "flaw": flaw,
                        "arm": arm,
                        "rate": score.rate,
                        "score": score.mean,
                        "fall": fall and asdict(fall),
                    }
                    out.append({**row, "ruling": ruling, "why": why})
        return out

    @property
    def inconclusive(self) -> list[str]:
        """A sentence for each method that learned too little to fall."""
        return list(
            dict.fromkeys(
                f"{row['arm']}: {row['why']}"
                for row in self.survival()
                if row["ruling"] == "inconclusive"
            )
        )

    def to_dict(self) -> dict[str, Any]:
        scores = [{**asdict(s), "mean": s.mean, "interval": s.interval} for s in self.scores]
        for s in scores:
            del s["per_row"]
        return {
            "measure": self.measure,
            "tolerance": TOLERANCE,
            "facts": dict(self.facts),
            "scores": scores,
            "survival": self.survival(),
        }


def ruled(first: Score, fall: Interval | None) -> tuple[str, str]:
    """(ruling, why) of a fall from the score at the lowest rate."""
    low, high = first.interval
    base = (
        f"its score at rate {first.rate:g} is {number(first.mean)} [{number(low)}, {number(high)}]"
    )
    if not low > first.chance:
        return (
            "inconclusive",
            f"{base}, not shown to be above chance ({number(first.chance)}): nothing was "
            "learned that could be lost",
        )
    if fall is None:
        return "undecided", "one seed gives no interval"
    if fall.low > TOLERANCE:
        return "falls", f"it falls by more than {TOLERANCE:g}"
    if not fall.high < TOLERANCE:
        return "undecided", f"its fall may be above or below {TOLERANCE:g}"
    if not low > first.chance + TOLERANCE:
        return (
            "inconclusive",
            f"{base}, so near chance ({number(first.chance)}) that a fall to chance would "
            "count as surviving",
        )
    return "survives", f"it falls by less than {TOLERANCE:g}"


def seeds_said(seeds: int, rows: bool) -> str | None:
    """What so few seeds cannot decide, for the user to hear before they are spent. `rows`: whether
    held-out rows give an interval too.
    """
    if seeds == 1:
        told = (
            "intervals are over held-out rows alone, and another training may rule otherwise"
            if rows
            else "there will be no interval"
        )
        return f"1 seed: {told}; 3 seeds or more tell trainings apart"
    if seeds == 2:
        return (
            "2 seeds: the interval of a fall reaches 9 standard deviations between "
            "trainings to each side, so rulings will be undecided "
            "unless trainings hardly differ; 3 seeds reach 2.5, 5 seeds 1.2"
        )
    return None


def difference(first: Score, second: Score) -> Interval | None:
    """first minus second: over seeds, and over rows where both have them; the wider at each end."""
    gap = [a - b for a, b in zip(first.values, second.values, strict=True)]
    found = [over_seeds(gap)] if len(gap) > 1 else []
    if first.per_row and len(first.per_row) == len(second.per_row):
        by_rows = mean_interval(np.array(first.per_row) - np.array(second.per_row))
        if by_rows.low is not None and by_rows.high is not None:
            found.append(Interval(float(np.mean(gap)), by_rows.low, by_rows.high, len(gap)))
    return (
        Interval(
            float(np.mean(gap)), min(f.low for f in found), max(f.high for f in found), len(gap)
        )
        if found
        else None
    )


def stress(
    data: Any,
    *,
    flaw: Sequence[str] = ("uniform",),
    rates: Sequence[float] = (0.0, 0.1, 0.2, 0.3, 0.4),
    methods: Sequence[str] = ("dpo", "rdpo"),
    seeds: int = 3,
    out: str | Path = "stress",
    model: str | None = None,
    rows: int = 1000,
    held_out: int = 200,
    epochs: float = 1.0,
    learning_rate: float = 3e-4,
    beta: float | None = None,
    engine: Engine = "local",
    address: str | None = None,
    workers: int | None = None,
    quiet: bool = False,
    **reading: Any,
) -> Stress:
    """Plant flaws, train, measure; leave stress.html, its pictures and stress.json in `out`.

    Args:
        data: whatever `holdfast.read` takes; "text-world" for the demo's world of text; "world" for
            exact tables.
        flaw: uniform, length, group, rater or cycle; several are planted one at a time.
        rates: the rates, in rising order; the lowest is what falls are measured from.
        methods: names of the table, each with settings of its own if wanted, an average last:
            "rdpo:flip=0.2", "dpo:reduction=groups".
        seeds: repetitions; each draws its own flaw, order of rows and (on a world) world.
        out: the folder to write.
        model: where to start; a small model taught on both answers of the training rows unless
            given.
        rows: training rows at most.
        held_out: held-out rows at most; a fifth of the prompts goes there.
        epochs: passes over the training rows.
        learning_rate: of the trainings.
        beta: for every method that reads it; 0.1 on text and the world's own on tables unless
            given.
        engine: "local" or "ray".
        address: of the Ray cluster.
        workers: processes at once.
        quiet: no progress.
        **reading: how rows are read, as for `holdfast.read`: fields of `holdfast.data.Reading`. The
            quarantine takes rows that do not fit into the model's window as well.

    Raises:
        OptionError: an unknown flaw, method, setting or reduction, a rate outside [0, 1], or too
            few seeds.
        NeedError, DataError: what a method or the flaw wants and the rows lack.
    """
    from holdfast.lab.stress.page import write
    from holdfast.lab.stress.text import TextPlan
    from holdfast.lab.stress.world import WorldPlan

    how_read = Reading.of(reading, "stress")
    flaws, arms = [flaw_named(name) for name in flaw], [arm_named(text) for text in methods]
    if not rates or not all(0 <= rate <= 1 for rate in rates):
        raise OptionError(
            f"rates are {list(rates)}; they must lie between 0 and 1", hint="0,0.1,0.2,0.3,0.4"
        )
    rates = sorted(set(rates))
    check(
        "seeds",
        seeds,
        whole(seeds, 1),
        "be a whole number of at least 1",
        hint="3 or more give an interval over trainings",
    )
    check("rows", rows, whole(rows, 1), "be a whole number of at least 1")
    check("held_out", held_out, whole(held_out, 1), "be a whole number of at least 1")
    check("epochs", epochs, 0 < epochs < inf, "be above 0 and finite")
    check("learning_rate", learning_rate, 0 <= learning_rate < inf, "be at least 0 and finite")
    check("beta", beta, beta is None or 0 < beta < inf, "be above 0 and finite")
    note = seeds_said(seeds, rows=data != "world")
    if note and not quiet:
        Terminal(stderr=True).print(f"note: {note}", highlight=False, soft_wrap=True)
    folder = Path(out)
    plan: Any
    if data == "world":
        plan = WorldPlan(seeds, beta)
    else:
        plan = TextPlan.prepare(
            data,
            folder,
            flaws=flaws,
            rates=rates,
            arms=arms,
            model=model,
            rows=rows,
            held_out=held_out,
            epochs=epochs,
            learning_rate=learning_rate,
            beta=beta,
            seeds=seeds,
            reading=how_read,
        )
    work = [
        piece for f in flaws for rate in rates for arm in arms for piece in plan.work(f, rate, arm)
    ]
    done = run_all(work, engine=engine, workers=workers, address=address, quiet=quiet)
    scores = plan.scores(work, [d.result for d in done])
    facts = {
        **plan.facts(),
        "engine": engine,
        "core seconds": round(sum(d.seconds for d in done), 1),
    }
    found = Stress(plan.measure, tuple(scores), facts | ({"note": note} if note else {}))
    write(found, folder)
    write_text(folder / "stress.json", json_text(found.to_dict(), indent=1) + "\n")
    return found


def flaw_named(name: str) -> str:
    short = ALIASES.get(name, name)
    if short not in FLAWS:
        raise OptionError(f"there is no flaw {name!r}", hint=f"one of {', '.join(FLAWS)}")
    return short


def arm_named(text: str) -> Arm:
    """ "rdpo:flip=0.2" -> the method and its own settings. "reduction=" comes last: what follows it
    is read as `--reduction` is.

    Raises:
        OptionError: no such method, setting or reduction, or a value that is no number.
    """
    name, _, rest = text.strip().partition(":")
    own, settings = settings_of(get(name).objective), {}
    plain, _, average = rest.partition("reduction=")
    if average:
        read_reduction(average, get(name), groups=1)  # refused here if it cannot be read
    for part in filter(None, plain.split(",")):
        setting, _, value = part.partition("=")
        try:
            settings[setting] = float(value)
        except ValueError:
            raise OptionError(
                f"cannot read {part!r} in {text!r}", hint=f"write it as {name}:setting=number"
            ) from None
        if setting not in own:
            raise OptionError(
                f"{name} does not read {setting}",
                hint=f"its settings are {', '.join(own)}, reduction",
            )
    return Arm(text.strip(), name, settings, average or None)
