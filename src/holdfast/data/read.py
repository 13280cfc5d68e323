"""From a file, a folder, a dataset or an iterable to rows: `read`.

Nothing is dropped silently. A row that cannot be used is an error that names file, line, field and
cure, or, when a quarantine file is named, is written there and counted. What was read, as which
format and why, is the `ReadReport` that a run keeps.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, overload

from holdfast.data.fields import plain
from holdfast.data.infer import PROBE, Layout, infer, uncelled, verdict_column
from holdfast.data.lines import Record
from holdfast.data.objects import written
from holdfast.data.row_errors import BadRow, RowError, RowErrors
from holdfast.data.sources import open_source
from holdfast.data.tally import Reservoir, Sample
from holdfast.data.verdicts import MANY, SOME, Token, named_verdicts, shown
from holdfast.errors import DataError, OptionError
from holdfast.types import Row, Where
from holdfast.visible import listed

STAGE = "read"


@dataclass(frozen=True)
class ReadReport:
    """What a read saw. `read == retained + sum(skipped.values())` always; `rows` differs from
    `retained` where one row gave several pairs.
    """

    files: tuple[str, ...]
    format: str
    why: str
    read: int
    retained: int
    rows: int
    skipped: Mapping[str, int] = field(default_factory=dict)
    equal_scores: int = 0  # pairs of answers that gave no row, because their scores are equal
    unscored: int = 0  # answers that are in no pair, because they have no score
    same_texts: int = 0  # pairs of answers in a ranking that gave no row, because they say the same
    columns: tuple[str, ...] = ()  # columns that are carried along in `Row.extra`
    notes: tuple[str, ...] = ()
    quarantine: str | None = None
    content_hash: str = ""
    counts: Mapping[str, int] = field(
        default_factory=dict
    )  # over the whole source: see `Tally.counts`
    sampled: str = ""  # how the rows were drawn, in a sentence; empty if all were kept

    def lines(self) -> list[str]:
        """The report as text, a fact a line."""
        said = [
            f"read {self.read:,} rows from {listed(self.files, 10)}",
            f"format: {self.format}: {self.why}",
        ]
        said.append(
            f"retained {self.retained:,} rows"
            + (f", giving {self.rows:,} pairs" if self.rows != self.retained else "")
        )
        said += [f"skipped {n:,}: {reason}" for reason, n in self.skipped.items()]
        if self.sampled:
            said.append(self.sampled)
        if self.equal_scores:
            said.append(f"no pair from {self.equal_scores:,} pairs of answers with equal scores")
        if self.unscored:
            said.append(f"no pair with {self.unscored:,} answers that have no score")
        if self.same_texts:
            said.append(f"no pair from {self.same_texts:,} pairs of answers with the same text")
        if self.quarantine and self.skipped:
            said.append(f"skipped rows, each with its reason, are in {self.quarantine}")
        if self.columns:
            said.append(f"carried along: {listed(self.columns)}")
        said += [f"note: {note}" for note in self.notes]
        return said

    def to_dict(self) -> dict[str, Any]:
        """JSON's own types, for the run record."""
        return {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in asdict(self).items()
        }


@dataclass(frozen=True)
class Dataset(Sequence[Row]):
    """Rows, and the report of how they were read."""

    rows: tuple[Row, ...]
    report: ReadReport

    @classmethod
    def of(cls, rows: Iterable[Row], *, why: str = "rows made by a program") -> Dataset:
        """A dataset of rows that were not read from anywhere: corrupted ones, say."""
        rows = tuple(rows)
        files = tuple(dict.fromkeys(row.where.file for row in rows))
        kept = Reservoir()
        kept.add(rows)
        report = ReadReport(
            files,
            "rows",
            why,
            len(rows),
            len(rows),
            len(rows),
            content_hash=content_hash(rows),
            counts=kept.tally.counts(),
        )
        return cls(rows, report)

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> Dataset: ...
    def __getitem__(self, index: int | slice) -> Row | Dataset:
        return (
            self.select(range(len(self))[index]) if isinstance(index, slice) else self.rows[index]
        )

    def select(self, indices: Iterable[int]) -> Dataset:
        """The rows at these places, in this order. The report says how many they are of how
        many.
        """
        rows = tuple(self.rows[index] for index in indices)
        note = f"{len(rows):,} of {len(self):,} rows were selected afterwards"
        return Dataset(
            rows,
            replace(
                self.report,
                rows=len(rows),
                notes=(*self.report.notes, note),
                content_hash=content_hash(rows),
            ),
        )


