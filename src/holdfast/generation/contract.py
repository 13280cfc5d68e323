"""What every generator takes and returns, whatever runs the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol

from torch import Tensor

from holdfast.card import check
from holdfast.generation.noise import mixed

FinishReason = Literal["stop", "length"]


@dataclass(frozen=True)
class Generation:
    """How answers are drawn. The defaults are the model's own distribution.

    Logits are divided by the temperature, then cut by top_k, top_p and min_p, then renormalized:
        the order of transformers.
    Settings that a model's folder carries (its generation_config) are not read, and repetition and
        presence penalties are left out: with them the sampler is a policy of its own, which no
        scorer reproduces, and a divergence estimated from its samples is not the model's.

    Raises:
        OptionError: a value outside its range.
    """

    max_new_tokens: Annotated[int, "longest answer, in tokens; one that reaches it is cut off"] = (
        256
    )
    temperature: Annotated[
        float, "of the answers; 0 takes the most probable token (the first of equals)"
    ] = 1.0
    top_k: Annotated[int, "draw from the k most probable tokens; 0 for all"] = 0
    top_p: Annotated[
        float, "draw from the fewest most probable tokens whose probability reaches it; 1 for all"
    ] = 1.0
    min_p: Annotated[
        float, "draw from tokens at least so probable, relative to the most probable; 0 for all"
    ] = 0.0
    seed: Annotated[int, "of the draws"] = 0
    stop_ids: Annotated[
        tuple[int, ...] | None,
        "an answer ends with the first of these tokens, which is part of it; None for those of the "
        "model and its tokenizer, () to go on to max_new_tokens",
    ] = None

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

    @property
    def plain(self) -> bool:
        """Answers are drawn from the model's own distribution."""
        return self.temperature == 1 and not self.truncated

    def seeds(self, prompts: int, *, step: int = 0) -> list[int]:
        """A seed for each prompt from (seed, step, place of the prompt): different for all of them,
        the same wherever they are asked for.
        """
        return [mixed(self.seed, step, prompt) for prompt in range(prompts)]

    def to_dict(self) -> dict[str, Any]:
        """The settings that a person gives, for a record."""
        return {
            field.name: getattr(self, field.name)
            for field in fields(self)
            if field.name not in ("seed", "stop_ids")
        }


@dataclass(frozen=True, eq=False)
class Answer:
    """One answer of T tokens.

    Attributes:
        prompt_ids: token ids of the prompt.
        ids_T: token ids; the last one is a stop token if `finish_reason` is "stop".
        sampler_logp_T: float32 CPU, log-probability of each token in nats under the distribution
            that it was drawn from, after temperature, top_k, top_p and min_p: the denominator of an
            importance weight. At temperature 0 the choice is certain and it is 0.
        logp_T: the same under the model itself: temperature 1, nothing cut off. A scorer of the
            same weights gives these numbers, but for a rope that is stretched by the length of a
            sequence (dynamic, longrope): there it reads the whole answer at its final length, and a
            token was drawn at its own. None from a backend that gives one of the two alone.
        finish_reason: "stop" at a stop token, "length" at max_new_tokens or at the end of the
            model's context.
    """

    prompt_ids: tuple[int, ...]
    ids_T: tuple[int, ...]
    sampler_logp_T: Tensor
    logp_T: Tensor | None
    finish_reason: FinishReason


class Generator(Protocol):
    """A backend: draws answers from one model, token ids in, token ids out.

    Hugging Face, in process (`HuggingFaceGenerator`): an answer depends on its prompt, its seed and
    its number among the samples alone, so batches, their order and the samples beside it change
    nothing. Both log-probabilities are given, and `repeatable` is True.

    vLLM, in process or as a server: takes token ids and a seed for each request, here
    `mixed(seed, sample)` for each answer. The same seed gives the same answer only while batches
    are composed alike (its kernels round by batch shape), so `repeatable` is False unless its
    batch-invariant kernels are on. `logprobs_mode="processed_logprobs"` gives `sampler_logp_T`;
    `logp_T` is then None, or the same tensor where `generation.plain`.

    An OpenAI-compatible server: a seed is a wish (`repeatable` is False), token ids come back only
    from servers that return them, and log-probabilities are those of the raw logits: such a backend
    refuses a `generation` that is not `plain`, and a server that hands back text alone, because
    encoding text again may give other tokens.

    Whoever asks keeps what it needs for going on later to the same numbers: answers are written
    down before they are used, and drawn again only if `repeatable`.
    """

    @property
    def repeatable(self) -> bool:
        """Whether the same arguments give the same answers."""
        ...

    def __call__(
        self,
        prompt_ids: Sequence[Sequence[int]],
        *,
        samples: int,
        seeds: Sequence[int],
        generation: Generation,
    ) -> list[list[Answer]]:
        """`samples` answers to each prompt, in the order of the prompts.

        Args:
            prompt_ids: token ids of each prompt, none empty.
            samples: answers to each prompt.
            seeds: one for each prompt, such as `Generation.seeds` gives; 64 bits count. The
                generation's own seed is not used here.
            generation: how they are drawn. `stop_ids=None` is answered by the backend, with the end
                tokens of its model and tokenizer.

        Raises:
            OptionError: a prompt that is empty or fills the model's context, seeds that are not one
                a prompt, no token that ends an answer, or settings that the backend cannot keep.
            ModelError: logits that are not finite, or a model that cannot generate.
        """
        ...


class Backend(Protocol):
    """Makes the generator of a model that lies in a folder: how self-play, whose policy is another
    one in each round, is told where answers come from.
    """

    def __call__(self, folder: Path) -> Generator: ...
