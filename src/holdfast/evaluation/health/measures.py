"""What the health card measures of any reward, a model's or a function's, on comparisons.

Scores are told in standard deviations of the reward over the data's answers (`sd`), so that rewards
of any unit are held against the same thresholds, which stand here.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import lgamma
from typing import Any

import numpy as np

from holdfast.evaluation.calibration import calibration
from holdfast.evaluation.health.finding import Finding, Severity, skipped
from holdfast.evaluation.ranking import wins
from holdfast.stats.arrays import Floats
from holdfast.stats.intervals import Estimate, mean_interval
from holdfast.types import Row, Text

Score = Callable[[Sequence[Text], Sequence[str]], Floats]

INVARIANT = 1e-3  # sd; more is no rounding
SHIFTED = 0.25  # sd by which a harmless edit may move scores on average
OTHER = "the answer to another prompt"
TURNED = 0.10  # share of verdicts that a harmless edit may turn


@dataclass(frozen=True)
class Scored:
    """N comparisons and their scores; rows without a score are left out."""

    rows: Sequence[Row]
    prompts: Sequence[Text]
    chosen: Sequence[str]
    rejected: Sequence[str]
    chosen_N: Floats
    rejected_N: Floats
    clusters: Sequence[str]

    @property
    def sd(self) -> float:
        return float(np.std(np.concatenate([self.chosen_N, self.rejected_N])))

    @property
    def right_N(self) -> Floats:
        return wins(self.chosen_N, self.rejected_N)


def share(estimate: Estimate) -> str:
    if estimate.value is None:
        return "n/a"
    text = f"{100 * estimate.value:.1f}%"
    if estimate.low is None or estimate.high is None:
        return text
    return f"{text} (95% CI {100 * estimate.low:.1f} to {100 * estimate.high:.1f})"


def agreement(data: Scored) -> Finding:
    found = mean_interval(data.right_N, data.clusters)
    says = f"prefers the chosen answer in {share(found)} of {len(data.rows):,} pairs"
    severity: Severity = "ok"
    cure = ""
    if found.low is not None and found.high is not None:
        if found.high < 0.5:
            severity, cure = "problem", "the sign is inverted: negate the reward, or the labels"
        elif found.low <= 0.5:
            severity, cure = "warning", "cannot be told from chance: more pairs, or another reward"
    return Finding("agreement", severity, says, cure, {"accuracy": found.to_dict()})


def constant(data: Scored) -> Finding:
    values = np.concatenate([data.chosen_N, data.rejected_N])
    ties = mean_interval(data.chosen_N == data.rejected_N, data.clusters)
    numbers = {"sd": data.sd, "distinct": len(np.unique(values)), "ties": ties.to_dict()}
    if len(np.unique(values)) == 1:
        says = f"every one of {len(values):,} answers scores {values[0]:g}"
        cure = "check that the reward reads the answer, and that its head was trained and loaded"
        return Finding("constant", "problem", says, cure, numbers)
    says = f"sd {data.sd:.3g} over {len(values):,} answers; {share(ties)} of pairs are tied"
    many = ties.value is not None and ties.value > 0.2
    cure = "ties carry no preference: a finer score, or a second criterion" if many else ""
    return Finding("constant", "warning" if many else "ok", says, cure, numbers)


def monotonicity(data: Scored, score: Score, seed: int) -> Finding:
    """Known-better answers: the chosen one against the answer to another prompt, its own words in
    random order, and nothing at all.
    """
    rng = random.Random(seed)
    n = len(data.rows)
    order = list(range(n))
    rng.shuffle(order)
    other = {i: order[(order.index(i) + 1) % n] for i in range(n)}
    worse: dict[str, list[str]] = {
        OTHER: [data.chosen[other[i]] for i in range(n)],
        "its words in random order": [_shuffled(text, rng) for text in data.chosen],
        "no answer": [""] * n,
    }
    numbers, bad, said, blind = {}, [], [], False
    for name, answers in worse.items():
        at = [i for i in range(n) if answers[i] != data.chosen[i]]
        if not at:
            continue
        worse_n = score([data.prompts[i] for i in at], [answers[i] for i in at])
        better = wins(data.chosen_N[at], worse_n)
        found = mean_interval(better[~np.isnan(better)])
        numbers[name] = found.to_dict()
        said.append(f"{name} in {share(found)}")
        if found.high is not None and found.high < 0.5:
            bad.append(name)
        elif name == OTHER and found.low is not None and found.low <= 0.5:
            blind = True
    says = f"prefers the chosen answer to: {'; '.join(said)}"
    if len(bad) >= 2:
        cure = "known-worse answers score higher: the sign is inverted; negate the reward"
        return Finding("monotonicity", "problem", says, cure, numbers)
    if bad:
        cure = f"{bad[0]} scores higher than a real answer: a policy will find that"
        return Finding("monotonicity", "warning", says, cure, numbers)
    if blind:
        cure = "it may not read the prompt: check the order of its arguments and its template"
        return Finding("monotonicity", "warning", says, cure, numbers)
    return Finding("monotonicity", "ok", says, "", numbers)


def prompt_alone(data: Scored, score: Score) -> Finding:
    """How much of the score is the prompt's, which no answer can change."""
    firsts = list({name: i for i, name in reversed(list(enumerate(data.clusters)))}.values())
    empty_P = score([data.prompts[i] for i in firsts], [""] * len(firsts))
    mean_P = (data.chosen_N[firsts] + data.rejected_N[firsts]) / 2
    kept = ~np.isnan(empty_P)
    if kept.sum() < 5:
        return skipped("prompt alone", f"{int(kept.sum())} prompts have a score without an answer")
    above = mean_interval(empty_P[kept] > data.chosen_N[firsts][kept])
    r2 = _r2(empty_P[kept], mean_P[kept])
    says = (
        f"the prompt without an answer explains {100 * r2:.0f}% of the variance between prompts, "
        f"and scores above the chosen answer in {share(above)} of {int(kept.sum())} prompts"
    )
    numbers = {"r2": r2, "above_chosen": above.to_dict()}
    if above.low is not None and above.low > 0.2:
        cure = "saying nothing is rewarded: train on refusals and empty answers as rejected"
        return Finding("prompt alone", "problem", says, cure, numbers)
    if r2 > 0.5:
        cure = "compare answers within a prompt only (groups, pairs, a per-prompt baseline)"
        return Finding("prompt alone", "warning", says, cure, numbers)
    return Finding("prompt alone", "ok", says, "", numbers)