def content_hash(rows: Iterable[Row]) -> str:
    """SHA-256 of what the rows say, in order, wherever they came from: equal for the same rows in
    another file or format.
    """
    digest = hashlib.sha256()
    names = [f.name for f in fields(Row) if f.name != "where"]
    for row in rows:
        digest.update(
            json.dumps(
                {name: getattr(row, name) for name in names}, sort_keys=True, default=_jsonable
            ).encode("ascii")
        )
        digest.update(b"\n")
    return digest.hexdigest()


def _jsonable(value: Any) -> Any:
    return (
        dict(value)
        if isinstance(value, Mapping)
        else list(value)
        if isinstance(value, Sequence)
        else repr(value)
    )


def read(
    source: Any,
    *,
    format: str | None = None,
    columns: Mapping[str, str | None] | Sequence[str] | None = None,
    verdicts: Mapping[Any, str] | str | Sequence[str] | None = None,
    split: str | None = None,
    quarantine: str | Path | None = None,
    sample: Sample | None = None,
) -> Dataset:
    """Read preference data, demonstrations or documents into rows.

    Args:
        source: a path (JSONL, JSON, CSV, TSV, Parquet, Arrow, each also as .gz or .zst), several, a
            pattern (`data/*.jsonl`), a folder written by `datasets.save_to_disk` or holding data
            files, a name on the Hugging Face hub, a `datasets.Dataset` or `DatasetDict`, a data
            frame, a dict of columns, an iterable of dicts, or rows made before.
        format: the format to read rows as; inferred from the columns when not given (see
            `holdfast.data.formats`).
        columns: which column is which, ours first: `{"prompt": "question"}`, or
            `["prompt=question"]`. `{"system": None}`, or `["system="]`, says that a column is none
            of what its name says: it is carried along and not read.
        verdicts: what the values of the verdict column mean, where they can mean two things: `{0:
            "first", 1: "second"}`, or `["0=first,1=second"]`; also "tie" and "skip", and "good" and
            "bad" of labels (see `holdfast.data.verdicts`).
        split: for datasets and folders with splits, which to read: the only one or `train` if not
            given. For files, the rows whose `split` column has this value; all rows if not given.
        quarantine: a file for rows that cannot be used. Without it the first such row fails the
            read, once all are counted.
        sample: keep a uniform sample of the comparisons and nothing else, so that memory is bounded
            by it. Counts are of the whole.

    Raises:
        DataError: a file that cannot be read, columns that no format fits, bad rows without a
            quarantine, or no row left.
        OptionError: an unknown format; a quarantine that would overwrite something else.
    """
    if isinstance(source, Dataset):
        if format or columns or verdicts or split:
            raise OptionError(
                "these rows were read before; format, columns, verdicts and split come too late",
                hint="pass them to the first read",
            )
        return _sampled(source, sample) if sample else source
    if (
        isinstance(source, Sequence)
        and not isinstance(source, str | bytes)
        and source
        and all(isinstance(row, Row) for row in source)
    ):
        return read(
            Dataset.of(source),
            format=format,
            columns=columns,
            verdicts=verdicts,
            quarantine=quarantine,
            split=split,
            sample=sample,
        )
    bad_rows = Path(quarantine).expanduser() if quarantine is not None else None
    opened = open_source(source, split)
    stream, files, said, column_split = opened.records, opened.files, opened.said, opened.by_column
    if bad_rows is not None and any(
        Path(file).exists() and bad_rows.exists() and Path(file).samefile(bad_rows)
        for file in files
    ):
        raise OptionError(
            f"the quarantine {bad_rows} is the file being read", hint="name another file"
        )
    renamed = column_pairs(columns) if columns else {}
    stream = _renamed(stream, renamed, files[0]) if renamed else stream
    samples = list(itertools.islice(stream, PROBE))
    if not samples:
        raise DataError(f"{listed(files, 10)}: there are no rows", hint="check the source")
    if column_split is not None and not any(
        record.value and "split" in record.value for record in samples
    ):
        raise DataError(
            f"{files[0]}: there is no column `split` to choose `{column_split}` by",
            hint="leave split out",
        )
    rest = _Rest(
        stream,
        source,
        lambda: (
            _renamed(open_source(source, split).records, renamed, files[0])
            if renamed
            else open_source(source, split).records
        ),
    )
    found = infer(
        samples,
        file=files[0],
        format=format,
        verdicts=named_verdicts(verdicts),
        whole=lambda: rest.whole(samples, column_split),
    )
    found.unread.cleared.update(f"[{name}]" for name in renamed)
    return _parse(
        itertools.chain(samples, rest),
        found,
        RowErrors(STAGE, bad_rows),
        files,
        said,
        column_split,
        sample,
    )


