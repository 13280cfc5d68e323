"""Did the advice hold? The top choices and plain DPO, trained small on the user's own rows with a
flaw planted, judged by rows without it.

The flaw is the one that the advice is about, at a rate at which the advice is given: see
`advice.py`. It is planted in training rows alone. Prompts are dealt into folds; each fold is judged
by policies that were trained on the others, so every row is judged once, by policies that never saw
its prompt. All arms see the same rows with the same flaw, so differences are paired.

The policies are small ones of words (`lab/bag_of_words.py`), trained in a second each. What a row
scores is how near the policy's own preference p = sigma(beta margin) comes to the label, by the
square rule: 1 - 4 (1 - p)^2, which is 1 where the policy is sure and right, 0 for chance, -3 where
it is sure and wrong. It is strictly proper, so its mean is greatest for the p with which labels
come, and it sees what ranking does not: flips that make a policy timid. Where a model is given, or
a method wants what words cannot give, language models are trained instead, and a row scores 1 if
the implicit reward ranks it as labeled.

Labels as they came are the yardstick, flips that are in them included: what a method has to undo,
and is told of, is what was planted.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from scipy import stats
from scipy.special import expit

from holdfast.checkup.advice import Advice, Choice
from holdfast.checkup.check import Checkup
from holdfast.checkup.comparisons import Comparisons
from holdfast.checkup.present.wording import count, percent
from holdfast.errors import DataError, HoldfastError
from holdfast.lab.stress.arms import Arm, arm_named
from holdfast.parallel import Done, Work, run_all
from holdfast.report import Chart, Section, Table
from holdfast.report.marks import intervals
from holdfast.signals import Interrupted
from holdfast.stats.arrays import Floats, Ints
from holdfast.stats.intervals import Estimate
from holdfast.terminal import Terminal
from holdfast.types import Row

FOLDS, FOLDS_OF_MODELS = 10, 5
ROWS, ROWS_OF_MODELS = 20_000, 1_250  # comparisons that are used; of more, a seeded draw
FEWEST_ROWS, FEWEST_PROMPTS = 50, 5
WORTH = 0.02  # a gain that is worth a choice of method
PLAIN = "dpo"
RIVAL = "rdpo"  # what plain DPO is tried against where it is the advice and nothing else applies
TITLE = "Did the advice hold?"
FLAWS = {
    "uniform": "labels flipped at random",
    "length": "flips in favor of the longer answer",
    "rater": "flips at a rate of its own for each rater",
    "cycles": "cycles",
    None: "nothing planted, as the subgroups that were found are the flaw",
}


@dataclass(frozen=True)
class Confirmation:
    """What came out. `gains` are the advised arm minus each other one: scores, paired."""

    advised: str
    flaw: str | None
    rates: tuple[float, float]  # planted, from fold to fold
    measure: str
    scores: Mapping[str, Estimate]  # arm -> its mean score
    right: Mapping[str, Estimate]  # arm -> share of rows that it ranks as labeled
    gains: Mapping[str, Estimate]  # other arm -> advised minus it
    rows: int  # a policy was trained on, on average
    held_out: int
    prompts: int
    folds: int
    model: str
    coin: float = 0.0  # what one who knows nothing scores

    @property
    def learned(self) -> bool:
        """Whether any arm is clearly better than chance, so that there is something to compare."""
        return any(score.above(self.coin) for score in self.scores.values())

    @property
    def verdict(self) -> str:
        """held: ahead of plain DPO and behind no arm; where plain DPO is the advice, behind no arm
        by `WORTH`. alike: the difference to plain DPO, and to any other arm, is less than `WORTH`
        either way. contradicted: behind an arm; where plain DPO is the advice, by more than
        `WORTH`. undecided: the intervals say none of these, or no arm learned anything.
        """
        gains = list(self.gains.values())
        if not self.learned:
            return "undecided"
        if self.advised == PLAIN:
            return (
                "held"
                if all(g.above(-WORTH) for g in gains)
                else "contradicted"
                if any(g.below(-WORTH) for g in gains)
                else "undecided"
            )
        if all(g.above(-WORTH) and g.below(WORTH) for g in gains):
            return "alike"
        return (
            "contradicted"
            if any(g.below(0) for g in gains)
            else "held"
            if self.gains[PLAIN].above(0)
            else "undecided"
        )

    @property
    def says(self) -> str:
        ahead = "; ".join(
            f"{self.advised} minus {arm}: {_points(g.point)} points "
            f"({' to '.join(map(_points, g.ends))})"
            for arm, g in self.gains.items()
        )
        return f"With {self.planted}, {self.ruling}. {ahead}.{self.open}"

    @property
    def planted(self) -> str:
        if self.flaw is None:
            return FLAWS[None]
        low, high = self.rates
        rate = percent(high, 0 if round(100 * high, 6) % 1 == 0 else 1)
        return (
            f"{FLAWS[self.flaw]} in {rate if low == high else f'{percent(low, 0)} to {rate}'} "
            "of the training rows"
        )

    @property
    def ruling(self) -> str:
        worth = f"{100 * WORTH:g} points"
        return {
            "held": (
                f"the advice held: {' and '.join(self.gains)} is not ahead of plain DPO by {worth}"
            )
            if self.advised == PLAIN
            else "the advice held: it is ahead of plain DPO",
            "contradicted": "the advice was contradicted",
            "alike": f"the advice makes no difference that matters: less than {worth}",
            "undecided": "nothing was decided",
        }[self.verdict]

    @property
    def open(self) -> str:
        """Where nothing was decided: why, and what would decide."""
        if self.verdict != "undecided":
            return ""
        if not self.learned:
            best = max(self.scores.values(), key=lambda score: score.point)
            span = (
                f"{percent(best)}, {' to '.join(map(percent, best.ends))}; chance: "
                f"{percent(self.coin, 0)}"
            )
            return (
                f" No arm is clearly better than chance (the best: {span}). "
                f"{self.model.capitalize()} learn too little of these labels for "
                "a method to matter. A model of your own (--model) may tell."
            )
        against = self.gains.values() if self.advised == PLAIN else [self.gains[PLAIN]]
        width = max((gain.ends[1] - gain.ends[0]) / 2 for gain in against)
        return (
            f" With {count(self.held_out, 'held-out row')} to "
            f"{count(self.prompts, 'prompt')} a gain below about {100 * width:.1f} points "
            "cannot be seen: more "
            f"{'prompts' if self.prompts < self.held_out / 2 else 'rows'} would tell, or "
            "a comparison at full size."
        )

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "verdict": self.verdict, "says": self.says}

    def section(self) -> Section:
        """For the report."""
        rows = [
            {"name": arm, "value": share.value, "low": share.low, "high": share.high}
            for arm, share in self.scores.items()
        ]
        chart = intervals(rows, names=list(self.scores), title=self.measure, percent=True)
        table = Table(
            [
                "arm",
                "score",
                "95% interval",
                "advised minus it, points",
                "95% interval",
                "ranked as labeled",
            ],
            [
                [
                    arm,
                    *_span(score, percent),
                    *_span(self.gains.get(arm), _points),
                    percent(self.right[arm]),
                ]
                for arm, score in self.scores.items()
            ],
            self.measure[:1].upper() + self.measure[1:],
        )
        words = (
            f"{self.says}\n\nTrained were {self.model}, on {count(self.rows, 'row')} at a "
            f"time. Each of {count(self.held_out, 'row')} was "
            "judged, its label as it came, by one that never saw its prompt."
        )
        return Section(
            TITLE,
            words,
            chart=Chart(chart, "confirmation", "Scores with 95% intervals."),
            table=table,
        )


def _points(share: float) -> str:
    return f"{100 * share:+.1f}"


def _span(interval: Estimate | None, said: Callable[[float], str]) -> tuple[str, str]:
    return (
        ("", "")
        if interval is None
        else (said(interval.point), " to ".join(map(said, interval.ends)))
    )


@dataclass(frozen=True)
class Untried:
    """Why nothing was trained."""

    why: str
    verdict: str = "not tried"

    @property
    def says(self) -> str:
        return f"Whether the advice holds was not tried: {self.why}."

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "says": self.says}

    def section(self) -> Section:
        return Section(TITLE, self.says)


def confirm(
    checkup: Checkup,
    *,
    out: str | os.PathLike[str] | None = None,
    model: str | None = None,
    workers: int | None = None,
    seed: int = 0,
    quiet: bool = False,
) -> Checkup:
    """The check-up with its advice tried: the top choices and plain DPO trained small on its rows
    with a flaw planted, and compared on rows without it.

    Args:
        checkup: of `holdfast.check`
        out: the folder that it was written to; report.html and check.json are written there anew,
            and what stands there is whole until then
        model: a language model to start from; small bag-of-words policies are trained unless one
            is given
        workers: processes at once that train language models for `confirm`; one a processor unless
            given
        seed: of folds, draws and flaws
        quiet: show no progress
    """
    if checkup.data.named:
        found: Confirmation | Untried = Untried(
            "the rows hold the names of contestants and no texts, so there is nothing to train"
        )
    else:
        with TemporaryDirectory() as scratch:
            found = tried(
                checkup.data,
                checkup.advice,
                Path(scratch),
                model=model,
                workers=workers,
                seed=seed,
                quiet=quiet,
            )
    confirmed = replace(checkup, confirmation=found)
    if out is not None:
        confirmed.write(Path(out))
    return confirmed


def tried(
    data: Comparisons, advice: Advice, folder: Path, **request: Any
) -> Confirmation | Untried:
    """`train_and_compare`, where what stands in its way is a result too: a check-up that took
    minutes is not lost by it.
    """
    try:
        return train_and_compare(data, advice, folder, **request)
    except Interrupted:
        raise
    except HoldfastError as error:
        return Untried(str(error).replace("\nhint: ", "; "))


def train_and_compare(
    data: Comparisons,
    advice: Advice,
    folder: Path,
    *,
    model: str | None = None,
    rows: int | None = None,
    folds: int | None = None,
    workers: int | None = None,
    seed: int = 0,
    quiet: bool = False,
) -> Confirmation:
    """Train the top choices and plain DPO on the rows with a flaw planted, and compare.

    Args:
        data: the comparisons
        advice: what to confirm
        folder: where small language models are kept, if any are trained
        model: a language model to start from; small policies of words are trained unless one is
            given
        rows: comparisons to use at most; 20,000 for policies of words, 1,250 for language models
        folds: how many parts each judge what was trained on the others; 10 for policies of words, 5
            for language models
        workers: processes at once that train language models
        seed: of folds, draws and flaws
        quiet: no progress

    Raises:
        DataError: too few comparisons or prompts, or the flaw cannot be planted in these rows.
        NeedError: a method asks for what these rows do not have.
    """
    from holdfast.lab.bag_of_words import within_reach

    best = advice.best
    arms = {name: arm_named(text) for name, text in arms_of(advice).items()}
    words = model is None and all(within_reach(arm.method) for arm in arms.values())
    if best.reduction:
        data = data.take(
            np.flatnonzero(data.group.code_N >= 0)
        )  # who is in no group has no part in the worst of them
    most = rows or (ROWS if words else ROWS_OF_MODELS)
    if len(data) > most:
        data = data.take(np.sort(np.random.default_rng(seed).permutation(len(data))[:most]))
    prompts = len(np.unique(data.cluster_N))
    if len(data) < FEWEST_ROWS or prompts < FEWEST_PROMPTS:
        raise DataError(
            f"{count(len(data), 'comparison')} to {count(prompts, 'prompt')} are too few "
            "to train on some and judge by the rest",
            hint=(
                f"at least {FEWEST_ROWS} comparisons and {FEWEST_PROMPTS} prompts are needed, "
                "and some hundreds tell more"
            ),
        )
    fold_N = dealt(
        data.cluster_N, min(folds or (FOLDS if words else FOLDS_OF_MODELS), prompts), seed
    )
    rates_K = np.linspace(*best.rates, int(fold_N.max()) + 1).tolist()
    if not quiet:
        kind = (
            "small policies of words"
            if words
            else "small language models"
            if model is None
            else f"trainings of {model}"
        )
        said = (
            f"Does the advice hold? {len(arms) * len(rates_K)} {kind}: {', '.join(arms)} on "
            f"{len(rates_K)} folds of {len(data):,} rows."
        )
        Terminal(stderr=True).print(said, highlight=False, soft_wrap=True)
    if words:
        work = _of_words(data, fold_N, rates_K, arms, best.flaw, seed)
    else:
        work = _of_models(data, fold_N, rates_K, arms, best.flaw, seed, model, folder)
    done = run_all(work, workers=1 if words else workers, quiet=quiet)
    found = _gathered(done, fold_N, len(arms))
    worst = best.reduction is not None
    kind_N = (
        data.group.code_N
        if worst
        else _longer(data)
        if best.flaw == "length"
        else np.zeros(len(data), np.int64)
    )
    return compared(
        dict(zip(arms, 1 - 4 * (1 - expit(found)) ** 2 if words else found, strict=True)),
        dict(zip(arms, np.where(found == 0, 0.5, found > 0) if words else found, strict=True)),
        fold_N,
        kind_N,
        worst=worst,
        advised=next(iter(arms)),
        flaw=best.flaw,
        rates=best.rates,
        measure=(
            "nearness of the policy's preference to held-out labels (0% is chance)"
            if words
            else "held-out pairs ranked as labeled"
        )
        + (
            ", worst group"
            if worst
            else ", longer and shorter choices alike"
            if best.flaw == "length"
            else ""
        ),
        rows=round(len(data) * (1 - 1 / len(rates_K))),
        prompts=prompts,
        model="policies of words"
        if words
        else "small language models"
        if model is None
        else f"models like {model}",
        coin=0.0 if words else 0.5,
    )


def arms_of(advice: Advice) -> dict[str, str]:
    """The advised method, the next choice, and plain DPO: name -> arm of the stress test. A method
    that reads a flip rate is told the one that is planted, or the middle of what is."""
    rate = float(np.mean(advice.best.rates))
    chosen = [_told(choice, rate) for choice in advice.choices[:2]]
    names = {choice.label: choice.arm for choice in chosen}
    if PLAIN not in names:
        names[PLAIN] = PLAIN
    if len(names) == 1:
        names[f"{RIVAL} --flip-rate {rate:.3g}"] = f"{RIVAL}:flip_rate={rate:.3g}"
    return names


def _told(choice: Choice, rate: float) -> Choice:
    return (
        replace(choice, settings={**choice.settings, "flip_rate": rate})
        if "flip_rate" in choice.settings
        else choice
    )


def dealt(cluster_N: Ints, folds: int, seed: int) -> Ints:
    """A fold for each row, all rows of a cluster in one, folds of about one size: large clusters
    are dealt first, each to the smallest.
    """
    codes, place_N, size_C = np.unique(cluster_N, return_inverse=True, return_counts=True)
    fold_C, filled = np.empty(len(codes), np.int64), np.zeros(folds)
    order = np.random.default_rng(seed).permutation(len(codes))
    for c in order[np.argsort(-size_C[order], kind="stable")]:
        fold_C[c] = filled.argmin()
        filled[fold_C[c]] += size_C[c]
    return fold_C[place_N]


# ------------------------------------------------------------ trainings


def _of_words(
    data: Comparisons,
    fold_N: Ints,
    rates_K: Sequence[float],
    arms: Mapping[str, Arm],
    flaw: str | None,
    seed: int,
) -> list[Work]:
    from holdfast.lab.bag_of_words import Words
    from holdfast.lab.bag_of_words import tried as trained
    from holdfast.lab.stress.text import plant

    words, work = Words.of(data.rows), []
    for fold, rate in enumerate(rates_K):
        train, held = np.flatnonzero(fold_N != fold), np.flatnonzero(fold_N == fold)
        planted = plant(
            [data.rows[i] for i in train], flaw or "uniform", rate, seed + fold, known=False
        )[1]
        shared = {"words": words, "train": train, "turned": planted.changed, "held": held}
        for name, arm in arms.items():
            work.append(
                Work(
                    f"{name}, fold {fold + 1}",
                    trained,
                    {**shared, "arm": arm, "settings": arm.told(rate)},
                )
            )
    return work


def _of_models(
    data: Comparisons,
    fold_N: Ints,
    rates_K: Sequence[float],
    arms: Mapping[str, Arm],
    flaw: str | None,
    seed: int,
    model: str | None,
    folder: Path,
) -> list[Work]:
    from holdfast.lab.stress.text import (
        OPTIONS,
        accuracy,
        fitting,
        own_settings,
        refuse,
        small_start,
    )

    refuse(data.rows, [flaw or "uniform"], max(rates_K), list(arms.values()), False)
    start = model or small_start(data.rows, folder, quarantine=True)
    taken = {id(row) for row in fitting(data.rows, start, folder / "quarantine.jsonl")}
    if len(taken) < len(data):
        long = (
            f"{count(len(data) - len(taken), 'comparison')} of {len(data):,} do not fit into "
            f"the window of {start}"
        )
        raise DataError(long, hint="give a model with a longer one, or leave the long rows out")
    work = []
    for fold, rate in enumerate(rates_K):
        sides: list[tuple[Row, ...]] = [
            tuple(r for r, f in zip(data.rows, fold_N, strict=True) if (f == fold) == away)
            for away in (False, True)
        ]
        shared = {
            "flaw": flaw or "uniform",
            "rate": rate,
            "start": start,
            "train_rows": sides[0],
            "held": sides[1],
            "known": False,
        }
        for name, arm in arms.items():
            own = {
                "seed": seed + fold,
                "arm": arm,
                "settings": own_settings(arm, rate),
                "options": {**OPTIONS, "quarantine": True},
            }
            work.append(Work(f"{name}, fold {fold + 1}", accuracy, {**shared, **own}))
    return work


def _gathered(done: Sequence[Done], fold_N: Ints, arms: int) -> Floats:
    """(A, N): what each arm said of each row. The work is fold after fold, and in each of them arm
    after arm.
    """
    out = np.empty((arms, len(fold_N)))
    for i, piece in enumerate(done):
        found = piece.result["right"] if isinstance(piece.result, Mapping) else piece.result
        out[i % arms, fold_N == i // arms] = found
    return out


# ------------------------------------------------------------ what it comes to


def compared(
    scores: Mapping[str, Floats],
    right: Mapping[str, Floats],
    fold_N: Ints,
    kind_N: Ints,
    *,
    worst: bool,
    advised: str,
    **about: Any,
) -> Confirmation:
    """From what each arm scored (N,) on each row, and whether it ranked it right, to means and
    paired differences.
    """
    of = {arm: _folded(score_N, fold_N, kind_N, worst) for arm, score_N in scores.items()}
    ranked = {arm: _folded(right_N, fold_N, kind_N, worst) for arm, right_N in right.items()}
    return Confirmation(
        advised=advised,
        scores={arm: jackknife(*found) for arm, found in of.items()},
        right={arm: jackknife(*found) for arm, found in ranked.items()},
        gains={
            arm: jackknife(of[advised][0] - mean, of[advised][1] - without_K)
            for arm, (mean, without_K) in of.items()
            if arm != advised
        },
        held_out=len(fold_N),
        folds=int(fold_N.max()) + 1,
        **about,
    )


def jackknife(whole: float, without_K: Floats) -> Estimate:
    """Student's interval of a number that was computed whole and K times without one of K folds.

    A fold has prompts, a flaw and trainings of its own, so the spread between folds is that of all
    three, and no second interval is needed. se^2 = (K - 1) / K sum_k (t_k - mean t)^2 (Tukey 1958),
    K - 1 degrees of freedom; of a plain mean over folds of one size this is Student's interval of
    their means. Training rows are shared between folds: the interval is about these rows, and other
    rows of the same kind might vary a little more.
    """
    folds = len(without_K)
    half = float(
        stats.t.ppf(0.975, folds - 1)
        * np.sqrt((folds - 1) / folds * ((without_K - without_K.mean()) ** 2).sum())
    )
    return Estimate(
        float(whole), float(whole) - half, float(whole) + half, folds, folds, "jackknife over folds"
    )


def _folded(score_N: Floats, fold_N: Ints, kind_N: Ints, worst: bool) -> tuple[float, Floats]:
    """The mean over kinds of rows, or the worst of them, over all rows and without each fold."""
    folds = range(int(fold_N.max()) + 1)
    return _mean(score_N, kind_N, worst), np.array(
        [_mean(score_N[fold_N != k], kind_N[fold_N != k], worst) for k in folds]
    )


def _mean(score_N: Floats, kind_N: Ints, worst: bool) -> float:
    """Of each kind's own mean, the mean or the least. Rows of kind -1 are of none."""
    means = [float(score_N[kind_N == kind].mean()) for kind in np.unique(kind_N[kind_N >= 0])]
    return min(means) if worst else float(np.mean(means))


def _longer(data: Comparisons) -> Ints:
    """1 where the chosen answer is longer, 0 where the rejected one is, -1 where neither: liking
    length alone is then no better than chance, whatever the held-out raters liked."""
    gap_N = np.array(
        [
            len(chosen) - len(rejected)
            for chosen, rejected in zip(data.chosen, data.rejected, strict=True)
        ]
    )
    return np.where(gap_N == 0, -1, (gap_N > 0).astype(np.int64))


__all__ = ["Confirmation", "Untried", "arms_of", "compared", "confirm", "tried"]
