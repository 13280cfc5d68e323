"""Cheap features of answers, as differences between the chosen and the rejected one, and a
preference model on them.

A comparison is a difference x = f(chosen) - f(rejected); with its sides swapped it is -x. A
Bradley-Terry model P(chosen wins) = sigma(w x) is therefore a logistic regression without an
intercept in which each row is shown in a random one of its two orders.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse
from scipy.special import expit

from holdfast.checkup.comparisons import Comparisons
from holdfast.checkup.estimators.bag_of_words import LONGEST, RARE, bags_of, weighed
from holdfast.checkup.estimators.relevance import relevance_ND
from holdfast.stats.arrays import Floats, Ints
from holdfast.stats.cross_fitting import folds_by

TOPICS = 64  # dimensions that a bag of words is reduced to
LEARNED_FROM = 20_000  # rows that these dimensions are learned from
STATES = 128  # dimensions that a model's hidden states are reduced to
FOLDS = 5
FARTHEST = 3.0
CONDITIONED = 2  # directions of answers that may be wanted under some prompts only
DENSE_SHARE = 0.3  # so that C = 1 is C = 0.1 for `dense_ND`

# ------------------------------------------------------------ what an answer looks like, whatever
# it says

LIST_ITEM = re.compile(r"^[ \t]*(?:[-*\u2022]|\d{1,3}[.)])[ \t]", re.M)
HEADING = re.compile(r"^#{1,6}[ \t]", re.M)
SORRY = (
    "sorry",
    "apologi",
    "i can't",
    "i can\u2019t",
    "i cannot",
    "unable to",
    "not able to",
    "as an ai",
)
DIGITS, CAPITALS = b"0123456789", bytes(range(ord("A"), ord("Z") + 1))
BEYOND_ASCII = bytes(range(128, 256))
ENDS = (".", "!", "?", ")", '"')

LAYOUT = ("length", "words", "lines", "list items", "headings", "bold", "code")
MARKS = (
    "question marks",
    "exclamation marks",
    "commas",
    "quotation marks",
    "links",
    "refusal or apology",
)
COUNTED = (*LAYOUT, *MARKS)  # as log(1 + count)
SHARES = ("digits", "capitals", "non-ASCII", "starts in lower case", "ends in a full stop")
SURFACE = (*COUNTED, *SHARES)


def surface_of(text: str) -> tuple[float, ...]:
    """The `SURFACE` features of one answer, counts as they are."""
    text = text[:LONGEST]
    count = text.count
    lower, raw = text.lower(), text.encode("utf-8", "replace")
    size = max(1, len(text))
    lines = count("\n")
    return (
        len(text),
        len(text.split()),
        lines,
        len(LIST_ITEM.findall(text)),
        len(HEADING.findall(text)) if "#" in text else 0,
        count("**"),
        count("`"),
        count("?"),
        count("!"),
        count(","),
        count('"') + count("\u201c"),
        count("http"),
        sum(map(lower.count, SORRY)),
        (len(raw) - len(raw.translate(None, DIGITS))) / size,
        (len(raw) - len(raw.translate(None, CAPITALS))) / size,
        (len(text) - len(raw.translate(None, BEYOND_ASCII))) / size,
        text[:1].islower(),
        text.rstrip()[-1:] in ENDS,
    )


def surface_2ND(data: Comparisons) -> Floats:
    """`SURFACE` features of the chosen (0) and the rejected (1) answers; counts as log(1 +
    count).
    """

    def make() -> Floats:
        out = np.array(
            [[surface_of(text) for text in side] for side in (data.chosen, data.rejected)], float
        )
        out = out.reshape(2, len(data), len(SURFACE))
        out[..., : len(COUNTED)] = np.log1p(out[..., : len(COUNTED)])
        return out

    found: Floats = data.once("surface", make)
    return found


def surface_ND(data: Comparisons) -> Floats:
    """Differences of the `SURFACE` features, one column each, as they are (not standardized)."""
    chosen_ND, rejected_ND = surface_2ND(data)
    return chosen_ND - rejected_ND


def words_2NV(data: Comparisons) -> tuple[sparse.csr_matrix, list[str]]:
    """Bags of words of all chosen and then all rejected answers, weighed by inverse document
    frequency, each of unit length.
    """

    def make() -> tuple[sparse.csr_matrix, list[str]]:
        all_NV, _, _, everything = bags_of(data)
        often = np.bincount(all_NV.indices, minlength=len(everything)) >= RARE
        bag_NV, words = (
            all_NV[:, np.flatnonzero(often)],
            [word for word, yes in zip(everything, often, strict=True) if yes],
        )
        times_V = np.bincount(bag_NV.indices, minlength=len(words))
        return weighed(bag_NV, 1 + np.log((1 + bag_NV.shape[0]) / (1 + times_V))), words

    found: tuple[sparse.csr_matrix, list[str]] = data.once("words", make)
    return found


def words_ND(data: Comparisons) -> sparse.csr_matrix:
    """Differences of `words_2NV`."""
    both_NV, _ = words_2NV(data)
    return (both_NV[: len(data)] - both_NV[len(data) :]).tocsr()


def leading_ND(data: Comparisons, most: int, *, seed: int = 0) -> Floats:
    """Along at most so many leading directions of a model's hidden states where one was given, else
    of `words_ND`.
    """
    from sklearn.decomposition import TruncatedSVD

    words = words_ND(data) if data.model_scores is None else data.model_scores.states(data.rows)
    kept = min(most, words.shape[1] - 1)
    if kept < 1 or abs(words).sum() == 0:
        return np.zeros((len(data), 0))
    with np.errstate(
        divide="ignore", invalid="ignore"
    ):  # of rows that are all the same, it divides by their variance
        some = np.random.default_rng(seed).permutation(len(data))[:LEARNED_FROM]
        found: Floats = (
            TruncatedSVD(kept, random_state=seed, n_iter=2).fit(words[some]).transform(words)
        )
    return found


def standardized(x_ND: Floats) -> Floats:
    """Columns of mean square 1, cut at `FARTHEST`; columns of zeros are left out."""
    scale_D = np.sqrt((x_ND**2).mean(0))
    return np.clip(x_ND[:, scale_D > 1e-9] / scale_D[scale_D > 1e-9], -FARTHEST, FARTHEST)


def dense_ND(data: Comparisons, *, seed: int = 0) -> Floats:
    """The features of preference models: standardized `surface_ND`; the leading directions of a
    model's hidden states where one was given, else of `words_ND`; and how well each answer fits its
    prompt, `fit_ND`.

    No column is centered: a difference with its sides swapped must be its own negative. Values are
    cut at `FARTHEST` standard deviations, so that no row is judged by the error of one weight.
    """

    def make() -> Floats:
        topics = min(TOPICS if data.model_scores is None else STATES, len(data) // 10)
        return standardized(
            np.hstack(
                [
                    surface_ND(data),
                    leading_ND(data, topics, seed=seed),
                    relevance_ND(data, seed=seed),
                ]
            )
        )

    return data.once(("dense", seed), make)


# ------------------------------------------------------------ a preference model


class CrossFitted(NamedTuple):
    """What models fitted on other prompts say of each row. `logit_N` is the log-odds that the label
    is right, in nats.
    """

    logit_N: Floats
    fold_N: Ints

    @property
    def right_N(self) -> Floats:
        return expit(self.logit_N)


@dataclass(frozen=True)
class Penalty:
    """Settings of a preference model: the strength of its L2 penalty, as scikit-learn's C."""

    c: float = 0.1


