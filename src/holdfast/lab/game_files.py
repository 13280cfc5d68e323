"""Games from files: a matrix of who beats whom, or votes."""

from __future__ import annotations

import csv
import gzip
import io
from collections import Counter
from collections.abc import Sequence
from math import inf
from pathlib import Path
from typing import Any

import numpy as np

from holdfast.card import check
from holdfast.data import Reading
from holdfast.data.columns import TEXT
from holdfast.data.matches import columns
from holdfast.errors import DataError, OptionError, shown
from holdfast.games import Game, from_votes
from holdfast.games.game import shares
from holdfast.rewards.items import fit_items
from holdfast.stats.arrays import Floats, whole

FILLS = ("none", "bradley_terry", "general_preference")


def read_game(
    path: str | Path,
    *,
    answers: int = 300,
    fill: str = "none",
    prior: float = 1.0,
    folder: str | Path = ".",
    **reading: Any,
) -> Game:
    """A game from a CSV matrix (names in the first row or column, or both, or neither), or from any
    votes `holdfast.read` takes.

    A matrix holds probabilities (P + P^T = 1), payoffs from -1 to 1 (a skew matrix), or counts of
    wins. Votes are rows of winner and loser, or of two sides and a verdict.

    Args:
        path: the file; .gz is read as well
        answers: of votes, the answers kept: those that met most often
        fill: of votes, how pairs are judged: `none` by their own votes and the prior (pairs that
            never met are draws), or by a preference model fitted to all votes, `bradley_terry` or
            `general_preference`
        prior: of votes, imagined meetings of each pair, half of them won
        folder: where the rows of votes go that cannot be used, if `quarantine` is on
        **reading: how votes are read (`holdfast.data.Reading`); a file with columns or verdicts
            named is one of votes

    Raises:
        DataError: the file holds neither.
        OptionError: an unknown fill.
    """
    if fill not in FILLS:
        raise OptionError(f"fill is {fill!r}", hint=f"one of {', '.join(FILLS)}")
    check("answers", answers, whole(answers, 2), "be a whole number of at least 2")
    check("prior", prior, 0 <= prior < inf, "be at least 0 and finite")
    how_read = Reading.of(reading, "lab games")
    said = how_read.format or how_read.columns or how_read.verdicts
    found = None if said else _matrix(Path(path))
    if found is not None:
        names, table_AA = found
        return Game(preferences(table_AA, prior=prior), names=names)
    return _votes(path, answers, fill, prior, how_read, folder)


def preferences(table_AA: Floats, *, prior: float = 1.0) -> Floats:
    """P from probabilities, payoffs or counts, whichever the entries are."""
    if table_AA.shape[0] != table_AA.shape[1]:
        raise DataError(
            f"a matrix of who beats whom is square; this one is {table_AA.shape[0]} by "
            f"{table_AA.shape[1]}"
        )
    off_AA = ~np.eye(len(table_AA), dtype=bool)
    if not np.isfinite(table_AA[off_AA]).all():
        a, b = (int(i) for i in np.argwhere(~np.isfinite(table_AA) & off_AA)[0])
        raise DataError(
            f"row {a + 1}, column {b + 1} of the matrix is {table_AA[a, b]}",
            hint="every pair needs a number",
        )
    table_AA = np.where(off_AA, table_AA, 0.0)
    if np.allclose(table_AA, -table_AA.T, atol=1e-6) and np.abs(table_AA).max(initial=0) <= 1:
        return (1 + table_AA) / 2
    if np.allclose((table_AA + table_AA.T)[off_AA], 1, atol=1e-6) and (table_AA >= 0).all():
        return np.where(off_AA, table_AA, 0.5)
    if (table_AA >= 0).all() and (table_AA == np.round(table_AA)).all():
        return shares(table_AA, prior)
    hint = "P + P^T = 1, or payoffs with A + A^T = 0, or whole numbers of wins"
    raise DataError(
        "the matrix holds neither probabilities, nor payoffs from -1 to 1, nor counts", hint=hint
    )


