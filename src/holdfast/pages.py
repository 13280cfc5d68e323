"""A page for each method and one table of all, made from cards and docstrings: what they say is
what the code says.

python -m holdfast.pages docs/methods        writes the folder, one page a method and the table
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import rich.console
import rich.table
import rich.text

from holdfast import card
from holdfast.card import AnswerMethod, Limit, Method, Paper, settings_of
from holdfast.inputs import label, reference
from holdfast.inputs.base import Input
from holdfast.methods import GROUPS, METHODS, get
from holdfast.reductions import AVERAGES, REDUCTIONS

TOKENS = {
    "sum": "Log-probabilities are summed over the response tokens of an answer.",
    "mean": "Log-probabilities are averaged over the response tokens of an answer.",
    "sum and mean": (
        "The comparison sums log-probabilities over response tokens; the likelihood term "
        "averages them."
    ),
    "apart": (
        "Each response token has a cost of its own, and an average over tokens makes them the cost "
        "of an answer: `--average`."
    ),
}
LONGEST_LINE = 100
INTRODUCTION = (
    "A method turns each row of a batch into a cost, and `holdfast train METHOD` "
    "minimizes their average. Pairs are a chosen and a "
    "rejected answer to one prompt; answers are single ones. Every page here is made from "
    "the method's own file."
)
REDUCING = (
    "How the costs of a batch become one number: `--reduction kl:temperature=0.5`. A row "
    "whose label was "
    "flipped is a costly row. All but the mean and `kl_best_case` weigh costly rows more: "
    "they answer uneven service, not label noise. "
    "`kl_best_case` weighs them less."
)


AVERAGING = (
    "How the costs of an answer's tokens become one cost, for methods whose cost is a sum over "
    "tokens: `--average token_mean`. Lengths are those of the optimizer's whole batch, so gradient "
    "accumulation and more processes change nothing."
)


def summary_of(method: Method) -> str:
    """The method in a sentence."""
    return summary(method.objective)


def help_of(method: Method, setting: str) -> str:
    """What a setting of a method means, in a line."""
    return card.help_of(method.objective)[setting]


def table() -> list[dict[str, Any]]:
    """Every method in a line: what it does in a few words, what it takes, its settings."""
    return [
        {
            "method": name,
            "group": group,
            "says": method.card.says,
            "summary": summary_of(method),
            "takes": kind(method),
            "needs": [need.name for need in method.card.needs],
            "tokens": method.card.tokens,
            "settings": defaults(method),
            "paper": cited(method.card.paper),
        }
        for group, methods in GROUPS.items()
        for name, method in methods.items()
    ]


def rich_table() -> rich.console.Group:
    """`table` on one screen of a terminal: each method's name, eight words, and inputs."""
    rows = table()
    name, says = (max(len(row[key]) for row in rows) for key in ("method", "says"))
    shown: list[rich.console.RenderableType] = []
    for group in GROUPS:
        lines = rich.table.Table.grid(padding=(0, 2, 0, 0))
        lines.add_column(min_width=name + 2, no_wrap=True)
        lines.add_column(min_width=says, no_wrap=True)
        lines.add_column(style="dim")
        for row in rows:
            if row["group"] == group:
                lines.add_row(rich.text.Text(f"  {row['method']}", "cyan"), row["says"], wants(row))
        shown += [rich.text.Text(group, "bold"), lines]
    return rich.console.Group(*shown)


def wants(row: Mapping[str, Any]) -> str:
    """What a method of `table` takes beside pairs and a reference, or without them."""
    further = [need for need in row["needs"] if need != reference.name]
    answers = ["answers"] if row["takes"] == "answers" else []
    alone = [] if reference.name in row["needs"] else ["no reference"]
    return ", ".join([*answers, *alone, *further])


def facts(name: str) -> dict[str, Any]:
    """One method's card, docstring and settings, as plain data.

    Raises:
        OptionError: there is no such method.
    """
    method = get(name)
    words = card.help_of(method.objective)
    about = method.card
    return {
        "method": name,
        "says": about.says,
        "summary": summary_of(method),
        "equation": about.equation,
        "tokens": about.tokens,
        "takes": kind(method),
        "needs": [need.name for need in about.needs],
        "settings": {
            setting: {"default": default, "help": words[setting]}
            for setting, default in defaults(method).items()
        },
        "departures": list(about.departures),
        "limits": [limit_line(name, limit) for limit in about.limits],
        "cost_at_reference": about.at_reference(**defaults(method)) if about.at_reference else None,
        "batch_dependent": about.batch_dependent,
        "remembers": list(method.state(1)) if method.state else [],
        "head": head(method),
        "stop_gradient": about.stop_gradient,
        "not_to_confuse_with": about.not_to_confuse_with,
        "status": about.status,
        "paper": asdict(about.paper),
    }


