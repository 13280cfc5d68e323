"""Plant a flaw at rising rates, train each method small, and see who survives.

    stress("prefs.jsonl", flaw=("uniform", "length"), rates=(0, 0.2, 0.4), methods=("dpo", "rdpo"),
    out="stress") stress("world", flaw=("uniform",), rates=(0, 0.1, 0.2, 0.3, 0.4), methods=("dpo",
    "rdpo", "ipo"), out="stress")

On rows of one's own the flaw is planted in the training rows alone; held-out rows keep their
labels, and what is measured is how often the trained policy's implicit reward ranks them as
labeled. On "world" policies are log-linear tables and what is measured is the exact gap to the
optimum. Methods that read `flip_rate` are told the planted rate unless they are given another:
"rdpo:flip_rate=0.2".
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from pathlib import Path
from typing import Any

from holdfast.card import check
from holdfast.data.reading import Reading
from holdfast.errors import OptionError
from holdfast.files import write_text
from holdfast.lab.stress.arms import arm_named, flaw_named
from holdfast.lab.stress.page import write
from holdfast.lab.stress.result import Stress
from holdfast.lab.stress.text import TextPlan
from holdfast.lab.stress.world import WorldPlan
from holdfast.parallel import Engine, run_all
from holdfast.stats.arrays import whole
from holdfast.terminal import Terminal
from holdfast.visible import json_text


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
        flaw: uniform, length, group, rater or cycles; several are planted one at a time.
        rates: the rates, in rising order; the lowest is what falls are measured from.
        methods: names of the table, each with settings of its own if wanted, an average last:
            "rdpo:flip_rate=0.2", "dpo:reduction=groups".
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
