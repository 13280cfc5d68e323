"""Two-stage robust problems with binary decisions: min over x, max over xi, min over the recourse.

from holdfast.optimization.two_stage import read_instances, solve

problem = read_instances("RKP_UN_n20_R1000_H100_h80_dev0.1_d1.txt")[0].problem
found = solve(problem, method="exact", seconds=60)
found.x_N, found.profit, found.worst_case.xi_J, found.lower
"""

from holdfast.optimization.two_stage.capital_budgeting import CapitalBudgeting
from holdfast.optimization.two_stage.capital_loans import CapitalLoans
from holdfast.optimization.two_stage.knapsack import Knapsack
from holdfast.optimization.two_stage.problem import (
    Recourse,
    Rows,
    Solution,
    TwoStage,
    Uncertainty,
    WorstCase,
)
from holdfast.optimization.two_stage.read import Instance, read_instances
from holdfast.optimization.two_stage.solve import METHODS, solve
from holdfast.optimization.two_stage.worst_case import worst_case

__all__ = [
    "METHODS",
    "CapitalBudgeting",
    "CapitalLoans",
    "Instance",
    "Knapsack",
    "Recourse",
    "Rows",
    "Solution",
    "TwoStage",
    "Uncertainty",
    "WorstCase",
    "read_instances",
    "solve",
    "worst_case",
]