def page(name: str) -> str:
    """One method's page, in markdown.

    Raises:
        OptionError: there is no such method.
    """
    method = get(name)
    about = method.card
    sections = {
        "In one line": (
            f"    {about.equation}\n\n{TOKENS[about.tokens]} {at_reference(method)}".rstrip()
        ),
        "What it takes": takes(method),
        "Settings": settings_table(method.objective),
        "Refusals": bullets(
            f"`{error}`: {text}" for error, text in card.help_of(method.objective, "Raises").items()
        ),
        "Departures from the paper": "\n".join(
            f"{i}. {line}" for i, line in enumerate(about.departures, 1)
        ),
        "What it remembers": remembers(method),
        "What is trained beside the policy": head(method),
        "Held fixed in the gradient": sentence(about.stop_gradient),
        "Limits": bullets(limit_line(name, limit) for limit in about.limits),
        "Not to be confused with": sentence(about.not_to_confuse_with),
        "How far it has been checked": sentence(about.status),
        "Use": usage(method),
        "Paper": full(about.paper),
    }
    return (
        "\n\n".join(
            [
                f"# {name}",
                body(method.objective),
                *(f"## {title}\n\n{text}" for title, text in sections.items() if text),
            ]
        )
        + "\n"
    )


def overview() -> str:
    """The table of methods and that of reductions, in markdown."""
    methods = [
        {
            "method": f"[{row['method']}]({row['method']}.md)",
            "what it does": row["summary"],
            "takes": row["takes"],
            "needs": ", ".join(row["needs"]) or "nothing more",
            "tokens": row["tokens"],
            "settings": ", ".join(f"{name}={value:g}" for name, value in row["settings"].items())
            or "none",
            "paper": row["paper"],
        }
        for row in table()
    ]
    reductions, averages = (
        [
            {
                kind: f"`{name}`",
                "what it does": summary(factory),
                "settings": "; ".join(settings_lines(factory)) or "none",
            }
            for name, factory in factories.items()
        ]
        for kind, factories in (("reduction", REDUCTIONS), ("average", AVERAGES))
    )
    mixed_up = bullets(
        f"`{name}`, not {method.card.not_to_confuse_with}"
        for name, method in METHODS.items()
        if method.card.not_to_confuse_with
    )
    parts = [
        "# Methods",
        INTRODUCTION,
        grid(methods),
        "## Names that are mixed up",
        mixed_up,
        "## Reductions",
        REDUCING,
        grid(reductions),
        "## Averages over tokens",
        AVERAGING,
        grid(averages),
    ]
    return "\n\n".join(parts) + "\n"


