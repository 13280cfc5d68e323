"""Instances from files: the text files of the published knapsacks, and JSON lines for every class.

A text file holds `items capacity budget` and then, an item a line, `profit degradation
repair_weight weight outsourcing_cost`. In JSON each object is an instance, and its fields say which
class it is of; `instance` is its name, and `best_known` the best published value as a profit for
knapsacks and loans, as a cost for capital budgeting.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from holdfast.errors import DataError, shown
from holdfast.optimization.two_stage.capital_budgeting import CapitalBudgeting
from holdfast.optimization.two_stage.capital_loans import CapitalLoans
from holdfast.optimization.two_stage.knapsack import Knapsack

FILES = (".txt", ".dat", ".json", ".jsonl", ".json.gz", ".jsonl.gz")

# class -> its fields in a file, as our own are called
FIELDS: Mapping[type[Any], Mapping[str, str]] = {
    Knapsack: {
        "profit_N": "profit",
        "degradation_N": "degradation",
        "outsourcing_N": "outsourcing_cost",
        "weight_N": "weight",
        "repair_N": "repair_weight",
        "capacity": "capacity",
        "budget": "budget",
    },
    CapitalBudgeting: {
        "cost_N": "cost_nominal",
        "profit_N": "profit_nominal",
        "cost_factors_NJ": "cost_factors",
        "profit_factors_NJ": "profit_factors",
        "budget": "budget",
    },
    CapitalLoans: {
        "profit_N": "profit",
        "cost_N": "cost",
        "factors_NJ": "factors",
        "budget": "budget",
        "first_loan": "first_loan",
        "second_loan": "second_loan",
        "first_loan_cost": "first_loan_cost",
        "second_loan_cost": "second_loan_cost",
        "late": "late_discount",
    },
}


@dataclass(frozen=True)
class Instance:
    """A problem from a file.

    Attributes:
        problem: the problem
        published: the other fields that stood beside it: best values, seconds, decisions
    """

    problem: Knapsack | CapitalBudgeting | CapitalLoans
    published: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.problem.name


def read_instances(place: str | Path) -> list[Instance]:
    """The instances of a file, or of every file of a folder.

    Raises:
        DataError: there are none; or the file, line or field that is wrong.
    """
    path = Path(place)
    if path.is_dir():
        files = sorted(p for p in path.iterdir() if p.name.lower().endswith(FILES))
        if not files:
            raise DataError(
                f"{path} holds no file of instances", hint=f"their names end in {', '.join(FILES)}"
            )
        return [instance for file in files for instance in read_instances(file)]
    if not path.exists():
        raise DataError(f"there is no file {shown(str(path))}")
    text = _text(path)
    if path.name.lower().endswith((".txt", ".dat")):
        return [Instance(knapsack_of_text(text, path))]
    return list(_of_json(text, path))


def knapsack_of_text(text: str, path: Path) -> Knapsack:
    """A published knapsack.

    Raises:
        DataError: a line of another number of fields, or a field that is no number.
    """
    lines = [(at, line.split()) for at, line in enumerate(text.splitlines(), 1) if line.strip()]
    if not lines:
        raise DataError(f"{path} is empty", hint="line 1 is `items capacity budget`")
    numbers: list[list[float]] = []
    for at, words in lines:
        wanted = 3 if not numbers else 5
        if len(words) != wanted:
            names = (
                "items capacity budget"
                if wanted == 3
                else "profit degradation repair_weight weight outsourcing_cost"
            )
            raise DataError(
                f"{path}, line {at} has {len(words)} numbers, not {wanted}",
                hint=f"it should read `{names}`",
            )
        try:
            numbers.append([float(word) for word in words])
        except ValueError as error:
            raise DataError(f"{path}, line {at}: {error}") from None
    (count, capacity, budget), items = numbers[0], numbers[1:]
    if count != len(items):
        raise DataError(f"{path}, line 1 announces {count:g} items, and {len(items)} follow")
    profit, degradation, repair, weight, outsourcing = np.array(items).T
    return Knapsack(
        profit, degradation, outsourcing, weight, repair, capacity, budget, name=path.stem
    )


def _of_json(text: str, path: Path) -> Iterator[Instance]:
    try:
        whole = json.loads(text)
        rows = list(enumerate(whole if isinstance(whole, list) else [whole], 1))
        unit = "entry"
    except json.JSONDecodeError:
        rows, unit = [], "line"
        for at, line in enumerate(text.splitlines(), 1):
            if line.strip():
                try:
                    rows.append((at, json.loads(line)))
                except (json.JSONDecodeError, RecursionError) as error:
                    raise DataError(f"{path}, line {at} is no JSON: {error}") from None
    except RecursionError as error:
        raise DataError(f"{path} is no JSON that can be read: {error}") from None
    for at, row in rows:
        where = f"{path}, {unit} {at}"
        if not isinstance(row, dict):
            raise DataError(f"{where} is no JSON object")
        yield instance_of(row, where)


def instance_of(row: Mapping[str, Any], where: str) -> Instance:
    """One JSON object.

    Raises:
        DataError: its fields belong to no class, or one of them is wrong.
    """
    for kind, fields in FIELDS.items():
        if all(theirs in row for theirs in fields.values()):
            values = {ours: row[theirs] for ours, theirs in fields.items()}
            rest = {k: v for k, v in row.items() if k not in (*fields.values(), "instance")}
            name = str(row.get("instance", where))
            try:
                problem = kind(**values, name=name)
            except DataError as error:
                raise DataError(f"{where}: {error.args[0]}") from None
            count = row.get("n_items", len(problem))
            if count != len(problem):
                raise DataError(f"{where}: n_items is {count}, and {len(problem)} are listed")
            return Instance(problem, rest)
    near = max(FIELDS, key=lambda kind: sum(f in row for f in FIELDS[kind].values()))
    missing = [f for f in FIELDS[near].values() if f not in row]
    raise DataError(
        f"{where} is no instance of a known class: for {near.__name__} it lacks "
        + ", ".join(missing),
        hint="; ".join(f"{k.__name__} has {', '.join(f.values())}" for k, f in FIELDS.items()),
    )


def _text(path: Path) -> str:
    try:
        raw = path.read_bytes()
        return (gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw).decode("utf-8")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}") from None