def _matrix(path: Path) -> tuple[tuple[str, ...], Floats] | None:
    """(names, numbers) if the file is a CSV of as many rows as columns; None if it is something
    else.
    """
    if not path.is_file() or not path.name.removesuffix(".gz").endswith(".csv"):
        return None
    raw = path.read_bytes()
    try:
        text = (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode("utf-8-sig")
    except (UnicodeDecodeError, gzip.BadGzipFile, EOFError) as error:
        raise DataError(
            f"{path} cannot be read: {error}", hint="UTF-8 text, or gzipped UTF-8 text"
        ) from None
    rows = [row for row in csv.reader(io.StringIO(text)) if row]
    if not rows:
        raise DataError(f"{path} is empty")
    rows = [[cell.strip() for cell in row] for row in rows]
    first, labels = rows[0], [row[0] for row in rows[1:]]
    both = (
        not _is_number(first[0]) and first[1:] == labels
    )  # names above and at the side, which may be numbers
    if (
        both
        and first[0] == ""
        and labels
        and all(len(row) > n and row[n] == "" for n, row in enumerate(rows))
        and _is_numbers(labels)
    ):
        hint = "write 0.5 into the diagonal of probabilities, 0 into that of payoffs or counts"
        raise DataError(
            f"{path}: its first row and column could be names or numbers, since they are alike",
            hint=hint,
        )
    if not both and is_votes(first):
        return None
    head = both or (not _is_numbers(first) and not _is_numbers(first[1:]))
    body = rows[1:] if head else rows
    side = both or (bool(body) and not _is_numbers([row[0] for row in body]))
    cells = [row[1:] if side else row for row in body]
    if not cells or not all(map(_is_numbers, cells)):
        return None
    if {len(row) for row in cells} != {len(cells)}:
        wide = sorted({len(row) for row in cells})
        raise DataError(
            f"{path}: a matrix of who beats whom is square; this one has {len(cells)} "
            f"rows of {' or '.join(map(str, wide))} numbers",
            hint=(
                "a row and a column for each answer; votes need a header winner, loser; or "
                "first, second, winner"
            ),
        )
    if side and head:
        _refuse_names(path, first, labels, len(cells))
    named = (
        labels
        if side and head
        else [row[0] for row in body]
        if side
        else first[-len(cells) :]
        if head
        else []
    )
    return tuple(named or (str(i + 1) for i in range(len(cells)))), np.array(
        [[float(cell or "nan") for cell in row] for row in cells]
    )


def _refuse_names(path: Path, first: Sequence[str], labels: Sequence[str], answers: int) -> None:
    """Refuse a first row and a first column that are not the same names in the same order: their
    numbers would belong to other pairs.
    """
    above = list(first[-answers:])
    if len(first) > answers and first[0] and _is_number(first[0]):
        raise DataError(
            f"{path}: its first row and column hold text, and the number {first[0]} where "
            "they meet",
            hint=(
                "a matrix of numbers has no text in it; names are above and at the side, with "
                "nothing or a word in the corner"
            ),
        )
    if above != list(labels):
        at = next(
            n for n, (one, other) in enumerate(zip(above, labels, strict=True)) if one != other
        )
        raise DataError(
            f"{path}: column {at + 1} is {shown(above[at])} and row {at + 1} is "
            f"{shown(labels[at])}; both must be the same answer",
            hint="name rows and columns alike, in one order",
        )
    twice = [name for name, times in Counter(labels).items() if times > 1]
    if twice:
        raise DataError(
            f"{path}: {shown(twice[0])} names {Counter(labels)[twice[0]]} answers",
            hint="a name for each answer",
        )


def is_votes(header: Sequence[str]) -> bool:
    """Whether these columns are two sides and a verdict, whatever stands below them."""
    return columns({name.lower(): TEXT for name in header}) is not None


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _is_numbers(cells: Sequence[str]) -> bool:
    return bool(cells) and all(cell == "" or _is_number(cell) for cell in cells)


def _votes(
    path: str | Path, answers: int, fill: str, prior: float, how_read: Reading, folder: str | Path
) -> Game:
    rows = [
        row
        for row in how_read.rows(str(path), how_read.quarantine_file(folder))
        if row.named or row.extra.get("chosen_model")
    ]
    if not rows:
        hint = "a square CSV matrix; or columns winner, loser; or first, second, winner"
        raise DataError(f"{path} holds no matches between names", hint=hint)
    pairs = [
        (str(row.chosen), str(row.rejected)) if row.named else _models(row.extra) for row in rows
    ]
    seen = Counter(name for pair in pairs for name in pair)
    kept = {name for name, _ in seen.most_common(answers)}
    met = []
    for (first, second), row in zip(pairs, rows, strict=True):
        if first != second:
            weight = (row.weight if row.weight is not None else 1.0) / (2 if row.tie else 1)
            met += [
                (one, two, weight)
                for one, two in ((first, second), (second, first))[: 2 if row.tie else 1]
            ]
    if fill == "none":
        met = [(one, two, weight) for one, two, weight in met if one in kept and two in kept]
    winners, losers, weights = zip(*met, strict=True) if met else ((), (), ())
    if fill == "none":
        return from_votes(winners, losers, weight=weights, prior=prior)
    model = fit_items(
        winners, losers, kind=fill, weight=weights
    )  # to everybody: who is left out tells of those who are kept
    place_A = [place for place, item in enumerate(model.items) if item in kept]
    return Game(
        model.pref_AA[np.ix_(place_A, place_A)],
        names=tuple(str(model.items[place]) for place in place_A),
    )


def _models(extra: object) -> tuple[str, str]:
    assert isinstance(extra, dict) or hasattr(extra, "__getitem__")
    return str(extra["chosen_model"]), str(extra["rejected_model"])
