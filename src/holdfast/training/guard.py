"""What must hold before a step is taken, checked while it can still be refused."""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from holdfast.errors import RunError
from holdfast.training.objective import BatchResult, BoundObjective
from holdfast.types import Row

# Largest departure of the first batch's mean cost from its known value, relative to that value
# where it exceeds 1. In float32 what is left is rounding; in bfloat16 a log-probability carries two
# to three digits, and two packings of one row differ by as much.
AT_REFERENCE = {"fp32": 1e-5, "bf16": 0.1}


def check_finite(result: BatchResult, rows: Sequence[Row], step: int) -> None:
    """Raise RunError naming the rows of a batch whose loss or costs are not finite."""
    if bool(torch.isfinite(result.total)) and bool(torch.isfinite(result.cost_N).all()):
        return
    raise RunError(
        f"the loss of step {step} is {float(result.total)}, so the step was not taken. "
        f"{_listing(result.cost_N, rows)}",
        hint=(
            "look at the rows named; then try a lower learning_rate, a longer warmup_steps, "
            "or a smaller max_grad_norm"
        ),
    )


def check_gradient(norm: float, result: BatchResult, rows: Sequence[Row], step: int) -> None:
    """Raise RunError naming the rows of a batch whose gradient is not finite though its costs
    are.
    """
    if math.isfinite(norm):
        return
    raise RunError(
        f"the gradient of step {step} has norm {norm} though its loss is "
        f"{float(result.total)}, so the step was not taken. "
        f"{_listing(result.cost_N, rows)}",
        hint=(
            "a weight or an activation has overflowed: try a lower learning_rate, or precision fp32"
        ),
    )


def _listing(cost_N: Tensor, rows: Sequence[Row]) -> str:
    costs = cost_N.tolist()
    bad = [n for n, cost in enumerate(costs) if not math.isfinite(cost)]
    guilty = (
        f"rows whose cost is not finite: {', '.join(str(rows[n].where) for n in bad)}"
        if bad
        else "every row's own cost is finite"
    )
    return "\n".join(
        [
            f"{guilty}. The batch:",
            *(f"  {row.where} (cost {cost:.6g})" for row, cost in zip(rows, costs, strict=True)),
        ]
    )


def check_start(result: BatchResult, objective: BoundObjective, *, precision: str) -> float | None:
    """At the reference the mean cost of a batch is known (ln 2 for dpo); it must be what the first
    batch reads.

    The cheapest test that the reference is right. Returns the departure, None if the method states
    no value.

    Raises:
        RunError: it is not.
    """
    known = objective.method.card.at_reference
    if known is None:
        return None
    wanted = known(**_that_it_takes(known, objective.settings))
    read = float(result.cost_N.double().mean())
    if not abs(read - wanted) <= AT_REFERENCE[precision] * max(1.0, abs(wanted)):
        raise RunError(
            "before any step the policy is its own reference, so the mean cost of "
            f"{objective.method.name} must be {wanted:.7g}; the first "
            f"batch reads {read:.7g}. The reference is wrong, or the forward pass does "
            "not repeat itself (dropout, or a kernel)",
            hint=(
                "delete the run's reference folder if it was written by something else; "
                "scoring='padded' tells whether packing is at fault"
            ),
        )
    return abs(read - wanted)


def _that_it_takes(function: object, settings: object) -> dict[str, object]:
    assert callable(function) and isinstance(settings, dict)
    parameters = inspect.signature(function).parameters.values()
    if any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters):
        return dict(settings)
    return {
        parameter.name: settings[parameter.name]
        for parameter in parameters
        if parameter.name in settings
    }
