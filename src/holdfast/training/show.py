"""What the model would see of the first rows, before anything is trained: `holdfast train METHOD
--show 3`.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import replace
from typing import Any

from rich.console import Console

from holdfast.card import Average, Method, Reduction
from holdfast.data.show import show
from holdfast.methods import get
from holdfast.models.load import load_tokenizer
from holdfast.models.protocols import Place, Tokenizer
from holdfast.reductions import with_average
from holdfast.terminal import Terminal
from holdfast.training.examples import Examples
from holdfast.training.options import Options, split_options
from holdfast.training.settings import read_reduction
from holdfast.training.text_task import encode_text


def show_rows(
    method: str | Method,
    *,
    model: Place,
    data: Any,
    n: int = 3,
    tokenizer: Tokenizer | None = None,
    reduction: str | Reduction | None = None,
    average: str | Average | None = None,
    console: Console | None = None,
    **options_and_settings: Any,
) -> None:
    """Print the first `n` rows as `train` would render them, with the response mask visible. Only
    the tokenizer is loaded.

    Takes what `train` takes, and refuses what it would refuse of the data.
    """
    method = with_average(get(method) if isinstance(method, str) else method, average)
    options, _ = split_options(
        method,
        {
            k: v
            for k, v in options_and_settings.items()
            if k not in ("out", "reference", "eval_data", "resume")
        },
    )
    chosen = read_reduction(reduction, method, groups=1)
    tokenizer = tokenizer if tokenizer is not None else load_tokenizer(os.fspath(model))
    rows, said = first_rows(method, chosen, tokenizer, options, data=data, n=n)
    console = console or Terminal()
    for line in said:
        console.print(line, markup=False, highlight=False)
    show(rows.items, rows.rows, tokenizer, n, console=console)


def first_rows(
    method: Method,
    reduction: Reduction,
    tokenizer: Tokenizer,
    options: Options,
    *,
    data: Any,
    n: int,
) -> tuple[Examples, list[str]]:
    """The first `n` rows as `train` would make them, and what was said of all that were read.
    Nothing is written.
    """
    with tempfile.TemporaryDirectory() as scratch:
        given = options.rows(data, options.quarantine_file(scratch))
        said = [line for line in given.report.lines() if scratch not in line]
    some = given.select(
        range(min(len(given), max(2 * n, 32)))
    )  # a few more: a need may look at other rows
    with tempfile.TemporaryDirectory() as scratch:
        quarantine = options.quarantine_file(scratch)
        encoded = encode_text(
            some, replace(method, reduction=reduction), tokenizer, options, quarantine
        )
    seen = encoded.counts["tokenized"]
    said += [
        f"{n:,} of the first {seen['read']:,} rows: {reason} (accepted)"
        for reason, n in seen["lost"].items()
    ]
    said += [f"note on the first {seen['read']:,} rows: {note}" for note in seen["notes"]]
    return encoded.examples, said
