"""A function's signature as command-line flags: keyword, type, default, and the line of help from
the docstring's `Args:`.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import types
import typing
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

P = inspect.Parameter

# Python takes loaded models, rows and functions where the command line takes their names.
NAMES: Mapping[str, Any] = {
    **dict.fromkeys(("model", "out", "method"), str),
    **dict.fromkeys(
        ("reference", "against", "reward", "judge", "reduction", "average", "population"),
        str | None,
    ),
    **dict.fromkeys(("data", "texts"), tuple[str, ...]),
    "eval_data": tuple[str, ...] | None,
}
SOURCES = ("data", "texts", "eval_data")  # each of them several files, if need be


def flags_of(
    function: Callable[..., Any],
    *,
    arguments: tuple[str, ...] = (),
    leave_out: tuple[str, ...] = (),
    panel: str = "Options",
) -> list[P]:
    """The parameters of a function as arguments and flags. `leave_out` are those that only Python
    can give.
    """
    from holdfast.card import help_of

    texts = help_of(function)
    hints = typing.get_type_hints(function)
    made = []
    for name, parameter in inspect.signature(function).parameters.items():
        if name in leave_out or parameter.kind in (P.VAR_KEYWORD, P.VAR_POSITIONAL):
            continue
        kind = NAMES.get(name, hints[name])
        if name in arguments:
            made.append(
                P(
                    name,
                    P.KEYWORD_ONLY,
                    default=...,
                    annotation=Annotated[
                        command_line_type(kind), typer.Argument(help=in_a_shell(texts[name], texts))
                    ],
                )
            )
        else:
            made.append(flag(name, kind, parameter.default, in_a_shell(texts[name], texts), panel))
    return made


def reading_flags(**defaults: Any) -> list[P]:
    """How rows are read, as flags: the fields of `holdfast.data.Reading`. `defaults` are those of a
    verb that has others.
    """
    from holdfast.data.reading import Reading

    return field_flags(Reading, "How rows are read", defaults)


def generation_flags(**defaults: Any) -> list[P]:
    """How answers are drawn, as flags: the fields of `Generation` but for its seed, which is the
    verb's own, and token ids, which nobody types.
    """
    from holdfast.generation import Generation

    leave_out = ("seed", "stop_ids")
    return field_flags(Generation, "How answers are drawn", defaults, leave_out=leave_out)


def field_flags(
    kind: type, panel: str, defaults: Mapping[str, Any], *, leave_out: Collection[str] = ()
) -> list[P]:
    """The fields of a dataclass as flags, with the help that their annotations give."""
    hints = typing.get_type_hints(kind, include_extras=True)
    made = []
    for field in dataclasses.fields(kind):
        if field.name not in leave_out:
            of, text = typing.get_args(hints[field.name])
            made.append(flag(field.name, of, defaults.get(field.name, field.default), text, panel))
    return made


def with_reading(function: Callable[..., Any]) -> Callable[..., Any]:
    """A command of typer's that takes `**reading`, with a flag for each field of it."""
    parameters = [
        p
        for p in inspect.signature(function, eval_str=True).parameters.values()
        if p.kind is not P.VAR_KEYWORD
    ]
    parameters = [p.replace(kind=P.KEYWORD_ONLY) for p in parameters] + reading_flags()
    function.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    function.__annotations__ = {p.name: p.annotation for p in parameters}
    return function


def source(names: Sequence[str]) -> str | list[Path]:
    """One file as its name; several as paths, which nobody takes for texts."""
    return names[0] if len(names) == 1 else [Path(name) for name in names]


def sourced(values: Mapping[str, Any]) -> dict[str, Any]:
    """The same flags, with the data as Python takes them."""
    return {
        name: source(value) if name in SOURCES and isinstance(value, list) and value else value
        for name, value in values.items()
    }


