"""The command line: thin doors to the functions of the same names.

Flags come from signatures and their help from docstrings, so there is one place where each is said.
What is heavy to import is imported when its command is asked for, so that `holdfast --help` answers
at once.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text
from typer.core import TyperCommand, TyperGroup

from holdfast.errors import HoldfastError, OptionError
from holdfast.extras import EXTRA_OF, require
from holdfast.files import file_to_write, writing
from holdfast.flags import P, as_command, flag, flags_of, given, reading_flags, sourced
from holdfast.signals import unwinding
from holdfast.terminal import Terminal
from holdfast.visible import json_text

out = Terminal()
err = Terminal(stderr=True)

Json = Annotated[bool, typer.Option("--json", help="print one JSON object for machines")]
CTX = P("ctx", P.KEYWORD_ONLY, annotation=typer.Context)
AS_JSON = P("as_json", P.KEYWORD_ONLY, default=False, annotation=Json)


def main() -> None:
    """Run the command line. A user's mistake, or a disk that refuses, ends in one readable message
    and status 2; an interruption in 128 + signal: 130 after Ctrl-C, 143 after SIGTERM."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    if not sys.stderr.isatty():
        os.environ.setdefault("TQDM_DISABLE", "1")  # bars of other libraries, drawn into a log file
    try:
        with unwinding(), writing("what was asked for"):
            app(prog_name="holdfast")
    except HoldfastError as error:
        message, _, hint = str(error).partition("\nhint: ")
        _say("error: ", message, "bold red")
        if hint:
            _say("hint: ", hint, "bold green")
        sys.exit(getattr(error, "exit_code", 2))  # an interrupted run knows its own
    except KeyboardInterrupt:
        err.print("interrupted")
        sys.exit(130)


def _say(label: str, text: str, style: str = "") -> None:
    err.print(Text(label, style, end=""), end="")
    err.print(
        text, highlight=False, soft_wrap=True
    )  # a path that is broken in two cannot be copied


def print_json(value: Any) -> None:
    print(json_text(value, indent=2, default=str))


# ------------------------------------------------------------ train


def _train(name: str) -> Any:
    """`holdfast train NAME`."""
    from holdfast.methods import get
    from holdfast.training.policy import train

    return _training("train", name, get(name), train)


def _train_reward(name: str) -> Any:
    """`holdfast train-reward NAME`."""
    from holdfast.rewards import get
    from holdfast.training.reward_model import DEFAULTS, train_reward

    return _training("train-reward", name, get(name), train_reward, DEFAULTS)


def _training(
    verb: str,
    name: str,
    method: Any,
    door: Callable[..., Any],
    changed: Mapping[str, Any] | None = None,
) -> Any:
    """The flags of a training door, of its options (where `changed` are the door's own defaults),
    and the method's own signature.
    """
    from holdfast.card import settings_of
    from holdfast.pages import help_of, summary_of
    from holdfast.training import options
    from holdfast.typed import kinds_of

    defaults, helps = {**vars(options.Options()), **(changed or {})}, options.helps()
    kinds, what = kinds_of(method.objective), f"What {name} reads"
    own = [
        flag(s, kinds[s], p.default, help_of(method, s), what)
        for s, p in settings_of(method.objective).items()
    ]
    shared = [
        flag(o, kind, defaults[o], helps[o], "How the run is carried out")
        for o, kind in options.kinds(own=True).items()
    ]
    fixed = flags_of(door, leave_out=("method", "kind", "tokenizer"), panel="What goes in and out")
    show = flag(
        "show",
        int,
        0,
        "print so many rendered examples with the response mask visible, and stop",
        "What goes in and out",
    )
    json_flag = P(
        "as_json",
        P.KEYWORD_ONLY,
        default=False,
        annotation=Annotated[
            bool, typer.Option("--json", help="print the run's record at the end")
        ],
    )

    def command(ctx: typer.Context, show: int, as_json: bool, **values: Any) -> None:
        for extra in ctx.args:  # a flag that nobody reads is an error that says who does
            if not extra.startswith("--"):
                raise OptionError(
                    f"unexpected argument {extra!r}", hint=f"holdfast {verb} {name} --help"
                )
            options.split_options(method, {extra[2:].partition("=")[0].replace("-", "_"): None})
        typed = given(ctx, values)
        if show:
            from holdfast.training.show import show_rows

            show_rows(method, n=show, **typed)
            return
        run = door(name, **{"out": Path("runs") / name, **typed})
        if as_json:
            print_json(run.record)

    out_flag = [
        p.replace(default=str(Path("runs") / name)) if p.name == "out" else p for p in fixed
    ]
    doc = (
        f"{summary_of(method)}.\n\nholdfast {verb} {name} --model M --data prefs.jsonl --out "
        f"runs/{name}"
    )
    parameters = [CTX, *out_flag, show, json_flag, *own, *reading_flags(), *shared]
    return as_command(
        name, command, parameters, doc, ignore_unknown_options=True, allow_extra_args=True
    )


