"""Prompts of a test set that are found among the comparisons."""

from __future__ import annotations

import altair as alt
import numpy as np

from holdfast.checkup.comparisons import Comparisons
from holdfast.checkup.present.wording import count, percent
from holdfast.checkup.request import CheckRequest
from holdfast.checkup.result import Example, Finding, FindingSpec, Severity
from holdfast.report import Chart, Table
from holdfast.stats.intervals import mean_interval
from holdfast.text.minhash import Index, bare

SHOWN = 10


def leaks(data: Comparisons, request: CheckRequest) -> Finding:
    """The share of a test set's prompts that the comparisons hold, word for word (case and
    punctuation aside) or nearly so.
    """
    if request.against is None:
        return Finding(
            "Leaks",
            Severity.NOT_APPLICABLE,
            "No test set was given. With --against FILE its prompts are looked for here.",
        )
    if data.named:
        return Finding(
            "Leaks",
            Severity.NOT_APPLICABLE,
            "These are head-to-head results between names; there are no prompts.",
        )
    tests = [text for text in dict.fromkeys(request.against) if text.strip()]
    if not tests:
        return Finding(
            "Leaks", Severity.INCONCLUSIVE, "The test set that was given has no prompts."
        )
    names = data.prompt.names
    place = {bare(name): i for i, name in enumerate(names)}
    exact = {t: place[key] for t, test in enumerate(tests) if (key := bare(test)) in place}
    others = [t for t in range(len(tests)) if t not in exact]
    near = {
        others[i]: (j, alike)
        for i, j, alike in Index(names, seed=request.seed).like([tests[t] for t in others])
    }
    found = [1.0 if t in exact or t in near else 0.0 for t in range(len(tests))]
    share = mean_interval(found, level=request.level, seed=request.seed)
    codes = {*exact.values(), *(j for j, _ in near.values())}
    rows_N = np.isin(data.prompt.code_N, list(codes))
    severity = Severity.OK if not codes else Severity.PROBLEM if exact else Severity.WARNING
    first_row = {int(code): i for i, code in reversed(list(enumerate(data.prompt.code_N.tolist())))}
    examples = [
        Example(first_row[j], 1.0, "its prompt is in the test set, word for word")
        for j in list(exact.values())[:SHOWN]
    ]
    closest = sorted(near.items(), key=lambda item: -item[1][1])[:SHOWN]
    examples += [
        Example(
            first_row[j], alike, f"nearly the test prompt {tests[t][:80]!r} (overlap {alike:.2f})"
        )
        for t, (j, alike) in closest
    ]
    return Finding(
        "Leaks",
        severity,
        f"Of {count(len(tests), 'test prompt')}, {len(exact):,} stand here word for word "
        f"and {len(near):,} nearly ({percent(share)}); "
        f"they are the prompts of {count(int(rows_N.sum()), 'comparison')}.",
        share,
        "share of test prompts that are found here",
        remedy=(
            "Remove the comparisons with these prompts before training, or the test will flatter."
        )
        if codes
        else "",
        cannot="Only a sample of the comparisons was searched." if data.note else "",
        numbers={
            "exact": len(exact),
            "near": len(near),
            "tests": len(tests),
            "rows": int(rows_N.sum()),
            "share": share.to_dict(),
        },
        charts=[_chart(len(tests), len(exact), sorted(alike for _, alike in near.values()))],
        tables=[
            Table(
                ["test prompt", "prompt here", "overlap"],
                [[tests[t][:200], names[j][:200], alike] for t, (j, alike) in closest],
                "Nearest",
            )
        ]
        if closest
        else [],
        examples=examples,
    )


def _chart(tests: int, exact: int, near: list[float]) -> Chart:
    parts = [
        ("word for word", exact),
        ("nearly", len(near)),
        ("not found", tests - exact - len(near)),
    ]
    order = [name for name, _ in parts]
    rows = [{"kind": name, "prompts": number} for name, number in parts]
    chart = (
        alt.Chart(alt.Data(values=rows))
        .mark_bar(height=26, cornerRadius=3)
        .encode(
            x=alt.X("prompts:Q", title="test prompts", stack="zero"),
            color=alt.Color(
                "kind:N", scale=alt.Scale(domain=order, range=["#c2456b", "#d9722e", "#3d8f5f"])
            ),
            order=alt.Order("index:Q"),
            tooltip=["kind:N", alt.Tooltip("prompts:Q", format=",")],
        )
        .properties(height=60)
    )
    return Chart(
        chart,
        "leaks",
        "Test prompts that were found among the comparisons.",
        "; ".join(f"{n:,} {name}" for name, n in parts),
    )


FINDING = FindingSpec("Are prompts of the test set among the data?", leaks)
