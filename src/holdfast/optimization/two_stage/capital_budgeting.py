"""Capital budgeting with uncertain costs and profits (Subramanyam et al., 2020), as a cost.

Projects are started now (x) or, once the factors xi in [-1, 1]^J are seen, later (y) at a share
`late` of the profit. Costs and profits depend on the factors, and so does what fits the budget B:

    c_i(xi) = (1 + phi_i'xi / 2) c_i,   p_i(xi) = (1 + psi_i'xi / 2) p_i
    min over x   max over xi   min over y   - sum_i p_i(xi) (x_i + late y_i)
    c(xi)'x <= B for every xi,   c(xi)'(x + y) <= B,   x + y <= 1

The first decision is affordable at every vertex of the box, hence at every xi.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from holdfast.errors import DataError
from holdfast.optimization.two_stage.problem import Floats, Recourse, Rows, TwoStage, Uncertainty
from holdfast.stats.arrays import floats

MOST_FACTORS = 12  # vertices of the box are listed


@dataclass(frozen=True)
class CapitalBudgeting:
    """One instance.

    Raises:
        DataError: lists of different lengths, a number that is not finite or out of range, a cost
            that some xi makes negative.
    """

    cost_N: Floats
    profit_N: Floats
    cost_factors_NJ: Floats
    profit_factors_NJ: Floats
    budget: float
    late: float = 0.8
    name: str = "capital budgeting"

    def __post_init__(self) -> None:
        cost = floats(self.cost_N, f"{self.name}: cost_N", shape=(None,), low=0.0)
        n = len(cost)
        if not n:
            raise DataError(f"{self.name} has no projects")
        profit = floats(self.profit_N, f"{self.name}: profit_N", shape=(n,))
        phi = floats(self.cost_factors_NJ, f"{self.name}: cost_factors_NJ", shape=(n, None))
        psi = floats(self.profit_factors_NJ, f"{self.name}: profit_factors_NJ", shape=phi.shape)
        if phi.shape[1] > MOST_FACTORS:
            raise DataError(
                f"{self.name} has {phi.shape[1]} factors; the vertices of at most {MOST_FACTORS} "
                "are listed"
            )
        for i in np.flatnonzero((np.abs(phi).sum(1) > 2 + 1e-9) & (cost > 0)):
            raise DataError(
                f"{self.name}: cost_factors_NJ[{i}] makes the cost of project {i} negative at "
                "some xi",
                hint="the absolute loadings of a project must sum to 2 at most",
            )
        for field, value in (
            ("cost_N", cost),
            ("profit_N", profit),
            ("cost_factors_NJ", phi),
            ("profit_factors_NJ", psi),
        ):
            object.__setattr__(self, field, value)
        for field in ("budget", "late"):
            value = floats(getattr(self, field), f"{self.name}: {field}", one=True, low=0.0)
            object.__setattr__(self, field, float(value))

    def __len__(self) -> int:
        return len(self.cost_N)

    @cached_property
    def model(self) -> TwoStage:
        n, J = self.cost_factors_NJ.shape
        moved_cost_JN = (self.cost_factors_NJ * self.cost_N[:, None]).T / 2
        moved_JN = (self.profit_factors_NJ * self.profit_N[:, None]).T / 2
        signs_VJ = np.array(list(itertools.product((-1.0, 1.0), repeat=J)))
        vertices_VN = np.unique(self.cost_N + signs_VJ @ moved_cost_JN, axis=0)
        top_N = vertices_VN.max(0)
        if np.any(np.all(vertices_VN == top_N, axis=1)):  # one vertex is the dearest for all
            vertices_VN = top_N[None]
        eye = np.eye(n)
        moved_JRN = np.zeros((J, n + 1, n))
        moved_JRN[:, 0] = moved_cost_JN
        rows_RN = np.concatenate([self.cost_N[None], eye])
        return TwoStage(
            first_N=-self.profit_N,
            second_M=-self.late * self.profit_N,
            first_JN=-moved_JN,
            second_JM=-self.late * moved_JN,
            uncertainty=Uncertainty(-np.ones(J), np.ones(J)),
            rows=Rows(rows_RN, rows_RN, np.append(self.budget, np.ones(n)), moved_JRN, moved_JRN),
            limits=(vertices_VN, np.full(len(vertices_VN), self.budget)),
            name=self.name,
        )

    def recourse(self, x_N: Floats, xi_J: Floats) -> Recourse:
        return self.model.recourse(x_N, xi_J)
