"""Files of instances: what is read, and what is refused by place."""

from __future__ import annotations

import gzip
import json

import numpy as np
import pytest

from holdfast.errors import DataError
from holdfast.optimization.two_stage import CapitalBudgeting, CapitalLoans, Knapsack, read_instances

TEXT = "2 6 1\n 10 5 1 3 12\n 8 4 1 2 9\n"
ROW = {
    "instance": "two",
    "n_items": 2,
    "profit": [10, 8],
    "degradation": [5, 4],
    "outsourcing_cost": [12, 9],
    "weight": [3, 2],
    "repair_weight": [1, 1],
    "capacity": 6,
    "budget": 1,
    "best_known": 15.7778,
}


def test_published_text_and_json_are_the_same_problem(tmp_path):
    (tmp_path / "two.txt").write_text(TEXT)
    (tmp_path / "rows.jsonl.gz").write_bytes(gzip.compress(json.dumps(ROW).encode()))
    (tmp_path / "notes.md").write_text("not an instance")
    of_json, of_text = read_instances(tmp_path)
    assert of_json.name == of_text.name == "two"
    assert of_json.published == {"n_items": 2, "best_known": 15.7778}
    assert isinstance(of_text.problem, Knapsack)
    for field in Knapsack.__annotations__:
        assert np.array_equal(getattr(of_text.problem, field), getattr(of_json.problem, field))


def test_fields_say_the_class(tmp_path):
    loans = {
        "profit": [1, 2],
        "cost": [2, 3],
        "factors": [[0.1], [0.2]],
        "budget": 3,
        "first_loan": 1,
        "second_loan": 1,
        "first_loan_cost": 0.1,
        "second_loan_cost": 0.1,
        "late_discount": 0.8,
    }
    budgeting = {
        "cost_nominal": [2, 3],
        "profit_nominal": [1, 2],
        "cost_factors": [[1], [1]],
        "profit_factors": [[1], [1]],
        "budget": 3,
    }
    (tmp_path / "all.json").write_text(json.dumps([loans, budgeting]))
    first, second = read_instances(tmp_path / "all.json")
    assert isinstance(first.problem, CapitalLoans)
    assert isinstance(second.problem, CapitalBudgeting)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.txt", "", "a.txt is empty"),
        ("a.txt", "2 6\n", "line 1 has 2 numbers, not 3"),
        ("a.txt", TEXT + " 1 2 3\n", "line 4 has 3 numbers, not 5"),
        ("a.txt", TEXT.replace("12", "x"), "line 2: could not convert"),
        ("a.txt", TEXT.replace("2 6 1", "3 6 1"), "announces 3 items, and 2 follow"),
        ("a.txt", TEXT.replace("12", "nan"), r"outsourcing_N\[0\] is nan"),
        ("a.jsonl", json.dumps(ROW) + "\n{", "line 2 is no JSON"),
        ("a.jsonl", "[3]", "entry 1 is no JSON object"),
        ("a.json", json.dumps({**ROW, "weight": [1]}), r"entry 1: two: weight_N has shape"),
        ("a.json", json.dumps({**ROW, "n_items": 3}), "n_items is 3, and 2 are listed"),
        (
            "a.json",
            json.dumps({k: v for k, v in ROW.items() if k != "weight"}),
            "for Knapsack it lacks weight",
        ),
        ("a.jsonl.gz", "no gzip", "no JSON"),
    ],
)
def test_what_is_wrong_is_named_by_place(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=message):
        read_instances(tmp_path / name)


def test_damaged_and_missing_files_are_named(tmp_path):
    with pytest.raises(DataError, match="there is no file"):
        read_instances(tmp_path / "none.txt")
    with pytest.raises(DataError, match="holds no file of instances"):
        read_instances(tmp_path)
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(b"{}" * 100)[:20])
    with pytest.raises(DataError, match="cannot be read"):
        read_instances(tmp_path / "a.jsonl.gz")
