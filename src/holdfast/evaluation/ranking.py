"""Does the model put the chosen answer above the rejected one, and by how much?

Three rankings of the same pairs, each a share of rows with ties counted one half:

    policy            log pi(y_w|x)     > log pi(y_l|x)         sums over response tokens
    reference         log pi_ref(y_w|x) > log pi_ref(y_l|x)     the same, before training
    implicit reward   log pi(y_w|x)/pi_ref(y_w|x) > log pi(y_l|x)/pi_ref(y_l|x)

They answer different questions: an implicit reward can rank well while the policy itself still
prefers most rejected answers (Chen et al. 2024, arXiv 2405.19534), so all three are given. The
first two are also given per token, since a sum of log-probabilities leans to the shorter answer.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from holdfast.stats.arrays import Floats
from holdfast.stats.intervals import Estimate, mean_interval


@dataclass(frozen=True)
class PairScores:
    """N comparisons as the policy, and the reference if there is one, see them: sums of
    log-probabilities in nats, lengths in tokens.
    """

    chosen_N: Floats
    rejected_N: Floats
    chosen_length_N: Floats
    rejected_length_N: Floats
    ref_chosen_N: Floats | None = None
    ref_rejected_N: Floats | None = None

    def take(self, index: NDArray[np.int64]) -> PairScores:
        columns = vars(self).items()
        return replace(self, **{name: value[index] for name, value in columns if value is not None})


def wins(first_N: Floats, second_N: Floats) -> Floats:
    """1 where the first is larger, 0 where the second is, 1/2 where they are equal. NaN where
    either is.
    """
    out = np.where(first_N > second_N, 1.0, np.where(first_N < second_N, 0.0, 0.5))
    return np.where(np.isnan(first_N) | np.isnan(second_N), np.nan, out)


def accuracies(scores: PairScores) -> dict[str, Floats]:
    """Each ranking's verdict on each row (N,): 1, 1/2 or 0."""
    s = scores
    per_token = (np.maximum(s.chosen_length_N, 1), np.maximum(s.rejected_length_N, 1))
    out = {
        "policy": wins(s.chosen_N, s.rejected_N),
        "policy_per_token": wins(s.chosen_N / per_token[0], s.rejected_N / per_token[1]),
    }
    if s.ref_chosen_N is not None and s.ref_rejected_N is not None:
        out["reference"] = wins(s.ref_chosen_N, s.ref_rejected_N)
        out["reference_per_token"] = wins(
            s.ref_chosen_N / per_token[0], s.ref_rejected_N / per_token[1]
        )
        out["implicit_reward"] = wins(s.chosen_N - s.ref_chosen_N, s.rejected_N - s.ref_rejected_N)
        out["policy_minus_reference"] = out["policy"] - out["reference"]
    return out


def margins(scores: PairScores) -> dict[str, Floats]:
    """Each row's differences in nats (N,). The implicit margin is DPO's implicit reward difference
    over beta; the two movements are its halves: how far the chosen and the rejected answer have
    moved from the reference."""
    s = scores
    out = {"policy": s.chosen_N - s.rejected_N}
    if s.ref_chosen_N is not None and s.ref_rejected_N is not None:
        out["reference"] = s.ref_chosen_N - s.ref_rejected_N
        out["implicit"] = out["policy"] - out["reference"]
        out["chosen_movement"] = s.chosen_N - s.ref_chosen_N
        out["rejected_movement"] = s.rejected_N - s.ref_rejected_N
    return out


def estimates(
    values: dict[str, Floats], clusters: Sequence[Hashable], *, resamples: int, seed: int
) -> dict[str, Estimate]:
    return {
        name: mean_interval(column, clusters, resamples=resamples, seed=seed)
        for name, column in values.items()
    }
