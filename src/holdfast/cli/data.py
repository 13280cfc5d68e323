"""`holdfast check`, `holdfast evaluate` and `holdfast new-model`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from holdfast.cli.screen import AS_JSON, CTX, out, print_json, say
from holdfast.errors import OptionError
from holdfast.extras import require
from holdfast.files import file_to_write
from holdfast.flags import (
    P,
    as_command,
    flag,
    flags_of,
    generation_flags,
    given,
    reading_flags,
    sourced,
)


def check(name: str) -> Any:
    from holdfast.checkup import check as checkup
    from holdfast.checkup.present.terminal import show

    def command(
        as_json: bool, folder: Path, confirm: bool, workers: int | None, **values: Any
    ) -> None:
        if workers is not None and not confirm:
            raise OptionError("--workers is read with --confirm alone", hint="add --confirm")
        if confirm:
            require("confirm")
        found = checkup.check(out=folder, **sourced(values))
        if confirm:
            from holdfast.lab.confirm import confirm as tried

            how = {name: values[name] for name in ("model", "seed", "quiet")}
            found = tried(found, out=folder, workers=workers, **how)
        if as_json:
            print_json(found.to_dict())
        else:
            show(found, out)
            say("", f"the report: {folder / 'report.html'}")

    folder = P(
        "folder",
        P.KEYWORD_ONLY,
        default=Path("check"),
        annotation=Annotated[
            Path,
            typer.Option(
                "--out", help="folder of report.html, its pictures, check.json and unreadable rows"
            ),
        ],
    )
    doc = (
        "What is wrong with these preferences, and what to do about it: label noise, preference "
        "subgroups, cycles, shortcuts, each with an interval, in minutes."
        "\n\nholdfast check prefs.jsonl"
    )
    flags = [
        *flags_of(checkup.check, arguments=("data",), leave_out=("tokenizer", "out")),
        flag(
            "confirm",
            bool,
            False,
            "train the top choices and plain DPO small on these rows with a flaw planted, and say "
            "whether the advice held",
            "Options",
        ),
        flag(
            "workers",
            int | None,
            None,
            "processes at once that train language models for --confirm; one a processor unless "
            "given",
            "Options",
        ),
        *reading_flags(quarantine=True),
    ]
    return as_command(name, command, [*flags, folder, AS_JSON], doc)


def evaluate(name: str) -> Any:
    from holdfast.data.reading import QUARANTINE
    from holdfast.evaluation import evaluation

    def command(
        ctx: typer.Context,
        as_json: bool,
        out_file: Path | None,
        page: Path | None,
        health: bool,
        reward_bench: bool,
        **values: Any,
    ) -> None:
        if values["quarantine"]:
            values["quarantine"] = str((out_file or Path("-")).with_name(QUARANTINE))
        for option, given_file in (("out", out_file), ("report", page)):
            if given_file is not None:
                file_to_write(given_file, option)
        if health and reward_bench:
            raise OptionError("--health and --reward-bench are two looks", hint="give one of them")
        found: Any
        if health:
            found = _health(given(ctx, values))
        elif reward_bench:
            found = _reward_bench(given(ctx, values))
        else:
            found = evaluation.evaluate(**sourced(values))
        if out_file is not None:
            found.write(out_file)
        if page is not None:
            if reward_bench:
                raise OptionError(
                    "--reward-bench writes no page", hint="--out bench.json, or --json"
                )
            found.report(page)
        if as_json:
            print_json(found.to_dict())
        else:
            out.print(found.table())

    def file(parameter: str, flag_name: str, said: str) -> P:
        kind = Annotated[Path | None, typer.Option(flag_name, help=said)]
        return P(parameter, P.KEYWORD_ONLY, default=None, annotation=kind)

    files = [
        file("out_file", "--out", "write the JSON here as well"),
        file(
            "page",
            "--report",
            "write a page with charts here, report.html say; its pictures go beside it",
        ),
    ]
    doc = (
        "What held-out rows say about a policy against its reference: ranking accuracy, "
        "margins, KL, lengths, win rate, with intervals."
        "\n\nholdfast evaluate runs/rdpo --data held_out.jsonl"
    )
    flags = [
        *flags_of(evaluation.evaluate, arguments=("model",), leave_out=("tokenizer",)),
        flag(
            "health",
            bool,
            False,
            "MODEL is a reward (a model, an ensemble, or file.py:function): look it over on the "
            "data's comparisons, and with --against POLICY on a policy's answers",
            "Options",
        ),
        flag(
            "reward_bench",
            bool,
            False,
            "MODEL is a reward, and the data a file of RewardBench or RewardBench 2: accuracy by "
            "subset",
            "Options",
        ),
        *generation_flags(max_new_tokens=128),
        *reading_flags(),
    ]
    return as_command(name, command, [CTX, *flags, *files, AS_JSON], doc)


def _health(typed: dict[str, Any]) -> Any:
    from holdfast.data.reading import Reading
    from holdfast.evaluation.health.card import health

    return _of_reward(health, "health", typed, tuple(Reading.__dataclass_fields__))


def _reward_bench(typed: dict[str, Any]) -> Any:
    from holdfast.evaluation.reward_bench import reward_bench

    return _of_reward(reward_bench, "reward-bench", typed)


def _of_reward(
    function: Any, flag_name: str, typed: dict[str, Any], more: tuple[str, ...] = ()
) -> Any:
    """A look at a reward, by the flags that were typed; one that it does not read is refused."""
    import inspect

    known = {*inspect.signature(function).parameters, *more, "model"}
    for name in typed:
        if name not in known:
            raise OptionError(
                f"--{name.replace('_', '-')} is not read with --{flag_name}",
                hint=f"leave it out, or evaluate a policy without --{flag_name}",
            )
    return function(typed.pop("model"), **typed)


def new_model(name: str) -> Any:
    from holdfast.models.small import small_model

    def command(**values: Any) -> None:
        path = small_model(**sourced(values))
        say("", f"wrote {path}")

    doc = (
        "Make a small untrained Llama and its tokenizer, ready for `holdfast train "
        "sft`.\n\nholdfast new-model books.jsonl --out m0"
    )
    return as_command(
        name, command, [*flags_of(small_model, arguments=("texts",)), *reading_flags()], doc
    )


def clean(name: str) -> Any:
    from holdfast.checkup import clean as cleaning

    def command(as_json: bool, relabel: tuple[int, Path] | None, **values: Any) -> None:
        found = cleaning.clean(relabel=relabel, **sourced(values))
        if as_json:
            print_json(found.to_dict())
        else:
            out.print(found.table())
            say("", found.says)
            if found.relabeling is not None:
                say("", found.relabeling.says)

    relabel = P(
        "relabel",
        P.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[
            tuple[int, Path] | None,
            typer.Option(
                "--relabel",
                metavar="N FILE",
                help="write the N rows whose second opinion would tell most about the flip rate "
                "to this file (JSON lines, for Argilla), and beside it tasks for Label Studio",
            ),
        ],
    )
    doc = (
        "A better file: labels of reversed sources turned, repeats and leaks removed, several "
        "verdicts on one pair collapsed. The input is not touched, and changes.jsonl lists what "
        "was done."
        "\n\nholdfast clean prefs.jsonl --out cleaned.jsonl"
    )
    flags = [
        *flags_of(cleaning.clean, arguments=("data",), leave_out=("relabel",)),
        relabel,
        *reading_flags(quarantine=True),
    ]
    return as_command(name, command, [*flags, AS_JSON], doc)
