"""An evaluation as tables on a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text as Line

if TYPE_CHECKING:
    from holdfast.evaluation.evaluation import Evaluation
    from holdfast.evaluation.parts import Part

MISSING = "n/a"
RANKING = {
    "policy": "policy, log-probability",
    "policy_per_token": "policy, per token",
    "reference": "reference, log-probability",
    "reference_per_token": "reference, per token",
    "implicit_reward": "implicit reward (log-ratio)",
    "policy_minus_reference": "policy minus reference",
}
MARGINS = {
    "policy": "chosen minus rejected, policy",
    "reference": "chosen minus rejected, reference",
    "implicit": "implicit margin",
    "chosen_movement": "chosen, from reference",
    "rejected_movement": "rejected, from reference",
}


LEARNED = {
    "learned": "of the pairs that the reference ranks wrongly, now right",
    "unlearned": "of the pairs that it ranks rightly, now wrong",
}


def difficulty_rows(
    part: Part, own: dict[str, Any] | None
) -> list[tuple[str, dict[str, Any], bool]]:
    """(label, estimate, whether it is a share) of everything that says how hard the pairs are."""
    found = part.difficulty
    if not found:
        return []
    rows: list[tuple[str, dict[str, Any], bool]] = [
        (f"idealized ranking accuracy, {name} over beta (at {value['beta']:g})", value, True)
        for name, value in found["over_betas"].items()
    ]
    if found["beta"] is not None:
        at = f"{found['beta']:g}"
        rows.append((f"idealized ranking accuracy at beta {at}", found["idealized"][at], True))
        rows.append(
            (f"alignment gap at beta {at} (idealized minus policy)", found["gap"][at], True)
        )
    else:
        at = f"{found['over_betas']['median']['beta']:g}"
        rows.append(
            (
                f"alignment gap at the median, beta {at} (idealized minus policy)",
                found["gap"][at],
                True,
            )
        )
    if "idealized_own" in found and own is not None:
        rows.append(
            (
                f"a perfect optimizer of {own['method']} would rank rightly",
                found["idealized_own"],
                True,
            )
        )
    rows += [(label, found[name], True) for name, label in LEARNED.items()]
    if "cost" in found:
        rows.append(
            (f"DPO cost at beta {at} of pairs the reference ranks wrongly", found["cost"], False)
        )
        rows.append(
            (
                "cost below which they would be ranked rightly, pair by pair",
                found["threshold"],
                False,
            )
        )
    return rows


def at_beta(part: Part) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """Idealized accuracy and alignment gap at the run's beta, else at the beta of the median."""
    found = part.difficulty
    if not found:
        return None, None
    at = (
        f"{found['beta'] if found['beta'] is not None else found['over_betas']['median']['beta']:g}"
    )
    return found["idealized"][at], found["gap"][at]


def percent(estimate: dict[str, Any] | None) -> str:
    """61.3% (58.0 to 64.5), or n/a."""
    if not estimate or estimate["value"] is None:
        return MISSING
    value = f"{100 * estimate['value']:.1f}%"
    return (
        f"{value} (n/a)"
        if estimate["low"] is None
        else f"{value} ({100 * estimate['low']:.1f} to {100 * estimate['high']:.1f})"
    )


def number(estimate: dict[str, Any] | None, digits: int = 2) -> str:
    """4.21 (3.90 to 4.55), or n/a."""
    if not estimate or estimate["value"] is None:
        return MISSING
    value = f"{estimate['value']:.{digits}f}"
    return (
        f"{value} (n/a)"
        if estimate["low"] is None
        else f"{value} ({estimate['low']:.{digits}f} to {estimate['high']:.{digits}f})"
    )


def tables(evaluation: Evaluation) -> Group:
    """Every number of `all` with its interval, the main ones of each group, and the notes."""
    part = evaluation.all
    blocks: list[RenderableType] = [_heading(evaluation), _answers_of_rows(part)]
    if part.difficulty:
        blocks.append(_difficulty(evaluation))
    if part.prompts_answered:
        blocks.append(_written(evaluation))
    if evaluation.groups:
        blocks.append(_groups(evaluation))
    blocks += [Line(f"note: {note}", style="yellow") for note in evaluation.notes]
    return Group(*blocks)


def _heading(evaluation: Evaluation) -> Line:
    data, text = evaluation.data, Line()
    text.append(str(evaluation.model["name"]), style="bold")
    text.append(
        f" against reference {evaluation.reference['name']}"
        if evaluation.reference
        else " without a reference"
    )
    text.append(
        f"\n{data['comparisons']:,} comparisons, {data['prompts']:,} prompts, from "
        f"{data['source']}; intervals are 95%, over prompts\n"
    )
    return text


