"""What every generator takes and returns, whatever runs the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from torch import Tensor

from holdfast.card import check
from holdfast.generation.noise import mixed

FinishReason = Literal["stop", "length"]


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen. The defaults are the model's own distribution.

    The order is that of transformers: logits are divided by the temperature, then cut by top_k,
        top_p and min_p, then renormalized.
    Repetition and presence penalties are left out on purpose: with them the sampler is a policy of
        its own, which no scorer reproduces.

    Attributes:
        max_new_tokens: tokens of an answer at most.
        temperature: 0 takes the most probable token (the first of equals).
        top_k: the k most probable tokens only; 0 for all.
        top_p: the fewest most probable tokens whose probability reaches top_p; 1 for all.
        min_p: tokens of at least min_p times the probability of the most probable one; 0 for all.
        stop_ids: an answer ends with the first of these tokens, which is part of it.

    Raises:
        OptionError: a value outside its range.
    """

    max_new_tokens: int
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    stop_ids: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        check("max_new_tokens", self.max_new_tokens, self.max_new_tokens >= 1, "be at least 1")
        check(
            "temperature",
            self.temperature,
            0 <= self.temperature < float("inf"),
            "be finite and at least 0",
        )
        check("top_k", self.top_k, self.top_k >= 0, "be at least 0")
        check("top_p", self.top_p, 0 < self.top_p <= 1, "lie above 0 and at most at 1")
        check("min_p", self.min_p, 0 <= self.min_p <= 1, "lie between 0 and 1")

    @property
    def truncated(self) -> bool:
        return bool(self.top_k) or self.top_p < 1 or self.min_p > 0


@dataclass(frozen=True)
class Answer:
    """One answer of T tokens.

    Attributes:
        ids_T: token ids; the last one is a stop token if `finish_reason` is "stop".
        logp_T: float32 CPU, log-probability of each token in nats under the model itself:
            temperature 1, nothing cut off. A scorer of the same weights gives these numbers, but
            for a rope that is stretched by the length of a sequence (dynamic, longrope): there it
            reads the whole answer at its final length, and a token was drawn at its own.
        sampler_logp_T: the same under the distribution that the token was drawn from, after
            temperature, top_k, top_p and min_p: the denominator of an importance weight. At
            temperature 0 the choice is certain and it is 0.
        finish_reason: "stop" at a stop token, "length" at max_new_tokens or at the end of the
            model's context.
    """

    ids_T: tuple[int, ...]
    logp_T: Tensor
    sampler_logp_T: Tensor
    finish_reason: FinishReason


class Generator(Protocol):
    """Draws answers. What a backend can promise:

    Hugging Face, in process (`HuggingFaceGenerator`): an answer depends on its prompt, its seed and
    its number among the samples alone, so batches, their order and the samples beside it change
    nothing. Both log-probabilities are given.

    vLLM, in process or as a server: takes token ids and a seed for each request. The same seed
    gives the same answer only while batches are composed alike (its kernels round by batch shape)
    unless its batch-invariant kernels are on. `logprobs_mode` gives one of the two
    log-probabilities a run; the other is None there or comes from a scorer.

    An OpenAI-compatible server: a seed is a wish, token ids come back only from servers that return
    them, and log-probabilities are those of the raw logits. A backend refuses a server that hands
    back text alone, because encoding text again may give other tokens.
    """

    def __call__(
        self,
        prompt_ids: Sequence[Sequence[int]],
        *,
        samples: int,
        seeds: Sequence[int],
        sampling: Sampling,
    ) -> list[list[Answer]]:
        """`samples` answers to each prompt.

        Args:
            prompt_ids: token ids of each prompt, none empty.
            samples: answers to each prompt.
            seeds: one for each prompt, such as `seeds_of` gives; 64 bits count.
            sampling: how tokens are chosen.

        Raises:
            OptionError: a prompt that is empty or fills the model's context, or seeds that are not
                one a prompt.
            ModelError: logits that are not finite.
        """
        ...


def seeds_of(prompts: int, *, seed: int, step: int = 0) -> list[int]:
    """A seed for each prompt from (seed, step, place of the prompt): different for all of them, the
    same wherever they are asked for.
    """
    return [mixed(seed, step, prompt) for prompt in range(prompts)]
