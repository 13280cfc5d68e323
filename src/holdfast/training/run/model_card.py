"""The model card that lies beside the weights: generated from the run record and the method's own
card, nothing written by hand.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from holdfast.card import Method
from holdfast.data.hub import HUB_NAME
from holdfast.training.options import Options, helps
from holdfast.visible import code, markdown


def model_card(record: Mapping[str, Any], method: Method) -> str:
    """README.md of the model folder, with the front matter that the Hugging Face hub reads."""
    card = method.card
    call = record["call"]
    lines = [*front_matter(record, method), "", f"# {title(call.get('model'), method.name)}", ""]
    lines += [
        f"Trained with Holdfast {record['versions'].get('holdfast', '')} by the method "
        f"`{method.name}`."
    ]
    lines += ["", "## Method", "", f"    cost = {card.equation}", ""]
    arxiv = f", arXiv {card.paper.arxiv}" if card.paper.arxiv else ""
    lines += [f"{card.paper.authors} ({card.paper.year}). {card.paper.title}{arxiv}.", ""]
    lines += [
        f"Costs are reduced by `{record['reduction']}`. "
        + (
            f"Costs of response tokens: `{record['average']}`."
            if record.get("average")
            else f"Token log-probabilities: {card.tokens} over response tokens."
        )
    ]
    lines += [
        f"Reference: {markdown(str(record['reference']), 300)}."
        if record["reference"]
        else "No reference model."
    ]
    if card.departures:
        lines += [
            "",
            "Departures from the paper:",
            "",
            *(f"{n}. {text}" for n, text in enumerate(card.departures, start=1)),
        ]
    lines += [
        "",
        "## Settings",
        "",
        *table(
            ("setting", "value"),
            [(f"`{name}`", value) for name, value in record["settings"].items()],
        ),
    ]
    lines += [
        "",
        *table(
            ("option", "value", "meaning"),
            [
                (f"`{name}`", option(record["options"][name]), text)
                for name, text in changed(record)
            ],
        ),
    ]
    lines += ["", "## Data", "", *data_lines(record)]
    lines += ["", "## Results", "", *_results(record)]
    lines += ["", "## Limitations", "", *_limitations(record)]
    return "\n".join(lines).rstrip() + "\n"


def front_matter(
    record: Mapping[str, Any],
    method: Method,
    *,
    purpose: str = "text-generation",
    tag: str = "preference-optimization",
) -> list[str]:
    call = record["call"]
    lines = ["---", f"library_name: {'peft' if record['options']['lora_rank'] else 'transformers'}"]
    if is_hub_name(call.get("model")):
        lines.append(f"base_model: {call['model']}")
    if is_hub_name(call.get("data")):
        lines += ["datasets:", f"- {call['data']}"]
    return [
        *lines,
        "tags:",
        "- holdfast",
        f"- {method.name}",
        f"- {tag}",
        f"pipeline_tag: {purpose}",
        "---",
    ]


def is_hub_name(value: Any) -> bool:
    return (
        isinstance(value, str)
        and 0 < len(value) < 97
        and value.count("/") <= 1
        and not value.startswith((".", "~", "/"))
        and HUB_NAME.fullmatch(value) is not None
        and not Path(value).exists()
    )


def title(model: Any, method: str) -> str:
    return f"{markdown(Path(model).name) if isinstance(model, str) else 'model'}, {method}"


def option(value: Any) -> Any:
    """An option's value as a cell of a table."""
    return markdown(str(value), 300) if isinstance(value, str | list | tuple) else value


def changed(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Options that say how the model came about: those that are not at rest."""
    rest = Options()
    always = {"learning_rate", "batch_size", "schedule", "seed", "precision"}
    text = helps()
    plain = {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in vars(rest).items()
    }
    quiet = {"track", "log_every", "save_every", "keep_checkpoints", "reference_cache"}
    return [
        (name, text[name])
        for name, value in record["options"].items()
        if name not in quiet and (name in always or _plain(value) != plain.get(name))
    ]


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def data_lines(record: Mapping[str, Any]) -> list[str]:
    data = record["data"]
    lines = [
        f"- read {data['read']:,} rows from "
        f"{', '.join(markdown(Path(file).name) for file in data['files'])} as "
        f"{data['format']}"
    ]
    counts = record["train_rows"]
    unread = {
        reason: n for reason, n in counts["examples"].items() if reason not in ("read", "examples")
    }
    for skipped in (data["skipped"], unread, counts["tokenized"]["skipped"]):
        lines += [f"- skipped {n:,}: {markdown(reason)}" for reason, n in skipped.items()]
    lines.append(
        f"- trained on {record['rows']:,} rows, {record['steps']:,} steps of "
        f"{record['options']['batch_size']}"
    )
    if record["groups"]:
        lines.append(f"- groups: {', '.join(map(markdown, record['groups']))}")
    return [*lines, f"- content hash `{data['content_hash'][:16]}`"]


def _results(record: Mapping[str, Any]) -> list[str]:
    results = record["results"]
    first, last = results.get("eval_before", {}), results.get("eval_after", {})
    if not last:
        return [
            "No rows were held out, so there is nothing to report that training itself did not see."
        ]
    rows = [
        (code(name.removeprefix("eval/")), number(first.get(name)), number(value))
        for name, value in last.items()
        if name.startswith("eval/")
    ]
    return [
        "On held-out rows, before and after training:",
        "",
        *table(("metric", "before", "after"), rows),
    ]


def _limitations(record: Mapping[str, Any]) -> list[str]:
    lines = [
        "- Preference data say what some raters preferred; whether they can be trusted is "
        "not settled by training on them."
    ]
    lines.append(
        "- Ranking accuracy and margins on data are not generation quality: judge "
        "generated answers before use."
    )
    if "kl/k3_on_data" in " ".join(record["results"].get("eval_after", {})):
        lines.append(
            "- `kl/k3_on_data` is taken on the data's tokens, not on the "
            "policy's own: a proxy of the KL to the reference."
        )
    scoring = record["scoring"]
    if scoring["reason"]:
        lines.append(
            "- Scored by one padded forward per answer, because "
            f"{markdown(str(scoring['reason']), 300)}."
        )
    return lines


def table(head: tuple[str, ...], rows: list[tuple[Any, ...]]) -> list[str]:
    if not rows:
        return ["None."]
    return [
        "| " + " | ".join(head) + " |",
        "|" + " --- |" * len(head),
        *("| " + " | ".join(str(cell) for cell in row) + " |" for row in rows),
    ]


def number(value: Any) -> str:
    return "" if value is None else f"{value:.6g}"
