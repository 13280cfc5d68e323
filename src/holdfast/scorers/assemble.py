"""From scored branches and their rows to what an objective takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from holdfast.types import Answers, Batch, Pairs, Row, Scored


def assemble(
    takes: type[Batch],
    parts: Mapping[str, Scored],
    rows: Sequence[Row],
    groups: Sequence[str] = (),
    raters: Sequence[str | None] = (),
) -> Batch:
    """Put `Scored` branches and the columns of their rows together as `Pairs` or `Answers`.

    Args:
        takes: `Pairs` or `Answers`, as the method's card says.
        parts: one `Scored` per branch, aligned with `rows`.
        rows: the rows behind the branches.
        groups: names of all groups in the order of their numbers; a row's group becomes its place in this list.
        raters: likewise of all raters; None among them stands for the rows that name none.
    """
    device = next(iter(parts.values())).logp_NT.device
    group_N = None
    if groups and all(row.group is not None for row in rows):
        number = {name: k for k, name in enumerate(groups)}
        group_N = torch.tensor([number[row.group] for row in rows if row.group is not None], device=device)
    weight_N = _column([row.weight for row in rows], device, missing=1.0)
    if takes is Answers:
        also = {name: scored for name, scored in parts.items() if name != "answer"}
        judged = all(row.desirable is not None for row in rows)
        desirable_N = torch.tensor([bool(row.desirable) for row in rows], device=device) if judged else None
        return Answers(parts["answer"], desirable_N=desirable_N, weight_N=weight_N, group_N=group_N, also=also)
    return Pairs(
        parts["chosen"],
        parts["rejected"],
        weight_N=weight_N,
        confidence_N=_column([row.confidence for row in rows], device),
        group_N=group_N,
        rater_N=torch.tensor([raters.index(row.rater) for row in rows], device=device) if raters else None,
        reward_gap_N=_extra("reward_gap", rows, device),
        log_odds_N2=_of_both("log_odds", rows, device),
        win_rate_N2=_of_both("win_rate", rows, device),
        earlier_win_rate_N2=_of_both("earlier_win_rate", rows, device),
        earlier_gap_N=_extra("earlier_gap", rows, device),
        also={name: scored for name, scored in parts.items() if name not in ("chosen", "rejected")},
    )


def _column(values: Sequence[float | None], device: torch.device, missing: float | None = None) -> Tensor | None:
    """A float column, None where no row has a value, or where some lack it and there is nothing to put in their place."""
    if all(value is None for value in values) or (missing is None and any(value is None for value in values)):
        return None
    return torch.tensor([missing if value is None else value for value in values], dtype=torch.float32, device=device)


def _extra(name: str, rows: Sequence[Row], device: torch.device) -> Tensor | None:
    return _column([_number(row.extra.get(name)) for row in rows], device)


def _of_both(name: str, rows: Sequence[Row], device: torch.device) -> Tensor | None:
    """The columns chosen_NAME and rejected_NAME side by side."""
    both = [_extra(f"{side}_{name}", rows, device) for side in ("chosen", "rejected")]
    found = [column for column in both if column is not None]
    return torch.stack(found, dim=1) if len(found) == 2 else None


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None
