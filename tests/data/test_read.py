"""Reading: every format gives the same rows, places are exact, and what cannot be read says so."""

import csv
import gzip
import io
import json

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from holdfast.data import Dataset, content_hash, read
from holdfast.data import lines as lines_module
from holdfast.errors import DataError, OptionError
from holdfast.types import Row, Where

PAIRS = [
    {"prompt": "2+2?", "chosen": "4", "rejected": "5", "strength": 1.5, "rater": "ann"},
    {
        "prompt": "Größe?",
        "chosen": 'a\nb, "c"',
        "rejected": "日本",
        "strength": 2.0,
        "rater": "bob",
    },
]


def jsonl(rows):
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def as_csv(rows):
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode()


def as_parquet(rows):
    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), out)
    return out.getvalue()


FORMATS = {
    "a.jsonl": jsonl,
    "a.ndjson": jsonl,
    "array.json": lambda rows: json.dumps(rows, indent=1).encode(),
    "object.json": lambda rows: json.dumps({"version": 1, "names": ["x"], "rows": rows}).encode(),
    "lines.json": jsonl,
    "a.csv": as_csv,
    "a.parquet": as_parquet,
}


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same_rows(tmp_path, name, zipped):
    data = FORMATS[name](PAIRS)
    path = tmp_path / (name + ".gz" if zipped else name)
    path.write_bytes(gzip.compress(data) if zipped else data)
    got = read(path)
    assert [(r.prompt, r.chosen, r.rejected, r.strength, r.rater) for r in got] == [
        tuple(row.values()) for row in PAIRS
    ]
    assert got.report.content_hash == read(PAIRS).report.content_hash
    assert (got.report.read, got.report.retained, got.report.rows, got.report.skipped) == (
        2,
        2,
        2,
        {},
    )


def test_a_json_file_may_hold_one_row_that_has_lists_of_its_own(tmp_path):
    path = tmp_path / "one.json"
    turns = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yes"}]
    path.write_text(json.dumps({"messages": turns}, indent=1))
    assert [row.answer for row in read(path)] == ["yes"]
    path.write_text(json.dumps({"prompt": "hi", "label": 1, "answer": "a"}))
    assert [row.desirable for row in read(path)] == [True]