def length(data: Scored) -> Finding:
    """The reward's slope on length against the labels' own."""
    words = [np.array([len(t.split()) for t in side], float) for side in _sides(data)]
    ratio_N = np.log2((words[0] + 1) / (words[1] + 1))
    unequal = np.flatnonzero(ratio_N != 0).tolist()
    if len(unequal) < 10:
        return skipped("length", f"{len(unequal)} pairs differ in length; 10 are needed")
    gap_n = (data.chosen_N - data.rejected_N)[unequal] / (data.sd or 1.0)
    ratio_n, clusters = ratio_N[unequal], [data.clusters[i] for i in unequal]
    slope = float(gap_n @ ratio_n / (ratio_n @ ratio_n))
    longer = np.sign(ratio_n)
    model = mean_interval(wins(np.sign(gap_n) * longer, np.zeros(len(longer))), clusters)
    labels = mean_interval(longer > 0, clusters)
    more = mean_interval(
        wins(np.sign(gap_n) * longer, np.zeros(len(longer))) - (longer > 0), clusters
    )
    says = (
        f"{slope:+.2f} sd for each doubling of length; the longer answer wins in {share(model)}, "
        f"by the labels in {share(labels)}, of {len(unequal):,} pairs that differ in length"
    )
    numbers = {"slope_sd_per_doubling": slope, "model": model.to_dict(), "labels": labels.to_dict()}
    leans = more.low is not None and more.low > 0.05
    shuns = more.high is not None and more.high < -0.05
    if leans or shuns:
        which = "longer" if leans else "shorter"
        cure = (
            f"it favors {which} answers beyond the labels: balance lengths in its data, or train "
            "the policy with a length penalty"
        )
        severity: Severity = "problem" if abs(more.point) > 0.2 else "warning"
        return Finding("length", severity, says, cure, numbers)
    return Finding("length", "ok", says, "", numbers)