def _answers_of_rows(part: Part) -> Table:
    table = Table(title="The rows' own answers", title_justify="left", title_style="bold")
    for column in ("", "mean", "interval"):
        table.add_column(column, justify="left" if not column else "right")
    for name, label in RANKING.items():
        table.add_row(f"ranking accuracy: {label}", *_cells(part.ranking.get(name), 100, 1, "%"))
    for name, label in MARGINS.items():
        table.add_row(f"nats: {label}", *_cells(part.margins.get(name)))
    return table


def _difficulty(evaluation: Evaluation) -> Table:
    table = Table(title="How hard the pairs are", title_justify="left", title_style="bold")
    for column in ("", "mean", "interval"):
        table.add_column(column, justify="left" if not column else "right")
    for label, estimate, share in difficulty_rows(
        evaluation.all, evaluation.settings.get("objective")
    ):
        table.add_row(
            label, *(_cells(estimate, 100, 1, "%") if share else _cells(estimate, digits=3))
        )
    return table


def drawn_how(settings: Mapping[str, Any]) -> str:
    """How the answers were drawn, and chosen if they were, as one says it."""
    said = f"temperature {settings['temperature']:g}"
    for name, whole in (("top_k", 0), ("top_p", 1.0), ("min_p", 0.0)):
        if settings.get(name, whole) != whole:
            said += f", {name} {settings[name]:g}"
    if settings["best_of"] > 1:
        said += f"; the policy's are the best of {settings['best_of']} under {settings['select']}"
    return said


def opponent_of(settings: Mapping[str, Any]) -> str:
    """Whom the policy's answers are compared with: another opponent, or the reference."""
    return "opponent" if settings["opponent"] == "against" else "reference"


def _written(evaluation: Evaluation) -> Table:
    part, settings = evaluation.all, evaluation.settings
    title = (
        f"Answers written to {part.prompts_answered:,} prompts, {settings['samples']} each, "
        f"{drawn_how(settings)}"
    )
    table = Table(title=title, title_justify="left", title_style="bold")
    for column in ("", "mean", "interval"):
        table.add_column(column, justify="left" if not column else "right")
    for name, estimate in part.kl.items():
        table.add_row(f"KL(policy || reference), nats an answer, {name}", *_cells(estimate))
    if not part.kl:
        table.add_row("KL(policy || reference)", MISSING, "")
    for who, block in part.lengths.items():
        q = " / ".join(f"{value:g}" for value in block["quantiles"].values())
        table.add_row(f"tokens, {who} (10/50/90%: {q})", *_cells(block["mean"], digits=1))
        table.add_row(
            f"cut off at {settings['max_new_tokens']} tokens, {who}",
            *_cells(block["cut_off"], 100, 1, "%"),
        )
    match, opponent = part.win_rate, opponent_of(settings)
    if "win_rate" in match:
        table.add_row(
            f"win rate against the {opponent}, under {match['under']}",
            *_cells(match["win_rate"], 100, 1, "%"),
        )
    for name, label in {
        "reward": "reward, policy",
        "opponent_reward": f"reward, {opponent}",
        "reward_difference": "reward, difference",
    }.items():
        if name in match:
            table.add_row(label, *_cells(match[name]))
    if "order_changed" in match:
        table.add_row(
            "verdicts that change with the order", *_cells(match["order_changed"], 100, 1, "%")
        )
        table.add_row("judge's favor for the first place", *_cells(match["first_place_bonus"]))
    return table


def _groups(evaluation: Evaluation) -> Table:
    table = Table(
        title=f"By {evaluation.settings['by']} (lowest marked *)",
        title_justify="left",
        title_style="bold",
    )
    for column in (
        "",
        "comparisons",
        "policy",
        "implicit reward",
        "idealized",
        "alignment gap",
        "win rate",
    ):
        table.add_column(column, justify="left" if not column else "right")
    for name, part in evaluation.groups.items():
        cells = [
            ("policy", part.ranking.get("policy")),
            ("implicit_reward", part.ranking.get("implicit_reward")),
        ]
        shown = [
            percent(estimate) + (" *" if evaluation.worst_group.get(key) == name else "")
            for key, estimate in cells
        ]
        win = percent(part.win_rate.get("win_rate")) + (
            " *" if evaluation.worst_group.get("win_rate") == name else ""
        )
        table.add_row(
            Line(name), f"{part.comparisons:,}", *shown, *map(percent, at_beta(part)), win
        )
    return table


def _cells(
    estimate: dict[str, Any] | None, scale: float = 1.0, digits: int = 2, unit: str = ""
) -> tuple[str, str]:
    if not estimate or estimate["value"] is None:
        return MISSING, ""
    if estimate["low"] is None:
        return f"{scale * estimate['value']:.{digits}f}{unit}", MISSING
    return (
        f"{scale * estimate['value']:.{digits}f}{unit}",
        f"{scale * estimate['low']:.{digits}f} to {scale * estimate['high']:.{digits}f}",
    )
