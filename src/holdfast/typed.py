"""Values that a person gives, held against the type that a signature or a field states: wrong ones
are refused by name.

numpy's scalars count as the numbers they are, and come out as Python's, so that a record can hold
them.
"""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import math
import numbers
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np

from holdfast.errors import OptionError, shown

LARGEST, EXACT = 2**63 - 1, 2**53
WORDS = {
    "NoneType": "None",
    "int": "a whole number",
    "float": "a finite number",
    "str": "text",
    "bool": "True or False",
}
PLAIN: Mapping[str, Any] = {"float": float, "int": int, "bool": bool, "str": str}


class Misfit(Exception):  # noqa: N818
    """A value is not of its type."""


def typed(name: str, kind: Any, value: Any) -> Any:
    """The value as `kind` has it: float, int, bool, str, None, Literal, a union or a tuple of
    these.

    Raises:
        OptionError: it is something else: text for a number, True for a number, NaN, an infinity, a
            number beyond float's or int64's range.
    """
    try:
        return _fitted(kind, value)
    except Misfit:
        pass
    hint = None
    if hasattr(value, "item") and not isinstance(value, np.generic):
        hint = f"give a number: {name}.item() is one, where it holds one"
    elif isinstance(value, str) and "number" in words(kind):
        hint = f"without quotes, {name}={value}" if _is_number(value) else None
    raise OptionError(f"{name} must be {words(kind)}, not {shown(value)}", hint=hint)


def values_of(given: Mapping[str, Any], who: str, *kinds: type[Any]) -> tuple[Any, ...]:
    """One value of each kind (dataclasses), from the loose keywords of `who` that are its fields.

    Raises:
        OptionError: a name that is a field of none of them, or a value that does not fit its field.
    """
    known = {field.name: kind for kind in kinds for field in dataclasses.fields(kind)}
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]}?" if near else f"{who} also takes {', '.join(known)}"
            raise OptionError(f"{who} does not take {name}", hint=hint)
    return tuple(
        kind(**{name: value for name, value in given.items() if known[name] is kind})
        for kind in kinds
    )


def typed_arguments(function: Callable[..., Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Keyword arguments of a function, held against its annotations, where these are made of plain
    types.
    """
    hints = typing.get_type_hints(function)
    return {
        name: typed(name, hints[name], value) if name in hints and is_plain(hints[name]) else value
        for name, value in given.items()
    }


def kinds_of(function: Callable[..., Any]) -> dict[str, Any]:
    """The type of each keyword-only argument: of its annotation, else of its default; `Any` where
    neither tells.

    A method's whole configuration, so this is what the command line, `train` and the integrations
    read of it.
    """
    hints = typing.get_type_hints(function)
    found = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind is not parameter.KEYWORD_ONLY:
            continue
        kind = hints.get(
            name, PLAIN.get(parameter.annotation) if isinstance(parameter.annotation, str) else None
        )
        if kind is None:
            default = parameter.default
            number = isinstance(default, int | float) and not isinstance(default, bool)
            kind = float if number else type(default) if isinstance(default, bool | str) else Any
        found[name] = kind
    return found


def is_plain(kind: Any) -> bool:
    """Whether values of this type can be checked here."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType, tuple):
        return all(entry is Ellipsis or is_plain(entry) for entry in inner)
    return origin is Literal or kind in (float, int, bool, str, type(None))


def words(kind: Any) -> str:
    """The type in words: "a finite number or None"."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin is tuple:
        return f"a list of {words(inner[0]).removeprefix('one of ')}"
    if origin is Literal:
        return f"one of {', '.join(map(str, inner))}"
    if inner:
        return " or ".join(words(option) for option in inner)
    return WORDS.get(kind.__name__, kind.__name__)


def _fitted(kind: Any, value: Any) -> Any:
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any or kind is object:
        return value
    if origin is Literal:
        if isinstance(value, str | int) and value in inner:
            return value
    elif origin in (typing.Union, types.UnionType):
        for option in inner:
            try:
                return _fitted(option, value)
            except Misfit:
                continue
    elif origin is tuple:
        if isinstance(value, tuple):
            return tuple(_fitted(inner[0], entry) for entry in value)
    elif kind is float:
        return _number(value)
    elif kind is int:
        if (
            isinstance(value, numbers.Integral)
            and not isinstance(value, bool)
            and abs(int(value)) <= LARGEST
        ):
            return int(value)
    elif kind is bool:
        if isinstance(value, bool | np.bool_):
            return bool(value)
    elif isinstance(value, kind):
        return value
    raise Misfit


def _number(value: Any) -> float | int:
    if isinstance(value, numbers.Real) and not isinstance(value, bool):
        try:
            finite = math.isfinite(value)
        except (
            OverflowError,
            TypeError,
            ValueError,
        ):  # a whole number beyond what a float can hold
            finite = False
        if finite:
            if isinstance(value, int) and abs(value) <= EXACT:
                return value
            return float(value)  # torch takes no whole number beyond int64
    raise Misfit


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
