"""How long the answers are, and whether the longer one wins."""

from __future__ import annotations

import altair as alt
import numpy as np

from holdfast.checkup.comparisons import Comparisons
from holdfast.checkup.finding import Asked, Example, Finding, Probe, Status
from holdfast.checkup.words import percent, span
from holdfast.evaluation.intervals import mean_interval
from holdfast.report import Chart, Table

FAR = 0.15  # a share this far from one half is worth a warning


def lengths(data: Comparisons, asked: Asked) -> Finding:
    """The share of comparisons that the longer answer wins, equal lengths left out, and the spread of lengths."""
    chosen_N, rejected_N = (np.array([len(text) for text in side], float) for side in (data.chosen, data.rejected))
    won_N = np.where(chosen_N == rejected_N, np.nan, chosen_N > rejected_N)
    share = mean_interval(won_N, data.prompt.code_N.tolist(), level=asked.level, seed=asked.seed)
    quantiles = {side: np.quantile(values, [0.1, 0.5, 0.9]).tolist() for side, values in (("chosen", chosen_N), ("rejected", rejected_N))}
    rows = [
        {"side": side, "characters": float(v)} for side, values in (("chosen", chosen_N), ("rejected", rejected_N)) for v in values[:5000]
    ]
    chart = (
        alt.Chart(alt.Data(values=rows))
        .mark_bar(opacity=0.6)
        .encode(x=alt.X("characters:Q", bin=alt.Bin(maxbins=40)), y=alt.Y("count()", stack=None), color=alt.Color("side:N"))
        .properties(height=200)
    )
    far = share.low is not None and share.high is not None and (share.low > 0.5 + FAR or share.high < 0.5 - FAR)
    order = np.argsort(-np.abs(chosen_N - rejected_N))[:10]
    return Finding(
        "Length",
        Status.WARN if far else Status.GOOD,
        f"The longer answer wins {percent(share)} of comparisons{span(share)}.",
        share,
        "share of comparisons won by the longer answer",
        numbers={"longer_wins": share.to_dict(), "quantiles": quantiles},
        charts=[Chart(chart, "lengths", "Characters of chosen and rejected answers.")],
        tables=[Table(["", "10%", "median", "90%"], [[side, *values] for side, values in quantiles.items()], "characters")],
        examples=[Example(int(i), float(abs(chosen_N[i] - rejected_N[i])), "a large difference in length") for i in order],
    )


PROBE = Probe("Does the longer answer win?", lengths)