def flag(name: str, kind: Any, default: Any, text: str, panel: str) -> P:
    """One keyword argument as a flag."""
    kind = command_line_type(kind)
    dashed = name.replace("_", "-")
    required = default is P.empty
    spelled = (
        f"--{dashed}/--no-{dashed}" if kind is bool and default is not False else f"--{dashed}"
    )
    option = typer.Option(
        spelled,
        help=in_a_shell(text),
        rich_help_panel=panel,
        show_default=default not in (None, (), False),
    )
    shown = list(default) if isinstance(default, tuple) else default
    return P(
        name, P.KEYWORD_ONLY, default=... if required else shown, annotation=Annotated[kind, option]
    )


def command_line_type(kind: Any) -> Any:
    """What typer understands of an annotation: the first kind of a union, a repeatable flag for a
    tuple.
    """
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        first = (
            bool
            if bool in inner
            else next(command_line_type(option) for option in inner if option is not type(None))
        )
        return first | None if type(None) in inner else first
    if origin is tuple:
        return list[str] if typing.get_origin(inner[0]) is typing.Literal else list[inner[0]]  # type: ignore[valid-type]
    return kind


def kind_of_value(param: Any) -> str:
    """What stands for a flag's value in its help: its choices, or the kind in a shell's words."""
    kind = param.type_descriptor
    if param.metavar:
        return str(param.metavar)
    if kind.is_choice:
        shown = "|".join(str(getattr(choice, "value", choice)) for choice in kind.choices or ())
    elif kind.is_path:
        shown = "PATH"
    else:
        bare = param.bare_type().removeprefix("list[").removesuffix("]")
        shown = {"bool": "", "int": "INTEGER", "float": "NUMBER", "Path": "PATH"}.get(bare, "TEXT")
    return f"{shown} ..." if kind.is_list and shown else shown


def with_kinds(params: list[Any]) -> list[Any]:
    """Parameters of a command that show their kinds of values by `kind_of_value`."""
    for param in params:
        param.display_type_rich = lambda ctx, shown=kind_of_value(param): shown
    return params


def plainly(command: Any) -> Any:
    """The command, or the group with all its commands, with help that names kinds of values as a
    shell user knows them.
    """
    params = command.get_params
    command.get_params = lambda ctx: with_kinds(params(ctx))
    for inner in getattr(command, "commands", {}).values():
        plainly(inner)
    return command


def in_a_shell(text: str, names: Collection[str] = ()) -> str:
    """A line of help of a function, for its flag: what only Python can give is left out, and
    arguments, the `names`, stand as flags.
    """
    text = text.partition(" In Python")[0].rstrip(". ")
    for name in names:
        text = text.replace(f"`{name}`", flag_name(name))
        if "_" in name:
            text = re.sub(rf"(?<![-\w]){name}(?!\w)", flag_name(name), text)
    return text.replace("`", "")


def cure_in_a_shell(hint: str) -> str:
    """A hint of an error, with arguments that are switched on (`resume=True`) as flags."""
    return re.sub(r"\b([a-z_]+)=True\b", lambda found: flag_name(found[1]), hint)


def flag_name(name: str) -> str:
    """`learning_rate` -> `--learning-rate`."""
    return "--" + name.replace("_", "-")


def as_command(
    name: str, callback: Callable[..., Any], parameters: list[P], doc: str, **context: Any
) -> Any:
    """A command of typer's whose flags are `parameters`, whatever the callback's own signature
    says.
    """
    callback.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    callback.__annotations__ = {p.name: p.annotation for p in parameters}
    callback.__doc__ = doc.replace("`", "")
    settings = {"help_option_names": ["-h", "--help"], **context}
    info = typer.models.CommandInfo(
        name=name, callback=callback, context_settings=settings, cls=typer.core.TyperCommand
    )
    return plainly(
        typer.main.get_command_from_info(
            info, pretty_exceptions_short=False, rich_markup_mode="rich"
        )
    )


def given(ctx: Any, values: Mapping[str, Any]) -> dict[str, Any]:
    """The flags that were typed, lists as tuples: a default is the function's own business."""
    typed = {}
    for name, value in values.items():
        source = ctx.get_parameter_source(name)
        if source is not None and source.name not in ("DEFAULT", "DEFAULT_MAP"):
            typed[name] = tuple(value) if isinstance(value, list) and name not in SOURCES else value
    return sourced(typed)
