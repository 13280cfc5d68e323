"""The settings of a method and its reduction, held against what they may be before anything is
loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor

from holdfast.card import Method, Reduction, costs, initial_state, settings_of
from holdfast.errors import NeedError, OptionError
from holdfast.inputs.base import Input
from holdfast.reductions import REDUCTIONS, parse
from holdfast.types import Scored


def try_settings(method: Method, settings: Mapping[str, Any]) -> None:
    """Compute the cost of two answers of one token, so that a setting out of range is refused
    before anything is loaded.
    """
    one = Scored(torch.zeros(2, 1), torch.ones(2, 1), torch.zeros(2, 1))
    inputs: dict[Input, Tensor] = {}
    extra: dict[str, Scored] = {}
    for need in (*method.card.needs, *method.reduction.needs):
        need.fill(inputs, extra, one)
    batch = method.takes.of({**dict.fromkeys(method.takes.MAIN, one), **extra}, inputs)
    with suppress(NeedError):  # of something that only real rows have
        costs(method, batch, settings, initial_state(method))


def read_reduction(given: str | Reduction | None, method: Method, groups: int) -> Reduction:
    """The reduction to train with. A setting `k` that was left open is the number of groups in the
    data.
    """
    if given is None:
        return method.reduction
    if isinstance(given, Reduction):
        return given
    name, _, rest = given.partition(":")
    factory = REDUCTIONS.get(name.strip())
    if factory is not None and "k" in settings_of(factory) and "k=" not in rest.replace(" ", ""):
        if not groups:
            raise OptionError(
                f"the reduction {given!r} needs groups, and the rows have none",
                hint="add a `group` column",
            )
        given = f"{name}:" + ",".join(filter(None, [rest, f"k={groups}"]))
    return parse(given)
