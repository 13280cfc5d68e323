"""Capital budgeting with loans, uncertain profits (Arslan and Detienne, 2022), as a cost.

Projects are started now (x) or, once the factors xi in [-1, 1]^J are seen, later (y) at a share
`late` of the profit. A loan may be taken at either stage. With costs c, nominal profits p, factor
loadings phi (J a project), budget B, loans C1 and C2 at prices l1 and l2:

    profit_i(xi) = (1 + phi_i'xi / 2) p_i
    min over x, x0   max over xi   min over y, y0
        l1 x0 + l2 y0 - sum_i profit_i(xi) (x_i + late y_i)
    c'x <= B + C1 x0,   c'(x + y) <= B + C1 x0 + C2 y0,   x + y <= 1
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from holdfast.errors import DataError
from holdfast.optimization.two_stage.problem import Floats, Recourse, Rows, TwoStage, Uncertainty
from holdfast.stats.arrays import floats


@dataclass(frozen=True)
class CapitalLoans:
    """One instance. The first decision is (x, x0), the second (y, y0).

    Raises:
        DataError: lists of different lengths, or a number that is not finite or out of range.
    """

    profit_N: Floats
    cost_N: Floats
    factors_NJ: Floats
    budget: float
    first_loan: float
    second_loan: float
    first_loan_cost: float
    second_loan_cost: float
    late: float = 0.8
    name: str = "capital budgeting with loans"

    def __post_init__(self) -> None:
        profit = floats(self.profit_N, f"{self.name}: profit_N", shape=(None,))
        if not len(profit):
            raise DataError(f"{self.name} has no projects")
        n = len(profit)
        cost = floats(self.cost_N, f"{self.name}: cost_N", shape=(n,), low=0.0)
        factors = floats(self.factors_NJ, f"{self.name}: factors_NJ", shape=(n, None))
        for field, value in (("profit_N", profit), ("cost_N", cost), ("factors_NJ", factors)):
            object.__setattr__(self, field, value)
        for field in (
            "budget",
            "first_loan",
            "second_loan",
            "first_loan_cost",
            "second_loan_cost",
            "late",
        ):
            value = floats(getattr(self, field), f"{self.name}: {field}", one=True, low=0.0)
            object.__setattr__(self, field, float(value))

    def __len__(self) -> int:
        return len(self.profit_N)

    @cached_property
    def model(self) -> TwoStage:
        n, J = self.factors_NJ.shape
        moved_JN = (self.factors_NJ * self.profit_N[:, None]).T / 2
        none = np.zeros((J, 1))
        eye, zero = np.eye(n), np.zeros((n, 1))
        return TwoStage(
            first_N=np.append(-self.profit_N, self.first_loan_cost),
            second_M=np.append(-self.late * self.profit_N, self.second_loan_cost),
            first_JN=np.concatenate([-moved_JN, none], axis=1),
            second_JM=np.concatenate([-self.late * moved_JN, none], axis=1),
            uncertainty=Uncertainty(-np.ones(J), np.ones(J)),
            rows=Rows(
                np.concatenate(
                    [np.append(self.cost_N, -self.first_loan)[None], np.hstack([eye, zero])]
                ),
                np.concatenate(
                    [np.append(self.cost_N, -self.second_loan)[None], np.hstack([eye, zero])]
                ),
                np.append(self.budget, np.ones(n)),
            ),
            limits=(np.append(self.cost_N, -self.first_loan)[None], np.array([self.budget])),
            name=self.name,
        )

    def recourse(self, x_N: Floats, xi_J: Floats) -> Recourse:
        return self.model.recourse(x_N, xi_J)
