"""How the costs of a batch become one number: averaged, or taken at the worst case over a set of reweightings of the rows.

Each factory returns a `holdfast.card.Reduction`; the gradient of its scalar in the costs is the adversary's weighting of the rows.
"""

from holdfast.ambiguity.mean import mean

__all__ = ["mean"]
