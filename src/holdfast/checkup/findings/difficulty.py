"""How a model ranks the pairs before any training, which of them no training at this beta could
mend, and how far they lie from it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import altair as alt
import numpy as np

from holdfast.checkup.comparisons import Comparisons
from holdfast.checkup.present.wording import percent, span
from holdfast.checkup.request import CheckRequest
from holdfast.checkup.result import Example, Finding, FindingSpec, Severity
from holdfast.evaluation.difficulty import BETAS, ideal_ranking, log_odds, reference_error
from holdfast.evaluation.ranking import accuracies
from holdfast.report import Chart, Table
from holdfast.report.charts import PALETTE
from holdfast.report.marks import intervals
from holdfast.stats.arrays import Floats, Ints
from holdfast.stats.intervals import Estimate, mean_interval

if TYPE_CHECKING:
    from holdfast.checkup.estimators.model_scores import ModelScores

MOST, ENOUGH = (
    0.9,
    0.7,
)  # of pairs that a perfect optimizer ranks as labeled, below which: a WARNING, a PROBLEM
LEVEL = 1e6  # a of a Beta(a, a) that is one half
BINS = 40
QUANTILES = {"5%": 0.05, "25%": 0.25, "median": 0.5, "75%": 0.75, "95%": 0.95}
TITLE, OF = (
    "Difficulty for this model",
    "share of pairs that a perfect optimizer would rank as labeled at this beta",
)


def difficulty(data: Comparisons, request: CheckRequest) -> Finding:
    """Ranking accuracy of the model, and the share of pairs that the exact optimum of
    KL-regularized training ranks as labeled:

        logit(alpha) > beta c,    c = log ref(y_l|x) - log ref(y_w|x)
                (arXiv 2405.19534; `evaluation/difficulty.py`)

    c is the pair's difficulty in nats; alpha the share of raters who prefer the chosen answer:
    estimated from several verdicts on the pair where there are any (`agreement`), else the row's
    own `confidence`, else 1, which counts as odds of 1000. Distance is the log-probability a token
    of chosen and rejected answers, beside that of answers which the model wrote itself.
    """
    if request.model is None or data.named:
        named = "These are head-to-head results between names."
        why = named if data.named else "No model was given."
        cannot = "" if data.named else "How hard the pairs are for your model: --model M."
        return Finding(TITLE, Severity.NOT_APPLICABLE, why, cannot=cannot)
    from holdfast.checkup.estimators.model_scores import (
        ModelScores,
    )  # torch and transformers, which no other finding waits for

    model_scores = (
        data.model_scores if data.model_scores is not None else ModelScores.read(data.rows, request)
    )
    known = np.flatnonzero(model_scores.known())
    if not len(known):
        return Finding(
            TITLE,
            Severity.INCONCLUSIVE,
            f"{model_scores.name} can take none of these rows: all are too long for it.",
        )
    scores, clusters = model_scores.scores.take(known), data.cluster_N[known].tolist()
    assert scores.ref_chosen_N is not None and scores.ref_rejected_N is not None
    c_N, told = (
        reference_error(scores.ref_chosen_N, scores.ref_rejected_N),
        Verdicts.of(data).take(known),
    )

    def mean(values: Floats) -> Estimate:
        return mean_interval(values, clusters, level=request.level, seed=request.seed)

    ranking = {
        name: mean(values)
        for name, values in accuracies(scores).items()
        if name != "policy_minus_reference"
    }
    betas = sorted({*BETAS, request.beta})
    ideal = {beta: idealized(c_N, told, beta=beta, mean=mean) for beta in betas}
    share_N = told.share_N(mean_interval(told.alike_N, resamples=0).value)
    far = {
        "chosen": mean(scores.chosen_N / np.maximum(scores.chosen_length_N, 1)),
        "rejected": mean(scores.rejected_N / np.maximum(scores.rejected_length_N, 1)),
        "its own answers": mean_interval(model_scores.own, level=request.level, seed=request.seed),
    }
    best = ideal[request.beta]
    top = best.high if best.high is not None else 1.0
    severity = Severity.PROBLEM if top < ENOUGH else Severity.WARNING if top < MOST else Severity.OK
    quantiles = np.quantile(c_N, list(QUANTILES.values())).tolist()
    return Finding(
        TITLE,
        severity,
        _says(model_scores, ranking, best, far, request.beta),
        best,
        OF,
        remedy=(
            "Train at a smaller beta, or compare answers that are nearer to what the model "
            "would write itself."
        )
        if severity is not Severity.OK
        else "",
        cannot=_cannot(len(data) - len(known)),
        numbers={
            "model": model_scores.name,
            "reference": model_scores.reference,
            "scoring": model_scores.scoring,
            "beta": request.beta,
            "ranking": {name: estimate.to_dict() for name, estimate in ranking.items()},
            "idealized": {f"{beta:g}": estimate.to_dict() for beta, estimate in ideal.items()},
            "difficulty_nats": dict(zip(QUANTILES, quantiles, strict=True)),
            "log_probability_a_token": {name: estimate.to_dict() for name, estimate in far.items()},
            "scored": len(known),
        },
        charts=[
            _spread(c_N, share_N, request.beta),
            _ideal(ideal, ranking["policy"], request.beta),
            _far(far),
        ],
        tables=[_ranking_table(ranking, ideal), _nats_table(quantiles, far)],
        examples=_examples(known, c_N, share_N, request.beta),
    )


class Verdicts(NamedTuple):
    """How many of a row's pair there are, how many of them choose as the row does, and what the row
    says itself.
    """

    n_N: Floats
    k_N: Floats
    own_N: Floats

    @classmethod
    def of(cls, data: Comparisons) -> Verdicts:
        code_N, forward_N = data.pair.code_N, data.forward_N
        n_N = np.bincount(code_N)[code_N].astype(float)
        ayes_N = np.bincount(code_N, weights=forward_N.astype(float))[code_N]
        own_N = np.array([1.0 if row.confidence is None else row.confidence for row in data.rows])
        return cls(n_N, np.where(forward_N, ayes_N, n_N - ayes_N), own_N)

    def take(self, places: Ints) -> Verdicts:
        return Verdicts(*(column[places] for column in self))

    @property
    def alike_N(self) -> Floats:
        """The share of the pair's other verdicts that agree with the row's; NaN where there are
        none.
        """
        return np.where(self.n_N > 1, (self.k_N - 1) / np.maximum(self.n_N - 1, 1), np.nan)

    def share_N(self, alike: float | None) -> Floats:
        """How many of all raters would choose as the row does, where two verdicts on a pair agree
        with the chance `alike`.

        Of a pair with n verdicts, k of them for this side, it is (k + a) / (n + 2a): raters' shares
        follow a Beta(a, a), the same on both sides since which of them comes first says nothing,
        and alike = (a + 1) / (2a + 1). Three who are of one mind are then no certainty, unless
        raters always are (alike = 1, a = 0). Where a pair was judged once it is the row's own
        confidence, or 1.
        """
        if alike is None:
            return self.own_N
        a = min((1 - alike) / max(2 * alike - 1, 1e-9), LEVEL)
        return np.where(self.n_N > 1, (self.k_N + a) / (self.n_N + 2 * a), self.own_N)


def agreement(data: Comparisons) -> Floats:
    """(N,): the share of raters who would choose as the row does, by the agreement that these rows
    show.
    """
    told = Verdicts.of(data)
    return told.share_N(mean_interval(told.alike_N, resamples=0).value)


def idealized(
    c_N: Floats, told: Verdicts, *, beta: float, mean: Callable[[Floats], Estimate]
) -> Estimate:
    """The mean of `ideal_ranking`. How alike raters are is an estimate itself: its doubt enters by
    the slope on it, taken over two standard errors, so that each row pulls by its own agreement,
    too."""
    alike = mean(told.alike_N)
    ideal_N = ideal_ranking(c_N, told.share_N(alike.value), beta=beta)
    if alike.value is None or alike.low is None or alike.high is None:
        return mean(ideal_N)
    step = max((alike.high - alike.low) / 4, 1e-6)
    ends = [
        ideal_ranking(c_N, told.share_N(float(np.clip(alike.value + by, 0, 1))), beta=beta).mean()
        for by in (-step, step)
    ]
    many = told.n_N > 1
    pull_N = np.where(many, np.nan_to_num(told.alike_N) - alike.value, 0.0) / many.mean()
    found = mean(ideal_N + float(ends[1] - ends[0]) / (2 * step) * pull_N)
    if found.low is None or found.high is None:
        return found
    return replace(found, low=max(found.low, 0.0), high=min(found.high, 1.0))


def _says(
    model_scores: ModelScores,
    ranking: dict[str, Estimate],
    best: Estimate,
    far: dict[str, Estimate],
    beta: float,
) -> str:
    now = ranking["policy"]
    says = (
        f"{model_scores.name} finds the chosen answer more likely in {percent(now)} of "
        f"pairs{span(now)}. Trained perfectly at beta {beta:g} it "
    )
    says += f"would in {percent(best)}{span(best)}; the rest is out of its reach."
    chosen, own = far["chosen"].value, far["its own answers"].value
    if chosen is not None and own is not None:
        less = "likelier" if chosen > own else "less likely"
        says += (
            f" A token of a chosen answer is {abs(own - chosen):.2f} nats {less} to it than "
            "one of its own."
        )
    return says


def _cannot(left_out: int) -> str:
    words = (
        "A label that is one rater's counts as certain (odds of 1000); several verdicts, or a "
        "column `confidence`, would say more."
    )
    return words + (
        f" {left_out:,} rows are too long for the model and were left out." if left_out else ""
    )


def _examples(known: np.ndarray, c_N: Floats, share_N: Floats, beta: float) -> list[Example]:
    """The pairs that ask most, then those that ask least."""
    need_N = beta * c_N - log_odds(share_N)  # above 0 is out of reach
    order = np.argsort(-need_N)

    def why(i: int) -> str:
        reach = "out of reach" if need_N[i] > 0 else "within reach"
        return (
            f"{reach}: the rejected answer is {abs(c_N[i]):,.0f} nats "
            f"{'more' if c_N[i] > 0 else 'less'} likely to the model"
        )

    return [
        Example(int(known[i]), float(need_N[i]), why(i)) for i in (*order[:7], *order[::-1][:3])
    ][: len(order)]


# ------------------------------------------------------------ shown


def _spread(c_N: Floats, share_N: Floats, beta: float) -> Chart:
    """Difficulty of the pairs, binned, split by what a perfect optimizer would do with them."""
    right_N = ideal_ranking(c_N, share_N, beta=beta)
    low, high = np.quantile(c_N, [0.005, 0.995])
    edges = np.linspace(low, max(high, low + 1e-6), BINS + 1)
    kinds = {
        "right already": c_N <= 0,
        "wrong, within reach": (c_N > 0) & (right_N == 1),
        "out of reach": (c_N > 0) & (right_N < 1),
    }
    rows = []
    for name, chosen in kinds.items():
        counts, _ = np.histogram(np.clip(c_N[chosen], edges[0], edges[-1]), bins=edges)
        bars = zip(edges.tolist(), edges[1:].tolist(), counts.tolist(), strict=False)
        rows += [
            {"kind": name, "from": start, "to": stop, "pairs": n} for start, stop, n in bars if n
        ]
    chart = (
        alt.Chart(alt.Data(values=rows))
        .mark_bar(binSpacing=1)
        .encode(
            x=alt.X(
                "from:Q", bin="binned", title="nats by which the model prefers the rejected answer"
            ),
            x2="to:Q",
            y=alt.Y("pairs:Q", title="pairs"),
            color=alt.Color(
                "kind:N",
                scale=alt.Scale(domain=list(kinds), range=[PALETTE[2], PALETTE[0], PALETTE[4]]),
            ),
            tooltip=[
                "kind:N",
                alt.Tooltip("from:Q", format=".1f"),
                alt.Tooltip("to:Q", format=".1f"),
                alt.Tooltip("pairs:Q", format=","),
            ],
        )
        .properties(height=220)
    )
    shares = "; ".join(
        f"{name} {percent(float(chosen.mean()), 0)}" for name, chosen in kinds.items()
    )
    return Chart(
        chart,
        "difficulty",
        f"How wrong the model is about each pair, and what training at beta {beta:g} could do.",
        shares,
    )


def _ideal(ideal: dict[float, Estimate], now: Estimate, beta: float) -> Chart:
    rows = [
        {"beta": b, "value": e.value, "low": e.value, "high": e.value, "asked": b == beta}
        for b, e in ideal.items()
    ]
    for row, estimate in zip(rows, ideal.values(), strict=True):
        if estimate.low is not None:
            row |= {"low": estimate.low, "high": estimate.high}
    x = alt.X(
        "beta:Q",
        scale=alt.Scale(type="log"),
        axis=alt.Axis(values=[row["beta"] for row in rows], format="~g"),
    )
    y = alt.Y(
        "value:Q", title="ranked as labeled", axis=alt.Axis(format="%"), scale=alt.Scale(zero=False)
    )
    base = alt.Chart(alt.Data(values=rows)).encode(x=x)
    tip = ["beta:Q", *(alt.Tooltip(f"{key}:Q", format=".1%") for key in ("value", "low", "high"))]
    band = base.mark_area(opacity=0.18, color=PALETTE[0]).encode(
        y=alt.Y("low:Q", title="ranked as labeled"), y2="high:Q"
    )
    line = base.mark_line(color=PALETTE[0]).encode(y=y)
    shape = alt.condition("datum.asked", alt.value("diamond"), alt.value("circle"))
    size = alt.condition("datum.asked", alt.value(220), alt.value(60))
    dots = base.mark_point(color=PALETTE[0]).encode(y=y, tooltip=tip, size=size, shape=shape)
    level = (
        alt.Chart(alt.Data(values=[{"at": now.value}]))
        .mark_rule(strokeDash=[5, 4], color="#888888")
        .encode(y="at:Q")
    )
    caption = (
        "What a perfect optimizer could reach, by beta; the diamond is yours. The dashed line "
        "is the model as it is."
    )
    said = "; ".join(f"beta {row['beta']:g}: {percent(row['value'])}" for row in rows)
    return Chart(
        alt.layer(band, line, level, dots).properties(height=220), "difficulty-beta", caption, said
    )


def _far(far: dict[str, Estimate]) -> Chart:
    rows = [
        {"name": name, "value": e.value, "low": e.low, "high": e.high} for name, e in far.items()
    ]
    chart = intervals(rows, names=list(far), title="log-probability a token, nats")
    return Chart(
        chart,
        "difficulty-distance",
        "How likely the model finds these answers, beside those it writes itself.",
    )


def _ranking_table(ranking: dict[str, Estimate], ideal: dict[float, Estimate]) -> Table:
    names = {
        "policy": "the model",
        "policy_per_token": "the model, per token",
        "reference": "its reference",
        "reference_per_token": "its reference, per token",
        "implicit_reward": "their difference (implicit reward)",
    }
    rows: list[list[Any]] = [
        [names[name], percent(e), percent(e.low), percent(e.high)] for name, e in ranking.items()
    ]
    rows += [
        [f"a perfect optimizer at beta {beta:g}", percent(e), percent(e.low), percent(e.high)]
        for beta, e in ideal.items()
    ]
    return Table(["who ranks", "as labeled", "low", "high"], rows)


def _nats_table(quantiles: list[float], far: dict[str, Estimate]) -> Table:
    named = zip(QUANTILES, quantiles, strict=True)
    rows: list[list[Any]] = [[f"difficulty, {name}", round(value, 1)] for name, value in named]
    rows += [
        [f"{name}, a token", None if e.value is None else round(e.value, 2)]
        for name, e in far.items()
    ]
    return Table(["nats", ""], rows)


FINDING = FindingSpec("How hard are these pairs for the model?", difficulty)