def test_gzip_is_known_by_its_bytes_not_its_name(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(gzip.compress(jsonl(PAIRS)))
    assert len(read(tmp_path / "a.jsonl")) == 2
    (tmp_path / "b.jsonl.gz").write_bytes(jsonl(PAIRS))
    with pytest.raises(DataError, match="not gzip"):
        read(tmp_path / "b.jsonl.gz")


def lines_of(path):
    return [row.where.line for row in read(path)]


def test_lines_are_exact(tmp_path):
    one, two = (json.dumps(row) for row in PAIRS)
    (tmp_path / "blank.jsonl").write_text(f"\n{one}\n\n  \n{two}")
    assert lines_of(tmp_path / "blank.jsonl") == [2, 5]
    (tmp_path / "a.json").write_text(f'{{"meta": ["[", "{{"],\n "rows": [\n{one},\n\n{two}]\n}}')
    assert lines_of(tmp_path / "a.json") == [3, 5]
    # the first record spans lines 2 to 4, and line 5 is blank
    (tmp_path / "a.csv").write_text('prompt,chosen,rejected\n"two\nlines\n",b,c\n\np,q,r\n')
    assert lines_of(tmp_path / "a.csv") == [2, 6]
    assert read(tmp_path / "a.csv")[0].prompt == "two\nlines\n"
    assert str(read(tmp_path / "a.csv")[1].where) == f"{tmp_path / 'a.csv'}:6"


def test_byte_order_mark_and_crlf(tmp_path):
    for name, data in (
        ("a.jsonl", jsonl(PAIRS)),
        ("a.csv", b"prompt,chosen,rejected\np,q,r\n"),
        ("a.json", json.dumps(PAIRS).encode()),
    ):
        plain, marked = tmp_path / name, tmp_path / f"marked-{name}"
        plain.write_bytes(data)
        marked.write_bytes(b"\xef\xbb\xbf" + data.replace(b"\n", b"\r\n"))
        assert content_hash(read(marked)) == content_hash(read(plain))


def test_cells_of_a_csv_become_numbers_labels_lists_and_nothing(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(
        'prompt,answer,label,weight,group\nhi,"ho, '
        'ho",TRUE,0.5,\nhi,no,0,,g\n"[{""role"": ""user"", ""content"": ""q""}]",a,1,1,g\n'
    )
    with pytest.raises(
        DataError,
        match=r"a\.csv:4: field `prompt`: `prompt` is message lists where the file has text",
    ):
        read(path)
    first, second = read(path, quarantine=tmp_path / "q.jsonl")
    assert (first.answer, first.desirable, first.weight, first.group) == ("ho, ho", True, 0.5, None)
    assert (second.desirable, second.weight, second.group) == (False, None, "g")


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("empty.jsonl", b"", "holds no rows"),
        ("empty.csv", b"prompt,chosen,rejected\n", "holds no rows"),
        ("empty.json", b"[]", "holds no rows"),
        ("empty.jsonl.gz", gzip.compress(b"", mtime=0), "holds no rows"),
        ("cut.jsonl.gz", gzip.compress(jsonl(PAIRS * 100), mtime=0)[:-20], "cut short or broken"),
        (
            "broken.jsonl.gz",
            gzip.compress(b"x" * 5000, mtime=0)[:12] + b"\xff" * 20,
            "cut short or broken",
        ),
        ("utf16.csv", "prompt,chosen,rejected\n".encode("utf-16"), "UTF-16"),
        ("cut.json", json.dumps(PAIRS).encode()[:-30], r"cut\.json:1: invalid JSON"),
        ("number.json", b"12", "neither an array nor an object"),
        ("two.json", json.dumps({"a": PAIRS, "b": PAIRS}).encode(), "several lists of rows: a, b"),
        ("bad.parquet", b"PAR1 no", "not a readable Parquet file"),
        ("twice.csv", b"prompt,chosen,chosen\n1,2,3\n", "named twice: chosen"),
        ("what.txt", b"hello", r"ending \.txt is not known"),
    ],
)
def test_files_that_cannot_be_read(tmp_path, name, data, says):
    path = tmp_path / name
    path.write_bytes(data)
    for quarantine in (None, tmp_path / "q.jsonl"):
        with pytest.raises(DataError, match=says) as caught:
            read(path, quarantine=quarantine)
        assert str(path) in str(caught.value)
        assert "\nhint: " in str(caught.value)


def test_a_missing_file_names_its_neighbors_and_asks_no_hub(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets, "load_dataset", lambda *_: pytest.fail("the hub was asked"))
    (tmp_path / "prefs.jsonl").write_bytes(jsonl(PAIRS))
    with pytest.raises(DataError, match=r"no such file(.|\n)*prefs\.jsonl"):
        read(tmp_path / "pref.jsonl")
    with pytest.raises(DataError, match="no such file"):
        read("./nowhere/x")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no data files"):
        read(tmp_path / "empty")


BAD_LINES = [
    (b'{"prompt": "a", "chosen": "b"', "invalid JSON"),
    (b'{"prompt": "\xff", "chosen": "b", "rejected": "c"}', "invalid UTF-8"),
    (b'["prompt"]', "not a JSON object"),
    (b'{"prompt": "a", "chosen": "b", "rejected": "\\ud800"}', "`rejected` is not valid Unicode"),
    (b"[" * 100_000, "nested too deeply"),
    (
        b'{"prompt": "a", "chosen": "b", "rejected": "c", "weight": ' + b"9" * 5000 + b"}",
        "a number is too large",
    ),
    (
        b'{"prompt": "a", "chosen": "b", "rejected": "c", "x": ' + b"[" * 200 + b"]" * 200 + b"}",
        "a column is nested too deeply",
    ),
]


