"""An evaluation as a page: what came out in sentences, then charts, tables and answers to read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import altair as alt

from holdfast.evaluation.parts import Part
from holdfast.evaluation.show import (
    LEARNED,
    MARGINS,
    RANKING,
    at_beta,
    difficulty_rows,
    drawn_how,
    number,
    opponent_of,
    percent,
)
from holdfast.report import Chart, Details, Page, Section, Table, Tile
from holdfast.report.marks import colors, intervals
from holdfast.types import Text

if TYPE_CHECKING:
    from holdfast.evaluation.evaluation import Evaluation

SHOWN = 20  # prompts whose answers can be read on the page; all are in the JSON


def page_of(evaluation: Evaluation) -> Page:
    """The whole page."""
    sections = [_ranking(evaluation.all)]
    if evaluation.all.difficulty:
        sections.append(_difficulty(evaluation))
    if evaluation.all.prompts_answered:
        sections.append(_written(evaluation))
    if evaluation.groups:
        sections.append(_groups(evaluation))
    if evaluation.texts:
        sections.append(_answers(evaluation))
    sections.append(_making(evaluation))
    return Page(
        f"Evaluation of {evaluation.model['name']}", lead(evaluation), sections, _tiles(evaluation)
    )


def lead(evaluation: Evaluation) -> str:
    """What came out, in sentences that follow the intervals."""
    part, said = evaluation.all, []
    if part.comparisons:
        said.append(
            f"The policy ranks {percent(part.ranking['policy'])} of {part.comparisons:,} "
            "held-out pairs as their labels do."
        )
    gained = part.ranking.get("policy_minus_reference")
    if gained and gained["value"] is not None:
        than = "That is {} its reference."
        said.append(
            _against_nothing(
                gained,
                than.format("more than"),
                than.format("less than"),
                than.format("not told apart from"),
            )
        )
        said.append(f"Its implicit reward ranks {percent(part.ranking['implicit_reward'])}.")
    ideal, gap = at_beta(part)
    if ideal and gap and ideal["value"] is not None:
        said.append(
            f"An exact optimum would rank {percent(ideal)} rightly: the alignment gap is "
            f"{percent(gap)}."
        )
    win = part.win_rate.get("win_rate")
    if win and win["value"] is not None:
        shifted = {
            key: None if win[key] is None else win[key] - 0.5 for key in ("value", "low", "high")
        }
        ruling = _against_nothing(
            shifted,
            "it writes better answers",
            "it writes worse answers",
            "which of the two writes better is undecided",
        )
        said.append(
            f"Under {part.win_rate['under']} its answers win {percent(win)} against the "
            f"{opponent_of(evaluation.settings)}: {ruling}."
        )
    return " ".join(said) or "There is nothing to rank and no prompt to answer."


def _against_nothing(estimate: Mapping[str, Any], more: str, less: str, same: str) -> str:
    if estimate["low"] is None or estimate["low"] <= 0 <= estimate["high"]:
        return same
    return more if estimate["low"] > 0 else less


def _tiles(evaluation: Evaluation) -> list[Tile]:
    part = evaluation.all
    tiles = [_tile("Ranking accuracy, policy", part.ranking["policy"], 100, "%")]
    if "reference" in part.ranking:
        tiles.append(_tile("Ranking accuracy, reference", part.ranking["reference"], 100, "%"))
    if "win_rate" in part.win_rate:
        tiles.append(
            _tile(
                f"Win rate against the {opponent_of(evaluation.settings)}",
                part.win_rate["win_rate"],
                100,
                "%",
            )
        )
    if part.kl:
        tiles.append(_tile("KL to reference, nats", part.kl["rao-blackwellized"], 1, ""))
    if "policy" in part.lengths:
        tiles.append(_tile("Answer length, tokens", part.lengths["policy"]["mean"], 1, ""))
    return tiles


def _tile(label: str, estimate: Mapping[str, Any], scale: float, unit: str) -> Tile:
    if estimate["value"] is None:
        return Tile(label, "n/a")
    digits = 1 if unit else 2
    note = (
        "no interval"
        if estimate["low"] is None
        else f"{scale * estimate['low']:.{digits}f} to {scale * estimate['high']:.{digits}f}"
    )
    return Tile(label, f"{scale * estimate['value']:.{digits}f}{unit}", note)


def _point(name: str, estimate: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": name, **{key: estimate[key] for key in ("value", "low", "high")}}


def _ranking(part: Part) -> Section:
    shares = {
        label: part.ranking[name]
        for name, label in RANKING.items()
        if name in part.ranking and name != "policy_minus_reference"
    }
    nats = {label: part.margins[name] for name, label in MARGINS.items() if name in part.margins}
    charts = []
    if part.comparisons:
        rows = [_point(label, estimate) for label, estimate in shares.items()]
        charts.append(
            Chart(
                intervals(
                    rows, names=list(shares), title="ranking accuracy", percent=True, mark_at=0.5
                ),
                "ranking-accuracy",
                "Share of pairs whose chosen answer comes first, with 95% intervals; ties "
                "count one half. The line is chance.",
            )
        )
        rows = [_point(label, estimate) for label, estimate in nats.items()]
        caption = (
            "Mean differences of log-probabilities of whole answers, with 95% intervals over "
            "prompts."
        )
        charts.append(
            Chart(
                intervals(rows, names=list(nats), title="nats an answer", mark_at=0.0),
                "margins",
                caption,
            )
        )
    shown = Table(
        ["ranking accuracy", "share"],
        [[label, percent(part.ranking.get(name))] for name, label in RANKING.items()],
    )
    moved = Table(
        ["log-probability", "nats an answer"],
        [[label, number(part.margins.get(name))] for name, label in MARGINS.items()],
    )
    text = (
        "The policy ranks by log pi(y|x), the reference by its own, and the implicit "
        "reward by the ratio of the two. They can disagree: a "
        "policy may have moved towards every chosen answer and still prefer the rejected one."
    )
    return Section("How it ranks the rows' own answers", text, chart=charts, table=[shown, moved])


def _difficulty(evaluation: Evaluation) -> Section:
    part, own = evaluation.all, evaluation.settings.get("objective")
    found = part.difficulty
    text = (
        "How well could any policy rank these pairs that pays beta for each nat away from "
        "this reference? The exact optimum ranks a pair "
        "rightly if the log-odds of its label exceed beta c, where c is by how many nats "
        "the reference prefers the rejected answer. A low "
        "ranking accuracy is a failure only as far as the gap to that says.\n\n"
        "DPO's cost of a pair tells its ranking exactly: it is ranked rightly if and only "
        "if the cost is at most -log sigma(beta c). Mean "
        "costs say nothing of that."
    )
    if own is not None and own["no_target"]:
        text += (
            f"\n\nWhat {own['method']} itself asks of a single pair is not defined: "
            f"{own['no_target']}."
        )
    rows = [
        [label, percent(estimate) if share else number(estimate, 3)]
        for label, estimate, share in difficulty_rows(part, own)
    ]
    quarters = {
        f"{name} quarter": found[f"learned_quarter_{q}"]
        for q, name in enumerate(("easiest", "second", "third", "hardest"), 1)
    }
    charts = [
        Chart(
            ideal_curve(part),
            "idealized-ranking",
            "Idealized ranking accuracy by beta with its 95% interval; policy and "
            "reference as they are. A diamond marks the run's beta.",
            "idealized ranking accuracy over beta, policy and reference as level lines",
        )
    ]
    if any(estimate["value"] is not None for estimate in quarters.values()):
        caption = (
            f"{LEARNED['learned'].capitalize()}, by quarters of how wrong the reference "
            "is, the least wrong first; 95% intervals over "
            "prompts."
        )
        rows_q = [_point(name, estimate) for name, estimate in quarters.items()]
        charts.append(
            Chart(
                intervals(
                    rows_q, names=list(quarters), title="ranked rightly by the policy", percent=True
                ),
                "learned-by-quarter",
                caption,
            )
        )
    return Section("How hard the pairs are", text, chart=charts, table=Table(["", "value"], rows))


def ideal_curve(part: Part) -> alt.LayerChart:
    """Idealized accuracy over beta, with the policy's and the reference's own as level lines."""
    found = part.difficulty
    rows = [
        {
            "beta": float(name),
            "own": float(name) == found["beta"],
            **{key: estimate[key] for key in ("value", "low", "high")},
        }
        for name, estimate in found["idealized"].items()
        if estimate["value"] is not None
    ]
    level = [{"name": who, "value": part.ranking[who]["value"]} for who in ("policy", "reference")]
    names = ["idealized", "policy", "reference"]
    percents = alt.Axis(format="%", tickCount=6)
    x = alt.X(
        "beta:Q",
        title="beta",
        scale=alt.Scale(type="log"),
        axis=alt.Axis(values=[row["beta"] for row in rows], format="~g"),
    )
    y = alt.Y("value:Q", title="ranking accuracy", axis=percents, scale=alt.Scale(zero=False))
    base = alt.Chart(alt.Data(values=rows)).transform_calculate(name="'idealized'")
    bars = base.mark_rule(strokeWidth=2, opacity=0.55).encode(
        x=x, y=alt.Y("low:Q", title="ranking accuracy"), y2="high:Q", color=colors(names)
    )
    line = base.mark_line().encode(x=x, y=y, color=colors(names))
    dots = base.mark_point(size=90, filled=True, opacity=1).encode(
        x=x,
        y=y,
        color=colors(names),
        shape=alt.Shape(
            "own:N", scale=alt.Scale(domain=[False, True], range=["circle", "diamond"]), legend=None
        ),
        tooltip=[
            "beta:Q",
            *(alt.Tooltip(f"{key}:Q", format=".1%") for key in ("value", "low", "high")),
        ],
    )
    levels = (
        alt.Chart(alt.Data(values=level))
        .mark_rule(strokeDash=[6, 4], strokeWidth=2)
        .encode(y=y, color=colors(names), tooltip=["name:N"])
    )
    return alt.layer(levels, bars, line, dots).properties(height=260)


def _written(evaluation: Evaluation) -> Section:
    part, settings = evaluation.all, evaluation.settings
    rows: list[list[Any]] = [
        [f"KL(policy || reference), {name}", number(estimate)] for name, estimate in part.kl.items()
    ]
    for who, block in part.lengths.items():
        rows.append([f"length of the {who}'s answers, tokens", number(block["mean"], 1)])
        rows.append(
            [
                f"10%, 50%, 90% of those lengths, {who}",
                ", ".join(f"{value:g}" for value in block["quantiles"].values()),
            ]
        )
        rows.append(
            [f"cut off at {settings['max_new_tokens']} tokens, {who}", percent(block["cut_off"])]
        )
    match = part.win_rate
    for key, label in {
        "win_rate": "win rate",
        "order_changed": "verdicts that change with the order",
    }.items():
        if key in match:
            rows.append([label, percent(match[key])])
    for key, label in {
        "reward": "reward, policy",
        "opponent_reward": "reward, opponent",
        "reward_difference": "reward, difference",
    }.items():
        if key in match:
            rows.append([label, number(match[key])])
    text = (
        f"{part.prompts_answered:,} prompts, {settings['samples']} answers each, "
        f"{drawn_how(settings)}. The divergence "
        "is in nats an answer, from the policy's own samples at temperature 1, by three "
        "estimators of the same number; the first varies "
        "least."
    )
    return Section("What it writes", text, table=Table(["", "value"], rows))


def _groups(evaluation: Evaluation) -> Section:
    key, title = (
        ("win_rate", "win rate")
        if "win_rate" in evaluation.all.win_rate
        else ("policy", "ranking accuracy, policy")
    )
    pick = {
        name: part.win_rate["win_rate"] if key == "win_rate" else part.ranking["policy"]
        for name, part in evaluation.groups.items()
    }
    chart = intervals(
        [_point(name, estimate) for name, estimate in pick.items()],
        names=list(pick),
        title=title,
        percent=True,
        mark_at=0.5,
    )
    columns = [
        "",
        "comparisons",
        "policy",
        "implicit reward",
        "idealized",
        "alignment gap",
        "win rate",
    ]
    rows = [
        [
            name,
            part.comparisons,
            *(percent(part.ranking.get(k)) for k in ("policy", "implicit_reward")),
            *map(percent, at_beta(part)),
            percent(part.win_rate.get("win_rate")),
        ]
        for name, part in evaluation.groups.items()
    ]
    lowest = "; ".join(
        f"{name.replace('_', ' ')}: {group}" for name, group in evaluation.worst_group.items()
    )
    text = f"Lowest of the groups: {lowest}." if lowest else ""
    return Section(
        f"By {evaluation.settings['by']}",
        text,
        chart=Chart(chart, "groups", f"{title.capitalize()} of each group."),
        table=Table(columns, rows),
    )


def _answers(evaluation: Evaluation) -> Section:
    details = []
    for entry in evaluation.texts[:SHOWN]:
        fields = []
        for who in ("policy", "opponent"):
            rewards = entry.get(f"{who}_reward", [None] * len(entry.get(who, ())))
            fields += [
                (who if r is None else f"{who}, reward {r:.3g}", text)
                for text, r in zip(entry.get(who, ()), rewards, strict=True)
            ]
        details.append(
            Details(_line(entry["prompt"]), fields=[("prompt", _whole(entry["prompt"])), *fields])
        )
    return Section(
        "Answers to read",
        f"The first {len(details)} of {len(evaluation.texts):,} prompts, not chosen.",
        details=details,
    )


def _making(evaluation: Evaluation) -> Section:
    text = "\n\n".join(f"Note: {note}" for note in evaluation.notes)
    models = {
        "policy": evaluation.model,
        "reference": evaluation.reference,
        "opponent": evaluation.against,
    }
    rows = [
        [who, model["name"], model["hash"][:12], model["parameters"]]
        for who, model in models.items()
        if model
    ]
    settings = Table(
        ["setting", "value"],
        [[name, str(value)] for name, value in {**evaluation.data, **evaluation.settings}.items()],
    )
    return Section(
        "How it was measured",
        text,
        table=Table(["", "model", "hash", "parameters"], rows),
        details=[Details("All settings", table=settings)],
    )


def _line(prompt: Text) -> str:
    text = " ".join(_whole(prompt).split())
    return text if len(text) <= 110 else f"{text[:107]}..."


def _whole(prompt: Text) -> str:
    return (
        prompt
        if isinstance(prompt, str)
        else "\n".join(f"{message['role']}: {message['content']}" for message in prompt)
    )
