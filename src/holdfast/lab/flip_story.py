"""The demo's report: its tables, charts and sections."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from rich.table import Table as Terminal

from holdfast.evaluation.show import number, percent
from holdfast.lab import flip_words as words
from holdfast.lab.flips import (
    PLAIN,
    ROBUST,
    YARDSTICK,
    Arm,
    Checked,
    Verdict,
    difference,
    head_to_head,
    of_arm,
    pooled,
    win_rate,
)
from holdfast.report import Chart, Details, Page, Section, Table, Tile
from holdfast.report.marks import intervals, lines

START = "before (SFT)"


def names_of(arms: Sequence[Arm]) -> list[str]:
    return list(dict.fromkeys(arm.name for arm in arms))


ROBUST_PLAIN = "gold, rDPO against DPO"
PLAIN_YARDSTICK = "gold, DPO against no flips"
ACCURACY = "held-out accuracy, rDPO minus DPO"
KEPT_ROBUST = "flipped labels followed, rDPO minus DPO"
KEPT_TAUGHT = "flipped labels followed, DPO minus no flips"


def compare(arms: Sequence[Arm]) -> dict[str, Verdict]:
    """Every comparison that the page makes."""
    plain, robust, yardstick = (of_arm(arms, name) for name in (PLAIN, ROBUST, YARDSTICK))
    return {
        ROBUST_PLAIN: head_to_head(robust, plain),
        PLAIN_YARDSTICK: head_to_head(plain, yardstick),
        ACCURACY: difference(robust, plain, "accuracy_N"),
        KEPT_ROBUST: difference(robust, plain, "kept_flipped", same_rows=False),
        KEPT_TAUGHT: difference(plain, yardstick, "kept_flipped", same_rows=False),
    }


def verdicts(arms: Sequence[Arm]) -> dict[str, dict[str, Any]]:
    """The same for machines."""
    return {
        name: {**v.estimate.to_dict(), "side": v.side, "seeds_agree": v.seeds_agree}
        for name, v in compare(arms).items()
    }


def rows_of(arms: Sequence[Arm]) -> list[dict[str, Any]]:
    """One row of numbers for each arm, over all its seeds."""
    out = []
    for name in names_of(arms):
        some = of_arm(arms, name)
        out.append(
            {
                "name": name,
                "win_rate": win_rate(some).to_dict(),
                "win_rate_by_seed": {str(arm.seed): win_rate([arm]).to_dict() for arm in some},
                "gold": pooled([arm.gold_PS.mean(1) for arm in some]).to_dict(),
                "accuracy": pooled([arm.accuracy_N for arm in some]).to_dict(),
                "kept_flipped": pooled(
                    [arm.kept_flipped for arm in some], same_rows=False
                ).to_dict(),
                "kept_honest": pooled([arm.kept_honest for arm in some], same_rows=False).to_dict(),
                "kl": float(np.mean([arm.kl for arm in some])),
                "tokens": float(np.mean([arm.tokens for arm in some])),
            }
        )
    return out


def table(arms: Sequence[Arm]) -> Terminal:
    """The short table for the terminal."""
    out = Terminal(
        title="Gold win rate against the starting model, and what became of the flipped labels",
        title_justify="left",
    )
    for column in (
        "",
        "gold win rate",
        "gold reward",
        "held-out accuracy",
        "flipped labels followed",
        "KL, nats",
    ):
        out.add_column(column, justify="left" if not column else "right")
    for row in rows_of(arms):
        cells = (
            percent(row["win_rate"]),
            number(row["gold"]),
            percent(row["accuracy"]),
            percent(row["kept_flipped"]),
            f"{row['kl']:.2f}",
        )
        out.add_row(row["name"], *cells)
    return out


# ------------------------------------------------------------------------------------------------
# the page


def story(
    arms: Sequence[Arm],
    facts: Sequence[Mapping[str, Any]],
    noisy: Checked,
    clean: Checked,
    *,
    rate: float,
    size: Mapping[str, Any],
    seconds: float,
    quick: bool,
    best: float,
) -> Page:
    """The whole report. `noisy` and `clean` are the check-ups of the training pairs after and
    before the flips.
    """
    found, rows, seeds = compare(arms), rows_of(arms), len(facts)
    flipped, pairs = sum(fact["flipped"] for fact in facts), sum(fact["pairs"] for fact in facts)
    before, after = (
        100 * np.mean([fact[key] for fact in facts]) for key in ("right_before", "right_after")
    )
    kl = {row["name"]: row["kl"] for row in rows}
    outcome = " ".join(
        [
            words.robust_against_plain(found[ROBUST_PLAIN], seeds),
            words.distance(kl[PLAIN], kl[ROBUST], found[ROBUST_PLAIN].side),
            words.price_of_flips(found[PLAIN_YARDSTICK]),
        ]
    ).replace("  ", " ")
    said = words.check_said(noisy, flipped / pairs)
    setting = (
        f"{flipped:,} of {pairs:,} training labels ({100 * flipped / pairs:.1f}%) were "
        f"flipped on purpose. Before that, {before:.0f}% of "
        f"them named the better answer; after, {after:.0f}%. Three trainings start from "
        "the same small model: DPO and rDPO on the flipped "
        f"labels (rDPO is told the rate, {rate:g}), and DPO on the same pairs before the "
        "flips as the yardstick. What is good is known "
        "exactly, since this world has a gold reward."
    )
    caution = (
        ["This was the quick run: far too small to show anything but that all parts work."]
        if quick
        else []
    )
    asked = Tile(
        "Labels flipped",
        f"{100 * flipped / pairs:.1f}%",
        f"{flipped:,} of {pairs:,} pairs; {rate:.0%} asked for",
        "warning",
    )
    sections = [
        _check(noisy, clean, flipped / pairs, rate),
        _outcome(arms, rows, best),
        _flips(arms, rows, found),
        _curves(arms),
        _answers(arms, best),
        _making(facts, size, seconds, seeds),
    ]
    title = "What flipped labels did to DPO, and to rDPO"
    return Page(
        title,
        "\n\n".join([outcome, *caution, f"{setting} {said}"]),
        sections,
        [*(_tile(row) for row in rows), asked],
    )


def _tile(row: Mapping[str, Any]) -> Tile:
    win = row["win_rate"]
    tone = (
        ""
        if win["low"] is None
        else "ok"
        if win["low"] > 0.5
        else "problem"
        if win["high"] < 0.5
        else ""
    )
    note = (
        "no interval"
        if win["low"] is None
        else f"{100 * win['low']:.1f} to {100 * win['high']:.1f}, against the start"
    )
    return Tile(f"Gold win rate, {row['name']}", f"{100 * win['value']:.1f}%", note, tone)


def _check(noisy: Checked, clean: Checked, truth: float, rate: float) -> Section:
    text = (
        f"{words.check_said(noisy, truth)} It reads prompts and answers of all seeds "
        "together, and nothing else. A small model of words "
        "and layout, fitted to other prompts, is asked how often a label contradicts it "
        "where it is sure.\n\nThe same pairs before the "
        "flips are the control. There the truth is 0%: honest labels are drawn by chance "
        "on close pairs, and chance verdicts are no flips."
    )
    found = {"after the flips": (noisy, truth), "before the flips": (clean, 0.0)}
    rows = [
        [
            name,
            f"{100 * flipped:.1f}%",
            percent(one.flip_rate.to_dict()) if one.flip_rate.value is not None else "cannot tell",
            one.limit,
        ]
        for name, (one, flipped) in found.items()
    ]
    shown = Table(
        ["pairs", "flipped", "the check-up's estimate", "at most"],
        [[*row[:3], None if row[3] is None else f"{100 * row[3]:.0f}%"] for row in rows],
        caption=(
            "Labels flipped on purpose, and what the check-up says of them, with 95% intervals."
        ),
    )
    others = (
        f" Other warnings and problems: {', '.join(noisy.flagged)}."
        if noisy.flagged
        else " Nothing else was flagged."
    )
    advice = (
        f"{noisy.advice[:1].upper()}{noisy.advice[1:]}.{others} The trainings below do not "
        f"follow it: rDPO is told the rate, {rate:g}."
    )
    aside = [("What it would train", advice)]
    return Section(
        "What the check-up saw",
        text,
        table=shown,
        aside=aside,
        link=("The whole check-up", "check/report.html"),
    )


def _outcome(arms: Sequence[Arm], rows: Sequence[Mapping[str, Any]], best: float) -> Section:
    names = names_of(arms)
    said = " ".join(words.against_start(name, win_rate(of_arm(arms, name))) for name in names)
    by_seed = [
        {"name": r["name"], "seed": f"seed {seed}", **_point(e)}
        for r in rows
        for seed, e in r["win_rate_by_seed"].items()
    ]
    start = pooled([arm.start_gold_PS.mean(1) for arm in arms]).to_dict()
    gold = [
        *({"name": r["name"], **_point(r["gold"])} for r in rows),
        {"name": START, **_point(start)},
    ]
    samples = len(arms[0].gold_PS[0])
    times = "once" if samples == 1 else f"{samples} times"
    many = len({row["seed"] for row in by_seed}) > 1
    shown = Table(
        ["", "gold win rate", "gold reward", "held-out accuracy", "KL, nats", "tokens"],
        [[START, "", number(start), "", "", ""]]
        + [
            [
                r["name"],
                percent(r["win_rate"]),
                number(r["gold"]),
                percent(r["accuracy"]),
                f"{r['kl']:.2f}",
                f"{r['tokens']:.1f}",
            ]
            for r in rows
        ],
        caption=(
            "Intervals are 95%, over prompts, all seeds together. The best gold reward there "
            f"is: {best:g}."
        ),
    )
    text = (
        f"{said}\n\nEach held-out prompt is answered {times} by each model, at "
        "temperature 1, and the gold reward decides which answer is "
        "better. KL is the distance to the start in nats an answer, estimated from the "
        "policy's own answers with the next token's "
        "divergence computed exactly (rao-blackwellized)."
    )
    win_chart = Chart(
        intervals(
            by_seed,
            names=names,
            title="gold win rate against the starting model",
            percent=True,
            mark_at=0.5,
            by="seed" if many else "",
        ),
        "win-rate",
        f"Gold win rate against the start{', each seed by itself' if many else ''}, with "
        "95% intervals. The dashed line is chance.",
    )
    gold_chart = Chart(
        intervals(gold, names=[*names, START], title="gold reward"),
        "gold-reward",
        f"Mean gold reward of the answers, with 95% intervals. The best possible is {best:g}.",
    )
    return Section("Did training help?", text, chart=[win_chart, gold_chart], table=shown)


def _flips(
    arms: Sequence[Arm], rows: Sequence[Mapping[str, Any]], found: Mapping[str, Verdict]
) -> Section:
    kinds = {"kept_honest": "honest labels", "kept_flipped": "flipped labels"}
    points = [
        {"name": r["name"], "labels": label, **_point(r[key])}
        for r in rows
        for key, label in kinds.items()
    ]
    text = (
        f"{words.memory_of_flips(rows, found[KEPT_TAUGHT], found[KEPT_ROBUST])} "
        f"{words.accuracy(found[ACCURACY])}\n\n"
        "A label counts as followed if the implicit reward, log pi(y|x) - log "
        "pi_ref(y|x), ranks the two answers as the label in the "
        "training file says. For a flipped label that is usually the wrong way round; not "
        "always, since honest labels too are drawn by "
        "chance and sometimes name the worse answer."
    )
    chart = Chart(
        intervals(
            points,
            names=names_of(arms),
            title="share of training pairs ranked as labeled",
            percent=True,
            mark_at=0.5,
            by="labels",
        ),
        "what-the-flips-did",
        "Training pairs that a policy ends up ranking as their noisy label says. The "
        "yardstick never saw the flips.",
    )
    cells = [
        [r["name"], percent(r["kept_honest"]), percent(r["kept_flipped"]), percent(r["accuracy"])]
        for r in rows
    ]
    shown = Table(
        ["", "honest labels followed", "flipped labels followed", "held-out accuracy"], cells
    )
    return Section("What the flips did", text, chart=chart, table=shown)


def _curves(arms: Sequence[Arm]) -> Section:
    names = names_of(arms)

    def course(key: str, **more: Any) -> list[dict[str, Any]]:
        return [
            {
                "name": arm.name,
                "seed": f"seed {arm.seed}",
                "x": line["step"],
                "y": line[key],
                **more,
            }
            for arm in arms
            for line in arm.curves
            if key in line
        ]

    movement = course("eval/log_ratios/chosen", answer="chosen") + course(
        "eval/log_ratios/rejected", answer="rejected"
    )
    charts = [
        Chart(
            lines(
                course("eval/rewards/accuracies"),
                names=names,
                x="step",
                y="held-out accuracy",
                percent=True,
                detail="seed",
                points=True,
            ),
            "held-out-accuracy",
            "Held-out pairs with honest labels that the implicit reward ranks rightly, "
            "during training; a line for each seed.",
        ),
        Chart(
            lines(
                course("eval/log_ratios/margin"),
                names=names,
                x="step",
                y="margin, nats",
                detail="seed",
                points=True,
            ),
            "held-out-margin",
            "Mean implicit margin on the same pairs: how far chosen and rejected have "
            "been driven apart, in nats.",
        ),
        Chart(
            lines(
                movement,
                names=names,
                x="step",
                y="log-probability moved, nats",
                dash="answer",
                detail="seed",
            ),
            "movement",
            "How far the log-probability of chosen and of rejected answers has moved from "
            "the start. Where both fall, probability goes "
            "to answers that are neither.",
        ),
        Chart(
            lines(_smooth(course("loss")), names=names, x="step", y="training loss", detail="seed"),
            "loss",
            "Training loss, each point the mean of ten steps. Its level cannot be "
            "compared between methods: rDPO's loss is another "
            "function, and has no floor.",
        ),
    ]
    return Section(
        "How it went",
        "The same steps, batches and settings for all; only the objective and the labels differ.",
        chart=charts,
    )


def _smooth(rows: Sequence[Mapping[str, Any]], width: int = 10) -> list[dict[str, Any]]:
    out: list[dict[str, Any]] = []
    for key in dict.fromkeys((row["name"], row["seed"]) for row in rows):
        some = [row for row in rows if (row["name"], row["seed"]) == key]
        for i in range(0, len(some), width):
            part = some[i : i + width]
            out.append({**part[-1], "y": float(np.mean([row["y"] for row in part]))})
    return out


def _answers(arms: Sequence[Arm], best: float, shown: int = 6) -> Section:
    first = {name: of_arm(arms, name)[0] for name in names_of(arms)}
    any_arm = next(iter(first.values()))
    details = []
    for p in range(min(shown, len(any_arm.answers))):
        entry = any_arm.answers[p]
        fields = [(f"{START}, gold {entry['opponent_reward'][0]:.1f}", entry["opponent"][0])]
        fields += [
            (f"{name}, gold {arm.answers[p]['policy_reward'][0]:.1f}", arm.answers[p]["policy"][0])
            for name, arm in first.items()
        ]
        details.append(Details(str(entry["prompt"]), fields=fields))
    text = (
        f"The first {len(details)} of the held-out prompts, not chosen; one answer each, of "
        f"the first seed. Gold runs from 0 to {best:g}."
    )
    return Section("Answers to read", text, details=details)


def _making(
    facts: Sequence[Mapping[str, Any]], size: Mapping[str, Any], seconds: float, seeds: int
) -> Section:
    luck = "one seed says nothing" if seeds < 2 else f"{seeds} seeds say little"
    text = (
        "A prompt asks for a topic and a tone. The gold reward counts, from 0 to 10, "
        "nouns of that topic, words of that tone, no word "
        "said twice, a proper end and a moderate length. Honest labels are drawn by "
        "Bradley-Terry on the gold reward, then flipped with "
        f"the known rate whatever they say.\n\nWhat this does not show: {luck} about the "
        "luck of a training; one learning rate and one "
        "beta were used for all, chosen on the yardstick; and uniform flips are the one "
        "kind that rDPO is made for. A tuned beta can do "
        "for DPO much of what rDPO does. Every run can be done again from its own run.json."
    )
    rows = [
        [
            str(f["seed"]),
            f["pairs"],
            f["flipped"],
            f"{100 * f['right_before']:.1f}%",
            f"{100 * f['right_after']:.1f}%",
        ]
        for f in facts
    ]
    tables = [
        Table(
            ["seed", "pairs", "flipped", "right before", "right after"],
            rows,
            caption="Training labels, and how many name the answer of higher gold reward.",
        ),
    ]
    settings = Table(
        ["setting", "value"],
        [[name.replace("_", " "), f"{value:g}"] for name, value in size.items()],
    )
    return Section(
        "How it was made",
        text,
        table=tables,
        details=[Details(f"All sizes; the whole took {seconds / 60:.1f} minutes", table=settings)],
    )


def _point(estimate: Mapping[str, Any]) -> dict[str, Any]:
    return {key: estimate[key] for key in ("value", "low", "high")}
