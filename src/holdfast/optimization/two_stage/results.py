"""What solving a list of instances came to: a row each, in a file that a later call goes on
with.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Any

from holdfast.errors import RunError
from holdfast.files import write_text, writing
from holdfast.optimization.two_stage.capital_budgeting import CapitalBudgeting
from holdfast.optimization.two_stage.problem import Solution
from holdfast.optimization.two_stage.read import Instance
from holdfast.optimization.two_stage.solve import solve

Row = dict[str, Any]


def row_of(instance: Instance, found: Solution) -> Row:
    """A solution as plain numbers; profits and costs as `value`, a cost."""
    best = best_known_cost(instance)
    return {
        "instance": instance.name,
        "n": len(instance.problem),
        "method": found.method,
        "value": found.value,
        "worst_case_bound": found.worst_case.bound,
        "lower": found.lower if isfinite(found.lower) else None,
        "seconds": found.seconds,
        "status": found.status,
        "best_known": best,
        "relative_error_percent": None if best is None else relative_error(found.value, best),
        "x": [int(v) for v in found.x_N],
        "worst_xi": [float(v) for v in found.worst_case.xi_J],
        "scenarios": [[float(v) for v in xi_J] for xi_J in found.scenarios_KJ],
        "iterates": [
            {"believed": each.believed, "value": each.exact, "seconds": each.seconds}
            for each in found.iterates
        ],
    }


def best_known_cost(instance: Instance) -> float | None:
    """The best published value as a cost: knapsacks and loans are published as profits."""
    published = instance.published
    for name in ("best_known", "bp_objective"):
        value = published.get(name)
        if isinstance(value, int | float) and isfinite(value):
            return float(value) * (1 if isinstance(instance.problem, CapitalBudgeting) else -1)
    return None


def relative_error(value: float, best: float) -> float:
    """How much worse than the best known cost, in percent of its size; below 0 where better."""
    return 100 * (value - best) / max(abs(best), 1e-9)


def solve_all(
    instances: Sequence[Instance],
    method: str,
    settings: Mapping[str, Any],
    out: Path | None = None,
) -> Iterator[Row]:
    """One row an instance, in order; rows that `out` has from an earlier call are read from there.

    Raises:
        RunError: `out` holds results of another method or other settings.
    """
    head = {"method": method, **settings}
    there = {} if out is None else read_rows(out, head)
    rows = list(there.values())
    for instance in instances:
        if instance.name in there:
            yield there[instance.name]
            continue
        row = row_of(instance, solve(instance.problem, method=method, **settings))
        rows.append(row)
        if out is not None:
            with writing(str(out)):
                write_text(out, "".join(json.dumps(each) + "\n" for each in (head, *rows)))
        yield row


def read_rows(path: Path, head: Mapping[str, Any]) -> dict[str, Row]:
    """The rows of a file by instance; none where there is no file.

    Raises:
        RunError: it is no file of results, or of another method or other settings.
    """
    if not path.exists():
        return {}
    try:
        first, *rows = (json.loads(line) for line in path.read_text("utf-8").splitlines())
        found = {str(row["instance"]): row for row in rows}
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise RunError(
            f"{path} is no file of results: {error}", hint="name another file"
        ) from error
    if first != json.loads(json.dumps(head)):
        raise RunError(
            f"{path} holds results of {json.dumps(first)}, not of {json.dumps(head)}",
            hint="name another file, or ask for the same",
        )
    return found
