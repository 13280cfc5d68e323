"""Did the advice hold? The top choices and plain DPO, trained small on the user's own rows with a flaw planted, judged by rows without it.

The flaw is planted in the training rows alone, at a known rate; held-out rows keep their labels. What is measured is how often the trained
policy's implicit reward ranks them as labeled: of the worst group where the advice is about groups. Every arm sees the same rows, flaws and
seeds, so differences are paired; an interval is the wider of Student's over seeds and the bootstrap over held-out prompts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from holdfast.checkup.advice import Advice, Choice, Facts
from holdfast.checkup.comparisons import Comparisons, Floats, Ints, coded
from holdfast.checkup.finding import Finding
from holdfast.checkup.words import count
from holdfast.data import Dataset
from holdfast.lab.verdict import Interval, over_seeds
from holdfast.report import Chart, Section, Table
from holdfast.report.marks import intervals

RATE = 0.2  # of the planted flaw
SEEDS = 4
RESAMPLES = 1000
PLAIN = "dpo"
RIVAL = "rdpo"  # what plain DPO is tried against where it is the advice and nothing else applies
FLAWS = {
    "uniform": "labels flipped at random",
    "length": "flips in favor of the longer answer",
    "rater": "flips at a rate of its own for each rater",
    "cycle": "circles",
    None: "nothing: the camps that were found are the flaw",
}


@dataclass(frozen=True)
class Confirmation:
    """What came out. `gains` are the advised arm minus each other one: accuracy, paired."""

    advised: str
    flaw: str | None
    rate: float
    measure: str
    values: Mapping[str, tuple[float, ...]]  # arm -> one accuracy a seed
    shares: Mapping[str, Interval]  # arm -> its accuracy
    gains: Mapping[str, Interval]  # other arm -> advised minus it
    rows: int
    held_out: int
    model: str

    @property
    def verdict(self) -> str:
        """held: ahead of plain DPO, or, where that is the advice, of its rivals; contradicted: behind any arm; else undecided."""
        if any(gain.high < 0 for gain in self.gains.values()):
            return "contradicted"
        against = self.gains.values() if self.advised == PLAIN else [self.gains[PLAIN]]
        return "held" if all(gain.low > 0 for gain in against) else "undecided"

    @property
    def says(self) -> str:
        planted = FLAWS[self.flaw] if self.flaw is None else f"{FLAWS[self.flaw]}, rate {self.rate:g}"
        first = f"With {planted}, {count(self.rows, 'training row')} and {count(len(next(iter(self.values.values()))), 'seed')}, "
        ahead = "; ".join(
            f"{self.advised} minus {arm}: {100 * g.mean:+.1f} points ({100 * g.low:+.1f} to {100 * g.high:+.1f})"
            for arm, g in self.gains.items()
        )
        ruling = {"held": "the advice held", "contradicted": "the advice was contradicted", "undecided": "nothing was decided"}[
            self.verdict
        ]
        return f"{first}{ruling}. {ahead}.{self.open}"

    @property
    def open(self) -> str:
        """Where nothing was decided: why, and what would decide."""
        if self.verdict != "undecided":
            return ""
        if all(share.low <= 0.5 for share in self.shares.values()):
            best = max(self.shares.values(), key=lambda share: share.mean)
            return (
                f" By this measure no arm is clearly better than chance (the best {100 * best.mean:.0f}%, {100 * best.low:.0f} to "
                f"{100 * best.high:.0f}%): so small a model learns too little of these labels for a method to matter. A model of your own "
                "(--model) may tell."
            )
        width = max((gain.high - gain.low) / 2 for gain in self.gains.values())
        return (
            f" With {count(self.held_out, 'held-out row')} a gain below about {100 * width:.0f} points cannot be seen: more rows would "
            "tell, or a comparison at full size."
        )

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "verdict": self.verdict, "says": self.says}

    def section(self) -> Section:
        """For the report."""
        rows = [{"name": arm, "value": share.mean, "low": share.low, "high": share.high} for arm, share in self.shares.items()]
        chart = intervals(rows, names=list(self.shares), title=self.measure, percent=True)
        table = Table(
            ["arm", "accuracy", "low", "high", "advised minus it", "low", "high"],
            [
                [arm, s.mean, s.low, s.high, *([g.mean, g.low, g.high] if (g := self.gains.get(arm)) else [None] * 3)]
                for arm, s in self.shares.items()
            ],
        )
        words = (
            f"{self.says}\n\nSmall trainings from {self.model}; {count(self.held_out, 'held-out row')} judged them, labels as they came."
        )
        return Section("Did the advice hold?", words, chart=Chart(chart, "confirmation", "Accuracy with 95% intervals."), table=table)


def confirm(
    data: Comparisons,
    findings: Mapping[str, Finding],
    advice: Advice,
    folder: Path,
    *,
    model: str | None = None,
    rows: int = 1000,
    held_out: int = 400,
    seeds: int = SEEDS,
    rate: float = RATE,
    epochs: float = 1.0,
    workers: int | None = None,
    quiet: bool = False,
) -> Confirmation:
    """Train the top choices and plain DPO on the rows with a flaw planted, and compare.

    Args:
        data: the comparisons
        findings: what advice rests on: a flip rate that was found adds to the one that is planted
        advice: what to confirm
        folder: where the small starting model is kept
        model: where to start; a small model taught on both answers of the training rows unless given
        rows: training rows at most
        held_out: held-out rows at most
        seeds: repetitions
        rate: of the planted flaw
        epochs: passes over the training rows
        workers: processes at once
        quiet: no progress

    Raises:
        DataError: fewer than two comparisons, or the flaw cannot be planted in these rows.
    """
    from holdfast.lab.engine import run_all
    from holdfast.lab.stress import arm_named
    from holdfast.lab.stress_text import TextPlan

    best = advice.best
    rate = 0.0 if best.flaw is None else rate
    arms = {name: arm_named(text) for name, text in arms_of(advice, rate, Facts(findings).flip or 0.0).items()}
    if not quiet:
        start = "a small model is taught on both answers of the training rows, then " if model is None else ""
        said = f"Does the advice hold? {start}{count(len(arms) * seeds, 'training')}: {', '.join(arms)}, {count(seeds, 'seed')} each."
        Console(stderr=True).print(said, highlight=False, soft_wrap=True)
    plan = TextPlan.prepare(
        Dataset.of(data.rows),
        folder,
        flaws=[best.flaw or "uniform"],
        rates=[rate],
        arms=list(arms.values()),
        model=model,
        rows=rows,
        held_out=held_out,
        epochs=epochs,
        learning_rate=3e-4,
        beta=None,
        seeds=seeds,
        quarantine=True,
    )
    work = [piece for arm in arms.values() for piece in plan.work(best.flaw or "uniform", rate, arm)]
    done = run_all(work, workers=workers, quiet=quiet)
    group_N = coded([row.group for row in plan.held]).code_N if best.reduction else np.zeros(len(plan.held), np.int64)
    prompt_N = coded(plan.units).code_N
    right_ASN = np.array([d.result["right"] for d in done]).reshape(len(arms), seeds, len(plan.held))
    return compared(
        dict(zip(arms, right_ASN, strict=True)),
        prompt_N,
        group_N,
        advised=next(iter(arms)),
        flaw=best.flaw,
        rate=rate,
        measure="worst group's held-out accuracy" if best.reduction else "held-out accuracy",
        rows=len(plan.train),
        model="a small model" if model is None else str(model),
    )


def arms_of(advice: Advice, rate: float, found: float) -> dict[str, str]:
    """The advised method, the next choice, and plain DPO: name -> arm of the stress test. A flip rate is told as it will be: what was
    found and what is planted, together."""
    chosen = list(advice.choices[:2])
    names = {choice.label: _told(choice, rate, found) for choice in chosen}
    if PLAIN not in names:
        names[PLAIN] = PLAIN
    if len(names) == 1:
        names[RIVAL] = f"{RIVAL}:flip={_both(rate, found):.4g}"
    return names


def _told(choice: Choice, rate: float, found: float) -> str:
    if "flip" not in choice.settings:
        return choice.arm
    return choice.arm.replace(f"flip={choice.settings['flip']:g}", f"flip={_both(rate, found):.4g}")


def _both(rate: float, found: float) -> float:
    """A label that is flipped twice is right again."""
    return min(rate + found - 2 * rate * found, 0.49)


def compared(right: Mapping[str, Floats], prompt_N: Ints, group_N: Ints, *, advised: str, **about: Any) -> Confirmation:
    """From what each arm got right, arm -> (S, N), to shares and paired differences."""
    draws_BN = _draws(prompt_N)
    scores = {arm: _score(right_SN, group_N, np.ones((1, len(prompt_N))))[:, 0] for arm, right_SN in right.items()}
    drawn = {arm: _score(right_SN, group_N, draws_BN).mean(0) for arm, right_SN in right.items()}
    others = [arm for arm in right if arm != advised]
    return Confirmation(
        advised=advised,
        values={arm: tuple(map(float, score_S)) for arm, score_S in scores.items()},
        shares={arm: _wider(scores[arm], drawn[arm]) for arm in right},
        gains={arm: _wider(scores[advised] - scores[arm], drawn[advised] - drawn[arm]) for arm in others},
        held_out=len(prompt_N),
        **about,
    )


def _draws(prompt_N: Ints) -> Floats:
    """How often each row occurs in each resample of whole prompts."""
    rng = np.random.default_rng(0)
    prompts = int(prompt_N.max()) + 1
    times_BP = rng.multinomial(prompts, np.full(prompts, 1 / prompts), size=RESAMPLES)
    return times_BP[:, prompt_N].astype(float)


def _score(right_SN: Floats, group_N: Ints, times_BN: Floats) -> Floats:
    """(S, B): the accuracy of the worst group, for each seed and resample. Rows of no group are left out where there are several."""
    worst: Floats | None = None
    for group in np.unique(group_N[group_N >= 0]):
        in_BN = times_BN * (group_N == group)
        share_SB = right_SN @ in_BN.T / np.maximum(in_BN.sum(1), 1e-12)
        worst = share_SB if worst is None else np.minimum(worst, share_SB)
    assert worst is not None
    return worst


def _wider(value_S: Floats, drawn_B: Floats) -> Interval:
    low, high = (float(q) for q in np.quantile(drawn_B, [0.025, 0.975]))
    if len(value_S) < 2:
        return Interval(float(value_S.mean()), low, high, len(value_S))
    seeds = over_seeds(value_S.tolist())
    return Interval(seeds.mean, min(low, seeds.low), max(high, seeds.high), len(value_S))
