"""The command line: thin doors to the functions of the same names.

Nothing heavy is imported before a command needs it, so that `--help` answers at once.
"""

from __future__ import annotations

import inspect
import json
import sys
import types
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from typer.core import TyperGroup

from holdfast.errors import HoldfastError, OptionError

P = inspect.Parameter
out = Console()
err = Console(stderr=True)

app = typer.Typer(
    name="holdfast",
    help="Train language models on preferences that cannot be fully trusted: check, choose, train, watch, prove.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Json = Annotated[bool, typer.Option("--json", help="print one JSON object for machines instead of tables")]


def main() -> None:
    """Run the command line; a user's mistake ends in one readable message and status 2, an interrupted run in 130."""
    try:
        app()
    except HoldfastError as error:
        say_error(error)
        sys.exit(2)
    except KeyboardInterrupt:
        err.print("interrupted")
        sys.exit(130)


def say_error(error: HoldfastError) -> None:
    message, _, hint = str(error).partition("\nhint: ")
    err.print("[bold red]error:[/] ", end="")
    err.print(message, markup=False, highlight=False)
    if hint:
        err.print("[bold green]hint:[/] ", end="")
        err.print(hint, markup=False, highlight=False)


def print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, default=str))


def version(show: bool) -> None:
    if show:
        from holdfast import __version__

        print(f"holdfast {__version__}")
        raise typer.Exit


@app.callback()
def top(
    show_version: Annotated[bool, typer.Option("--version", callback=version, is_eager=True, help="print the version and stop")] = False,
) -> None:
    pass


# ------------------------------------------------------------ train


class Methods(TyperGroup):
    """One sub-command a method, made when asked for: its flags are the options of training and the method's own signature."""

    def list_commands(self, ctx: Any) -> list[str]:
        from holdfast.methods import METHODS

        return list(METHODS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        from holdfast.methods import get

        get(cmd_name)  # an unknown name is refused with the nearest one
        return typer.main.get_command_from_info(
            typer.models.CommandInfo(
                name=cmd_name,
                callback=_train_command(cmd_name),
                context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
                cls=typer.core.TyperCommand,
            ),
            pretty_exceptions_short=False,
            rich_markup_mode="rich",
        )


train_app = typer.Typer(
    cls=Methods,
    no_args_is_help=True,
    help="Train with a method of the table: holdfast train dpo --model M --data prefs.jsonl. See `holdfast train METHOD --help`.",
)
app.add_typer(train_app, name="train")


@train_app.callback()
def _train_group() -> None:
    pass


def _train_command(name: str) -> Callable[..., None]:
    from holdfast.card import settings_of
    from holdfast.methods import get
    from holdfast.pages import help_of, summary_of
    from holdfast.train import options as training

    method = get(name)
    own = {
        setting: _flag(setting, parameter.annotation, parameter.default, help_of(method, setting), f"What {name} reads")
        for setting, parameter in settings_of(method.objective).items()
    }
    defaults = training.Options()
    helps = training.helps()
    shared = {
        option: _flag(option, kind, getattr(defaults, option), helps[option], "How the run is carried out")
        for option, kind in training.kinds().items()
    }
    fixed = {p.name: p for p in inspect.signature(_run_training).parameters.values() if p.name not in ("ctx", "method", "settings")}

    def command(ctx: typer.Context, **given: Any) -> None:
        _refuse_extras(ctx, method)
        chosen = {k: v for k, v in given.items() if k in fixed}
        settings = {k: _plain(v) for k, v in given.items() if k not in fixed and _was_given(ctx, k)}
        _run_training(ctx, name, settings, **chosen)

    parameters = [P("ctx", P.POSITIONAL_OR_KEYWORD, annotation=typer.Context), *fixed.values(), *own.values(), *shared.values()]
    command.__signature__ = inspect.Signature([p.replace(kind=P.KEYWORD_ONLY) if p.name != "ctx" else p for p in parameters])  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in parameters}
    command.__doc__ = summary_of(method)
    return command


def _run_training(
    ctx: typer.Context,
    method: str,
    settings: dict[str, Any],
    model: Annotated[str, typer.Option(help="model to train: a folder or a name on the hub", rich_help_panel="What goes in and out")],
    data: Annotated[
        str,
        typer.Option(help="rows: a file (JSONL, JSON, CSV, Parquet, .gz), a folder, or a hub name", rich_help_panel="What goes in and out"),
    ],
    out: Annotated[
        Path | None, typer.Option(help="folder of the run; runs/METHOD unless given", rich_help_panel="What goes in and out")
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option(help="reference model; the policy as it was before training unless given", rich_help_panel="What goes in and out"),
    ] = None,
    eval_data: Annotated[
        str | None, typer.Option(help="rows to evaluate on during training", rich_help_panel="What goes in and out")
    ] = None,
    reduction: Annotated[
        str | None,
        typer.Option(
            help="how costs become one number: mean, kl:temperature=1, chi_square:radius=1, cvar:alpha=0.2, groups",
            rich_help_panel="What goes in and out",
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="go on from the last checkpoint in --out", rich_help_panel="What goes in and out")
    ] = False,
    show: Annotated[
        int,
        typer.Option(
            help="print so many rendered examples with the response mask visible, and stop", rich_help_panel="What goes in and out"
        ),
    ] = 0,
    as_json: Annotated[
        bool, typer.Option("--json", help="print the run's record as JSON at the end", rich_help_panel="What goes in and out")
    ] = False,
) -> None:
    from holdfast.train import pairwise

    if show:
        pairwise.show(method, model=model, data=data, n=show, **settings)
        return
    run = pairwise.train(
        method,
        model=model,
        data=data,
        out=out or Path("runs") / method,
        reference=reference,
        eval_data=eval_data,
        reduction=reduction,
        resume=resume,
        **settings,
    )
    if as_json:
        print_json(run.record)