def calibrated(data: Scored, log_odds: bool) -> Finding:
    """Whether differences are log-odds."""
    found = calibration(data.chosen_N - data.rejected_N, data.clusters)
    scale = "none" if found.scale is None else f"{found.scale:.2g}"
    says = (
        f"expected calibration error {found.ece:.3f}, a perfect model's {found.ece_perfect:.3f}; "
        f"best temperature: differences times {scale}"
    )
    numbers = found.to_dict()
    if not log_odds:
        return Finding("calibration", "not_applicable", f"no log-odds are promised; {says}")
    if found.ece_p < 0.05:
        cure = f"multiply the reward by {scale} before reading differences as log-odds"
        return Finding("calibration", "warning", says, cure, numbers)
    return Finding("calibration", "ok", says, "", numbers)


def by_part(data: Scored, name: str, of: Callable[[Row], str | None]) -> Finding:
    """Agreement by group or source."""
    names = [of(row) for row in data.rows]
    parts: dict[str, Estimate] = {}
    for part in sorted({part for part in names if part}):
        at = [i for i, other in enumerate(names) if other == part]
        parts[part] = mean_interval(data.right_N[at], [data.clusters[i] for i in at])
    title = f"agreement by {name}"
    if len(parts) < 2:
        return skipped(title, f"needs two values of `{name}`; the rows have {len(parts)}")
    whole = mean_interval(data.right_N, data.clusters)
    low = [
        part
        for part, one in parts.items()
        if one.high is not None and whole.low is not None and one.high < whole.low
    ]
    worst = min(parts, key=lambda part: parts[part].value or 0.0)
    says = f"lowest: {worst} with {share(parts[worst])}; overall {share(whole)}"
    numbers = {part: one.to_dict() for part, one in parts.items()}
    if low:
        cure = f"add data of {', '.join(low[:3])}, or train with --reduction groups"
        return Finding(title, "warning", says, cure, numbers)
    return Finding(title, "ok", says, "", numbers)


EDITS: dict[str, Callable[[str], str]] = {
    "lower case": str.lower,
    "upper case": str.upper,
    "a space at the end": lambda text: text + " ",
    "double spaces": lambda text: text.replace(" ", "  "),
    "bold": lambda text: f"**{text}**",
    "a list": lambda text: "- " + text.replace(". ", ".\n- "),
}


def edits(data: Scored, score: Score) -> Finding:
    """What edits that change no meaning do: to the score, and to the verdict when only the chosen
    answer is edited.
    """
    numbers: dict[str, Any] = {}
    bad, lines = [], []
    for name, edit in EDITS.items():
        edited = [edit(text) for text in data.chosen]
        new_N = score(data.prompts, edited)
        kept = ~np.isnan(new_N)
        if not kept.any():
            continue
        shift = mean_interval((new_N - data.chosen_N)[kept] / (data.sd or 1.0))
        turned = mean_interval(wins(new_N, data.rejected_N)[kept] != data.right_N[kept])
        numbers[name] = {"shift_sd": shift.to_dict(), "turned": turned.to_dict()}
        lines.append(f"{name} {shift.point:+.2f} sd, {100 * turned.point:.0f}% of verdicts turned")
        if abs(shift.point) > SHIFTED or turned.point > TURNED:
            bad.append(name)
    says = "; ".join(lines)
    if bad:
        cure = f"it rewards form ({', '.join(bad)}): normalize text first, or train on edited pairs"
        return Finding("edits", "warning", says, cure, numbers)
    return Finding("edits", "ok", says, "", numbers)


def batches(data: Scored, score: Score) -> Finding:
    """Whether a score depends on what else is in the batch."""
    at = list(range(min(8, len(data.rows))))
    prompts, answers = [data.prompts[i] for i in at], [data.chosen[i] for i in at]
    alone = np.concatenate([score([p], [a]) for p, a in zip(prompts, answers, strict=True)])
    back = score(prompts[::-1], answers[::-1])[::-1]
    off = np.nanmax(np.abs(np.stack([alone - back, back - data.chosen_N[at]])), initial=0.0)
    off = float(off) / (data.sd or 1.0)
    says = f"alone and in batches, scores of {len(at)} answers differ by at most {off:.2g} sd"
    numbers = {"largest_sd": off}
    if off > INVARIANT:
        cure = "score one by one, or in float32; a function must not normalize over its batch"
        return Finding("batch size", "problem", says, cure, numbers)
    return Finding("batch size", "ok", says, "", numbers)


