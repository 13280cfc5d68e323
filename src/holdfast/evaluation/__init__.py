"""What held-out rows say about a policy: ranking, margins, divergence, lengths and win rates, each with an interval."""

from holdfast.evaluation.evaluation import Evaluation, evaluate
from holdfast.evaluation.parts import Part

__all__ = ["Evaluation", "Part", "evaluate"]
