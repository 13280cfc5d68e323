"""How far the policy has gone from its reference: KL(pi || pi_ref) in nats an answer, from the policy's own samples y ~ pi(.|x).

Three estimators of the same number, each named wherever it is shown. With l = log pi(y|x) - log pi_ref(y|x), summed over the answer:

    k1                 l                                   unbiased, large variance, may be negative
    k3                 exp(-l) - 1 + l                     unbiased, never negative (Schulman 2020); beyond a few nats its rare
                                                 huge values are missed and it comes out low
    rao-blackwellized  sum_t KL(pi(.|x, y_<t) || pi_ref(.|x, y_<t))   exact in each next token; the smallest variance (Amini et al. 2025)

All hold for the policy as it was sampled: temperature 1, no truncation of the distribution, answers cut at the token limit counted as
they are. Standard errors and intervals take samples of one prompt as one cluster.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from holdfast.evaluation.generate import Generated
from holdfast.evaluation.intervals import mean_interval

LARGEST_LOGITS = 2**26  # elements of one (tokens x vocabulary) array: 256 MB in float32


@dataclass(frozen=True)
class SampleKL:
    """Per sample (N,): the log-ratio of the whole answer, and the sum of the exact next-token divergences along it, nats."""

    log_ratio_N: NDArray[np.float64]
    exact_N: NDArray[np.float64]

    def take(self, index: NDArray[np.int64]) -> SampleKL:
        return SampleKL(self.log_ratio_N[index], self.exact_N[index])

    @property
    def k1_N(self) -> NDArray[np.float64]:
        return self.log_ratio_N

    @property
    def k3_N(self) -> NDArray[np.float64]:
        return np.expm1(np.minimum(-self.log_ratio_N, 700.0)) + self.log_ratio_N  # beyond 700 a float64 overflows


def sample_kl(policy: Any, reference: Any, samples: Sequence[Generated]) -> SampleKL:
    """Score the policy's samples under both models."""
    ratio, exact = np.zeros(len(samples)), np.zeros(len(samples))
    was_training = policy.training, reference.training
    policy.eval()
    reference.eval()
    try:
        for index in _batches(samples, policy.config.get_text_config().vocab_size):
            ratio[index], exact[index] = _score(policy, reference, [samples[i] for i in index])
    finally:
        policy.train(was_training[0])
        reference.train(was_training[1])
    return SampleKL(ratio, exact)


def kl_estimates(kl: SampleKL, clusters: Sequence[Hashable], *, resamples: int, seed: int) -> dict[str, dict[str, Any]]:
    """Each estimator by name: its mean with interval and standard error."""
    named = {"rao-blackwellized": kl.exact_N, "k1": kl.k1_N, "k3": kl.k3_N}
    return {
        name: mean_interval(values, clusters, resamples=resamples, seed=seed).to_dict()
        | {"standard_error": standard_error(values, clusters)}
        for name, values in named.items()
    }


def standard_error(values: NDArray[np.float64], clusters: Sequence[Hashable]) -> float | None:
    """Of the mean of rows when whole clusters are drawn: sqrt(C/(C-1) sum_c (sum_{i in c} (v_i - mean))^2) / N. None for one cluster."""
    numbers: dict[Hashable, int] = {}
    of_N = np.array([numbers.setdefault(label, len(numbers)) for label in clusters], dtype=int)
    if len(numbers) < 2:
        return None
    off_C = np.bincount(of_N, weights=values - values.mean())
    return float(np.sqrt(len(numbers) / (len(numbers) - 1) * (off_C**2).sum()) / len(values))


def _batches(samples: Sequence[Generated], vocabulary: int) -> Iterable[list[int]]:
    held: list[int] = []
    for i in sorted(range(len(samples)), key=lambda i: samples[i].length):
        if held and (len(held) + 1) * samples[i].length * vocabulary > LARGEST_LOGITS:
            yield held
            held = []
        held.append(i)
    if held:
        yield held


@torch.no_grad()
def _score(policy: Any, reference: Any, samples: Sequence[Generated]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Left-padded, so that every answer's tokens stand at the end and only their logits are made."""
    longest = max(len(s.prompt) + s.length for s in samples)
    answers = max(s.length for s in samples)
    ids_NL = torch.zeros(len(samples), longest, dtype=torch.long)
    attend_NL = torch.zeros_like(ids_NL)
    mask_NT = torch.zeros(len(samples), answers)
    for n, s in enumerate(samples):
        ids = [*s.prompt, *s.ids]
        ids_NL[n, longest - len(ids) :] = torch.tensor(ids)
        attend_NL[n, longest - len(ids) :] = 1
        mask_NT[n, answers - s.length :] = 1
    target_NT = ids_NL[:, longest - answers :, None]
    logp_NTV = _answer_logp(policy, ids_NL, attend_NL, answers)
    ref_NTV = _answer_logp(reference, ids_NL, attend_NL, answers).to(logp_NTV.device)
    ratio_NTV = logp_NTV - ref_NTV
    taken_NT = ratio_NTV.gather(-1, target_NT.to(ratio_NTV.device)).squeeze(-1).double().cpu()
    p_NTV = logp_NTV.exp()
    exact_NT = torch.where(p_NTV > 0, p_NTV * ratio_NTV, 0.0).sum(-1, dtype=torch.float64).cpu()
    keep_NT = mask_NT.bool()
    return torch.where(keep_NT, taken_NT, 0.0).sum(-1).numpy(), torch.where(keep_NT, exact_NT, 0.0).sum(-1).numpy()


def _answer_logp(model: Any, ids_NL: Tensor, attend_NL: Tensor, answers: int) -> Tensor:
    device = next(model.parameters()).device
    position_NL = (attend_NL.cumsum(-1) - 1).clamp(min=0)
    logits_NTV = model(
        input_ids=ids_NL.to(device),
        attention_mask=attend_NL.to(device),
        position_ids=position_NL.to(device),
        logits_to_keep=answers + 1,
        use_cache=False,
    ).logits
    return logits_NTV[:, -answers - 1 : -1].float().log_softmax(-1)
