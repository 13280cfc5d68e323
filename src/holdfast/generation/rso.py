"""Statistical rejection sampling: of many answers, some that are distributed as a better policy's.

made = rso(model, tokenizer, prompts, reward, candidates=64, keep=8, beta=0.5)
rows = made.pairs(prompts)                     # to train on, by dpo say
made.acceptance_P.mean(), made.kl_target_P.mean(), made.kl_kept_P.mean()
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from holdfast.card import check
from holdfast.errors import DataError, OptionError
from holdfast.generation.best_of_n import pick
from holdfast.generation.contract import Generation
from holdfast.generation.text import draw
from holdfast.rewards.functions import Judge, Reward, checked, name_of, reward_from
from holdfast.stats.arrays import Floats, Ints
from holdfast.types import Text

Ranking = Literal["first_round", "tournament"]
RUNS = 256  # rejection passes played again over the same candidates, for the KL of the kept ones


@dataclass(frozen=True)
class Accepted:
    """What `rso` drew and kept: K of N candidates for each of P prompts.

    Attributes:
        texts: the answers kept for each prompt, in the order of acceptance.
        place_PK: which of the drawn ones they are.
        drawn: every candidate.
        score_PN: their rewards.
        tried_P: candidates that were looked at, over all passes.
        acceptance_P: share of the policy's answers that a first pass accepts, estimated by
            mean_i exp((r_i - max r)/beta).
        kl_target_P: KL(pi_r || pi) in nats of the law that is aimed at, estimated from the
            candidates (`target_kl`); it cannot exceed log N, so near log N read it as "at least".
        kl_kept_P: a bound from above on KL(law of a kept answer || pi) in nats: log N less the
            entropy of which candidate it is, over RUNS repetitions in random order, corrected for
            their number. At most log(N/K).
    """

    texts: tuple[tuple[str, ...], ...]
    place_PK: Ints
    drawn: tuple[tuple[str, ...], ...]
    score_PN: Floats
    tried_P: Ints
    acceptance_P: Floats
    kl_target_P: Floats
    kl_kept_P: Floats

    def pairs(
        self,
        prompts: Sequence[Text],
        judge: Judge | None = None,
        *,
        ranking: Ranking = "first_round",
    ) -> list[dict[str, Any]]:
        """Rows {prompt, chosen, rejected} to train on, in the order of acceptance.

        first_round   neighbors meet: K/2 pairs a prompt
        tournament    and so do their winners, until one is left: K - 1 pairs

        A pair of equal texts, or of which neither side is preferred, gives no row; in a tournament
        its first answer goes on.

        Args:
            prompts: as they were given to `rso`.
            judge: `judge(prompts, first, second) -> P(first is better)`, asked in both orders and
                averaged. Without one the rewards label: then the errors of the choice and those of
                the labels are the same errors.
            ranking: which answers meet.
        """
        if ranking not in ("first_round", "tournament"):
            raise OptionError(f"ranking is {ranking!r}", hint="first_round or tournament")
        rows: list[dict[str, Any]] = []
        alive = [list(range(self.place_PK.shape[1])) for _ in self.texts]
        while True:
            met = [
                (p, row[k], row[k + 1])
                for p, row in enumerate(alive)
                for k in range(0, len(row) - 1, 2)
            ]
            if not met:
                return rows
            margin = self._margins(prompts, judge, met)
            winners: dict[int, list[int]] = {p: [] for p in range(len(alive))}
            for (p, a, b), over in zip(met, margin.tolist(), strict=True):
                first, second = (a, b) if over >= 0 else (b, a)
                winners[p].append(first)
                chosen, rejected = self.texts[p][first], self.texts[p][second]
                if over != 0 and chosen != rejected:
                    rows.append({"prompt": prompts[p], "chosen": chosen, "rejected": rejected})
            if ranking == "first_round":
                return rows
            alive = [winners[p] + row[len(row) - len(row) % 2 :] for p, row in enumerate(alive)]

    def _margins(
        self, prompts: Sequence[Text], judge: Judge | None, met: Sequence[tuple[int, int, int]]
    ) -> Floats:
        """Above 0 where the first answer of a meeting is the better one."""
        p_M, a_M, b_M = np.array(met).T
        if judge is None:
            score_PK = np.take_along_axis(self.score_PN, self.place_PK, 1)
            made: Floats = score_PK[p_M, a_M] - score_PK[p_M, b_M]
            return made
        asked = [prompts[p] for p in p_M]
        first, second = (
            [self.texts[p][k] for p, k in zip(p_M, of, strict=True)] for of in (a_M, b_M)
        )
        who = name_of(judge)
        there = checked(judge(asked, first, second), len(met), who)
        back = checked(judge(asked, second, first), len(met), who)
        return (there - back) / 2


def rso(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[Text],
    reward: str | Path | Reward,
    *,
    candidates: int = 64,
    keep: int = 8,
    beta: float = 0.5,
    generation: Generation | None = None,
    template: str = "auto",
    accept_loss: Sequence[str] = (),
    rows: int = 64,
    device: str = "cpu",
    progress: bool = False,
) -> Accepted:
    """Draw candidates from the policy and thin them until they are distributed as

        pi_r(y|x) ~ pi(y|x) exp(r(x, y)/beta):    keep y if u < exp((r(x, y) - r_max)/beta)

    with u uniform and r_max the highest reward of the candidates that are left (Liu et al. 2023,
    RSO). DPO's likelihood asks for pairs of the optimal policy; these come nearer to it than pairs
    of the data's or of the policy's. A large beta keeps the first ones drawn, beta toward 0 those
    of highest reward. The loss has a beta of its own, 0.05 in the paper (sigmoid-norm is `dpo`).

    The candidates are finitely many, so a kept answer lies between pi and pi_r: the highest reward
    is a candidate's, not the policy's, and what was accepted is not there to be accepted again. The
    more of them are kept, the nearer to pi. `kl_kept_P` says how far.

    Departures from the paper:
        1. Answers are drawn from the model's own distribution unless `generation` says otherwise;
           the paper draws at temperature 0.7 from the top 40 tokens, and what it keeps is then that
           truncated policy's, tilted.
        2. Candidates are told apart by their number, not by their text: the paper's listing keeps
           them in a dictionary, where repeated answers become one.
        3. Acceptance rate and KL are stated; the paper states neither.

    Args:
        model: a causal language model, or a `Generator`
        tokenizer: the model's
        prompts: strings, or conversations
        reward: a function `reward(prompts, answers) -> scores`, the name of one, or a reward
            model's folder
        candidates: answers drawn to each prompt
        keep: answers kept of them
        beta: temperature of the choice, in units of the reward; 0.5 suits one in log-odds
        generation: how answers are drawn; `Generation()` unless given
        template: as in `tokenize`
        accept_loss: what the chat template may drop of a prompt, as in `tokenize`
        rows: answers generated at once; answers do not depend on it
        device: of a reward model
        progress: a bar over the answers

    Raises:
        OptionError: keep above candidates, beta not above 0, or a reward that does not return a
            finite number for each answer.
    """
    _check_sizes(candidates, keep, beta)
    how = generation or Generation()
    drawn = draw(
        model,
        tokenizer,
        prompts,
        samples=candidates,
        generation=how,
        template=template,
        accept_loss=accept_loss,
        rows=rows,
        progress=progress,
    )
    scorer = reward_from(reward, device=device, accept_loss=accept_loss)
    score_PN = pick(prompts, drawn, scorer, name_of(reward)).score_PN
    return accepted(drawn, score_PN, keep=keep, beta=beta, seed=how.seed)


def accepted(
    drawn: Sequence[Sequence[str]], score_PN: ArrayLike, *, keep: int, beta: float, seed: int = 0
) -> Accepted:
    """`rso` on answers at hand, N to each prompt, with their rewards.

    Raises:
        DataError: not one finite score for each answer. OptionError: as `rso`.
    """
    score = np.asarray(score_PN, float)
    if not len(drawn):
        score = score.reshape(0, max(keep, 1))
    if score.ndim != 2 or [len(row) for row in drawn] != [score.shape[1]] * len(score):
        raise DataError(
            f"scores of shape {score.shape} for {sum(map(len, drawn))} answers to {len(drawn)} "
            "prompts; every prompt must have as many answers, and each of them one score"
        )
    if not np.isfinite(score).all():
        p, n = np.argwhere(~np.isfinite(score))[0]
        raise DataError(f"the score of answer {n + 1} to prompt {p + 1} is {score[p, n]}")
    count = score.shape[1]
    _check_sizes(count, keep, beta)
    how = Generation(seed=seed)
    place, tried, kl = [], [], []
    # step 0 drew the answers
    for score_N, random_seed in zip(score, how.seeds(len(score), step=1), strict=True):
        rng = np.random.default_rng(random_seed)
        order_1K, tried_1 = thinned(score_N[None], keep, beta, rng)
        place.append(order_1K[0])
        tried.append(tried_1[0])
        kl.append(_kept_kl(score_N, keep, beta, rng))
    place_PK = np.array(place, np.int64).reshape(-1, keep)
    return Accepted(
        tuple(tuple(row[n] for n in some) for row, some in zip(drawn, place_PK, strict=True)),
        place_PK,
        tuple(map(tuple, drawn)),
        score,
        np.array(tried, np.int64),
        acceptance(score, beta),
        target_kl(score, beta),
        np.array(kl, float),
    )


def thinned(
    score_RN: Floats, keep: int, beta: float, rng: np.random.Generator
) -> tuple[Ints, Ints]:
    """Rejection passes over R rows of N candidates until `keep` of each are accepted: their places
    in the order of acceptance (R, K), and how many candidates were looked at (R,).

    The maximum is that of the candidates left when a pass begins, and holds for the whole pass.
    """
    runs, count = score_RN.shape
    left_RN = np.ones((runs, count), bool)
    order_RK, done_R = np.zeros((runs, keep), np.int64), np.zeros(runs, np.int64)
    tried_R = np.zeros(runs, np.int64)
    while (going_R := done_R < keep).any():
        top_R1 = np.where(left_RN, score_RN, -inf).max(1, keepdims=True)
        log_u_RN = -rng.standard_exponential((runs, count))
        # the highest score gives 0, and a logarithm of u below 1 is below it: a pass accepts one
        takes_RN = left_RN & going_R[:, None] & (log_u_RN < (score_RN - top_R1) / beta)
        number_RN = done_R[:, None] + takes_RN.cumsum(1)
        seen_RN = left_RN & (number_RN - takes_RN < keep) & going_R[:, None]
        tried_R += seen_RN.sum(1)
        takes_RN &= number_RN <= keep
        r, n = takes_RN.nonzero()
        order_RK[r, number_RN[r, n] - 1] = n
        done_R += takes_RN.sum(1)
        left_RN &= ~takes_RN
    return order_RK, tried_R


def acceptance(score_PN: ArrayLike, beta: float) -> Floats:
    """The share of answers that a first pass accepts, E exp((r - max r)/beta), of each row."""
    score = np.asarray(score_PN, float)
    made: Floats = np.exp((score - score.max(-1, keepdims=True)) / beta).mean(-1)
    return made


def target_kl(score_PN: ArrayLike, beta: float) -> Floats:
    """KL(pi_r || pi) in nats of each row, from N answers of pi: sum_i w_i log(N w_i) with w_i ~
    exp(r_i/beta). It tends to the truth from below, and is at most log N.
    """
    score = np.asarray(score_PN, float)
    tilted = (score - score.max(-1, keepdims=True)) / beta
    total = np.exp(tilted).sum(-1, keepdims=True)
    weight = np.exp(tilted) / total
    # log w from the tilt: a weight that underflows adds 0, not NaN
    made: Floats = (weight * (tilted - np.log(total))).sum(-1) + np.log(score.shape[-1])
    return np.maximum(made, 0.0)


def rso_table(logp_A: ArrayLike, score_A: ArrayLike, beta: float) -> tuple[Floats, float, float]:
    """With answers from a table: the law aimed at pi_r ~ pi exp(r/beta) as probabilities (A,), the
    acceptance rate E_pi exp((r - max r)/beta), and KL(pi_r || pi) in nats.

    Raises:
        DataError: shapes that do not fit, or log-probabilities that are no distribution.
    """
    logp, score = np.asarray(logp_A, float), np.asarray(score_A, float)
    if (
        logp.ndim != 1
        or score.shape != logp.shape
        or not np.isfinite(score).all()
        or not np.isclose(np.exp(logp).sum(), 1)
    ):
        raise DataError(
            "log-probabilities of answers and one finite score each; these have shapes "
            f"{logp.shape} and {score.shape}"
        )
    check("beta", beta, lambda: 0 < beta < inf, "be above 0 and finite")
    tilted = np.where(logp > -inf, (score - score[logp > -inf].max()) / beta, -inf)
    weight = np.exp(logp + tilted)
    rate = float(weight.sum())
    target: Floats = weight / rate
    some = target > 0
    return target, rate, float((target[some] * (tilted[some] - np.log(rate))).sum())


def _kept_kl(score_N: Floats, keep: int, beta: float, rng: np.random.Generator) -> float:
    """As `Accepted.kl_kept_P`. With the candidates given, a kept answer is candidate i with
    probability q_i, and a candidate is pi's: KL <= log N + sum q log q, since KL is convex. With q
    from RUNS runs the sum is too large by sum_i Var(q_i)/(2 q_i) = sum_i (1 - K q_i)/(2 K RUNS).
    """
    count = len(score_N)
    order_RN = rng.permuted(np.tile(np.arange(count), (RUNS, 1)), axis=1)
    place_RK, _ = thinned(score_N[order_RN], keep, beta, rng)
    kept = np.take_along_axis(order_RN, place_RK, 1)
    q_N = np.bincount(kept.ravel(), minlength=count) / kept.size
    seen = q_N[q_N > 0]
    excess = (1 - keep * seen).sum() / (2 * keep * RUNS)
    kl = float(np.log(count) + (seen * np.log(seen)).sum() - excess)
    return max(kl, 0.0)


def _check_sizes(candidates: int, keep: int, beta: float) -> None:
    whole = isinstance(candidates, int) and candidates >= 1
    check("candidates", candidates, whole, "be a whole number of at least 1")
    check(
        "keep",
        keep,
        isinstance(keep, int) and 1 <= keep <= candidates,
        f"be a whole number of at least 1 and at most candidates, {candidates}",
    )
    check("beta", beta, lambda: 0 < beta < inf, "be above 0 and finite")
