"""How well could this policy rank, and how hard is each pair?

Preference-tuned policies often rank worse by their own likelihood than by their implicit reward,
and the reference sets how hard that is to mend (Chen et al. 2024, "Preference Learning Algorithms
Do Not Learn Preference Rankings", arXiv 2405.19534). In nats, for a pair:

    c = log pi_ref(y_l|x) - log pi_ref(y_w|x)     how wrongly the reference ranks it; below 0 where
                                                  it is right
    ideal log-ratio = -c + logit(alpha) / beta    log pi*(y_w|x) / pi*(y_l|x) of the exact optimum
                                                  if P(w beats l) = alpha
    ranked rightly by pi   iff   the DPO cost of the pair is at most -log sigma(beta c)

The first identity is the closed form of KL-regularized reward maximization; the third is exact,
pair by pair, and says nothing of mean costs. Everything stays in log space: likelihood ratios of
sequences overflow. Functions take and return arrays (N,) and draw nothing.

Departures:
    1. Ties count one half here, as everywhere in Holdfast; the paper counts them as right. A NaN
       stays one.
    2. The authors' code ranks the ideal policy by the quotient of two log-probabilities where an
       exponentiated difference is meant. A quotient of negative numbers prefers the less likely
       answer (-10 / -20 is 0.5, below 1, though e^-10 is larger), and their published idealized
       accuracies without length normalization may carry it. We use the closed form above.
    3. There is no idealized accuracy per token. The paper's multiplies a reference ratio per token
       with odds that are not per token, which is the ranking of no policy; and the optimum's own
       log-probabilities per token need its normalizer, which pairs do not tell.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, log

import numpy as np
from numpy.typing import ArrayLike

from holdfast.card import check
from holdfast.errors import DataError
from holdfast.evaluation.ranking import PairScores, wins
from holdfast.stats.arrays import Floats

BETAS = (0.01, 0.1, 1.0, 5.0, 10.0)  # the paper's range
CERTAIN = 1e-3  # odds of a share of 0 or 1: eps and 1 / eps


def reference_error(ref_chosen: ArrayLike, ref_rejected: ArrayLike) -> Floats:
    """c: by how many nats the reference prefers the rejected answer. Sums over response tokens."""
    return np.asarray(ref_rejected, dtype=float) - np.asarray(ref_chosen, dtype=float)


def log_odds(share: ArrayLike) -> Floats:
    """logit of the share of raters who prefer the chosen answer; a share of 1 counts as odds of
    1000, of 0 as 1/1000.

    Raises:
        DataError: a share outside [0, 1].
    """
    share_N = np.asarray(share, dtype=float)
    if ((share_N < 0) | (share_N > 1)).any():
        raise DataError(
            "shares of agreement must lie between 0 and 1",
            hint="the share of raters who prefer the chosen answer",
        )
    bound = -log(CERTAIN)
    with np.errstate(divide="ignore"):
        return np.clip(np.log(share_N) - np.log1p(-share_N), -bound, bound)


def ideal_log_ratio(c: ArrayLike, share: ArrayLike, *, beta: float) -> Floats:
    """log pi*(y_w|x) - log pi*(y_l|x) = -c + logit(share) / beta: what exact KL-regularized
    training would give, nats.
    """
    _check_beta(beta)
    return -np.asarray(c, dtype=float) + log_odds(share) / beta


def ideal_ranking(c: ArrayLike, share: ArrayLike, *, beta: float) -> Floats:
    """1 where the exact optimum ranks the pair rightly (logit(share) > beta c), 1/2 at a tie, else
    0: idealized ranking accuracy is its mean."""
    _check_beta(beta)
    odds_N, hard_N = np.broadcast_arrays(log_odds(share), beta * np.asarray(c, dtype=float))
    return wins(odds_N, hard_N)


def alignment_gap(
    chosen: ArrayLike, rejected: ArrayLike, c: ArrayLike, share: ArrayLike, *, beta: float
) -> Floats:
    """Idealized minus actual ranking of each pair; its mean is the alignment gap. `chosen` and
    `rejected` are the policy's log-probabilities."""
    actual_N = wins(np.asarray(chosen, dtype=float), np.asarray(rejected, dtype=float))
    return ideal_ranking(c, share, beta=beta) - actual_N


