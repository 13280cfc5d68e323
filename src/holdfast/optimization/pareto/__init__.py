"""Pareto sets from few expensive evaluations.

from holdfast.optimization.pareto import named, scaled_hypervolume

problem = named("zdt1", variables=8)
scaled_hypervolume(problem, problem.evaluate(x_ND)), problem.hypervolume
"""

from holdfast.optimization.pareto.hypervolume import (
    hypervolume,
    log_difference,
    nondominated,
    scaled_hypervolume,
)
from holdfast.optimization.pareto.named import NAMES, named
from holdfast.optimization.pareto.problem import REFERENCE, Problem

__all__ = [
    "NAMES",
    "REFERENCE",
    "Problem",
    "hypervolume",
    "log_difference",
    "named",
    "nondominated",
    "scaled_hypervolume",
]
