"""An evaluation as a page: what came out in sentences, then charts, tables and answers to read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from holdfast.evaluation.evaluation import Evaluation
from holdfast.evaluation.parts import Part
from holdfast.evaluation.show import MARGINS, RANKING, number, percent
from holdfast.report import Chart, Details, Page, Section, Table, Tile
from holdfast.report.marks import intervals
from holdfast.types import Text

SHOWN = 20  # prompts whose answers can be read on the page; all are in the JSON


def page_of(evaluation: Evaluation) -> Page:
    """The whole page."""
    sections = [_ranking(evaluation.all)]
    if evaluation.all.prompts_answered:
        sections.append(_written(evaluation))
    if evaluation.groups:
        sections.append(_groups(evaluation))
    if evaluation.texts:
        sections.append(_answers(evaluation))
    sections.append(_making(evaluation))
    return Page(f"Evaluation of {evaluation.model['name']}", lead(evaluation), sections, _tiles(evaluation))


def lead(evaluation: Evaluation) -> str:
    """What came out, in sentences that follow the intervals."""
    part, said = evaluation.all, []
    if part.comparisons:
        said.append(f"The policy ranks {percent(part.ranking['policy'])} of {part.comparisons:,} held-out pairs as their labels do.")
    gained = part.ranking.get("policy_minus_reference")
    if gained and gained["value"] is not None:
        than = "That is {} its reference."
        said.append(_against_nothing(gained, than.format("more than"), than.format("less than"), than.format("not told apart from")))
        said.append(f"Its implicit reward ranks {percent(part.ranking['implicit_reward'])}.")
    win = part.win_rate.get("win_rate")
    if win and win["value"] is not None:
        shifted = {key: None if win[key] is None else win[key] - 0.5 for key in ("value", "low", "high")}
        ruling = _against_nothing(
            shifted, "it writes better answers", "it writes worse answers", "which of the two writes better is undecided"
        )
        said.append(f"Under {part.win_rate['under']} its answers win {percent(win)} against the {_opponent(evaluation)}: {ruling}.")
    return " ".join(said) or "There is nothing to rank and no prompt to answer."


def _against_nothing(estimate: Mapping[str, Any], more: str, less: str, same: str) -> str:
    if estimate["low"] is None or estimate["low"] <= 0 <= estimate["high"]:
        return same
    return more if estimate["low"] > 0 else less


def _opponent(evaluation: Evaluation) -> str:
    return "opponent" if evaluation.settings["opponent"] == "against" else "reference"


def _tiles(evaluation: Evaluation) -> list[Tile]:
    part = evaluation.all
    tiles = [_tile("Ranking accuracy, policy", part.ranking["policy"], 100, "%")]
    if "reference" in part.ranking:
        tiles.append(_tile("Ranking accuracy, reference", part.ranking["reference"], 100, "%"))
    if "win_rate" in part.win_rate:
        tiles.append(_tile(f"Win rate against the {_opponent(evaluation)}", part.win_rate["win_rate"], 100, "%"))
    if part.kl:
        tiles.append(_tile("KL to reference, nats", part.kl["rao-blackwellized"], 1, ""))
    if "policy" in part.lengths:
        tiles.append(_tile("Answer length, tokens", part.lengths["policy"]["mean"], 1, ""))
    return tiles


def _tile(label: str, estimate: Mapping[str, Any], scale: float, unit: str) -> Tile:
    if estimate["value"] is None:
        return Tile(label, "n/a")
    digits = 1 if unit else 2
    note = "no interval" if estimate["low"] is None else f"{scale * estimate['low']:.{digits}f} to {scale * estimate['high']:.{digits}f}"
    return Tile(label, f"{scale * estimate['value']:.{digits}f}{unit}", note)


def _point(name: str, estimate: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": name, **{key: estimate[key] for key in ("value", "low", "high")}}


def _ranking(part: Part) -> Section:
    shares = {label: part.ranking[name] for name, label in RANKING.items() if name in part.ranking and name != "policy_minus_reference"}
    nats = {label: part.margins[name] for name, label in MARGINS.items() if name in part.margins}
    charts = []
    if part.comparisons:
        rows = [_point(label, estimate) for label, estimate in shares.items()]
        charts.append(
            Chart(
                intervals(rows, names=list(shares), title="ranking accuracy", percent=True, mark_at=0.5),
                "ranking-accuracy",
                "Share of pairs whose chosen answer comes first, with 95% intervals; ties count one half. The line is a coin's.",
            )
        )
        rows = [_point(label, estimate) for label, estimate in nats.items()]
        caption = "Mean differences of log-probabilities of whole answers, with 95% intervals over prompts."
        charts.append(Chart(intervals(rows, names=list(nats), title="nats an answer", mark_at=0.0), "margins", caption))
    shown = Table(["ranking accuracy", "share"], [[label, percent(part.ranking.get(name))] for name, label in RANKING.items()])
    moved = Table(["log-probability", "nats an answer"], [[label, number(part.margins.get(name))] for name, label in MARGINS.items()])
    text = (
        "The policy ranks by log pi(y|x), the reference by its own, and the implicit reward by the ratio of the two. They can disagree: a "
        "policy may have moved towards every chosen answer and still prefer the rejected one."
    )
    return Section("How it ranks the rows' own answers", text, chart=charts, table=[shown, moved])


def _written(evaluation: Evaluation) -> Section:
    part, settings = evaluation.all, evaluation.settings
    rows: list[list[Any]] = [[f"KL(policy || reference), {name}", number(estimate)] for name, estimate in part.kl.items()]
    for who, block in part.lengths.items():
        rows.append([f"length of the {who}'s answers, tokens", number(block["mean"], 1)])
        rows.append([f"10%, 50%, 90% of those lengths, {who}", ", ".join(f"{value:g}" for value in block["quantiles"].values())])
        rows.append([f"cut off at {settings['max_new_tokens']} tokens, {who}", percent(block["cut_off"])])
    match = part.win_rate
    for key, label in {"win_rate": "win rate", "order_changed": "verdicts that change with the order"}.items():
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
        f"{part.prompts_answered:,} prompts, {settings['samples']} answers each, temperature {settings['temperature']:g}. The divergence "
        "is in nats an answer, from the policy's own samples at temperature 1, by three estimators of the same number; the first varies "
        "least."
    )
    return Section("What it writes", text, table=Table(["", "value"], rows))


def _groups(evaluation: Evaluation) -> Section:
    key, title = ("win_rate", "win rate") if "win_rate" in evaluation.all.win_rate else ("policy", "ranking accuracy, policy")
    pick = {name: part.win_rate["win_rate"] if key == "win_rate" else part.ranking["policy"] for name, part in evaluation.groups.items()}
    chart = intervals([_point(name, estimate) for name, estimate in pick.items()], names=list(pick), title=title, percent=True, mark_at=0.5)
    columns = ["", "comparisons", "policy", "implicit reward", "win rate"]
    rows = [
        [
            name,
            part.comparisons,
            *(percent(part.ranking.get(k)) for k in ("policy", "implicit_reward")),
            percent(part.win_rate.get("win_rate")),
        ]
        for name, part in evaluation.groups.items()
    ]
    lowest = "; ".join(f"{name.replace('_', ' ')}: {group}" for name, group in evaluation.worst_group.items())
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
            fields += [(who if r is None else f"{who}, reward {r:.3g}", text) for text, r in zip(entry.get(who, ()), rewards, strict=True)]
        details.append(Details(_line(entry["prompt"]), fields=[("prompt", _whole(entry["prompt"])), *fields]))
    return Section("Answers to read", f"The first {len(details)} of {len(evaluation.texts):,} prompts, not chosen.", details=details)


def _making(evaluation: Evaluation) -> Section:
    text = "\n\n".join(f"Note: {note}" for note in evaluation.notes)
    models = {"policy": evaluation.model, "reference": evaluation.reference, "opponent": evaluation.against}
    rows = [[who, model["name"], model["hash"][:12], model["parameters"]] for who, model in models.items() if model]
    settings = Table(["setting", "value"], [[name, str(value)] for name, value in {**evaluation.data, **evaluation.settings}.items()])
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
    return prompt if isinstance(prompt, str) else "\n".join(f"{message['role']}: {message['content']}" for message in prompt)
