"""Answers at inference: which to draw, and what to do with them.

# the answer that a reward likes best
kept = best_of_n(model, tokenizer, prompts, reward, n=5)
# asked under nearby trade-offs, judged by the wanted
kept = rps(model, tokenizer, prompts, [helpful, verbose], direction=45)
# one's own answers, improved
rounds = revise(model, tokenizer, prompts, answers, steps=2)
"""

from holdfast.sampling.best_of_n import Picked, best_of_n, best_of_table, kl_bound, pick
from holdfast.sampling.draw import draw
from holdfast.sampling.revise import revise
from holdfast.sampling.rps import Consensus, direction_of, near_angles, near_directions, rps

__all__ = [
    "Consensus",
    "Picked",
    "best_of_n",
    "best_of_table",
    "direction_of",
    "draw",
    "kl_bound",
    "near_angles",
    "near_directions",
    "pick",
    "revise",
    "rps",
]
