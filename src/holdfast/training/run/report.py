"""The page of a run: what it learned, how it ranks, how far it moved, in curves over its steps, and
how it was made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from holdfast.card import Method
from holdfast.pages import summary
from holdfast.report import Chart, Page, Section, Table, Tile
from holdfast.report.marks import lines
from holdfast.training.progress import SHOWN
from holdfast.training.run.folder import Run
from holdfast.training.run.model_card import changed

POINTS = 300  # of a curve; a longer one is drawn as the means of as many stretches
TRAINING, HELD_OUT = "training", "held out"
Lines = Sequence[Mapping[str, Any]]


def run_page(method: Method, run: Run) -> Page:
    """The whole page, from the run's own record and metrics."""
    record = run.record
    return Page(
        f"{method.name}: {run.out.name}",
        lead(record),
        [*curves(run.metrics), _making(method, record)],
        _tiles(record),
    )


def curves(metrics: Lines) -> list[Section]:
    """What was measured at each step, as far as it was."""
    parts = [
        _curves(
            "What it learned",
            metrics,
            {"loss": ""},
            "loss",
            "The loss of each batch, as the reduction averages its costs.",
        ),
        _curves(
            "How it ranks",
            metrics,
            {
                "rewards/accuracies": "implicit reward",
                "ranking/accuracy": "the policy itself",
            },
            "share of pairs ranked as labeled",
            "The implicit reward compares how much likelier each answer has become; the "
            "policy itself, how likely it is.",
            percent=True,
        ),
        _curves(
            "Margins",
            metrics,
            {"log_ratios/margin": "margin"},
            "nats",
            "By how much more the chosen answer gained than the rejected one.",
        ),
        _curves(
            "Where the mass went",
            metrics,
            {
                f"log_ratios/{name}": name
                for name in ("chosen", "rejected", "desirable", "undesirable")
            },
            "log-probability gained, nats an answer",
            "If both fall, the mass went to answers that nobody judged.",
        ),
        _curves(
            "How far it moved from its reference",
            metrics,
            {
                "kl": "its own answers",
                "kl/k3_on_data": "tokens of the data (k3)",
            },
            "nats",
            "On its own answers this estimates the KL; on tokens of the data it only "
            "stands in for it.",
        ),
        _curves(
            "How the reduction weighs rows",
            metrics,
            {"adversary/effective_sample_size": "effective sample size"},
            "rows",
            "Effective sample size of a batch: 1 over the sum of squared row weights.",
        ),
        _curves(
            "How steadily",
            metrics,
            {"grad_norm": "gradient norm"},
            "gradient norm",
            "The norm before clipping.",
        ),
    ]
    return [part for part in parts if part is not None]


def lead(record: Mapping[str, Any]) -> str:
    """What came out, in sentences. Without held-out rows it says so: numbers of the training rows
    are no evidence.
    """
    results, said = record["results"], []
    last, before, after = (
        results.get(name) or {} for name in ("last_step", "eval_before", "eval_after")
    )
    said.append(f"{record['method']} took {last.get('step', 0):,} steps.")
    if after:
        worse = (
            ", which is worse than before training"
            if after["eval/loss"] > before["eval/loss"]
            else ""
        )
        said.append(
            f"On held-out rows its loss went from {before['eval/loss']:.3f} to "
            f"{after['eval/loss']:.3f}{worse}."
        )
        reward, ranks = (
            after.get(f"eval/{name}") for name in ("rewards/accuracies", "ranking/accuracy")
        )
        if reward is not None:
            said.append(
                f"Its implicit reward ranks {100 * reward:.1f}% of them as labeled; chance, 50%."
            )
        if ranks is not None:
            start = before.get("eval/ranking/accuracy")
            came = "" if start is None else f", from {100 * start:.1f}%"
            said.append(f"The policy's own likelihood ranks {100 * ranks:.1f}%{came}.")
    else:
        said.append(
            "No rows were held out, so nothing is known of rows that it has not seen: "
            "--eval-fraction 0.1 would tell."
        )
    moved = _last(after, last, "log_ratios/chosen")
    if moved is not None and moved < 0:
        said.append(
            f"Chosen answers became less likely, by {-moved:.1f} nats each: what gained "
            "is something that nobody judged."
        )
    return " ".join(said)


def _last(after: Mapping[str, Any], last: Mapping[str, Any], name: str) -> float | None:
    value = after.get(f"eval/{name}", last.get(name))
    return None if value is None else float(value)


def _tiles(record: Mapping[str, Any]) -> list[Tile]:
    """What a reader looks for first, as the live view names it: held out where there are held-out
    rows.
    """
    after, last = (record["results"].get(name) or {} for name in ("eval_after", "last_step"))
    wanted = (
        "loss",
        "rewards/accuracies",
        "ranking/accuracy",
        "log_ratios/margin",
        "kl/k3_on_data",
    )
    tiles = []
    for key, label, style in SHOWN:
        value = _last(after, last, key)
        if key in wanted and value is not None:
            tiles.append(
                Tile(
                    label[:1].upper() + label[1:],
                    style.format(value),
                    HELD_OUT if f"eval/{key}" in after else "last training batch",
                )
            )
    return tiles


def _curves(
    title: str,
    metrics: Lines,
    keys: Mapping[str, str],
    y: str,
    caption: str,
    *,
    percent: bool = False,
) -> Section | None:
    """A line for each of these metrics that the run has, of the training batches and of the
    held-out rows.
    """
    rows, names = [], []
    for key, said in keys.items():
        for prefix, part in (("", TRAINING), ("eval/", HELD_OUT)):
            points = [
                (line["step"], line[prefix + key])
                for line in metrics
                if line.get(prefix + key) is not None
            ]
            if points:
                name = f"{said}, {part}" if said else part
                names.append(name)
                rows += [{"name": name, "x": step, "y": value} for step, value in thinned(points)]
    if not rows:
        return None
    few = len(rows) < 40 * len(names)
    chart = lines(rows, names=names, x="step", y=y, percent=percent, points=few)
    last = {row["name"]: row["y"] for row in rows}
    said = "; ".join(f"{name} ends at {value:.4g}" for name, value in last.items())
    return Section(title, chart=Chart(chart, title.lower().replace(" ", "-"), caption, said))


def thinned(points: Sequence[tuple[float, float]], most: int = POINTS) -> list[tuple[float, float]]:
    """At most `most` points, each the mean of a stretch, at its last step."""
    size = max(1, -(-len(points) // most))
    parts = [points[i : i + size] for i in range(0, len(points), size)]
    return [(part[-1][0], sum(value for _, value in part) / len(part)) for part in parts]


def settings_table(record: Mapping[str, Any]) -> Table:
    """How costs were made one number, and the options that were changed."""
    average = {"average": record["average"]} if record.get("average") else {}
    options = {name: record["options"][name] for name, _ in changed(record)}
    values = {**record["settings"], "reduction": record["reduction"], **average, **options}
    return Table(["setting", "value"], [[name, str(value)] for name, value in values.items()])


def _making(method: Method, record: Mapping[str, Any]) -> Section:
    aside = (
        [("Worth knowing", "\n\n".join(map(str, record["notes"])))] if record.get("notes") else []
    )
    files = ", ".join(Path(name).name for name in record["data"].get("files", ()))
    text = (
        f"{summary(method.objective)}: cost = "
        f"{method.card.equation}.\n\n{record['data'].get('rows', 0):,} rows of "
        f"{files or 'memory'}."
    )
    return Section("How it was made", text, aside=aside, table=settings_table(record))
