"""Whether groups were asked the same kinds of things, without which a difference of preference is
not to be told from one of prompts.

Two groups are compared on rows that are thinned until their prompts are alike: a row stays with
probability min(1, q / p), p being how often its own group is asked such a prompt and q how often
the other is. These are matching weights (Li and Greene, "A weighting analogue to pair matching in
propensity score analysis", International Journal of Biostatistics 2013): both groups are left with
min(p, q). For a prompt that both judged, p and q are counted; for others q / p is the odds that a
model of the prompt's words gives to the other group. Where prompts were dealt to groups at random
no word tells, and every row stays; where each group has prompts of a kind of its own, none does.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from holdfast.checkup.estimators.bag_of_words import LONGEST
from holdfast.checkup.estimators.features import FOLDS, fit_logistic
from holdfast.stats.arrays import Floats, Ints
from holdfast.stats.cross_fitting import folds_by
from holdfast.text.codes import coded
from holdfast.text.minhash import WORD, bare

LEARNED_FROM = 5_000  # prompts
PENALTY = 10.0  # as scikit-learn's C


def matched(prompts: Sequence[str], group_S: Ints, *, seed: int = 0) -> NDArray[np.bool_]:
    """Whether row s stays where its group is compared with group g, as (G, S); at its own group,
    with all others together.
    """
    groups, rows = int(group_S.max()) + 1, np.arange(len(group_S))
    text = coded([bare(prompt) for prompt in prompts])
    times_QG = np.zeros((len(text.names), groups))
    np.add.at(times_QG, (text.code_N, group_S), 1)
    share_QG = times_QG / times_QG.sum(axis=0)
    of_Q, alone_Q = times_QG.argmax(axis=1), (times_QG > 0).sum(axis=1) == 1
    enough_G = (
        np.bincount(of_Q[alone_Q], minlength=groups) >= FOLDS
    )  # of fewer prompts nothing is learned
    learned, some = np.flatnonzero(alone_Q & enough_G[of_Q]), np.flatnonzero(enough_G)
    if len(some) > 1:
        share_QG[np.ix_(learned, some)] = likeness(
            [text.names[q] for q in learned], np.searchsorted(some, of_Q[learned]), seed=seed
        )
    share_GS = share_QG[text.code_N].T
    own_S = share_GS[group_S, rows]
    share_GS[group_S, rows] = (share_GS.sum(axis=0) - own_S) / (groups - 1)
    return np.asarray(np.random.default_rng([seed, 17]).random(len(rows)) < share_GS / own_S)


def likeness(texts: Sequence[str], group_P: Ints, *, seed: int = 0) -> Floats:
    """How likely each text is in each group, all as large, up to a factor of the text, (P, G):
    softmax of log-probabilities by models that did not see it, times the one slope that suits all
    texts best."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    groups, rows = int(group_P.max()) + 1, np.arange(len(texts))
    words = TfidfVectorizer(lowercase=False, token_pattern=WORD.pattern, sublinear_tf=True)
    x_PV = words.fit_transform([text[:LONGEST] for text in texts])
    log_PG, fold_P = np.zeros((len(texts), groups)), np.empty(len(texts), np.int64)
    for g in range(groups):  # every group in every fold
        mine = np.flatnonzero(group_P == g)
        fold_P[mine] = folds_by(np.arange(len(mine)), FOLDS, seed)
    order = np.random.default_rng([seed, 13]).permutation(len(texts))
    for fold in range(FOLDS):
        train = order[fold_P[order] != fold][:LEARNED_FROM]
        model = LogisticRegression(C=PENALTY, class_weight="balanced", max_iter=300).fit(
            x_PV[train], group_P[train]
        )
        log_PG[np.ix_(fold_P == fold, model.classes_)] = np.log(
            model.predict_proba(x_PV[fold_P == fold]) + 1e-12
        )
    odds_PG = log_PG[rows, group_P][:, None] - log_PG
    other_PG = group_P[:, None] != np.arange(groups)
    weight_PG = np.repeat(
        (len(texts) / groups / np.bincount(group_P))[group_P][:, None], groups, axis=1
    )
    slope = fit_logistic(
        odds_PG[other_PG][:, None], c=1e3, seed=seed, weight_N=weight_PG[other_PG]
    )[0]
    return np.asarray(np.exp(-max(slope, 0.0) * odds_PG))
