"""Robust Markov decision processes: exact plans against the worst kernel of a set, and DR-RPO,
which learns such a plan online.

    from holdfast.optimization import robust_mdp

    mdp = robust_mdp.tabular(transition_SAS, reward_SA, horizon=50)
    found = robust_mdp.optimum(mdp, robust_mdp.ball("kl", 0.1))
    found.value, found.policy_HSA
"""

from holdfast.optimization.robust_mdp.ambiguity import (
    DIVERGENCES,
    NOMINAL,
    Ambiguity,
    ball,
    penalty,
)
from holdfast.optimization.robust_mdp.learner import Learned, dr_rpo, fixed_reference, mirror
from holdfast.optimization.robust_mdp.mdp import MDP, linear, tabular
from holdfast.optimization.robust_mdp.planning import Solution, evaluate, optimum
from holdfast.optimization.robust_mdp.shift import around, parting_radius, shifts
from holdfast.optimization.robust_mdp.worlds import WORLDS, World, world

__all__ = [
    "DIVERGENCES",
    "MDP",
    "NOMINAL",
    "WORLDS",
    "Ambiguity",
    "Learned",
    "Solution",
    "World",
    "around",
    "ball",
    "dr_rpo",
    "evaluate",
    "fixed_reference",
    "linear",
    "mirror",
    "optimum",
    "parting_radius",
    "penalty",
    "shifts",
    "tabular",
    "world",
]