@pytest.mark.parametrize(("line", "reason"), BAD_LINES)
def test_one_bad_line_spoils_only_itself(tmp_path, line, reason):
    good = jsonl(PAIRS)
    path, aside = tmp_path / "a.jsonl", tmp_path / "q.jsonl"
    path.write_bytes(good + line + b"\n" + good)
    with pytest.raises(DataError) as caught:
        read(path)
    assert f"{path}:3: " in str(caught.value)
    assert f"rows: {reason}" in str(caught.value)
    got = read(path, quarantine=aside)
    assert [row.where.line for row in got] == [1, 2, 4, 5]
    assert got.report.skipped == {reason: 1}
    entry = json.loads(aside.read_text())
    assert (entry["file"], entry["line"], entry["reason"]) == (str(path), 3, reason)


def test_a_line_too_long_to_be_a_row(tmp_path, monkeypatch):
    monkeypatch.setattr(lines_module, "LONGEST", 200)
    monkeypatch.setattr(lines_module, "BLOCK", 64)
    path = tmp_path / "a.jsonl"
    path.write_bytes(jsonl(PAIRS) + b'{"prompt": "' + b"x" * 500 + b'"}\n' + jsonl(PAIRS))
    got = read(path, quarantine=tmp_path / "q.jsonl")
    assert [row.where.line for row in got] == [1, 2, 4, 5]
    assert got.report.skipped == {"the line is too long": 1}


def test_a_line_of_a_csv_too_long_to_be_a_row(tmp_path, monkeypatch):
    monkeypatch.setattr(lines_module, "LONGEST", 60)
    path = tmp_path / "a.csv"
    path.write_text(f"prompt,chosen,rejected\np,q,r\n{'x' * 100},q,r\ns,t,u\n")
    got = read(path, quarantine=tmp_path / "q.jsonl")
    assert [(row.where.line, row.prompt) for row in got] == [(2, "p"), (4, "s")]
    assert got.report.skipped == {"the line is too long": 1}


