"""Bad rows: every kind shown at once, or written to a file from which nothing is lost."""

import json
import os

import pytest

from holdfast.data import read
from holdfast.data.row_errors import EXAMPLES, BadRow, RowError, RowErrors, write_quarantine
from holdfast.errors import DataError, OptionError
from holdfast.types import Where

GOOD = {"prompt": "p", "chosen": "a", "rejected": "b"}


def entries(path):
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_one_error_shows_every_kind_with_counts():
    rows = (
        [GOOD]
        + [{**GOOD, "chosen": ""}] * 7
        + [{**GOOD, "weight": -1}] * 2
        + [{**GOOD, "rejected": "a"}]
    )
    with pytest.raises(DataError) as caught:
        read(rows)
    lines = str(caught.value).splitlines()
    assert lines[0] == "10 of 11 rows cannot be used"
    assert [line.split(": ")[0].strip() for line in lines[1:6]] == [
        "rows:2",
        "rows:9",
        "rows:11",
        "rows:3",
        "rows:4",
    ]
    assert lines[6:9] == [
        "  7 of 11 rows: `chosen` is empty",
        "  2 of 11 rows: `weight` is out of range",
        "  1 of 11 rows: `chosen` and `rejected` are the same",
    ]
    assert lines[9].startswith("hint: ")


def test_the_quarantine_holds_the_row_its_place_and_the_cure(tmp_path):
    path, source = tmp_path / "new" / "q.jsonl", tmp_path / "a.jsonl"
    broken = '{"prompt": "ü", "chosen"'
    source.write_text(
        "\n".join(
            [json.dumps(GOOD), broken, json.dumps({**GOOD, "chosen": "日", "rejected": "日 "})]
        ),
        "utf-8",
    )
    got = read(source, quarantine=path)
    first, second = entries(path)
    assert (first["line"], first["raw"], first["reason"]) == (2, broken, "invalid JSON")
    assert (second["line"], second["field"], second["stage"]) == (3, "rejected", "read")
    assert second["row"] == {**GOOD, "chosen": "日", "rejected": "日 "}
    assert second["cure"].startswith("remove the row")
    assert "日" in path.read_text("utf-8")
    assert got.report.read == 3 == len(got) + len(entries(path))
    assert got.report.quarantine == str(path)
    assert [p.name for p in path.parent.iterdir()] == ["q.jsonl"]  # no temporary file stays


def test_a_second_read_does_not_double_the_file_and_two_sources_share_it(tmp_path):
    path = tmp_path / "q.jsonl"
    one, two = tmp_path / "one.jsonl", tmp_path / "two.jsonl"
    for source in (one, two):
        source.write_text(json.dumps(GOOD) + "\n" + json.dumps({**GOOD, "chosen": ""}) + "\n")
    for source in (one, two, one):
        read(source, quarantine=path)
    assert sorted(entry["file"] for entry in entries(path)) == [str(one), str(two)]
    one.write_text(json.dumps(GOOD))
    assert read(one, quarantine=path).report.skipped == {}
    assert [entry["file"] for entry in entries(path)] == [str(two)]


def test_parts_of_one_file_do_not_push_each_other_out(tmp_path):
    path = tmp_path / "q.jsonl"
    rows = [
        {**GOOD, "split": split, "chosen": chosen}
        for split in ("train", "test")
        for chosen in ("a", "")
    ]
    for split in ("train", "test", "train"):
        read(rows, split=split, quarantine=path)
    assert [entry["line"] for entry in entries(path)] == [4, 2]


def test_rows_of_any_kind_can_be_set_aside(tmp_path):
    path = tmp_path / "q.jsonl"
    deep = [0]
    for _ in range(200):
        deep = [deep]
    bad = [
        {**GOOD, "chosen": "\ud800"},
        {**GOOD, "x": deep},
        {1: 2},
        "text",
        None,
        {**GOOD, "chosen": b"bytes"},
        {**GOOD, "weight": float("nan")},
    ]
    got = read([GOOD, *bad], quarantine=path)
    assert len(got) == 1
    assert [entry["line"] for entry in entries(path)] == [2, 3, 4, 5, 6, 7, 8]
    assert entries(path)[0]["row"]["chosen"] == "\ud800"


def test_a_quarantine_never_overwrites_anything_else(tmp_path):
    source, notes = tmp_path / "a.jsonl", tmp_path / "notes.txt"
    source.write_text(json.dumps(GOOD) + "\n" + json.dumps({**GOOD, "chosen": ""}))
    notes.write_text("my notes\n")
    for path in (notes, source):
        before = path.read_text()
        with pytest.raises(OptionError, match="quarantine"):
            read(source, quarantine=path)
        assert path.read_text() == before


def test_a_quarantine_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path, tmp_path / "file" / "q.jsonl"):
        with pytest.raises(OptionError, match="hint: name another file"):
            read([GOOD, {**GOOD, "chosen": ""}], quarantine=path)


def test_a_failing_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "q.jsonl"
    entry = {"file": "a", "line": 1, "stage": "read", "reason": "x"}
    write_quarantine(path, [entry], stage="read", seen=lambda where: where.file == "a")
    before = path.read_text()

    class Unwritable:
        def __repr__(self):
            raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        write_quarantine(
            path,
            [{**entry, "row": Unwritable()}],
            stage="read",
            seen=lambda where: where.file == "a",
        )
    assert path.read_text() == before
    assert [p.name for p in tmp_path.iterdir()] == ["q.jsonl"]


def test_every_row_bad_is_an_error_even_with_a_quarantine(tmp_path):
    path = tmp_path / "q.jsonl"
    with pytest.raises(DataError, match="no row is left: 2 of 2 rows cannot be used"):
        read([{**GOOD, "chosen": ""}, {**GOOD, "chosen": None}], quarantine=path)
    assert len(entries(path)) == 2


def test_bad_rows_are_written_as_they_come_and_not_held(tmp_path):
    row_errors = RowErrors("read", tmp_path / "q.jsonl")
    for line in range(1, 201):
        row_errors.add(BadRow(Where("a", line), RowError("x", cure="y"), row={"n": line}))
    assert len(row_errors.shown) == EXAMPLES
    assert not list(tmp_path.iterdir())  # the file that holds them meanwhile has no name
    row_errors.settle(300, seen=lambda where: True)
    assert [entry["row"]["n"] for entry in entries(tmp_path / "q.jsonl")] == list(range(1, 201))


def test_a_device_is_no_quarantine_and_stays_what_it_was(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(OptionError, match="no regular file"):
        write_quarantine(pipe, [], stage="read", seen=lambda where: False)
    assert pipe.is_fifo()
