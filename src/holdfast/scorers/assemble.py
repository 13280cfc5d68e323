"""From scored branches and their rows to what an objective takes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from torch import Tensor

from holdfast.inputs.base import Code, Column, Input
from holdfast.inputs.columns import ANSWER_COLUMNS, PAIR_COLUMNS, group, rater
from holdfast.types import Batch, Pairs, Row, Scored


def assemble(
    takes: type[Batch],
    parts: Mapping[str, Scored],
    rows: Sequence[Row],
    groups: Sequence[str] = (),
    raters: Sequence[str | None] = (),
    needs: Iterable[Input] = (),
) -> Batch:
    """Put `Scored` branches and the columns of their rows together as `Pairs` or `Answers`.

    Args:
        takes: `Pairs` or `Answers`, as the method's card says.
        parts: one `Scored` per branch, aligned with `rows`.
        rows: the rows behind the branches.
        groups: names of all groups in the order of their numbers; a row's group becomes its place
            in this list.
        raters: likewise of all raters; None among them stands for the rows that name none.
        needs: inputs that a method declares: columns of its own are read beside ours.
    """
    device = next(iter(parts.values())).logp_NT.device
    inputs: dict[Input, Tensor] = {}
    for code, names in ((group, groups), (rater, raters)):
        coded_N = code.coded(rows, names, device)
        if coded_N is not None:
            inputs[code] = coded_N
    own = (need for need in needs if isinstance(need, Column) and not isinstance(need, Code))
    for column in dict.fromkeys((*(PAIR_COLUMNS if takes is Pairs else ANSWER_COLUMNS), *own)):
        value = column.read(rows, device)
        if value is not None:
            inputs[column] = value
    return takes.of(parts, inputs)