class _Rest:
    """The rows after the first ones. They can be looked at before they are read: a source that can
    be opened again is opened again, any other is held in memory from then on."""

    def __init__(
        self, stream: Iterator[Record], source: Any, again: Callable[[], Iterator[Record]]
    ):
        self.stream, self.again = stream, again
        paths = (
            [source]
            if isinstance(source, str | Path)
            else source
            if isinstance(source, list | tuple)
            else []
        )
        self.once = isinstance(source, Iterator) or any(
            isinstance(path, str | Path) and _is_pipe(Path(path).expanduser()) for path in paths
        )

    def __iter__(self) -> Iterator[Record]:
        return self.stream

    def whole(self, first: Sequence[Record], split: str | None) -> Iterator[Record]:
        """Every row of the split, from the first."""
        if self.once:
            held = list(self.stream)
            self.stream = iter(held)
            rows: Iterator[Record] = itertools.chain(first, held)
        else:
            rows = self.again()
        return (row for row in rows if split is None or (row.value or {}).get("split") == split)


def _is_pipe(path: Path) -> bool:
    return path.exists() and not (path.is_dir() or path.is_file())


def _parse(
    stream: Iterable[Record],
    found: Layout,
    row_errors: RowErrors,
    files: tuple[str, ...],
    said: str,
    column_split: str | None,
    sample: Sample | None,
) -> Dataset:
    made_rows = Reservoir(sample)
    quiet: Counter[str] = Counter()
    read = equal_scores = same_texts = unscored = 0
    classes: dict[Token, list[int]] = {}  # of each verdict: rows read, rows retained
    seen: set[Where] = set()  # kept only where one file is read in parts
    carried: dict[str, None] = {}
    for record in stream:
        read += 1
        if column_split is not None and (
            record.value is None or record.value.get("split") == column_split
        ):
            seen.add(record.where)
        if record.error is not None:
            row_errors.add(BadRow(record.where, record.error, raw=record.raw))
            continue
        if column_split is not None and (record.value or {}).get("split") != column_split:
            quiet[f"not of the split `{column_split}`"] += 1
            continue
        value = uncelled(record)
        verdict = found.verdict(value)
        if verdict is not None and (verdict in classes or len(classes) < MANY):
            classes.setdefault(verdict, [0, 0])[0] += 1
        try:
            made, parsed = found.rows(record, value)
        except RowError as error:
            row_errors.add(_bad(record, error))
            continue
        if verdict in classes:
            classes[verdict][1] += 1
        equal_scores += parsed.equal
        same_texts += parsed.same
        unscored += parsed.unscored
        if not made:
            quiet[parsed.reason] += 1
            continue
        carried.update(dict.fromkeys(made[0].extra))
        made_rows.add(made)
    found.unread.judge()
    whole = frozenset(files)
    _refuse_lost_classes(classes, found, files[0], row_errors)
    row_errors.settle(
        read, seen=lambda where: where.file in whole if column_split is None else where in seen
    )
    kept = read - row_errors.total - quiet.total()
    if not made_rows.seen:
        reasons = "; ".join(f"{n} x {reason}" for reason, n in quiet.items())
        raise DataError(
            f"{listed(files, 10)}: no row is left of {read} ({reasons})",
            hint="choose another split, or check the scores",
        )
    rows, counts = made_rows.rows, made_rows.tally.counts()
    report = ReadReport(
        files=files,
        format=found.format.name,
        why=f"{found.why}; {said}" if said else found.why,
        read=read,
        retained=kept,
        rows=made_rows.seen,
        skipped={**dict(row_errors.counts.most_common()), **quiet},
        equal_scores=equal_scores,
        unscored=unscored,
        same_texts=same_texts,
        columns=tuple(carried),
        notes=(*found.notes, *_said_of(found), *found.unread.notes),
        quarantine=str(row_errors.quarantine) if row_errors.quarantine else None,
        content_hash=content_hash(rows),
        counts=counts,
        sampled=sample.says(counts["comparisons"])
        if sample and counts["comparisons"] > sample.rows
        else "",
    )
    return Dataset(rows, report)


