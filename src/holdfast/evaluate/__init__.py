"""What held-out rows say about a policy: ranking, margins, divergence, lengths and win rates, each with an interval."""

from holdfast.evaluate.evaluation import Evaluation, evaluate
from holdfast.evaluate.parts import Part

__all__ = ["Evaluation", "Part", "evaluate"]
