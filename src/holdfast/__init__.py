"""Holdfast: train language models on preferences that cannot be fully trusted.

# what is wrong with these preferences; report.html
holdfast.check(path, out="check")
rows = holdfast.read(path)
# Pairs, gradients through the policy
pairs = holdfast.score(policy, tokenizer, rows, reference=reference)
cost_N = holdfast.preference.rdpo(pairs, beta=0.1, flip_rate=0.2)
run = holdfast.train("rdpo", model=..., data=..., out=..., flip_rate=0.2)
holdfast.evaluate(run.out, data=...)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from holdfast.extras import require
from holdfast.version import __version__

if TYPE_CHECKING:
    from holdfast import (
        data,
        games,
        generation,
        pluralism,
        preference,
        recipes,
        reductions,
        rewards,
    )
    from holdfast.checkup.check import check
    from holdfast.checkup.clean import clean
    from holdfast.data import read
    from holdfast.evaluation.evaluation import evaluate
    from holdfast.lab.confirm import confirm
    from holdfast.scorers.rows import score
    from holdfast.training.policy import train
    from holdfast.training.reward_model import train_reward

__all__ = [
    "__version__",
    "check",
    "clean",
    "confirm",
    "data",
    "evaluate",
    "games",
    "generation",
    "pluralism",
    "preference",
    "read",
    "recipes",
    "reductions",
    "rewards",
    "score",
    "train",
    "train_reward",
]

# Looked up when first used, so that `import holdfast` costs nothing.
FUNCTIONS = {
    "check": "holdfast.checkup.check",
    "clean": "holdfast.checkup.clean",
    "confirm": "holdfast.lab.confirm",
    "read": "holdfast.data",
    "score": "holdfast.scorers.rows",
    "train": "holdfast.training.policy",
    "train_reward": "holdfast.training.reward_model",
    "evaluate": "holdfast.evaluation.evaluation",
}
MODULES = (
    "reductions",
    "data",
    "games",
    "generation",
    "pluralism",
    "preference",
    "recipes",
    "rewards",
)


def __getattr__(name: str) -> Any:
    if name in FUNCTIONS or name in MODULES:
        require(name)
    if name in FUNCTIONS:
        return getattr(import_module(FUNCTIONS[name]), name)
    if name in MODULES:
        return import_module(f"holdfast.{name}")
    raise AttributeError(f"module 'holdfast' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
