"""Newton-Schulz: the orthogonal factor of a matrix by matrix products alone.

With the singular value decomposition `B = U diag(s) V^T`, the polar factor `U V^T` is the matrix
that lifts every singular value to 1. Five rounds of an odd polynomial come near to it without a
decomposition (Jordan et al. 2024, Muon):

    X <- B / ||B||_F
    X <- a X + (b A + c A^2) X,  A = X X^T      on each singular value: s <- a s + b s^3 + c s^5
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

MUON = (3.4445, -4.7750, 2.0315)  # the coefficients of Muon, whatever the shape
STEPS = 5
EPS = 1e-7  # of the norm: a zero matrix stays zero
Coefficients = tuple[float, float, float]


def orthogonalize(
    update: Tensor,
    coefficients: Sequence[float] = MUON,
    *,
    steps: int = STEPS,
    eps: float = EPS,
) -> Tensor:
    """Approximate polar factors, one for each matrix of the last two dimensions.

    Args:
        update: (..., m, n).
        coefficients: a, b, c.
        steps: rounds of the iteration.
        eps: a Frobenius norm below it counts as it, so that noise of rounding is not blown up.

    Returns:
        (..., m, n), computed in the type of `update`.
    """
    a, b, c = coefficients
    tall = update.shape[-2] > update.shape[-1]
    norm = torch.linalg.matrix_norm(update, keepdim=True).clamp(min=eps)
    x = update / norm
    x = (x.mT if tall else x).reshape(-1, *sorted(update.shape[-2:]))
    for _ in range(steps):
        gram = torch.bmm(x, x.mT)
        gram = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        x = torch.baddbmm(x, gram, x, beta=a)
    return (x.mT if tall else x).reshape(update.shape)


def polar(update: Tensor) -> Tensor:
    """The exact polar factors `U V^T`, by singular value decomposition: what `orthogonalize` is
    held against. For a matrix of lower rank it is one of several.
    """
    u, _, v = torch.linalg.svd(update, full_matrices=False)
    return u @ v


def lifted(values: Tensor, coefficients: Sequence[float], *, steps: int = STEPS) -> Tensor:
    """Where singular values end: `s <- a s + b s^3 + c s^5`, so many times."""
    a, b, c = coefficients
    for _ in range(steps):
        square = values * values
        values = values * (a + square * (b + c * square))
    return values
