"""Cheap features of answers, as differences between the chosen and the rejected one, and a preference model on them.

A comparison is a difference x = f(chosen) - f(rejected); turned around it is -x. A Bradley-Terry model P(chosen wins) = sigma(w x) is
therefore a logistic regression without an intercept in which each row is shown in a random one of its two orders.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse
from scipy.special import expit

from holdfast.checkup.comparisons import Comparisons, Floats, Ints

HASHED = 2**18  # columns of the bag of words
TOPICS = 64  # dimensions that a bag of words is reduced to
FOLDS = 5
FARTHEST = 3.0

# ------------------------------------------------------------ what an answer looks like, whatever it says

WORD = re.compile(r"\w+")
LIST_ITEM = re.compile(r"^\s*(?:[-*\u2022]|\d+[.)])\s", re.M)
HEADING = re.compile(r"^#{1,6}\s", re.M)
SORRY = re.compile(r"\b(?:sorry|apologi[sz]e|i can(?:no|')t|i am (?:not able|unable)|as an ai)\b", re.I)


def _share(letters: Callable[[str], bool]) -> Callable[[str], float]:
    return lambda text: sum(map(letters, text)) / max(1, len(text))


def _count(pattern: re.Pattern[str]) -> Callable[[str], float]:
    return lambda text: float(np.log1p(sum(1 for _ in pattern.finditer(text))))


SURFACE: dict[str, Callable[[str], float]] = {
    "length": lambda text: float(np.log1p(len(text))),
    "words": _count(WORD),
    "lines": lambda text: float(np.log1p(text.count("\n"))),
    "list items": _count(LIST_ITEM),
    "headings": _count(HEADING),
    "bold": lambda text: float(np.log1p(text.count("**"))),
    "code": lambda text: float(np.log1p(text.count("`"))),
    "question marks": lambda text: float(np.log1p(text.count("?"))),
    "exclamation marks": lambda text: float(np.log1p(text.count("!"))),
    "commas": lambda text: float(np.log1p(text.count(","))),
    "quotation marks": lambda text: float(np.log1p(text.count('"') + text.count("\u201c"))),
    "links": lambda text: float(np.log1p(text.count("http"))),
    "digits": _share(str.isdigit),
    "capitals": _share(str.isupper),
    "non-ASCII": lambda text: 0.0 if text.isascii() else _share(lambda letter: letter > "\x7f")(text),
    "starts in lower case": lambda text: float(text[:1].islower()),
    "ends in a full stop": lambda text: float(text.rstrip()[-1:] in (".", "!", "?", ")", '"')),
    "refusal or apology": _count(SORRY),
}


def surface_ND(data: Comparisons) -> Floats:
    """Differences of the `SURFACE` features, one column each, as they are (not standardized)."""

    def make() -> Floats:
        sides = [np.array([[feature(text) for feature in SURFACE.values()] for text in side]) for side in (data.chosen, data.rejected)]
        return (sides[0] - sides[1]).reshape(len(data), len(SURFACE))

    return data.once("surface", make)


def words_ND(data: Comparisons) -> sparse.csr_matrix:
    """Differences of bags of words: words that occur, hashed, weighed by inverse document frequency, each answer of unit length."""

    def make() -> sparse.csr_matrix:
        from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer

        hashed = HashingVectorizer(n_features=HASHED, alternate_sign=False, binary=True, norm=None, token_pattern=r"(?u)\b\w+\b|[^\w\s]")
        sides = hashed.transform([*data.chosen, *data.rejected])
        weighed = TfidfTransformer().fit_transform(sides)
        return (weighed[: len(data)] - weighed[len(data) :]).tocsr()

    return data.once("words", make)


def dense_ND(data: Comparisons, *, seed: int = 0) -> Floats:
    """The default features of preference models: standardized `surface_ND`, and the leading `TOPICS` directions of `words_ND`.

    No column is centered: a difference turned around must be its own negative. Values are cut at `FARTHEST` standard deviations, so that
    no row is judged by the error of one weight.
    """

    def make() -> Floats:
        from sklearn.decomposition import TruncatedSVD

        words = words_ND(data)
        topics = min(TOPICS, len(data) // 10, words.shape[1] - 1)
        parts = [surface_ND(data)]
        if topics >= 1 and words.nnz:
            with np.errstate(divide="ignore", invalid="ignore"):  # of rows that are all the same, it divides by their variance
                parts.append(TruncatedSVD(topics, random_state=seed, n_iter=3).fit_transform(words))
        x_ND = np.hstack(parts)
        scale_D = np.sqrt((x_ND**2).mean(0))
        return np.clip(x_ND[:, scale_D > 1e-9] / scale_D[scale_D > 1e-9], -FARTHEST, FARTHEST)

    return data.once(("dense", seed), make)


# ------------------------------------------------------------ a preference model


class CrossFitted(NamedTuple):
    """What models fitted on other prompts say of each row. `logit_N` is the log-odds that the label is right, in nats."""

    logit_N: Floats
    fold_N: Ints

    @property
    def right_N(self) -> Floats:
        return expit(self.logit_N)


@dataclass(frozen=True)
class Fit:
    """Settings of a preference model: the strength of its L2 penalty, as scikit-learn's C."""

    c: float = 0.1


def folds_by(code_N: Ints, folds: int, seed: int) -> Ints:
    """A fold for each row, the same for all rows of one code, codes spread evenly."""
    codes = np.unique(code_N)
    fold_of = np.empty(int(codes.max()) + 1 if len(codes) else 0, np.int64)
    fold_of[np.random.default_rng(seed).permutation(codes)] = np.arange(len(codes)) % folds
    return fold_of[code_N]


def fit_logistic(x_ND: Any, *, c: float, seed: int, weight_N: Floats | None = None) -> Floats:
    """The weights w of P(chosen wins) = sigma(w x)."""
    from sklearn.linear_model import LogisticRegression

    sign_N = np.where(np.arange(x_ND.shape[0]) % 2 == 0, 1.0, -1.0)
    np.random.default_rng(seed).shuffle(sign_N)
    turned = sparse.diags(sign_N) @ x_ND if sparse.issparse(x_ND) else sign_N[:, None] * x_ND
    model = LogisticRegression(C=c, fit_intercept=False, max_iter=300)
    return np.asarray(model.fit(turned, sign_N > 0, sample_weight=weight_N).coef_[0])


def cross_fit(x_ND: Any, cluster_N: Ints, *, seed: int = 0, fit: Fit = Fit(), folds: int = FOLDS) -> CrossFitted:
    """Each row judged by a model that saw no row of its prompt."""
    fold_N = folds_by(cluster_N, folds, seed)
    logit_N = np.zeros(len(fold_N))
    for fold in range(folds):
        held = fold_N == fold
        if held.any() and (~held).sum() >= 2:
            logit_N[held] = x_ND[held] @ fit_logistic(x_ND[~held], c=fit.c, seed=seed)
    return CrossFitted(logit_N, fold_N)


def preference_model(data: Comparisons, *, seed: int = 0) -> CrossFitted:
    """The check-up's own model: logistic on `dense_ND`, cross-fitted by prompt. Shared by the findings."""
    return data.once(("preference", seed), lambda: cross_fit(dense_ND(data, seed=seed), data.cluster_N, seed=seed))


def names_of_surface() -> Sequence[str]:
    return tuple(SURFACE)