def _refuse_lost_classes(
    classes: Mapping[Token, Sequence[int]], found: Layout, file: str, row_errors: RowErrors
) -> None:
    """A verdict of which no row is left is no count: what remains says something else than the file
    did.
    """
    total = sum(read for read, _ in classes.values())
    lost = [
        value
        for value, (read, left) in classes.items()
        if not left and read >= 2 and read >= SOME * total
    ]
    if lost and len(classes) < MANY and row_errors.quarantine is not None:
        column, value = verdict_column(found.roles), lost[0]
        rows = classes[value][0]
        message = (
            f"{file}: every row whose `{column}` is {shown(value)} ({rows:,} of {total:,}) "
            f"would be skipped\n{row_errors.text(total)}"
        )
        raise DataError(
            message,
            hint=f"cure these rows, or leave them out on purpose: --verdicts {shown(value)}=skip",
        )


def _said_of(found: Layout) -> list[str]:
    """What is to be said of columns once all rows are read."""
    scored, lower = found.ordered
    odd = (
        [f"in {lower:,} of {scored:,} rows the answer that won has the lower score"]
        if lower > 0.1 * scored
        else []
    )
    if found.repeated[0]:
        odd.append(
            f"in {found.repeated[0]:,} rows every answer repeated the prompt in front; it "
            "was taken off"
        )
    return odd + [
        f"column `{name}` is carried along in {n:,} rows and not read as `{name}`: it is "
        "of another type"
        for name, n in found.misplaced.items()
    ]


def _sampled(known: Dataset, sample: Sample) -> Dataset:
    kept = Reservoir(sample)
    kept.add(known.rows)
    total = kept.tally.comparisons
    report = replace(
        known.report,
        sampled=sample.says(total) if total > sample.rows else "",
        content_hash=content_hash(kept.rows),
    )
    return Dataset(kept.rows, report)


def _bad(record: Record, error: RowError) -> BadRow:
    try:
        return BadRow(record.where, error, row=plain(record.value, broken=True))
    except RowError:  # too deep to copy
        return BadRow(
            record.where,
            error,
            raw=record.raw if record.raw is not None else written(record.value),
        )


def column_pairs(columns: Mapping[str, str | None] | Sequence[str]) -> dict[str, str]:
    """Ours -> theirs, from a mapping or from "ours=theirs". Nothing ("system=", None) says that the
    column is not what it is called.

    Raises:
        OptionError: something else, or one of our names given twice.
    """
    hint = "ours first, then the file's; name= leaves a column out"
    found: list[tuple[Any, Any]]
    if isinstance(columns, Mapping):
        found = [(ours, "" if theirs is None else theirs) for ours, theirs in columns.items()]
    else:
        found = []
        for pair in [columns] if isinstance(columns, str) else columns:
            ours, equals, theirs = pair.partition("=") if isinstance(pair, str) else ("", "", "")
            if not (equals and ours.strip()):
                raise OptionError(f"columns must be like prompt=question, not {pair!r}", hint=hint)
            found.append((ours.strip(), theirs))
    named: dict[str, str] = {}
    for ours, theirs in found:
        if not (isinstance(ours, str) and isinstance(theirs, str) and ours):
            raise OptionError(
                f"columns must be like prompt=question, not {ours!r}: {theirs!r}", hint=hint
            )
        if named.setdefault(ours, theirs) != theirs:
            raise OptionError(
                f"columns gives {ours} twice: {named[ours]} and {theirs}",
                hint="name one column of the file for it",
            )
    return named


def _renamed(stream: Iterator[Record], columns: Mapping[str, str], file: str) -> Iterator[Record]:
    """Records under our names. A column of ours that is displaced stays, under the name it had, in
    brackets.
    """
    first = list(itertools.islice(stream, PROBE))
    there = list(dict.fromkeys(key for record in first if record.value for key in record.value))
    absent = [(ours, theirs) for ours, theirs in columns.items() if theirs and theirs not in there]
    if absent and there:
        ours, theirs = absent[0]
        hint = (
            f"write ours first: --columns {theirs}={ours} (in Python: "
            f'columns={{"{theirs}": "{ours}"}})'
            if ours in there
            else "check the spelling"
        )
        raise DataError(
            f"{file}: columns= names `{theirs}`, which is not there; columns found: "
            f"{listed(there)}",
            hint=hint,
        )

    def renamed(record: Record) -> Record:
        if record.value is None:
            return record
        moved = {
            ours: record.value[theirs]
            for ours, theirs in columns.items()
            if theirs and theirs in record.value
        }
        rest = {key: value for key, value in record.value.items() if key not in columns.values()}
        displaced = {f"[{key}]": rest.pop(key) for key in list(rest) if key in columns}
        return replace(record, value={**moved, **rest, **displaced})

    return map(renamed, itertools.chain(first, stream))
