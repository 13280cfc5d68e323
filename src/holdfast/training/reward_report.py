"""What a trained reward model comes with: report.html on its held-out rows, and the README beside
its weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import altair as alt

from holdfast.evaluation.show import number, percent
from holdfast.pages import summary
from holdfast.report import Chart, Page, Section, Table, Tile
from holdfast.report.charts import PALETTE
from holdfast.report.marks import intervals, lines
from holdfast.rewards.kind import RewardMethod
from holdfast.training.run.folder import Run
from holdfast.training.run.model_card import (
    changed,
    data_lines,
    front_matter,
    is_hub_name,
    option,
    table,
    title,
)
from holdfast.training.run.report import settings_table

Found = Mapping[str, Any]


# ------------------------------------------------------------ the page


def reward_page(method: RewardMethod, found: Found, run: Run) -> Page:
    """How a model of this kind did on held-out rows. `found` is the record's `held_out`."""
    sections = [_reliability(found), _course(run), _length(found)]
    if found["groups"]:
        sections.append(_groups(found))
    record = run.record
    sections.append(
        Section(
            "How it was made",
            f"{summary(method.objective)}: cost = {method.card.equation}.",
            table=settings_table(record),
        )
    )
    tiles = [
        Tile(
            "Held-out accuracy",
            percent(found["accuracy"]).split(" ")[0],
            _between(found["accuracy"], 100),
        ),
        Tile("Log loss, nats a pair", f"{found['log_loss']['value']:.3f}", "chance: 0.693"),
        Tile(
            "Calibration error",
            f"{found['ece']:.3f}",
            f"a perfect model on these rows: {found['ece_perfect']:.3f}",
        ),
    ]
    return Page(f"{method.name}: {run.out.name}", lead(found), sections, tiles)


def lead(found: Found) -> str:
    """What came out, in sentences that follow the intervals."""
    accuracy, said = found["accuracy"], []
    said.append(
        f"On {found['n']:,} held-out pairs the model prefers the chosen answer in "
        f"{percent(accuracy)}."
    )
    if accuracy["low"] is not None:
        told = (
            "more often than chance"
            if accuracy["low"] > 0.5
            else "less often than chance"
            if accuracy["high"] < 0.5
            else ""
        )
        said.append(f"That is {told}." if told else "That cannot be distinguished from chance.")
    if found["ece_p"] > 0.05:
        said.append("Its confidence is not told apart from a perfectly calibrated model's.")
    elif found["scale"] is not None:
        what = "overconfident" if found["scale"] < 1 else "underconfident"
        said.append(
            f"It is {what}: its log-odds would have the least log loss if they were multiplied by "
            f"{found['scale']:.2f}."
        )
    else:
        said.append("Its confidence is not that of a calibrated model.")
    return " ".join(said)


def _between(estimate: Found, scale: float) -> str:
    return (
        "no interval"
        if estimate["low"] is None
        else f"{scale * estimate['low']:.1f} to {scale * estimate['high']:.1f}"
    )


def _reliability(found: Found) -> Section:
    rows = [
        {
            "confidence": b["confidence"],
            "right": b["right"]["value"],
            "low": b["right"]["low"],
            "high": b["right"]["high"],
            "n": b["n"],
        }
        for b in found["bins"]
    ]
    x = alt.X(
        "confidence:Q",
        title="confidence of the prediction",
        scale=alt.Scale(domain=[0.5, 1]),
        axis=alt.Axis(format="%"),
    )
    y = alt.Y(
        "right:Q", title="share right", scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(format="%")
    )
    tip = [
        alt.Tooltip("n:Q", title="pairs"),
        *(alt.Tooltip(f"{k}:Q", format=".1%") for k in ("confidence", "right", "low", "high")),
    ]
    base = alt.Chart(alt.Data(values=rows)).encode(x=x, tooltip=tip)
    ends = alt.Data(values=[{"confidence": 0.5, "right": 0.5}, {"confidence": 1.0, "right": 1.0}])
    line = alt.Chart(ends).mark_line(strokeDash=[5, 4], color="#888888").encode(x=x, y=y)
    bars = base.mark_rule(strokeWidth=3, opacity=0.55, color=PALETTE[0]).encode(
        y=alt.Y("low:Q", title="share right"), y2="high:Q"
    )
    dots = base.mark_point(size=110, filled=True, opacity=1, color=PALETTE[0]).encode(y=y)
    chart = Chart(
        alt.layer(line, bars, dots).properties(height=300),
        "reliability",
        "Pairs by how sure the model was, with 95% intervals over prompts. On the dashed "
        "line it is right as often as it thinks.",
        "Share of right predictions against confidence, in bins of confidence.",
    )
    text = (
        f"Expected calibration error {found['ece']:.3f}; a perfectly calibrated model "
        f"would show {found['ece_perfect']:.3f} on rows like "
        f"these, and as much as this one in {100 * found['ece_p']:.1f}% of draws."
    )
    head = ["confidence", "pairs", "mean confidence", "share right"]
    rows_ = [
        [
            f"{b['low']:.2f} to {b['high']:.2f}",
            b["n"],
            f"{b['confidence']:.3f}",
            percent(b["right"]),
        ]
        for b in found["bins"]
    ]
    facts = [
        [name, number(found[key], 3)]
        for name, key in {"log loss, nats a pair": "log_loss", "Brier score": "brier"}.items()
    ]
    return Section(
        "Is it as right as it is sure?",
        text,
        chart=chart,
        table=[Table(head, rows_), Table(["held out", "value"], facts)],
    )


