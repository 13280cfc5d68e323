"""The command line: each verb calls the function of the same name.

Flags come from signatures and their help from docstrings, so there is one place where each is said.
What is heavy to import is imported when its command is asked for, so that `holdfast --help` answers
at once.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from holdfast.cli import data, training
from holdfast.cli.screen import Json, err, out, print_json, say
from holdfast.errors import HoldfastError
from holdfast.extras import EXTRA_OF, require
from holdfast.files import writing
from holdfast.flags import cure_in_a_shell, plainly, with_kinds
from holdfast.signals import unwinding


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
        say("error: ", message, "bold red")
        if hint:
            say("hint: ", cure_in_a_shell(hint), "bold green")
        sys.exit(getattr(error, "exit_code", 2))  # an interrupted run knows its own
    except KeyboardInterrupt:
        err.print("interrupted")
        sys.exit(130)


class PlainGroup(TyperGroup):
    """A group whose own flags show kinds of values as a shell user knows them."""

    def get_params(self, ctx: Any) -> list[Any]:
        return with_kinds(super().get_params(ctx))


class Methods(PlainGroup):
    """One sub-command a method."""

    def list_commands(self, ctx: Any) -> list[str]:
        from holdfast.methods import METHODS

        return list(METHODS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        return training.train(cmd_name)


class Kinds(PlainGroup):
    """One sub-command a kind of reward model."""

    def list_commands(self, ctx: Any) -> list[str]:
        from holdfast.rewards import REWARDS

        return list(REWARDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        return training.train_reward(cmd_name)


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


class Verbs(PlainGroup):
    """The verbs in the order of a day's work; the heavy ones are made when asked for."""

    HEAVY: dict[str, Callable[[str], Any]] = {  # noqa: RUF012
        "check": data.check,
        "clean": data.clean,
        "selfplay": training.selfplay,
        "evaluate": data.evaluate,
        "new-model": data.new_model,
        "optimize": _optimize,
        "lab": _lab,
    }
    ORDER = (
        "check",
        "clean",
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
            command = super().get_command(ctx, cmd_name)
            return None if command is None else plainly(command)
        try:
            return plainly(self.HEAVY[cmd_name](cmd_name))
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
    """Train with a method of the table. holdfast train METHOD --help shows its own settings."""


@reward_app.callback()
def _rewards_group() -> None:
    """Train a reward or preference model on comparisons. holdfast train-reward KIND --help shows
    its own settings.

    bradley_terry gives each answer a number, which holdfast evaluate --reward RUN reads;
    margin_bradley_terry, smoothed_bradley_terry, ldr, aldr, gce, sce, mae, active_passive,
    jensen_shannon and hinge do so too and differ in what a pair costs.
    general_preference judges pairs, intransitive preferences included, and is read by
    holdfast evaluate --judge RUN.
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
    """The table of methods, one line each; with a name, that method's page."""
    from rich.markdown import Markdown

    from holdfast import pages

    if as_json:
        print_json(pages.table() if name is None else pages.facts(name))
    else:
        out.print(pages.rich_table() if name is None else Markdown(pages.page(name)))
        if name is None:
            say(
                "",
                "holdfast methods NAME shows a method's page; holdfast train NAME trains with it",
            )


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
    """The whole story in minutes on two cores, nothing downloaded: a check-up of data with 30% of
    the labels flipped, DPO and rDPO trained on them, and what each learned.
    """
    from holdfast.demo import demo as run

    run(folder, quick=quick, seed=seed)


if __name__ == "__main__":
    main()