def fit_logistic(x_ND: Any, *, c: float, seed: int, weight_N: Floats | None = None) -> Floats:
    """The weights w of P(chosen wins) = sigma(w x)."""
    from sklearn.linear_model import LogisticRegression

    sign_N = np.where(np.arange(x_ND.shape[0]) % 2 == 0, 1.0, -1.0)
    np.random.default_rng(seed).shuffle(sign_N)
    turned = sparse.diags(sign_N) @ x_ND if sparse.issparse(x_ND) else sign_N[:, None] * x_ND
    model = LogisticRegression(C=c, fit_intercept=False, max_iter=300)
    return np.asarray(model.fit(turned, sign_N > 0, sample_weight=weight_N).coef_[0])


def cross_fit(
    x_ND: Any, cluster_N: Ints, *, seed: int = 0, fit: Penalty = Penalty(), folds: int = FOLDS
) -> CrossFitted:
    """Each row judged by a model that saw no row of its prompt."""
    fold_N = folds_by(cluster_N, folds, seed)
    logit_N = np.zeros(len(fold_N))
    for fold in range(folds):
        held = fold_N == fold
        if x_ND.shape[1] and held.any() and (~held).sum() >= 2:
            logit_N[held] = x_ND[held] @ fit_logistic(x_ND[~held], c=fit.c, seed=seed)
    return CrossFitted(logit_N, fold_N)


