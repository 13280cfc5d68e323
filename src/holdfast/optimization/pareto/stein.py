"""The Stein variational step of SVH-PSL (arXiv 2412.17312), and its kernels.

With n preferences, objective vectors v_nM and parameter gradients g_nP of their scalarized costs,
the direction that is descended is

    D = (1/n) sum_i [ sum_j K_ij g_j + alpha grad_theta sum_j K_ij ]

where K in the first term is a constant, g has unit norm over the preferences in each parameter, and
the second term lowers the kernels: it repels. The network is one for all preferences, so the first
term weights each g_j by how crowded v_j is, sum_i K_ij.
"""

from __future__ import annotations

from collections.abc import Callable
from math import log

import torch
from torch import Tensor

Kernel = Callable[[Tensor], Tensor]
LEAST = {"global": 1e-6, "local": 5e-6}  # bandwidth where the median distance is 0


def _bandwidth(squared_NN: Tensor, factor: float, least: float) -> float:
    """c med^2 / log n, med the lower median of the squared distances, the zero diagonal included:
    the authors' rule, which squares a distance that is squared already.
    """
    med = float(squared_NN.detach().median())
    n = len(squared_NN)
    return factor * med**2 / log(n) if med > 0 and n > 1 else factor * least


def global_kernel(v_NM: Tensor, factor: float = 1.0) -> Tensor:
    """K_ij = exp(-||v_i - v_j||^2 / h)."""
    squared = (v_NM[:, None] - v_NM[None]).square().sum(-1)
    return torch.exp(-squared / _bandwidth(squared, factor, LEAST["global"]))


def local_kernel(v_NM: Tensor, factor: float = 1.0) -> Tensor:
    """K_ij = exp(-(v_ik - v_jk)^2 / h_k), k the largest objective of j. Not symmetric: the column's
    preference selects the objective.
    """
    squared_NNM = (v_NM[:, None] - v_NM[None]).square()
    h_M = v_NM.new_tensor(
        [_bandwidth(squared_NNM[..., k], factor, LEAST["local"]) for k in range(v_NM.shape[1])]
    )
    k_N = v_NM.argmax(1)
    picked = squared_NNM.gather(2, k_N[None, :, None].expand(len(v_NM), -1, 1)).squeeze(2)
    return torch.exp(-picked / h_M[k_N])


def identity_kernel(v_NM: Tensor) -> Tensor:
    """K = identity: the plain mean of the gradients."""
    return torch.eye(len(v_NM), dtype=v_NM.dtype) + 0.0 * v_NM.sum()


def unit_columns(g_NP: Tensor) -> Tensor:
    """Each parameter's gradients with unit norm over the preferences; 0 where all are 0."""
    norm_P = g_NP.square().sum(0).sqrt()  # several times faster than norm(dim=0)
    return g_NP / torch.where(norm_P > 0, norm_P, torch.ones_like(norm_P))


def attraction(kernel_NN: Tensor, g_NP: Tensor) -> Tensor:
    """(1/n) sum_i sum_j K_ij g_j, with K a constant."""
    return kernel_NN.detach().sum(0) @ g_NP / len(g_NP)