def test_lists_in_cells(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text('prompt,answers,scores\n"[1, 2]","[""a"", ""b""]","[1, 2]"\n')
    (row,) = read(path)
    assert (row.prompt, row.chosen, row.strength) == ("[1, 2]", "b", 1.0)


def test_bad_records_of_a_csv(tmp_path):
    path, aside = tmp_path / "a.csv", tmp_path / "q.jsonl"
    path.write_bytes(
        b'prompt,chosen,rejected\np,q,r\np,"q"x,r\np,q\np,\xff,r\np,q,r\n"never closed,q,r\np,q,r\n'
    )
    got = read(path, quarantine=aside)
    assert [row.where.line for row in got] == [2, 6]
    assert got.report.skipped == {
        "invalid CSV": 2,
        "wrong number of cells": 1,
        "invalid UTF-8": 1,
    }
    entries = [json.loads(line) for line in aside.read_text().splitlines()]
    assert [entry["line"] for entry in entries] == [3, 4, 5, 7]
    assert entries[-1]["raw"] == '"never closed,q,r\np,q,r\n'
    assert entries[2]["raw_base64"] == "cCz/LHIK"  # p,\xff,r\n
    assert csv.field_size_limit() == 131072


def test_a_cell_longer_than_the_csv_module_allows_by_itself(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(f"prompt,chosen,rejected\n{'x' * 200_000},q,r\n")
    assert len(read(path)[0].prompt) == 200_000


def test_folders_and_splits(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "README.md").write_text("hello")
    (tmp_path / "data" / "train-00000.jsonl").write_bytes(jsonl(PAIRS))
    (tmp_path / "data" / "train-00001.parquet").write_bytes(as_parquet(PAIRS[:1]))
    (tmp_path / "data" / "test.jsonl.gz").write_bytes(gzip.compress(jsonl(PAIRS[1:])))
    got = read(tmp_path)
    assert [(row.where.file.rsplit("/", 1)[1], row.where.line) for row in got] == [
        ("train-00000.jsonl", 1),
        ("train-00000.jsonl", 2),
        ("train-00001.parquet", 1),
    ]
    assert "not read: test.jsonl.gz" in got.report.why
    assert [row.rater for row in read(tmp_path, split="test")] == ["bob"]
    with pytest.raises(DataError, match="there is no split `validation`; there are: test, train"):
        read(tmp_path, split="validation")


def test_a_folder_without_splits_is_read_whole(tmp_path):
    (tmp_path / "b.jsonl").write_bytes(jsonl(PAIRS[1:]))
    (tmp_path / "a.jsonl").write_bytes(jsonl(PAIRS[:1]))
    assert [row.rater for row in read(tmp_path)] == ["ann", "bob"]


def test_datasets_objects_and_saved_folders(tmp_path):
    one = datasets.Dataset.from_list(PAIRS)
    assert read(one).report.content_hash == read(PAIRS).report.content_hash
    one.save_to_disk(str(tmp_path / "one"))
    assert content_hash(read(tmp_path / "one")) == content_hash(read(PAIRS))
    both = datasets.DatasetDict({"train": one, "test": one.select([1])})
    both.save_to_disk(str(tmp_path / "both"))
    for source in (both, tmp_path / "both"):
        assert len(read(source)) == 2
        assert [row.rater for row in read(source, split="test")] == ["bob"]
        with pytest.raises(DataError, match="no split `dev`; there are: train, test"):
            read(source, split="dev")


def test_hub_names_go_to_datasets(monkeypatch):
    asked = []

    def load_dataset(name):
        asked.append(name)
        if name == "owner/none":
            raise FileNotFoundError("no such dataset")
        return datasets.DatasetDict({"train": datasets.Dataset.from_list(PAIRS)})

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    got = read("owner/prefs")
    assert asked == ["owner/prefs"]
    assert str(got[1].where) == "owner/prefs[train]:2"
    with pytest.raises(DataError, match="no such file or folder here, and the hub gave no dataset"):
        read("owner/none")


def test_iterables_and_what_is_none():
    assert [str(row.where) for row in read(iter(PAIRS))] == ["rows:1", "rows:2"]
    for source, says in (
        ({"prompt": "a"}, "a dict is no list"),
        (b"x", "bytes"),
        (7, "int"),
        ([], "there are no rows"),
    ):
        with pytest.raises(DataError, match=says):
            read(source)
    with pytest.raises(DataError, match="rows:2: not a row"):
        read([*PAIRS[:1], "hello"])
    made = read(PAIRS).rows
    assert read(made).rows == read(list(made)).rows == made
    with pytest.raises(DataError, match="a column name is no text"):
        read([*PAIRS, {1: 2}])


def test_the_split_column_of_a_file_selects_rows_only_when_asked():
    rows = [{**PAIRS[0], "split": "train"}, {**PAIRS[1], "split": "test"}]
    assert len(read(rows)) == 2
    got = read(rows, split="test")
    assert [row.rater for row in got] == ["bob"]
    assert got.report.skipped == {"not of the split `test`": 1}
    assert got.report.read == got.report.retained + 1
    with pytest.raises(DataError, match="no column `split`"):
        read(PAIRS, split="test")
    with pytest.raises(DataError, match="no row is left"):
        read(rows, split="dev")


def test_a_dataset_is_a_sequence_with_a_hash_of_what_it_says(tmp_path):
    got = read(PAIRS)
    assert isinstance(got, Dataset)
    assert got.select([1]).rows == (got[1],)
    assert got[0:1].rows == (got[0],)
    assert "1 of 2 rows were selected" in got.select([1]).report.lines()[-1]
    assert got.report.content_hash == content_hash(got.rows)
    assert got.select([1, 0]).report.content_hash != got.report.content_hash
    assert got.select([0, 1]).report.content_hash == got.report.content_hash
    assert json.loads(json.dumps(got.report.to_dict()))["format"] == "preference"
    with pytest.raises(OptionError, match="were read before"):
        read(got, split="train")
    assert read(got) is got
    made = Dataset.of([Row(Where("x", 1), "p", "a", "b")])
    assert made.report.files == ("x",)
    assert made.report.retained == 1


def test_the_hash_does_not_depend_on_the_order_of_columns_or_the_place():
    one = {"prompt": "p", "chosen": "a", "rejected": "b", "x": 1, "y": {"b": 1, "a": 2}}
    other = {"y": {"a": 2, "b": 1}, "x": 1, "rejected": "b", "chosen": "a", "prompt": "p"}
    assert content_hash(read([one])) == content_hash(read([{**one, "x": 1}, other])[1:])
    assert content_hash(read([one])) != content_hash(read([{**one, "x": 2}]))
