"""How far the policy has gone from its reference: KL(pi || pi_ref) in nats an answer, from the
policy's own samples y ~ pi(.|x).

Three estimators of the same number, each named wherever it is shown. With l = log pi(y|x) - log
pi_ref(y|x), summed over the answer:

    k1                 l
                       unbiased, large variance, may be negative
    k3                 exp(-l) - 1 + l
                       unbiased, never negative (Schulman 2020); beyond a few nats its rare huge
                       values are missed and it comes out low
    rao-blackwellized  sum_t KL(pi(.|x, y_<t) || pi_ref(.|x, y_<t))
                       exact in each next token; the smallest variance (Amini et al. 2025)

All hold for the policy as it was sampled: temperature 1, no truncation of the distribution, answers
cut at the token limit counted as they are. Standard errors and intervals take samples of one prompt
as one cluster.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from holdfast.generation import Answer
from holdfast.inputs import token_kl
from holdfast.scorers.live import InMemoryReference, LiveScorer
from holdfast.scorers.text import TextScorer, chunks_by_tokens
from holdfast.stats.intervals import mean_interval
from holdfast.types import Tokenized

TOKENS = 8192  # scored at once


@dataclass(frozen=True)
class SampleKL:
    """Per sample (N,): the log-ratio of the whole answer, and the sum of the exact next-token
    divergences along it, nats.
    """

    log_ratio_N: NDArray[np.float64]
    exact_N: NDArray[np.float64]

    def take(self, index: NDArray[np.int64]) -> SampleKL:
        return SampleKL(self.log_ratio_N[index], self.exact_N[index])

    @property
    def k1_N(self) -> NDArray[np.float64]:
        return self.log_ratio_N

    @property
    def k3_N(self) -> NDArray[np.float64]:
        return (
            np.expm1(np.minimum(-self.log_ratio_N, 700.0)) + self.log_ratio_N
        )  # beyond 700 a float64 overflows


def sample_kl(policy: Any, reference: Any, samples: Sequence[Answer]) -> SampleKL:
    """Score the policy's samples under both models.

    Raises:
        ModelError: a model that cannot be scored, or models of different vocabularies.
    """
    items = [Tokenized(sample.prompt_ids, {"answer": sample.ids_T}) for sample in samples]
    ratio, exact = np.zeros(len(items)), np.zeros(len(items))
    was_training = policy.training, reference.training
    policy.eval()
    reference.eval()
    try:
        ours = TextScorer(policy)
        theirs = LiveScorer(
            reference, wants=(token_kl,), reference=InMemoryReference(policy)
        )  # KL of what stands, from what is scored
        for scorer in (ours, theirs):
            scorer.verify(items)
        for index in chunks_by_tokens(items, tokens=TOKENS):
            batch = [items[i] for i in index]
            with torch.no_grad():
                mine, other = ours(batch)["answer"], theirs(batch)["answer"]
            ratio[index] = (mine.logp_NT.double() - other.logp_NT.double()).sum(-1).cpu().numpy()
            assert other.kl_NT is not None
            exact[index] = other.kl_NT.double().sum(-1).cpu().numpy()
    finally:
        policy.train(was_training[0])
        reference.train(was_training[1])
    return SampleKL(ratio, exact)


def kl_estimates(
    kl: SampleKL, clusters: Sequence[Hashable], *, resamples: int, seed: int
) -> dict[str, dict[str, Any]]:
    """Each estimator by name: its mean with interval and standard error."""
    named = {"rao-blackwellized": kl.exact_N, "k1": kl.k1_N, "k3": kl.k3_N}
    return {
        name: mean_interval(values, clusters, resamples=resamples, seed=seed).to_dict()
        | {"standard_error": standard_error(values, clusters)}
        for name, values in named.items()
    }


def standard_error(values: NDArray[np.float64], clusters: Sequence[Hashable]) -> float | None:
    """Of the mean of rows when whole clusters are drawn: sqrt(C/(C-1) sum_c (sum_{i in c} (v_i -
    mean))^2) / N. None for one cluster.
    """
    numbers: dict[Hashable, int] = {}
    of_N = np.array([numbers.setdefault(label, len(numbers)) for label in clusters], dtype=int)
    if len(numbers) < 2:
        return None
    off_C = np.bincount(of_N, weights=values - values.mean())
    return float(np.sqrt(len(numbers) / (len(numbers) - 1) * (off_C**2).sum()) / len(values))
