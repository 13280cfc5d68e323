"""How the policies of self-play fare against each other, and the page that shows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import numpy as np

from holdfast.evaluation.show import number, percent
from holdfast.report import Chart, Details, Page, Section, Table, Tile
from holdfast.report.marks import lines
from holdfast.stats.arrays import Floats
from holdfast.stats.intervals import mean_interval
from holdfast.training.run.model_card import changed
from holdfast.training.run.report import curves
from holdfast.types import Text

SHOWN = 12  # prompts whose answers can be read on the page


def standings(
    pref_PGG: Floats, *, rounds: int, samples: int, watched: Sequence[Mapping[str, Any]], seed: int
) -> dict[str, Any]:
    """Numbers of each round's policy, from verdicts on all answers to the watched prompts, policy
    after policy.

    win_rate          against the start, with an interval over prompts
    exploitability    the most that any round's policy wins against it, above 1/2: how far from
                      unbeatable within the pool of policies
    mixture           the same of a policy that is one of rounds 0..t at random: what averaging over
                      rounds gives
    kl                to the start, nats an answer (exact in each next token)

    The pool's exploitability is a lower bound: an answer that no round gives is not in it.
    """
    count = rounds + 1
    win_PTU = pref_PGG.reshape(len(pref_PGG), count, samples, count, samples).mean(axis=(2, 4))
    for t in range(
        count
    ):  # a policy against itself: its own draws without the pairs of an answer with itself
        win_PTU[:, t, t] = 0.5
    win_TU = win_PTU.mean(0)
    rows = []
    for t in range(count):
        mixed_U = win_TU[:, : t + 1].mean(1)
        clusters = [p for p in range(len(pref_PGG)) for _ in range(samples)]
        rows.append(
            {
                "round": t,
                "win_rate": mean_interval(win_PTU[:, t, 0], seed=seed).to_dict(),
                "exploitability": float(np.maximum(0.0, win_TU[:, t].max() - 0.5)),
                "exploited_by": int(win_TU[:, t].argmax()),
                "mixture_exploitability": float(np.maximum(0.0, mixed_U.max() - 0.5)),
                "kl": mean_interval(watched[t]["kl_N"], clusters, seed=seed).to_dict(),
                "length": watched[t]["length"],
                "cut_off": watched[t]["cut_off"],
            }
        )
    return {"rounds": rows, "win_TU": win_TU.tolist()}


def lead(record: Mapping[str, Any]) -> str:
    """What came out, in sentences that follow the intervals."""
    rows = record["results"]["standings"]["rounds"]
    last, win = rows[-1], rows[-1]["win_rate"]
    said = [
        f"After {len(record['rounds'])} rounds of {record['method']} the policy wins "
        f"{percent(win)} of comparisons with the start."
    ]
    if win["low"] is not None:
        better = win["low"] > 0.5
        said.append(
            "The judge prefers it."
            if better
            else "That is not told apart from a draw."
            if win["high"] >= 0.5
            else "It lost ground."
        )
    if last["exploitability"] > 0.02:
        said.append(
            f"The policy of round {last['exploited_by']} beats it in "
            f"{100 * (0.5 + last['exploitability']):.1f}%."
        )
    if last["mixture_exploitability"] < last["exploitability"] - 0.02:
        said.append(
            f"The judge's preferences go around in part: one of all rounds' policies at "
            "random loses at most "
            f"{100 * (0.5 + last['mixture_exploitability']):.1f}% to any of them, less "
            "than the last policy alone."
        )
    said.append(f"It is {number(last['kl'])} nats an answer from the start.")
    return " ".join(said)


def selfplay_page(
    record: Mapping[str, Any],
    metrics: Sequence[Mapping[str, Any]],
    prompts: Sequence[Text],
    answers: Sequence[Sequence[Sequence[str]]],
) -> Page:
    """The whole page. `answers[p][t]` are round t's answers to watched prompt p; `metrics` are the
    run's, of which half-steps are left out.
    """
    rows = record["results"]["standings"]["rounds"]
    last = rows[-1]
    tiles = [
        Tile(
            "Win rate against the start",
            f"{100 * last['win_rate']['value']:.1f}%",
            _between(last["win_rate"]),
        ),
        Tile(
            "Exploitability, last policy",
            f"{last['exploitability']:.3f}",
            "within the pool of rounds",
        ),
        Tile(
            "Exploitability, mixture of rounds",
            f"{last['mixture_exploitability']:.3f}",
            "within the pool of rounds",
        ),
        Tile("KL to the start, nats", f"{last['kl']['value']:.2f}"),
    ]
    sections = [
        _course(rows),
        _table(record),
        _everyone(record),
        _answers(prompts, answers),
        *curves([line for line in metrics if not line.get("half_step")]),
        _making(record),
    ]
    return Page(f"Self-play with {record['method']}", lead(record), sections, tiles)


def _between(estimate: Mapping[str, Any]) -> str:
    return (
        "no interval"
        if estimate["low"] is None
        else f"{100 * estimate['low']:.1f}% to {100 * estimate['high']:.1f}%"
    )


def _course(rows: Sequence[Mapping[str, Any]]) -> Section:
    named = {"last policy": "exploitability", "mixture of rounds": "mixture_exploitability"}
    points = [
        {"name": name, "x": row["round"], "y": row[key]}
        for name, key in named.items()
        for row in rows
    ]
    chart = lines(points, names=list(named), x="round", y="exploitability", points=True)
    wins = [{"name": "win rate", "x": row["round"], "y": row["win_rate"]["value"]} for row in rows]
    won = lines(
        wins,
        names=["win rate"],
        x="round",
        y="win rate against the start",
        percent=True,
        points=True,
    )
    away = [{"name": "KL", "x": row["round"], "y": row["kl"]["value"]} for row in rows]
    far = lines(away, names=["KL"], x="round", y="nats an answer", points=True)
    text = (
        "Exploitability is the most that any round's policy wins against this one, above "
        "one half, on prompts that were not trained on. It "
        "is within the pool of policies met, so a lower bound. Where preferences go "
        "around, the last policy may stay exploitable while the "
        "mixture of all rounds does not."
    )
    return Section(
        "Round by round",
        text,
        chart=[
            Chart(
                chart,
                "exploitability",
                "How much the best answer within the pool wins against each policy.",
            ),
            Chart(won, "win-rate", "Share of comparisons won against the start."),
            Chart(far, "kl", "How far each policy is from the start."),
        ],
    )


def _table(record: Mapping[str, Any]) -> Section:
    head = [
        "round",
        "win rate against the start",
        "exploitability",
        "of the mixture",
        "KL, nats",
        "tokens",
        "cut off",
    ]
    rows = [
        [
            row["round"],
            percent(row["win_rate"]),
            row["exploitability"],
            row["mixture_exploitability"],
            number(row["kl"]),
            f"{row['length']:.1f}",
            f"{100 * row['cut_off']:.1f}%",
        ]
        for row in record["results"]["standings"]["rounds"]
    ]
    made = []
    for entry in record["rounds"]:
        drawn, losses = entry["drawn"], entry["losses"]
        made.append(
            [
                entry["round"],
                drawn["prompts"],
                drawn["comparisons"],
                sum(drawn["skipped"].values()),
                *(f"{losses[name]:.4g}" if name in losses else "" for name in ("first", "last")),
            ]
        )
    trained = Table(["round", "prompts", "comparisons", "skipped", "first loss", "last loss"], made)
    return Section("The numbers", table=[Table(head, rows), trained])


def _everyone(record: Mapping[str, Any]) -> Section:
    win_TU = record["results"]["standings"]["win_TU"]
    cells = [
        {"row": t, "column": u, "win": win_TU[t][u]}
        for t in range(len(win_TU))
        for u in range(len(win_TU))
    ]
    scale = alt.Scale(domain=[0, 0.5, 1], range=["#d9722e", "#f4f4f4", "#3b7dd0"])
    base = alt.Chart(alt.Data(values=cells)).encode(
        x=alt.X("column:O", title="against round"), y=alt.Y("row:O", title="policy of round")
    )
    tip = ["row:O", "column:O", alt.Tooltip("win:Q", format=".1%")]
    boxes = base.mark_rect().encode(
        color=alt.Color("win:Q", scale=scale, legend=alt.Legend(title=None, format="%")),
        tooltip=tip,
    )
    chart = boxes.properties(height=28 * len(win_TU) + 30)
    return Section(
        "Everyone against everyone",
        chart=Chart(chart, "everyone", "Share of comparisons that the row's policy wins."),
    )


def _answers(prompts: Sequence[Text], answers: Sequence[Sequence[Sequence[str]]]) -> Section:
    details = []
    for prompt, by_round in list(zip(prompts, answers, strict=True))[:SHOWN]:
        text = (
            prompt
            if isinstance(prompt, str)
            else "\n".join(f"{m['role']}: {m['content']}" for m in prompt)
        )
        fields = [
            ("prompt", text),
            *((f"round {t}", row[0] or "(nothing)") for t, row in enumerate(by_round)),
        ]
        line = " ".join(text.split())
        details.append(Details(line if len(line) <= 110 else f"{line[:107]}...", fields=fields))
    return Section(
        "Answers to read",
        "The first answer of each round to some of the watched prompts, not chosen.",
        details=details,
    )


def _making(record: Mapping[str, Any]) -> Section:
    names = (
        "method",
        "start",
        "judge",
        "rounds",
        "samples",
        "prompts",
        "watched",
        "pairing",
        "reference",
        "max_new_tokens",
        "temperature",
    )
    play = {"method": record["method"], **record["selfplay"]}
    kept = {**{name: play[name] for name in names}, **record["settings"]}
    kept |= {name: record["options"][name] for name, _ in changed(record)}
    rows = [[name, str(value)] for name, value in kept.items()]
    return Section("How it was made", table=Table(["setting", "value"], rows))
