"""Answers from a model: token ids in, token ids out, and what is done with several of them.

how = Generation(max_new_tokens=128, top_p=0.95, seed=0)
generator = HuggingFaceGenerator(model, tokenizer)
answers = generator(prompt_ids, samples=8, seeds=how.seeds(len(prompt_ids)), generation=how)
answers[0][3].ids_T, answers[0][3].sampler_logp_T     # the fourth answer to the first prompt

texts = draw(model, tokenizer, prompts, generation=how)         # prompts and answers as text
kept = best_of_n(model, tokenizer, prompts, reward, n=5)        # the best by a reward
kept = rso(model, tokenizer, prompts, reward, candidates=64, keep=8)      # a better policy's law
curve = best_of_n_curve(score_PN, gold_PN)      # best of n for every n, of answers at hand
kept = rps(model, tokenizer, prompts, [helpful, verbose], direction=45)   # nearby trade-offs
rounds = revise(model, tokenizer, prompts, answers, steps=2)    # one's own answers, improved
"""

from holdfast.generation.best_of_n import Picked, best_of_n, best_of_table, kl_bound, pick
from holdfast.generation.contract import Answer, Backend, Generation, Generator
from holdfast.generation.curve import BestOf, best_of_n_curve
from holdfast.generation.hugging_face import HuggingFaceGenerator
from holdfast.generation.revise import revise
from holdfast.generation.rps import Consensus, direction_of, near_angles, near_directions, rps
from holdfast.generation.rso import Accepted, accepted, rso, rso_table
from holdfast.generation.text import draw, hugging_face_backend

__all__ = [
    "Accepted",
    "Answer",
    "Backend",
    "BestOf",
    "Consensus",
    "Generation",
    "Generator",
    "HuggingFaceGenerator",
    "Picked",
    "accepted",
    "best_of_n",
    "best_of_n_curve",
    "best_of_table",
    "direction_of",
    "draw",
    "hugging_face_backend",
    "kl_bound",
    "near_angles",
    "near_directions",
    "pick",
    "revise",
    "rps",
    "rso",
    "rso_table",
]
