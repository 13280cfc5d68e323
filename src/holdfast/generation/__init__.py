"""Answers from a model: token ids in, token ids out.

generator = HuggingFaceGenerator(model) answers = generator(prompt_ids, samples=8,
seeds=seeds_of(len(prompt_ids), seed=0), sampling=Sampling(max_new_tokens=128, stop_ids=(2,)))
answers[0][3].ids_T, answers[0][3].sampler_logp_T, answers[0][3].finish_reason          # fourth
                                                                                        answer to
                                                                                        the first
                                                                                        prompt
"""

from holdfast.generation.contract import Answer, Generator, Sampling, seeds_of
from holdfast.generation.hugging_face import HuggingFaceGenerator

__all__ = ["Answer", "Generator", "HuggingFaceGenerator", "Sampling", "seeds_of"]