class Methods(TyperGroup):
    """One sub-command a method."""

    def list_commands(self, ctx: Any) -> list[str]:
        from holdfast.methods import METHODS

        return list(METHODS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        return _train(cmd_name)


class Kinds(TyperGroup):
    """One sub-command a kind of reward model."""

    def list_commands(self, ctx: Any) -> list[str]:
        from holdfast.rewards import REWARDS

        return list(REWARDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        return _train_reward(cmd_name)


def _selfplay(name: str) -> Any:
    """`holdfast selfplay`: flags of the function and of training; settings of the method by name,
    since any method may be played.
    """
    from holdfast.training import options
    from holdfast.training.selfplay.selfplay import OURS, selfplay

    helps, defaults = options.helps(), options.Options()
    shared = [
        flag(o, kind, getattr(defaults, o), helps[o], "How each round trains")
        for o, kind in options.kinds(own=True).items()
        if o not in OURS and not o.startswith("eval_")
    ]

    def command(ctx: typer.Context, setting: list[str], as_json: bool, **values: Any) -> None:
        typed = given(ctx, values)
        for pair in setting:
            key, _, text = pair.partition("=")
            try:
                typed[key.strip()] = (
                    int(text) if text.strip().lstrip("+-").isdigit() else float(text)
                )
            except ValueError:
                raise OptionError(
                    f"--setting is {pair!r}",
                    hint="a setting of the method, such as --setting beta=1",
                ) from None
        played = selfplay(**{"out": Path("runs") / "selfplay", **typed})
        if as_json:
            print_json(played.record)

    extra = P(
        "setting",
        P.KEYWORD_ONLY,
        default=[],
        annotation=Annotated[
            list[str],
            typer.Option(
                help="a setting of the method: beta=1; may be repeated", show_default=False
            ),
        ],
    )
    fixed = flags_of(selfplay, leave_out=("sampler", "progress"), panel="What goes in and out")
    fixed = [
        p.replace(default=str(Path("runs") / "selfplay")) if p.name == "out" else p for p in fixed
    ]
    doc = (
        "Improve a policy against its own answers by a judge's verdicts: answer, compare, "
        "take a step, again.\n\n"
        "A judge may prefer A to B, B to C and C to A. Then no answer is best; steps of "
        "self-play (gpo) go around the best mixture, and "
        "the mixture of all rounds' policies ends nearer to it, which iterated DPO (dpo) "
        "need not. The report has win rates, KL and "
        "exploitability of every round.\n\n"
        "holdfast train-reward general_preference --model M --data prefs.jsonl --out runs/judge\n\n"
        "holdfast selfplay --model M --data prompts.jsonl --judge runs/judge --setting "
        "beta=1 --rounds 3"
    )
    return as_command(name, command, [CTX, *fixed, extra, AS_JSON, *reading_flags(), *shared], doc)


# ------------------------------------------------------------ evaluate, new-model


def _evaluate(name: str) -> Any:
    from holdfast.data.reading import QUARANTINE
    from holdfast.evaluation.evaluation import evaluate

    def command(as_json: bool, out_file: Path | None, page: Path | None, **values: Any) -> None:
        if values["quarantine"]:
            values["quarantine"] = str((out_file or Path("-")).with_name(QUARANTINE))
        for option, given_file in (("out", out_file), ("report", page)):
            if given_file is not None:
                file_to_write(given_file, option)
        found = evaluate(**sourced(values))
        if out_file is not None:
            found.write(out_file)
        if page is not None:
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
    flags = [*flags_of(evaluate, arguments=("model",), leave_out=("tokenizer",)), *reading_flags()]
    return as_command(name, command, [*flags, *files, AS_JSON], doc)


def _check(name: str) -> Any:
    from holdfast.checkup.check import check
    from holdfast.checkup.present.terminal import show

    def command(
        as_json: bool, folder: Path, confirm: bool, workers: int | None, **values: Any
    ) -> None:
        if workers is not None and not confirm:
            raise OptionError("--workers is read with --confirm alone", hint="add --confirm")
        if confirm:
            require("confirm")
        found = check(out=folder, **sourced(values))
        if confirm:
            from holdfast.lab.confirm import confirm as tried

            how = {name: values[name] for name in ("model", "seed", "quiet")}
            found = tried(found, out=folder, workers=workers, **how)
        if as_json:
            print_json(found.to_dict())
        else:
            show(found, out)
            _say("", f"the report: {folder / 'report.html'}")

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
        "subgroups, cycles, shortcuts, with intervals, in minutes."
        "\n\nholdfast check prefs.jsonl"
    )
    flags = [
        *flags_of(check, arguments=("data",), leave_out=("tokenizer", "out")),
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


def _new_model(name: str) -> Any:
    from holdfast.models.small import small_model

    def command(**values: Any) -> None:
        path = small_model(**sourced(values))
        _say("", f"wrote {path}")

    doc = (
        "Make a small untrained Llama and its tokenizer, ready for `holdfast train "
        "sft`.\n\nholdfast new-model books.jsonl --out m0"
    )
    return as_command(
        name, command, [*flags_of(small_model, arguments=("texts",)), *reading_flags()], doc
    )


def _lab(name: str) -> Any:
    from holdfast.lab.commands import lab_app

    group = typer.main.get_command(lab_app)
    group.name = name
    return group


def _optimize(name: str) -> Any:
    from holdfast.optimization.commands import optimize_app

    group = typer.main.get_command(optimize_app)
    group.name = name
    return group


class Verbs(TyperGroup):
    """The verbs in the order of a day's work; the heavy ones are made when asked for."""

    HEAVY: dict[str, Callable[[str], Any]] = {  # noqa: RUF012
        "check": _check,
        "selfplay": _selfplay,
        "evaluate": _evaluate,
        "new-model": _new_model,
        "optimize": _optimize,
        "lab": _lab,
    }
    ORDER = (
        "check",
        "train",
        "train-reward",
        "selfplay",
        "evaluate",
        "methods",
        "optimize",
        "lab",
        "new-model",
        "rerun",
        "demo",
    )

    def list_commands(self, ctx: Any) -> list[str]:
        return list(self.ORDER)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in self.HEAVY:
            return super().get_command(ctx, cmd_name)
        try:
            return self.HEAVY[cmd_name](cmd_name)
        except (
            ModuleNotFoundError
        ):  # the list of verbs is shown also where the extras of some are not installed
            return TyperCommand(
                cmd_name, help=f"(not installed: pip install 'holdfast\\[{EXTRA_OF[cmd_name]}]')"
            )

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        require(args[0])
        return super().resolve_command(ctx, args)


app = typer.Typer(
    name="holdfast",
    help="Train language models on preferences that cannot be fully trusted.",
    cls=Verbs,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
train_app = typer.Typer(
    cls=Methods,
    no_args_is_help=True,
    help="Train with a method of the table: holdfast train dpo --model M --data prefs.jsonl",
)
app.add_typer(train_app, name="train")
reward_app = typer.Typer(
    cls=Kinds,
    no_args_is_help=True,
    help=(
        "Train a reward or preference model: holdfast train-reward bradley_terry --model M "
        "--data prefs.jsonl"
    ),
)
app.add_typer(reward_app, name="train-reward")


@train_app.callback()
def _methods_group() -> None:
    """Train with a method of the table. `holdfast train METHOD --help` shows its own settings."""


@reward_app.callback()
def _rewards_group() -> None:
    """Train a reward or preference model on comparisons. `holdfast train-reward KIND --help` shows
    its own settings.

    bradley_terry gives each answer a number, which `holdfast evaluate --reward RUN` reads.
    general_preference judges pairs, also where they beat each other in circles, and is read by
    `holdfast evaluate --judge RUN`.
    """


def _version(show: bool) -> None:
    if show:
        from holdfast import __version__

        print(f"holdfast {__version__}")
        raise typer.Exit


@app.callback()
def _top(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_version, is_eager=True, help="print the version and stop"
        ),
    ] = False,
) -> None:
    pass


@app.command()
def methods(
    name: Annotated[str | None, typer.Argument(help="a method; all of them unless given")] = None,
    as_json: Json = False,
) -> None:
    """The table of methods, or one method's page."""
    from rich.markdown import Markdown

    from holdfast import pages

    if as_json:
        print_json(pages.table() if name is None else pages.facts(name))
    else:
        out.print(pages.rich_table() if name is None else Markdown(pages.page(name)))


@app.command()
def rerun(
    run: Annotated[Path, typer.Argument(help="a run's folder, or its run.json")],
    folder: Annotated[Path, typer.Option("--out", help="folder of the new run")],
) -> None:
    """Run a recorded run again: the same method, settings, data and seed."""
    from holdfast.training.run.rerun import rerun as again

    again(run, out=folder)


@app.command()
def demo(
    folder: Annotated[
        Path, typer.Option("--out", help="where the report and its pictures go")
    ] = Path("demo"),
    seed: Annotated[int, typer.Option(help="seed of everything")] = 0,
    quick: Annotated[
        bool,
        typer.Option(
            "--quick", help="seconds instead of minutes: shows that it runs, proves nothing"
        ),
    ] = False,
) -> None:
    """The whole story in minutes on two cores, nothing downloaded: 30% of labels flipped, DPO and
    rDPO, who was fooled.
    """
    from holdfast.demo import demo as run

    run(folder, quick=quick, seed=seed)


if __name__ == "__main__":
    main()
