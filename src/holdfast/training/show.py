"""What the model would see of the first rows, before anything is trained: `holdfast train METHOD
--show 3`.
"""

from __future__ import annotations

import os
from typing import Any

from rich.console import Console

from holdfast.card import Average, Method, Reduction
from holdfast.data.show import show
from holdfast.methods import get
from holdfast.models.load import load_tokenizer
from holdfast.reductions import with_average
from holdfast.terminal import Terminal
from holdfast.training.options import split_options
from holdfast.training.prepare import first_rows
from holdfast.training.setup import read_reduction


def show_rows(
    method: str | Method,
    *,
    model: Any,
    data: Any,
    n: int = 3,
    tokenizer: Any = None,
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
