"""ROOT, an optimizer for hidden matrices that tolerates outliers in the gradient, and what it and
torch's Muon need beside them.

    from holdfast.optimization.optimizers import build

    optimizer = build(model, "root", lr=1e-3)         # AdamW takes embeddings, heads and vectors
"""

from holdfast.optimization.optimizers.build import build, together
from holdfast.optimization.optimizers.coefficients import coefficients_for
from holdfast.optimization.optimizers.newton_schulz import MUON, orthogonalize, polar
from holdfast.optimization.optimizers.root import ROOT, clamp_outliers_
from holdfast.optimization.optimizers.routing import Orthogonal, left_to_adamw
from holdfast.optimization.optimizers.together import Together

__all__ = [
    "MUON",
    "ROOT",
    "Orthogonal",
    "Together",
    "build",
    "clamp_outliers_",
    "coefficients_for",
    "left_to_adamw",
    "orthogonalize",
    "polar",
    "together",
]