def drift(data: Scored, answers_PS: Sequence[Sequence[str]], score_PS: Floats) -> Finding:
    """Answers of a policy against answers of the data."""
    sd = data.sd or 1.0
    both = np.concatenate([data.chosen_N, data.rejected_N])
    flat = score_PS[~np.isnan(score_PS)]
    low, high = np.quantile(both, [0.01, 0.99])
    outside = mean_interval((flat < low) | (flat > high))
    shift = float(flat.mean() - both.mean()) / sd
    says = (
        f"the policy's answers score {shift:+.2f} sd against the data's; {share(outside)} of "
        f"{len(flat):,} lie outside the data's central 98%"
    )
    numbers = {"shift_sd": shift, "outside": outside.to_dict()}
    if outside.low is not None and outside.low > 0.1:
        cure = "label pairs of the policy's own answers and train the reward on them too"
        return Finding("drift", "warning", says, cure, numbers)
    return Finding("drift", "ok", says, "", numbers)


def best_of(score_PS: Floats) -> Finding:
    """What best-of-n would report: the expected score of the best of n, unbiased from S samples."""
    samples = score_PS.shape[1]
    sizes = [n for n in (1, 2, 4, 8, 16, 32, 64) if n <= samples]
    kept = score_PS[~np.isnan(score_PS).any(1)]
    if samples < 2 or not len(kept):
        return skipped("best of n", "needs 2 samples or more of a policy: --samples 16")
    curve = {n: float(expected_best(kept, n).mean()) for n in sizes}
    says = "expected score of the best of n: " + ", ".join(
        f"{n}: {x:.3g}" for n, x in curve.items()
    )
    return Finding("best of n", "ok", says, "", {"curve": curve})


def expected_best(score_PS: Floats, n: int) -> Floats:
    """(P,): E of the best of n drawn without replacement from S samples, exactly.

    sum_i C(i - 1, n - 1) / C(S, n) s_(i), scores in ascending order (Coste et al. 2023, appendix)
    """
    s = score_PS.shape[1]
    log_c = lambda a, b: lgamma(a + 1) - lgamma(b + 1) - lgamma(a - b + 1)  # noqa: E731
    weight_S = np.array(
        [np.exp(log_c(i - 1, n - 1) - log_c(s, n)) if i >= n else 0.0 for i in range(1, s + 1)]
    )
    made: Floats = np.sort(score_PS, axis=1) @ weight_S
    return made


def spread(data: Scored, gap_MN: Floats) -> Finding:
    """Whether the members of an ensemble disagree where their mean is wrong."""
    sd_N = gap_MN.std(0, ddof=1)
    right = gap_MN.mean(0) > 0
    both = {
        name: mean_interval(sd_N[at], [data.clusters[i] for i in np.flatnonzero(at).tolist()])
        for name, at in (("right", right), ("wrong", ~right))
    }
    if not right.any() or right.all():
        return skipped("ensemble", "the mean is right, or wrong, on every pair")
    half = np.median(sd_N)
    sure = mean_interval(right[sd_N <= half])
    unsure = mean_interval(right[sd_N > half])
    says = (
        f"members differ by {both['wrong'].point:.2f} sd where their mean is wrong and "
        f"{both['right'].point:.2f} where it is right; the half they agree on most is right in "
        f"{share(sure)}, the other half in {share(unsure)}"
    )
    numbers = {name: one.to_dict() for name, one in both.items()}
    numbers |= {"sure": sure.to_dict(), "unsure": unsure.to_dict()}
    if (both["wrong"].point <= both["right"].point) and (unsure.point >= sure.point):
        cure = "disagreement says nothing here: make members differ more (--members-by bootstrap)"
        return Finding("ensemble", "warning", says, cure, numbers)
    return Finding("ensemble", "ok", says, "", numbers)


# ------------------------------------------------------------ parts


def _sides(data: Scored) -> tuple[Sequence[str], Sequence[str]]:
    return data.chosen, data.rejected


def _shuffled(text: str, rng: random.Random) -> str:
    words = text.split()
    rng.shuffle(words)
    return " ".join(words)


def _r2(x: Floats, y: Floats) -> float:
    if np.std(x) == 0 or np.std(y) == 0:
        return 0.0
    return float(np.corrcoef(x, y)[0, 1] ** 2)