def dpo_cost(
    chosen: ArrayLike, rejected: ArrayLike, c: ArrayLike, *, beta: float, gamma: float = 1.0
) -> Floats:
    """-log sigma(beta (log pi(y_w) - log pi(y_l) + gamma c)): DPO's cost of each pair at gamma 1,
    without a reference at gamma 0.
    """
    _check_beta(beta)
    ratio_N = np.asarray(chosen, dtype=float) - np.asarray(rejected, dtype=float)
    return np.logaddexp(0, -beta * (ratio_N + gamma * np.asarray(c, dtype=float)))


def threshold(c: ArrayLike, *, beta: float) -> Floats:
    """-log sigma(beta c): a pair is ranked rightly by the policy if and only if its DPO cost is at
    most this. Where the reference is right (c <= 0) it is at least log 2, so any cost below log 2
    will do; for c > 0 it shrinks like exp(-beta c)."""
    _check_beta(beta)
    return np.logaddexp(0, -beta * np.asarray(c, dtype=float))


def ipo_ranking(c: ArrayLike, *, tau: float) -> Floats:
    """1 where the policy of zero IPO cost, whose log-ratio is the reference's plus 1 / (2 tau),
    ranks the pair rightly; 1/2 at a tie, else 0."""
    check("tau", tau, 0 < tau < inf, "be above 0 and finite")
    target_N = 1 / (2 * tau) - np.asarray(c, dtype=float)
    return wins(target_N, np.zeros_like(target_N))


def columns(
    scores: PairScores,
    share_N: Floats,
    *,
    betas: Sequence[float] = BETAS,
    target_N: Floats | None = None,
) -> dict[str, Floats]:
    """Everything of this file for each pair (N,), NaN where a pair is not asked about; {} without a
    reference.

        idealized@BETA, gap@BETA     the exact optimum's verdict, and what it has over the policy's
        idealized@own, gap@own       the same of the pair's own target: `objective.Own.target_N`
        learned, unlearned           of pairs that the reference ranks wrongly, whether the policy
                                     ranks them rightly; and the reverse
        learned_quarter_1 .. 4       `learned` by quarters of c, easiest first

    Args:
        scores: sums of log-probabilities under policy and reference
        share_N: share of raters who prefer the chosen answer
        betas: at which to idealize
        target_N: log-ratio to the reference that the run's own cost asks of each pair
    """
    s = scores
    if s.ref_chosen_N is None or s.ref_rejected_N is None:
        return {}
    c_N = reference_error(s.ref_chosen_N, s.ref_rejected_N)
    now_N = wins(s.chosen_N, s.rejected_N)
    ideal = {f"{beta:g}": ideal_ranking(c_N, share_N, beta=beta) for beta in betas}
    if target_N is not None:
        ideal["own"] = wins(target_N, c_N)
    out = {f"idealized@{name}": ideal_N for name, ideal_N in ideal.items()}
    out |= {f"gap@{name}": ideal_N - now_N for name, ideal_N in ideal.items()}
    wrong_N = c_N > 0
    learned_N = np.where(wrong_N, now_N == 1, np.nan)
    out["learned"] = learned_N
    out["unlearned"] = np.where(c_N < 0, now_N == 0, np.nan)
    edges = np.quantile(c_N[wrong_N], [0.25, 0.5, 0.75]) if wrong_N.any() else np.zeros(3)
    quarter_N = np.searchsorted(edges, c_N)
    return out | {
        f"learned_quarter_{q + 1}": np.where(quarter_N == q, learned_N, np.nan) for q in range(4)
    }


def costs_and_thresholds(scores: PairScores, *, beta: float) -> dict[str, Floats]:
    """DPO's cost of each pair that the reference ranks wrongly, and the cost below which it would
    be ranked rightly; NaN elsewhere.
    """
    s = scores
    if s.ref_chosen_N is None or s.ref_rejected_N is None:
        return {}
    c_N = reference_error(s.ref_chosen_N, s.ref_rejected_N)
    found = {
        "cost": dpo_cost(s.chosen_N, s.rejected_N, c_N, beta=beta),
        "threshold": threshold(c_N, beta=beta),
    }
    return {name: np.where(c_N > 0, value_N, np.nan) for name, value_N in found.items()}


def _check_beta(beta: float) -> None:
    check("beta", beta, 0 < beta < inf, "be above 0 and finite", hint="the beta of the DPO run")
