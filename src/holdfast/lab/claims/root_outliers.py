"""ROOT: orthogonalized steps under outliers of the gradient and under noisy labels.

World: students of 32 inputs, 128 hidden units and 32 outputs (8 classes where labels are learned)
that learn from a teacher of the same shape, ReLU between, no biases. (a) Outliers: 300 steps on 64
fresh inputs each; one entry of each gradient in 1,000 is replaced by plus or minus 30 or 300
standard deviations of its matrix. The error is the mean square on unseen inputs by the variance of
the targets. (b) Labels: 400 steps on 2,048 fixed inputs with the teacher's class, a share of the
labels drawn at random among all eight. The error is the share of wrong classes on unseen inputs
against the true labels.

Every arm has the same five learning rates (a: 0.003 to 0.1; b: 0.0005 to 0.03), and each seed
takes its best by error on validation inputs; the error that counts is on other inputs. No weight
decay. Muon is run with the shape factor that gives its update AdamW's root mean square, as ROOT's;
clipped Muon clips each student's gradient to norm 0.1 first. "Muon with coefficients" is ROOT
without the soft threshold.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from holdfast.lab.claim import Claim, Measured
from holdfast.lab.verdict import multiple, separated
from holdfast.lab.worlds import teacher
from holdfast.optimization.optimizers import MUON, ROOT

ERROR = "relative test error"
WRONG = "share of wrong classes"
ADAMW, PLAIN, CLIPPED, FITTED, OURS = (
    "AdamW",
    "Muon",
    "Muon, clipped",
    "Muon with coefficients",
    "ROOT",
)


def _orthogonal(**how: Any) -> teacher.Make:
    return lambda weights, rate: ROOT(weights, lr=rate, weight_decay=0.0, **how)


def _adamw(weights: list[torch.nn.Parameter], rate: float) -> torch.optim.Optimizer:
    return torch.optim.AdamW(weights, lr=rate, betas=(0.9, 0.95), weight_decay=0.0)


ARMS: dict[str, teacher.Arm] = {
    ADAMW: teacher.Arm(_adamw),
    PLAIN: teacher.Arm(_orthogonal(quantile=1, ns_coefficients=MUON)),
    CLIPPED: teacher.Arm(_orthogonal(quantile=1, ns_coefficients=MUON), clip=0.1),
    FITTED: teacher.Arm(_orthogonal(quantile=1)),
    OURS: teacher.Arm(_orthogonal()),
}


def outliers(seeds: Sequence[int], *, size: float) -> Measured:
    return {name: {ERROR: teacher.regression(arm, seeds, size=size)} for name, arm in ARMS.items()}


def labels(seeds: Sequence[int], *, noise: float) -> Measured:
    return {name: {WRONG: teacher.labeled(arm, seeds, noise=noise)} for name, arm in ARMS.items()}


SIZES, NOISE = (0.0, 30.0, 300.0), (0.0, 0.2, 0.4)
OUTLIERS: dict[str, Any] = {
    "methods": (),
    "world": teacher,
    "measure": outliers,
    "of": ERROR,
    "sweep": {"size": SIZES},
    "seeds": range(20),
    "chunk": 20,
    "scale": "log",
}
LABELS: dict[str, Any] = {
    "methods": (),
    "world": teacher,
    "measure": labels,
    "of": WRONG,
    "sweep": {"noise": NOISE},
    "seeds": range(20),
    "chunk": 20,
}
SPOILED, CLEAN, NOISY = {"size": SIZES[1:]}, {"size": 0.0}, {"noise": NOISE[1:]}

CLAIMS = (
    Claim(
        says="Under outliers Muon ends with over 1.25 times the error of ROOT.",
        verdict=multiple(PLAIN, OURS, ERROR, times=1.25, at=SPOILED),
        paper_number="lower training loss than Muon, 1B parameters (third-party notes)",
        **OUTLIERS,
    ),
    Claim(
        says="Under outliers ROOT ends below clipped Muon.",
        verdict=separated(OURS, CLIPPED, ERROR, at=SPOILED, lower=True),
        **OUTLIERS,
    ),
    Claim(
        says="Under outliers ROOT ends below AdamW.",
        verdict=separated(OURS, ADAMW, ERROR, at=SPOILED, lower=True),
        **OUTLIERS,
    ),
    Claim(
        says="Without outliers ROOT ends below Muon.",
        verdict=separated(OURS, PLAIN, ERROR, at=CLEAN, lower=True),
        paper_number="lower training loss than Muon, 1B parameters (third-party notes)",
        **OUTLIERS,
    ),
    Claim(
        says="Without outliers coefficients for the shape alone end below Muon's.",
        verdict=separated(FITTED, PLAIN, ERROR, at=CLEAN, lower=True),
        **OUTLIERS,
    ),
    Claim(
        says="Without outliers the soft threshold helps: ROOT ends below Muon with coefficients.",
        verdict=separated(OURS, FITTED, ERROR, at=CLEAN, lower=True),
        **OUTLIERS,
    ),
    Claim(
        says="With 20 and 40% of the labels at random ROOT errs less often than Muon.",
        verdict=separated(OURS, PLAIN, WRONG, at=NOISY, lower=True),
        **LABELS,
    ),
    Claim(
        says="With 20 and 40% of the labels at random ROOT errs less often than clipped Muon.",
        verdict=separated(OURS, CLIPPED, WRONG, at=NOISY, lower=True),
        **LABELS,
    ),
    Claim(
        says="With 20 and 40% of the labels at random ROOT errs less often than AdamW.",
        verdict=separated(OURS, ADAMW, WRONG, at=NOISY, lower=True),
        **LABELS,
    ),
)
