"""Serve the worst-served subgroup when nobody wrote down the subgroups: find them among raters,
then train with the worst case over them.

rows, found = with_subgroups(holdfast.read("prefs.jsonl").rows, k=2)
holdfast.train("dpo", model="m0", data=rows, out="runs/maxmin", reduction="groups:k=2")

MaxMin-RLHF (Chakraborty et al. 2024) with DPO's costs in place of its rewards: expectation
maximization gives each rater to a subgroup, and the reduction `groups` is the paper's minimum over
subgroups, moved smoothly.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from holdfast.checkup.comparisons import Comparisons
from holdfast.checkup.estimators.features import dense_ND
from holdfast.errors import DataError
from holdfast.pluralism.mixture import Mixture, mixture
from holdfast.stats.arrays import Floats
from holdfast.types import Row

Features = Callable[[Comparisons], Floats]
FEW = 200  # distinct answers up to which each has a strength of its own


def with_subgroups(
    rows: Sequence[Row],
    *,
    k: int = 2,
    features: Features | None = None,
    seed: int = 0,
    progress: bool = False,
) -> tuple[list[Row], Mixture]:
    """Comparisons with `group` set to their rater's subgroup, "subgroup 1" the largest, and the
    mixture that says so.

    Labels stay as they are; only whose they are is filled in. Look at the mixture before training
    on it: at `share_K`, at `disagreement`, and at `pluralism.held_out`, which says whether
    subgroups are real.

    Args:
        rows: comparisons with raters; a row without one stands alone, and is placed by its one
            label. Rows that are no comparison are left out.
        k: number of preference subgroups.
        features: differences of features, one row a comparison; a strength for each answer where
            there are few answers, else the check-up's own features of text.
        seed: of the starts.
        progress: a bar over the starts.

    Raises:
        DataError: no comparison, or none with a rater.
    """
    data = Comparisons.of(rows)
    if not len(data) or not data.rater.given:
        raise DataError(
            f"subgroups are told apart by raters; of {len(data)} comparisons none has one",
            hint="add a `rater` column",
        )
    x_ND = (features or features_of)(data)
    found = mixture(x_ND, data.rater.code_N, k=k, seed=seed, progress=progress)
    return [
        replace(row, group=f"subgroup {g + 1}")
        for row, g in zip(data.rows, found.group_N.tolist(), strict=True)
    ], found


def features_of(data: Comparisons) -> Floats:
    """A strength for each answer where there are at most 200, else `checkup.features.dense_ND`."""
    answers = {text: i for i, text in enumerate(dict.fromkeys([*data.chosen, *data.rejected]))}
    if len(answers) > FEW:
        return dense_ND(data)
    one = np.eye(len(answers))
    return np.asarray(
        one[[answers[text] for text in data.chosen]]
        - one[[answers[text] for text in data.rejected]]
    )