def _flag(name: str, annotation: Any, default: Any, text: str, panel: str) -> P:
    """A keyword argument as a command-line flag with its help."""
    kind = _cli_type(annotation)
    flags = [f"--{name.replace('_', '-')}"]
    if kind is bool:
        flags = [f"--{name.replace('_', '-')}/--no-{name.replace('_', '-')}"]
    option = typer.Option(*flags, help=text, rich_help_panel=panel, show_default=default not in (None, (), False))
    shown = list(default) if isinstance(default, tuple) else default
    return P(name, P.KEYWORD_ONLY, default=... if default is P.empty else shown, annotation=Annotated[kind, option])


def _cli_type(annotation: Any) -> Any:
    """What typer understands of an annotation: tuples become repeatable flags, strings (postponed annotations) are read."""
    if isinstance(annotation, str):
        annotation = eval(annotation, {"Literal": Literal})
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (types.UnionType, typing.Union):
        options = [_cli_type(a) for a in inner if a is not type(None)]
        return options[0] | None if len(inner) > len(options) else options[0]
    if origin is tuple:
        return list[inner[0]]  # type: ignore[valid-type]
    return annotation


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _was_given(ctx: Any, name: str) -> bool:
    source = ctx.get_parameter_source(name)
    return source is not None and source.name not in ("DEFAULT", "DEFAULT_MAP")


def _refuse_extras(ctx: Any, method: Any) -> None:
    """A flag that neither training nor the method reads is an error that says who does read it."""
    from holdfast.train.options import split_options

    for extra in ctx.args:
        if not extra.startswith("-"):
            raise OptionError(f"unexpected argument {extra!r}", hint=f"holdfast train {method.name} --help")
        split_options(method, {extra.lstrip("-").partition("=")[0].replace("-", "_"): None})


# ------------------------------------------------------------ the other verbs


@app.command()
def methods(name: Annotated[str | None, typer.Argument(help="a method; all of them unless given")] = None, as_json: Json = False) -> None:
    """The table of methods, or one method's page."""
    from holdfast import pages

    if name is None:
        rows = pages.table()
        if as_json:
            print_json(rows)
        else:
            out.print(pages.rich_table())
        return
    if as_json:
        print_json(pages.facts(name))
    else:
        from rich.markdown import Markdown

        out.print(Markdown(pages.page(name)))


@app.command()
def demo(
    folder: Annotated[Path, typer.Option("--out", help="where the report and its pictures go")] = Path("demo"),
    seed: Annotated[int, typer.Option(help="seed of everything")] = 0,
    quick: Annotated[bool, typer.Option("--quick", help="seconds instead of minutes: shows that it runs, proves nothing")] = False,
) -> None:
    """The whole story in minutes on two cores, nothing downloaded: 30% of labels flipped, DPO and rDPO, who was fooled."""
    from holdfast.demo import demo as run

    run(folder, quick=quick, seed=seed)


@app.command("new-model")
def new_model(
    data: Annotated[str, typer.Argument(help="rows whose text the tokenizer is trained on: any file that `train` reads")],
    folder: Annotated[Path, typer.Option("--out", help="folder of the new model")],
    vocab: Annotated[int, typer.Option(help="size of the vocabulary")] = 8000,
    hidden: Annotated[int, typer.Option(help="width")] = 256,
    layers: Annotated[int, typer.Option(help="number of layers")] = 6,
    heads: Annotated[int, typer.Option(help="attention heads")] = 4,
    max_length: Annotated[int, typer.Option(help="longest sequence, tokens")] = 1024,
    seed: Annotated[int, typer.Option(help="seed of the weights")] = 0,
) -> None:
    """A small untrained Llama and a byte-level BPE tokenizer of one's own, ready for `holdfast train sft`."""
    from holdfast.data import read, texts_of
    from holdfast.models.small import small_model

    path = small_model(
        texts_of(read(data)), folder, vocab=vocab, hidden=hidden, layers=layers, heads=heads, max_length=max_length, seed=seed
    )
    out.print(f"wrote {path}", markup=False)


@app.command()
def rerun(
    run: Annotated[Path, typer.Argument(help="a run's folder or its run.json")],
    folder: Annotated[Path, typer.Option("--out", help="folder of the new run")],
) -> None:
    """Run a recorded run again: the same method, settings, data and seed."""
    from holdfast.train.record import rerun as again

    again(run, out=folder)


if __name__ == "__main__":
    main()
