"""What rows are read from: files of every ending, several, patterns, folders and their splits,
Python objects; and what is refused.
"""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import holdfast
from holdfast.data import files, read
from holdfast.data.folders import split_of
from holdfast.errors import DataError

ROWS = [{"prompt": f"q{n}", "chosen": f"yes {n}", "rejected": f"no {n}"} for n in range(3)]
JSONL = "".join(json.dumps(row) + "\n" for row in ROWS).encode()


def texts(source: Any, **how: Any) -> list[tuple[Any, Any, Any]]:
    return [(row.prompt, row.chosen, row.rejected) for row in read(source, **how)]


EXPECTED = [(row["prompt"], row["chosen"], row["rejected"]) for row in ROWS]


def separated(delimiter: str) -> bytes:
    lines = [delimiter.join(ROWS[0]), *(delimiter.join(row.values()) for row in ROWS)]
    return ("\n".join(lines) + "\n").encode()


def zstd(data: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as out:
        out.write(data)
    return sink.getvalue().to_pybytes()


def arrow(kind: Any) -> bytes:
    sink, table = pa.BufferOutputStream(), pa.Table.from_pylist(ROWS)
    with kind(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


COLUMNS = {name: [row[name] for row in ROWS] for name in ROWS[0]}
FILES = {
    "a.csv": separated(","),
    "tabs.csv": separated("\t"),
    "semicolons.csv": separated(";"),
    "a.tsv": separated("\t"),
    "a.jsonl.gz": gzip.compress(JSONL),
    "a.jsonl.zst": zstd(JSONL),
    "a.jsonl.bz2": bz2.compress(JSONL),
    "a.jsonl.xz": lzma.compress(JSONL),
    "plain_name.jsonl": zstd(JSONL),
    "a.csv.zst": zstd(separated(",")),
    "file.arrow": arrow(pa.ipc.new_file),
    "stream.arrow": arrow(pa.ipc.new_stream),
    "stream.arrow.gz": gzip.compress(arrow(pa.ipc.new_stream)),
    "columns.json": json.dumps(COLUMNS).encode(),
    "pandas.json": pandas.DataFrame(ROWS).to_json().encode(),
    "split.json": pandas.DataFrame(ROWS).to_json(orient="split").encode(),
    "records.json": pandas.DataFrame(ROWS).to_json(orient="records").encode(),
    "array.jsonl": json.dumps(ROWS).encode(),
    "spread.jsonl": json.dumps(ROWS, indent=1).encode(),
    "bom.jsonl": b"\xef\xbb\xbf" + JSONL,
    "cr.jsonl": JSONL.replace(b"\n", b"\r"),
    "crlf.jsonl": JSONL.replace(b"\n", b"\r\n"),
    "cr.csv": separated(",").replace(b"\n", b"\r"),
    "bom.csv": b"\xef\xbb\xbf" + separated(";"),
}


@pytest.mark.parametrize("name", FILES)
def test_every_file_gives_the_same_rows(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(FILES[name])
    assert texts(tmp_path / name) == EXPECTED


def test_a_comma_within_cells_makes_no_delimiter(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("prompt;chosen;rejected\na, b, c and d;yes;no\n")
    assert texts(path) == [("a, b, c and d", "yes", "no")]


def message(content: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": content}]


def test_an_object_of_message_lists_is_one_row(tmp_path: Path) -> None:
    row = {
        "prompt": message("q"),
        "chosen": [{"role": "assistant", "content": "a"}],
        "rejected": [{"role": "assistant", "content": "b"}],
    }
    path = tmp_path / "a.json"
    path.write_text(json.dumps(row))
    assert len(read(path)) == 1
    columns = {name: [value, value] for name, value in row.items()}
    path.write_text(json.dumps(columns))
    assert len(read(path)) == 2


def test_columns_of_different_lengths_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps({**COLUMNS, "chosen": ["a"]}))
    with pytest.raises(
        DataError,
        match=(
            r"a.json: the columns are of different lengths: prompt has 3, chosen has 1, "
            r"rejected has 3"
        ),
    ):
        read(path)


# ------------------------------------------------------------ duplicate keys

TWICE = '"prompt": "q", "chosen": "yes", "rejected": "no", '
DUPLICATES = {
    "row": '{"prompt": "q", "chosen": "yes", "rejected": "no", "chosen": "other"}',
    "message": (
        '{"prompt": [{"role": "user", "content": "q", "content": "q2"}], "chosen": "yes", '
        '"rejected": "no"}'
    ),
    "extra": "{" + TWICE + '"more": {"a": [{"b": 1, "b": 2}]}}',
    "same value": "{" + TWICE + '"x": 1, "x": 1}',
}


@pytest.mark.parametrize("text", DUPLICATES.values(), ids=DUPLICATES)
@pytest.mark.parametrize("form", ["a.jsonl", "a.jsonl.gz", "array.json", "list.json"])
def test_a_key_given_twice_is_an_error_anywhere(tmp_path: Path, text: str, form: str) -> None:
    good = json.dumps(ROWS[0])
    whole = {"array.json": f"[{good},\n{text}]", "list.json": f'{{"rows": [{good},\n{text}]}}'}.get(
        form, f"{good}\n{text}\n"
    ).encode()
    path = tmp_path / form
    path.write_bytes(gzip.compress(whole) if form.endswith(".gz") else whole)
    with pytest.raises(DataError, match="names a key twice") as caught:
        read(path)
    assert any(f"`{key}`" in str(caught.value) for key in ("chosen", "content", "b", "x"))
    assert form == "list.json" or f"{form}:2" in str(caught.value)


# ------------------------------------------------------------ several files


def test_several_files_a_pattern_and_the_place_of_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.jsonl").write_bytes(JSONL)
    Path("b.csv").write_bytes(separated("\t"))
    assert texts(["a.jsonl", "b.csv"]) == texts([Path("a.jsonl"), Path("b.csv")]) == EXPECTED * 2
    got = read("[ab].*")
    assert got.report.files == ("a.jsonl", "b.csv") and [str(row.where) for row in got][2:4] == [
        "a.jsonl:3",
        "b.csv:2",
    ]
    Path("b.csv").write_bytes(separated("\t") + b"q\t\tno\n")
    with pytest.raises(DataError, match=r"b.csv:5: field `chosen`: `chosen` is empty"):
        read(["a.jsonl", "b.csv"])
    with pytest.raises(DataError, match=r"none.jsonl: there is no such file"):
        read(["a.jsonl", "none.jsonl"])
    with pytest.raises(DataError, match=r"a.jsonl: named twice"):
        read(["a.jsonl", "*.jsonl"])
    with pytest.raises(DataError, match=r"\*.parquet: no file matches"):
        read("*.parquet")


def test_a_name_with_brackets_that_exists_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "[a].jsonl").write_bytes(JSONL)
    assert texts(tmp_path / "[a].jsonl") == EXPECTED


# ------------------------------------------------------------ folders and splits


@pytest.mark.parametrize(
    ("path", "split"),
    [
        ("data/train_prefs-00000-of-00001.parquet", "train_prefs"),
        ("data/train-00000-of-00003.parquet", "train"),
        ("train.jsonl", "train"),
        ("train_1.jsonl", "train"),
        ("train.part2.jsonl", "train"),
        ("prefs_train.jsonl.gz", "train"),
        ("binarized-train_prefs.arrow", "train_prefs"),
        ("binarized-train_prefs-00001-of-00002.arrow", "train_prefs"),
        ("helpful-base/train.jsonl.gz", "train"),
        ("test/a.jsonl", "test"),
        ("train_sft/data-00000-of-00001.arrow", "train_sft"),
        ("data/prefs-00000-of-00001.parquet", "prefs"),
        ("validation_matched.csv", "validation_matched"),
        ("training.json", "training"),
        ("constraint.jsonl", None),
        ("latest.jsonl", None),
        ("prefs.jsonl", None),
    ],
)
def test_a_split_is_called_what_the_files_call_it(path: str, split: str | None) -> None:
    assert split_of(Path(path)) == split


def folder_of(folder: Path, names: list[str]) -> Path:
    for place, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = [{**row, "prompt": name} for row in ROWS[: place + 1]]
        if name.endswith(".parquet"):
            pq.write_table(pa.Table.from_pylist(rows), path)
        else:
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


SPLITS = ["train_prefs", "train_sft", "train_gen", "test_prefs"]


@pytest.mark.parametrize(
    "form", ["data/{}-00000-of-00001.parquet", "{}.jsonl", "{}/rows.jsonl", "prefs-{}.jsonl"]
)
def test_train_prefs_is_not_train(tmp_path: Path, form: str) -> None:
    folder = folder_of(tmp_path, [form.format(name) for name in SPLITS])
    with pytest.raises(DataError, match="several splits, and none was asked for: ") as caught:
        read(folder)
    assert all(name in str(caught.value) for name in SPLITS)
    assert "--split" in str(caught.value)
    assert [len(read(folder, split=name)) for name in SPLITS] == [1, 2, 3, 3]
    with pytest.raises(DataError, match="there is no split `train`; there are"):
        read(folder, split="train")


def test_train_is_read_where_there_is_one(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, ["train.jsonl", "train_sft.jsonl", "dev.jsonl"])
    got = read(folder)
    assert len(got) == 1 and "not read: dev.jsonl, train_sft.jsonl" in got.report.why
    assert len(read(folder, split="validation")) == 3  # by another of its names


def test_the_readme_of_a_folder_says_what_its_splits_are(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, ["a/one.jsonl", "a/two.jsonl", "b.jsonl"])
    head = "---\nconfigs:\n- config_name: default\n  data_files:\n"
    (folder / "README.md").write_text(
        f"{head}  - split: train_prefs\n    path: a/*\n  - split: test\n    path: "
        "[b.jsonl]\n---\nhello"
    )
    with pytest.raises(
        DataError, match="several splits, and none was asked for: train_prefs, test"
    ):
        read(folder)
    assert len(read(folder, split="train_prefs")) == 3 and len(read(folder, split="test")) == 3
    (folder / "README.md").write_text(f"{head}  - split: train\n    path: gone/*.jsonl\n---\n")
    with pytest.raises(DataError, match=r"split `train` is in gone/.*, which is not here"):
        read(folder)


def test_configurations_without_a_default_name_their_splits(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, ["en.jsonl", "de.jsonl"])
    said = "".join(f"- config_name: {name}\n  data_files: {name}.jsonl\n" for name in ("en", "de"))
    (folder / "README.md").write_text(f"---\nconfigs:\n{said}---\n")
    with pytest.raises(
        DataError, match="several splits, and none was asked for: en/train, de/train"
    ):
        read(folder)
    assert len(read(folder, split="de/train")) == 2


def test_saved_splits_are_chosen_as_those_of_files_are(tmp_path: Path) -> None:
    made = datasets.DatasetDict({name: datasets.Dataset.from_list(ROWS) for name in SPLITS[:2]})
    made.save_to_disk(str(tmp_path / "saved"))
    for source in (made, tmp_path / "saved"):
        with pytest.raises(
            DataError, match="several splits, and none was asked for: train_prefs, train_sft"
        ):
            read(source)
        assert texts(source, split="train_sft") == EXPECTED


def test_a_download_that_was_cut_short_is_named(tmp_path: Path) -> None:
    folder = folder_of(
        tmp_path / "parts", ["train-00000-of-00003.jsonl", "train-00002-of-00003.jsonl"]
    )
    with pytest.raises(DataError, match="2 of 3 parts are here; missing: 00001"):
        read(folder)
    folder = folder_of(tmp_path / "links", ["train.jsonl"])
    (folder / "train_2.jsonl").symlink_to(folder / "blob")
    with pytest.raises(DataError, match=r"train_2.jsonl: points to a file that is not there"):
        read(folder)
    half = tmp_path / "half"
    half.mkdir()
    (half / "train.parquet.incomplete").write_bytes(b"PAR1")
    with pytest.raises(DataError, match=r"a download that was cut short: train.parquet.incomplete"):
        read(half)


# ------------------------------------------------------------ what is no file of rows

NO_FILES = {
    "cut.jsonl": (
        JSONL[:-20],
        r"cut.jsonl:3: invalid JSON .*; cure: the file ends within this line",
    ),
    "cut.jsonl.gz": (gzip.compress(JSONL * 100)[:-30], "cut short or broken"),
    "cut.jsonl.zst": (
        zstd(
            b"".join(
                b'{"prompt": "%d", "chosen": "%x", "rejected": "n"}\n' % (n, n * n**9)
                for n in range(9999)
            )
        )[:-30],
        "cut short or broken",
    ),
    "cut.jsonl.xz": (lzma.compress(JSONL * 100)[:-30], "cut short or broken"),
    "cut.jsonl.bz2": (bz2.compress(JSONL * 100)[:-30], "cut short or broken"),
    "cut.arrow": (arrow(pa.ipc.new_stream)[:-200], "not a readable Arrow file"),
    "empty.arrow": (b"", "not a readable Arrow file"),
    "cut.parquet": (b"PAR1 and then nothing", "not a readable Parquet file"),
    "cut.json": (json.dumps(ROWS)[:-9].encode(), r"cut.json:1: invalid JSON"),
    "empty.jsonl": (b"", "the file holds no rows"),
    "blank.json": (b" \n", "the file holds no rows"),
    "header.csv": (b"prompt,chosen,rejected\n", "the file holds no rows"),
    "wide.jsonl": (JSONL.decode().encode("utf-16"), "UTF-16"),
    "wide_le.jsonl": (JSONL.decode().encode("utf-16-le"), "UTF-16"),
    "wide_be.csv": (separated(",").decode().encode("utf-16-be"), "UTF-16"),
    "wide_32.json": (json.dumps(ROWS).encode("utf-32-le"), "UTF-32"),
    "nulls.jsonl": (b"\x00" * 5000, "begins with null bytes"),
    "lfs.parquet.jsonl": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
        "pointer of Git LFS",
    ),
    "page.json": (b"<!DOCTYPE html><html></html>", "a web page, not data"),
    "no.gz.jsonl.gz": (JSONL, "ends in .gz but is not gzip"),
    "a.jsonl.zst": (JSONL, "ends in .zst but is not zstd"),
    "a.txt": (b"hello", r"the ending .txt is not known"),
}


@pytest.mark.parametrize("name", NO_FILES)
def test_what_cannot_be_read_is_one_clear_error(tmp_path: Path, name: str) -> None:
    data, says = NO_FILES[name]
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError, match=says) as caught:
        read(tmp_path / name)
    assert "hint: " in str(caught.value)


def test_parquet_columns_named_twice_are_refused(tmp_path: Path) -> None:
    table = pa.Table.from_arrays(
        [pa.array(["a"])] * 4, names=["prompt", "chosen", "rejected", "chosen"]
    )
    pq.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(DataError, match="columns named twice: chosen"):
        read(tmp_path / "a.parquet")


def test_places_that_are_no_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no data files"):
        read(tmp_path)
    (tmp_path / "dir.jsonl").mkdir()
    with pytest.raises(DataError, match="no data files"):
        read(tmp_path / "dir.jsonl")
    with pytest.raises(DataError, match="no name of a file"):
        read("a" * 5000 + ".jsonl")
    with pytest.raises(DataError, match=r"no name of a file|no such file"):
        read("a\x00.jsonl")


# ------------------------------------------------------------ Python objects

Q, YES, NO = (
    message("q"),
    [{"role": "assistant", "content": "yes"}],
    [{"role": "assistant", "content": "no"}],
)
TALKS = [
    {
        "prompt": Q,
        "chosen": YES,
        "rejected": NO,
        "weight": np.float64(2),
        "rater": np.int64(7),
        "tie": np.bool_(False),
    }
]


def arrays(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """As pandas gives back lists of a Parquet file: arrays of objects."""
    return [
        {
            name: np.array(value, dtype=object) if isinstance(value, list) else value
            for name, value in row.items()
        }
        for row in rows
    ]


@pytest.mark.parametrize(
    "make", [list, arrays, pandas.DataFrame, lambda rows: pandas.DataFrame(arrays(rows))]
)
def test_numpy_values_are_read_as_pythons_own(make: Any) -> None:
    rows = read(make(TALKS))
    assert rows[0].prompt == tuple(Q) and rows[0].chosen == "yes"
    assert (rows[0].weight, rows[0].rater, rows[0].tie) == (2.0, "7", False)
    assert type(rows[0].weight) is float


def test_frames_tables_columns_and_rows_of_frames(tmp_path: Path) -> None:
    frame = pandas.DataFrame(ROWS)
    for source in (
        frame,
        COLUMNS,
        {name: np.array(column) for name, column in COLUMNS.items()},
        pa.Table.from_pylist(ROWS),
    ):
        assert texts(source) == EXPECTED
    assert texts([row for _, row in frame.iterrows()]) == EXPECTED
    assert texts(datasets.Dataset.from_list(ROWS).to_iterable_dataset()) == EXPECTED
    assert texts(datasets.Dataset.from_list(ROWS).with_format("numpy")) == EXPECTED
    frame.to_parquet(tmp_path / "a.parquet")
    assert texts(pandas.read_parquet(tmp_path / "a.parquet")) == EXPECTED
    assert str(read(frame)[1].where) == "data frame:2"


def test_what_a_frame_lacks_is_null() -> None:
    rows = read(
        pandas.DataFrame(
            [
                {**ROWS[0], "rater": "ann", "weight": 1.0},
                {**ROWS[1], "rater": None, "weight": float("nan")},
            ]
        )
    )
    assert [(row.rater, row.weight) for row in rows] == [("ann", 1.0), (None, None)]
    frame = pandas.DataFrame(
        [["a", "b", "c", "d"]], columns=["prompt", "chosen", "rejected", "chosen"]
    )
    with pytest.raises(DataError, match="names columns twice: chosen"):
        read(frame)


def test_numbers_and_nesting_beyond_measure_are_bad_rows() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    half = "\ud800"
    for bad in (
        {"rater": 10**5000},
        {"x": 10**5000},
        {"x": [{"y": -(10**5000)}]},
        {"prompt": deep},
        {"x": deep},
        {"x": half},
        {"x": {half: 1}},
    ):
        with pytest.raises(DataError, match="rows:2"):
            read([ROWS[0], {**ROWS[1], **bad}])
    assert len(read([{**ROWS[0], "x": 10**4000}])) == 1


def test_the_door_of_the_package_reads_frames_too() -> None:
    assert len(holdfast.read(pandas.DataFrame(ROWS))) == 3


def test_endings_are_known_by_one_list() -> None:
    assert files.suffix(Path("a.JSONL.GZ")) == ".jsonl" and files.suffix(Path("a.gz")) == ""
