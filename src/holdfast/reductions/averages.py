"""How the costs of tokens become one cost a row, before a reduction puts the rows together.

    cost_N = token_weight_N * sum over response tokens t of cost_NT

and the mean of rows that follows divides by the weight of all rows. So with every row of weight 1:

    sum                (1/N) sum_i sum_t c_it                     an answer's own sum
    sequence_mean      (1/N) sum_i (1/|y_i|) sum_t c_it           each answer counts the same
    token_mean         sum_i sum_t c_it / sum_i |y_i|             each token counts the same
    constant           (1/N) sum_i sum_t c_it / length            the same divisor in every batch

These four are the axis on which GRPO (sequence_mean), DAPO (token_mean) and Dr. GRPO (constant)
differ, and on which supervised fine-tuning differs between libraries. `token_mean` reads the mean
length of the optimizer's whole batch, never of a microbatch: gradient accumulation and more
processes leave its gradient as it is. (Averaging the token means of microbatches weighs a token by
who happens to share its microbatch.)
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from holdfast.card import Average, check

__all__ = ["AVERAGES", "constant", "sequence_mean", "sum_of_tokens", "token_mean"]


def sum_of_tokens() -> Average:
    """The sum over an answer's tokens: long answers cost more, and nothing is divided by length."""
    return Average("sum", lambda length_N, mean_length: length_N.new_ones(length_N.shape))


def sequence_mean() -> Average:
    """The mean over an answer's own tokens: every answer counts the same, a token of a short answer
    more than one of a long answer. An empty answer costs 0.
    """
    return Average("sequence_mean", lambda length_N, mean_length: 1 / length_N.clamp(min=1))


def token_mean() -> Average:
    """The mean over all response tokens of the optimizer's batch: every token counts the same.

    A row's cost is its sum over tokens divided by the mean length of a row, each row by its weight:
    the weighted mean of such costs is the weighted mean over tokens.
    """
    return Average(
        "token_mean", lambda length_N, mean_length: (1 / mean_length).expand(len(length_N))
    )


def constant(*, length: float) -> Average:
    """The sum over an answer's tokens divided by one number (Liu et al. 2025, "Understanding
    R1-Zero-Like Training", with the cap on generated tokens): unlike a mean it does not favor short
    right answers and long wrong ones.

    Args:
        length: the divisor, tokens; above 0

    Raises:
        OptionError: `length` is not above 0.
    """
    check("length", length, lambda: 0 < length < inf, "be above 0", hint="the cap on new tokens")
    return Average(
        f"constant:length={length:g}",
        lambda length_N, mean_length: length_N.new_full(length_N.shape, 1 / length),
    )


AVERAGES: dict[str, Callable[..., Average]] = {
    "sum": sum_of_tokens,
    "sequence_mean": sequence_mean,
    "token_mean": token_mean,
    "constant": constant,
}
