"""Arrays of numbers as they are handed in: real, finite, of the right shape and range, or an error
that names the first wrong entry.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from math import inf
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray

from holdfast.errors import DataError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
SUM_TOLERANCE = 1e-6  # of a distribution's sum, so that float32 policies pass


def floats(
    given: Any,
    what: str,
    *,
    shape: tuple[int | None, ...] | None = None,
    low: float = -inf,
    high: float = inf,
    finite: bool = True,
    one: bool = False,
    hint: str | None = None,
) -> NDArray[np.float64]:
    """`given` as a new float64 array.

    Args:
        given: anything numpy takes
        what: its name in errors
        shape: that it must have; None in a place allows any length
        low: the least entry allowed
        high: the largest entry allowed
        finite: whether infinities and NaN are refused; where they are not, the range holds for the
            finite entries
        one: whether it must be a single number, in an array of any shape or in none
        hint: the cure

    Raises:
        DataError: ragged, complex, text or missing entries, another shape, an entry that is not
            finite or out of range.
    """
    try:
        raw = np.asarray(
            np.ma.filled(given, np.nan) if isinstance(given, np.ma.MaskedArray) else given
        )
        if raw.dtype.kind not in "biufO" or any(
            isinstance(x, str | bytes | complex)
            for x in (raw.flat if raw.dtype.kind == "O" else ())
        ):
            raise TypeError(
                f"it holds {raw.dtype if raw.dtype.kind != 'O' else 'text or complex numbers'}"
            )
        out = np.array(raw, dtype=np.float64)
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:
        raise DataError(f"{what} must be an array of real numbers: {error}", hint=hint) from None
    if one and out.size == 1:
        out = out.reshape(())
    shape = () if one else shape
    if shape is not None and (
        out.ndim != len(shape)
        or any(n not in (None, m) for n, m in zip(shape, out.shape, strict=True))
    ):
        wanted = " x ".join("any" if n is None else str(n) for n in shape) + (
            " numbers" if len(shape) == 1 else ""
        )
        raise DataError(
            f"{what} has shape {out.shape}; it must be {wanted or 'one number'}", hint=hint
        )
    wrong = (
        (~np.isfinite(out) if finite else np.zeros(out.shape, bool)) | (out < low) | (out > high)
    )
    if wrong.any():
        at = tuple(int(i) for i in np.argwhere(wrong)[0])
        place = f"[{', '.join(map(str, at))}]" if at else ""
        value = float(out[at])
        must = (
            "finite"
            if not np.isfinite(value)
            else f"at least {low:g}"
            if value < low
            else f"at most {high:g}"
        )
        raise DataError(f"{what}{place} is {value:g}; it must be {must}", hint=hint)
    return out


def distribution(given: Any, size: int, what: str) -> NDArray[np.float64]:
    """Probabilities of `size` answers, at least 0 and summing to 1 (to within 1e-6; the sum is then
    made 1).

    Raises:
        DataError: it is something else.
    """
    hint = "probabilities, not logits: np.exp(log_softmax(logits_A))"
    p_A = floats(
        given, what, shape=(size,), low=0.0, hint=f"one probability for each of {size} answers"
    )
    total = float(p_A.sum())
    if not abs(total - 1) <= SUM_TOLERANCE:
        raise DataError(f"{what} sums to {total:g}, not to 1", hint=hint)
    return p_A / total


def whole(value: Any, least: int) -> bool:
    """Whether `value` is a whole number of at least `least`; numpy's count, True and 2.0 do not."""
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= least


def listed(given: Any, what: str) -> list[Any]:
    """`given` as a list.

    Raises:
        DataError: it is text, or nothing that can be listed.
    """
    if not isinstance(given, str | bytes):
        try:
            return list(given)
        except TypeError:
            pass
    raise DataError(f"{what} must be a list; it is {given!r}", hint="one entry each, in brackets")


def names(given: Sequence[Hashable], what: str) -> list[Hashable]:
    """Labels that can be told apart: hashable, equal to themselves (NaN is not), and not None.

    Raises:
        DataError: the first label that is none of that.
    """
    every = listed(given, what)
    for i, name in enumerate(every):
        try:
            hash(name)
            known = name is not None and bool(name == name)
        except (TypeError, ValueError):
            known = False
        if not known:
            raise DataError(
                f"{what}[{i}] is {name!r}, which names nobody",
                hint="text or numbers; drop rows that lack a name",
            )
    return every
