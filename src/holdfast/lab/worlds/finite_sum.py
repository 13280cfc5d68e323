"""Linear operators F(u) = (1/N) sum_i A_i u + c_i, cocoercive, of many parts much alike. The
solution is 0.

A_i = H^T M_i^T M_i H with M_i = I + 0.3 / sqrt(d) times a Gaussian matrix, H^T H with a spectrum
from 1e-3 to 1, offsets c_i that add up to 0, and a start at distance 5. L, the constant of average
cocoercivity, is computed exactly, and is a little above that of F.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import eigh

from holdfast.games.inclusions import FiniteSum, Index
from holdfast.stats.arrays import Floats

DISTANCE, SPREAD, FLATTEST = 5.0, 0.3, 1e-3


def finite_sum(parts: int, dim: int, seed: int) -> tuple[FiniteSum, Floats]:
    """The operator, and where to start."""
    rng = np.random.default_rng([seed, parts, dim])
    basis_DD = np.linalg.qr(rng.normal(size=(dim, dim)))[0]
    root_DD = np.sqrt(np.geomspace(FLATTEST, 1, dim))[:, None] * basis_DD.T
    half_NDD = (np.eye(dim) + SPREAD * rng.normal(size=(parts, dim, dim)) / np.sqrt(dim)) @ root_DD
    part_NDD = half_NDD.transpose(0, 2, 1) @ half_NDD
    offset_ND = rng.normal(size=(parts, dim))
    offset_ND -= offset_ND.mean(0)
    mean_DD = part_NDD.mean(0)
    lipschitz = float(eigh((part_NDD @ part_NDD).mean(0), mean_DD, eigvals_only=True)[-1])

    def some(index_B: Index, u_D: Floats) -> Floats:
        out: Floats = part_NDD[index_B].mean(0) @ u_D + offset_ND[index_B].mean(0)
        return out

    start_D = rng.normal(size=dim)
    problem = FiniteSum(
        parts,
        lambda u_D: mean_DD @ u_D,
        some,
        lipschitz,
        whole_lipschitz=float(np.linalg.eigvalsh(mean_DD)[-1]),
    )
    return problem, DISTANCE * start_D / np.linalg.norm(start_D)