def write(folder: Path) -> list[Path]:
    """Every page, and the overview as README.md. Returns the files written."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = {"README.md": overview(), **{f"{name}.md": page(name) for name in METHODS}}
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    return [folder / name for name in texts]


# ------------------------------------------------------------------------------------------------
# parts of a page


def summary(function: Callable[..., Any]) -> str:
    """The first sentence of a docstring."""
    return (
        " ".join((inspect.getdoc(function) or "").split("\n\n")[0].split())
        .split(". ")[0]
        .rstrip(".")
    )


def body(function: Callable[..., Any]) -> str:
    """A docstring up to its first section, indented equations kept as they are."""
    lines = (inspect.getdoc(function) or "").splitlines()
    end = next(
        (i for i, line in enumerate(lines) if line in ("Args:", "Raises:", "Departures:")),
        len(lines),
    )
    return "\n".join(lines[:end]).strip()


def kind(method: Method) -> str:
    return "answers" if isinstance(method, AnswerMethod) else "pairs"


def defaults(method: Method) -> dict[str, float]:
    return {name: p.default for name, p in settings_of(method.objective).items()}


def takes(method: Method) -> str:
    if not isinstance(method, AnswerMethod):
        first = "Comparisons: a prompt, a chosen and a rejected answer."
    elif label in method.card.needs:
        first = (
            "Single answers. Of a comparison, the chosen answer counts as desirable and the "
            "rejected one as undesirable."
        )
    else:
        first = "Single answers. Of a comparison, only the chosen answer is read."
    return "\n\n".join(
        filter(
            None,
            [
                first,
                bullets(f"needs `{need.name}`: {need_line(need)}" for need in method.card.needs),
            ],
        )
    )


def need_line(need: Input) -> str:
    return "; ".join(filter(None, [need.says, need.hint]))


def settings_table(function: Callable[..., Any]) -> str:
    words = card.help_of(function)
    rows = [
        {"setting": f"`{flag(name)}`", "default": f"{p.default:g}", "meaning": words[name]}
        for name, p in settings_of(function).items()
    ]
    return grid(rows) if rows else "None."


def settings_lines(function: Callable[..., Any]) -> list[str]:
    parameters = settings_of(function)

    def default(name: str) -> str:
        value = parameters[name].default
        return "" if value is inspect.Parameter.empty else f" ({value:g})"

    return [f"`{name}`{default(name)}: {text}" for name, text in card.help_of(function).items()]


def at_reference(method: Method) -> str:
    if method.card.at_reference is None:
        return ""
    cost = method.card.at_reference(**defaults(method))
    return f"Where policy and reference agree the cost is {cost:.6g} at the default settings."


def remembers(method: Method) -> str:
    """The names of what a method carries from batch to batch."""
    if method.state is None:
        return ""
    names = ", ".join(f"`{key}`" for key in method.state(1))
    return (
        f"{names}, from batch to batch; kept in checkpoints. Your own loop starts from "
        "`holdfast.card.initial_state(METHOD, raters)`."
    )


def head(method: Method) -> str:
    """The method's own module, as the reader of a run meets it."""
    if method.head is None:
        return ""
    whose = (
        "all layers of the reference before"
        if method.head.of == "reference"
        else "the last layer of the policy after"
    )
    return (
        f"A small module reads the states of {whose} each token. It learns at a rate of "
        "its own, `--head-learning-rate`, is kept in "
        "checkpoints, and is left out of the model that a run ends with."
    )


def limit_line(name: str, limit: Limit) -> str:
    def at(settings: Mapping[str, float]) -> str:
        return ", ".join(f"{setting} = {value:g}" for setting, value in settings.items())

    other = f"`{limit.gives}`" + (f" at {at(limit.other_at)}" if limit.other_at else "")
    factor = "" if limit.scale == 1 else f"{limit.scale:g} times "
    besides = f" where {limit.where}" if limit.where else ""
    shift = "" if limit.shift == 0 else f" {limit.shift:+g}"
    where = f"at {at(limit.at)}{besides}" if limit.at else besides.strip() or "row by row"
    return f"{where}, `{name}` is {factor}{other}{shift}"


def usage(method: Method) -> str:
    flags = "".join(f" {flag(name)} {value:g}" for name, value in defaults(method).items())
    options = "".join(f", {name}={value:g}" for name, value in defaults(method).items())
    module = method.objective.__module__
    where = "holdfast.preference" if module.startswith("holdfast.preference.") else module
    call = f"{where}.{method.name}({kind(method)}{', state' if method.state else ''}{options})"
    said = [
        f'"{method.name}"',
        'model="MODEL"',
        'data="prefs.jsonl"',
        f'out="runs/{method.name}"',
        *filter(None, options.split(", ")),
    ]
    run = f"run = holdfast.train({', '.join(said)})"
    if len(run) > LONGEST_LINE:
        run = "\n".join(["run = holdfast.train(", *(f"    {part}," for part in said), ")"])
    return (
        f"```sh\nholdfast train {method.name} --model MODEL --data prefs.jsonl{flags}\n```\n\n"
        f"```python\n{'cost_N, state' if method.state else 'cost_N'} = {call}\n{run}\n```"
    )


def flag(setting: str) -> str:
    return f"--{setting.replace('_', '-')}"


def cited(paper: Paper) -> str:
    names = paper.authors.split(", ")
    return f"{names[0]}{' and others' if len(names) > 1 else ''} {paper.year}"


def full(paper: Paper) -> str:
    link = f" [arXiv {paper.arxiv}](https://arxiv.org/abs/{paper.arxiv})." if paper.arxiv else ""
    venue = f" {paper.venue}." if paper.venue else ""
    return f"{paper.authors}. *{paper.title}*. {paper.year}.{venue}{link}"


def sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}." if text else ""


def bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def grid(rows: Sequence[Mapping[str, str]]) -> str:
    """A markdown table; the keys of the first row are the header."""
    lines = [list(rows[0]), ["---"] * len(rows[0]), *(list(row.values()) for row in rows)]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines
    )


if __name__ == "__main__":
    for path in write(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/methods")):
        print(path)
