"""How rows are read: one value, with the same names and meanings in every verb that reads rows."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any

from holdfast.data.read import Dataset, column_pairs, read
from holdfast.data.tally import Sample
from holdfast.data.verdicts import named_verdicts
from holdfast.typed import values_of

QUARANTINE = "quarantine.jsonl"


@dataclass(frozen=True)
class Reading:
    """What `holdfast.read` and every verb that reads rows take beside the data. Every field is a
    keyword in Python and a flag.

    Columns and verdicts may be given as mappings or as "ours=theirs"; they are kept as the latter.
    `quarantine` is False (a row that cannot be used is an error), True (such rows go to
    quarantine.jsonl in the folder that the verb writes, or in the current one), or a file.
    """

    format: Annotated[
        str | None, "the format to read rows as, where inferring it is not wanted"
    ] = None
    columns: Annotated[
        tuple[str, ...],
        "which column is which, ours first: prompt=question; name= leaves a column out; "
        "may be repeated",
    ] = ()
    verdicts: Annotated[
        tuple[str, ...],
        "what a verdict column's values mean: 0=first,1=second (or tie, skip; good, bad "
        "of single answers)",
    ] = ()
    split: Annotated[str | None, "which split of the data to read, where it has several"] = None
    quarantine: Annotated[
        bool | str,
        "skip rows that cannot be used, count them and write them to quarantine.jsonl, "
        "instead of stopping at them",
    ] = False

    def __post_init__(self) -> None:
        columns: Any = self.columns
        pairs = column_pairs(columns if isinstance(columns, Mapping | Sequence) else ())
        object.__setattr__(
            self, "columns", tuple(f"{ours}={theirs}" for ours, theirs in pairs.items())
        )
        verdicts: Any = self.verdicts
        object.__setattr__(
            self,
            "verdicts",
            tuple(f"{value}={meaning}" for value, meaning in named_verdicts(verdicts).items()),
        )
        if isinstance(self.quarantine, os.PathLike):
            object.__setattr__(self, "quarantine", os.fspath(self.quarantine))

    @classmethod
    def of(cls, given: Mapping[str, Any], who: str) -> Reading:
        """From the loose keywords of `who`. Raises OptionError for a name that is none of ours."""
        made: Reading = values_of(given, who, cls)[0]
        return made

    @property
    def keywords(self) -> dict[str, Any]:
        """These fields alone, as keywords: of a value that has more."""
        return {field.name: getattr(self, field.name) for field in fields(Reading)}

    def quarantine_file(
        self, folder: str | os.PathLike[str] = ".", name: str = QUARANTINE
    ) -> Path | None:
        """The quarantine file of a verb that writes `folder`; None where a row that cannot be used
        is an error.
        """
        if isinstance(self.quarantine, str):
            return Path(self.quarantine)
        return Path(folder) / name if self.quarantine else None

    def rows(
        self, source: Any, quarantine: Path | None = None, *, sample: Sample | None = None
    ) -> Dataset:
        """Read, as `holdfast.read` does."""
        return read(
            source,
            **{
                **self.keywords,
                "columns": self.columns or None,
                "verdicts": self.verdicts,
                "quarantine": quarantine,
            },
            sample=sample,
        )

    def flags(self) -> tuple[str, ...]:
        """The flags with which any other verb reads the same rows."""
        words = [
            word
            for name, value in (("--format", self.format), ("--split", self.split))
            if value
            for word in (name, value)
        ]
        words += [word for pair in self.columns for word in ("--columns", pair)]
        words += ["--verdicts", ",".join(self.verdicts)] if self.verdicts else []
        return (*words, *(["--quarantine"] if self.quarantine else []))