def preference_model(data: Comparisons, *, seed: int = 0) -> CrossFitted:
    """The check-up's own model: logistic on `dense_ND`, cross-fitted by prompt. Shared by the
    findings.
    """
    return data.once(
        ("preference", seed),
        lambda: cross_fit(dense_ND(data, seed=seed), data.cluster_N, seed=seed),
    )


def surface_model(data: Comparisons, *, seed: int = 0) -> CrossFitted:
    """The same on `SURFACE` features alone: where length and layout are all that counts, or rows
    are few, the other columns are noise.
    """
    found: CrossFitted = data.once(
        ("surface model", seed),
        lambda: cross_fit(standardized(surface_ND(data)), data.cluster_N, seed=seed),
    )
    return found


def word_model(data: Comparisons, *, seed: int = 0) -> CrossFitted:
    """The same on `words_ND`, at a mean squared length of 1: it sees single words that the topics
    of `dense_ND` cannot hold.
    """

    def make() -> CrossFitted:
        words = words_ND(data)
        length = float(np.sqrt(words.multiply(words).sum() / max(1, len(data)))) or 1.0
        return cross_fit(words / length, data.cluster_N, seed=seed, fit=Penalty(c=1.0))

    found: CrossFitted = data.once(("word model", seed), make)
    return found


def prompt_model(data: Comparisons, *, seed: int = 0) -> CrossFitted:
    """`dense_ND` again, and beside it what is wanted under one prompt and unwanted under another:
    each word of the prompt times the `CONDITIONED` leading directions in which the answers differ.

    Where the prompt decides which of two answers is right ("Is this something you would say?", yes
    or no), no feature of the answers alone ranks them.
    """

    def make() -> CrossFitted:
        bags = bags_of(data)
        often_V = np.bincount(bags.prompts_PV.indices, minlength=len(bags.words))
        asked_PV = bags.prompts_PV[:, np.flatnonzero(often_V >= RARE)]
        worth_V = 1 + np.log((1 + asked_PV.shape[0]) / (1 + often_V[often_V >= RARE]))
        asked_NV = weighed(asked_PV, worth_V)[bags.prompt_N]
        leading_NC = standardized(leading_ND(data, CONDITIONED, seed=seed))
        parts = [sparse.diags(column) @ asked_NV for column in leading_NC.T]
        x_ND = sparse.csr_matrix(DENSE_SHARE * dense_ND(data, seed=seed))
        if parts:
            both = sparse.hstack(parts).tocsr()
            size = float(np.sqrt(both.multiply(both).sum() / max(1, len(data)))) or 1.0
            x_ND = sparse.hstack([both / size, x_ND]).tocsr()
        return cross_fit(x_ND, data.cluster_N, seed=seed, fit=Penalty(c=1.0))

    found: CrossFitted = data.once(("prompt model", seed), make)
    return found
