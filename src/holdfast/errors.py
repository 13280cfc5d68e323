"""Errors that say what is wrong, where, and what to do about it."""

from __future__ import annotations

from typing import Any

from holdfast.visible import lines_of, visible


class HoldfastError(Exception):
    """The base of every error a user can cause. Its text ends in a line `hint: ...` when there is a
    cure.
    """

    def __init__(self, message: str, *, hint: str | None = None):
        super().__init__(
            lines_of(f"{message}\nhint: {hint}" if hint else message)
        )  # names from data stand in it
        self.hint = hint

    def __reduce__(self) -> tuple[Any, ...]:
        """As it is, whatever its class is made with: an error of a worker process must reach the
        reader.
        """
        return _again, (type(self), self.args, self.__dict__)


def _again(
    kind: type[HoldfastError], args: tuple[Any, ...], state: dict[str, Any]
) -> HoldfastError:
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(state)
    return error


def shown(value: Any, most: int = 80) -> str:
    """A value as an error names it: its repr on one line, shortened in the middle, whatever it is
    and however large.
    """
    try:
        text = repr(value)
    # a number of more digits than Python prints, a list nested deeper than it can follow, a repr of
    # somebody's own
    except Exception:
        return f"a {type(value).__name__} that cannot be shown"
    text = visible(" ".join(text.split()))
    return text if len(text) <= most else f"{text[: most * 3 // 4]}...{text[-most // 4 :]}"


class DataError(HoldfastError):
    """A row, a file or a column that cannot be used. The message names file, line and field."""


class NeedError(HoldfastError):
    """A method asked for something that the run does not have (a reference, a label, a group)."""

    def __init__(self, need: str, message: str, *, hint: str | None = None):
        super().__init__(message, hint=hint)
        self.need = need
        self.message = message

    def of(self, who: str) -> NeedError:
        """The same, said of the method that asked."""
        if who in self.message:
            return self
        named = (
            f"{who} {self.message}"
            if self.message.startswith("needs ")
            else f"{who}: {self.message}"
        )
        return NeedError(self.need, named, hint=self.hint)


class OptionError(HoldfastError):
    """An option that nobody reads, or a value outside its range."""


class ModelError(HoldfastError):
    """A model or tokenizer that is not what it says."""


class RunError(HoldfastError):
    """A run that cannot start, go on or be resumed."""