def _course(run: Run) -> Section:
    rows: list[dict[str, Any]] = []
    for line in run.metrics:
        for prefix, name in (("", "training"), ("eval/", "held out")):
            if f"{prefix}loss" in line:
                rows.append({"name": name, "x": line["step"], "y": line[f"{prefix}loss"]})
    chart = lines(
        rows, names=["training", "held out"], x="step", y="loss, nats a pair", points=len(rows) < 60
    )
    return Section(
        "How it learned",
        chart=Chart(chart, "course", "Mean cost of each batch, and of the held-out rows."),
    )


def _length(found: Found) -> Section:
    both = found["prefers_longer"]
    rows = [
        {"name": name, **{k: both[name][k] for k in ("value", "low", "high")}}
        for name in ("labels", "model")
    ]
    chart = intervals(
        rows,
        names=["labels", "model"],
        title="prefers the longer answer",
        percent=True,
        mark_at=0.5,
    )
    text = (
        f"The labels prefer the longer answer in {percent(both['labels'])}, the model in "
        f"{percent(both['model'])}."
    )
    return Section(
        "Does it pay for length?",
        text,
        chart=Chart(chart, "length", "Share of pairs of unequal length, with 95% intervals."),
    )


def _groups(found: Found) -> Section:
    rows = [
        {"name": name, **{k: part[k] for k in ("value", "low", "high")}}
        for name, part in found["groups"].items()
    ]
    chart = intervals(
        rows, names=list(found["groups"]), title="accuracy", percent=True, mark_at=0.5
    )
    body = [[name, part["n"], percent(part)] for name, part in found["groups"].items()]
    return Section(
        "By group",
        chart=Chart(chart, "groups", "Held-out accuracy of each group."),
        table=Table(["group", "pairs", "accuracy"], body),
    )


# ------------------------------------------------------------ the README


def reward_card(record: Mapping[str, Any], method: Any) -> str:
    """README.md of the model folder: what it is, how to ask it, what it is worth."""
    card, call = method.card, record["call"]
    model = call.get("model")
    named = model if is_hub_name(model) else "this folder"
    lines_ = [*front_matter(record, method, purpose="text-classification", tag="reward-model"), ""]
    lines_ += [
        f"# {title(model, method.name)}",
        "",
        f"A reward model of the kind `{method.name}`, trained with Holdfast from {named}.",
        "",
    ]
    lines_ += [
        f"    cost = {card.equation}",
        "",
        f"{card.paper.authors} ({card.paper.year}). {card.paper.title}.",
        "",
        "## Asking it",
        "",
    ]
    asking = [
        "    from holdfast.rewards.model import RewardModel",
        '    model = RewardModel.load("FOLDER")',
        '    model.prefer(["prompt"], ["first answer"], ["second answer"])       # P(the '
        "first is better)",
    ]
    if method.scalar:
        asking.append(
            '    model.reward(["prompt"], ["answer"])                                # '
            "log-odds, up to a constant of the prompt"
        )
    lines_ += [*asking, "", _without(method), "", "## Settings", ""]
    lines_ += table(
        ("setting", "value"), [(f"`{name}`", value) for name, value in record["settings"].items()]
    )
    lines_ += [
        "",
        *table(
            ("option", "value", "meaning"),
            [(f"`{n}`", option(record["options"][n]), text) for n, text in changed(record)],
        ),
    ]
    lines_ += ["", "## Data", "", *data_lines(record), "", "## Held-out rows", ""]
    found = record["results"].get("held_out")
    lines_ += (
        [lead(found)]
        if found
        else ["No rows were held out, so nothing is known of how it does on rows it has not seen."]
    )
    return "\n".join(lines_).rstrip() + "\n"


def _without(method: RewardMethod) -> str:
    text = "Without Holdfast: `AutoModelForSequenceClassification.from_pretrained(FOLDER)` "
    if method.scalar:
        return text + "puts out one reward for a rendered prompt with its answer."
    return (
        text + "puts out the answer's vector, and at the prompt alone the gate; "
        "`config.holdfast_reward` says how wide they are."
    )
