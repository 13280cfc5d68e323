"""The contract of a method: what it computes, what it needs, and what its card promises.

A method is a function of what flows. Its keyword-only arguments are its whole configuration: they
feed the command line, the page and the run record. What the card says is executed by
`tests/test_every_method.py`.
"""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from holdfast.errors import NeedError, OptionError
from holdfast.inputs import row_weights
from holdfast.inputs.base import Input
from holdfast.types import Answers, Batch, Pairs, Scored

State = Any  # a pytree of tensors: dicts of tensors, saved in the checkpoint


class Reduction(NamedTuple):
    """The one place where costs are averaged, robustly or not.

    `apply(cost_N, batch, state) -> (scalar, state)`. The gradient of the scalar in the costs is the
    adversary's weighting of the rows: the trainer logs it. `init()` gives the state, a dict of
    tensors (empty for the stateless).
    """

    name: str
    init: Callable[[], State]
    apply: Callable[[Tensor, Batch, State], tuple[Tensor, State]]
    # True if the scalar is a weighted mean of the costs with weights known before the costs are
    linear: bool = False
    needs: tuple[Input, ...] = ()


class Average(NamedTuple):
    """How the costs of a row's tokens become one cost: a sum in which each row has one weight.

    `token_weight(length_N, mean_length)` gives what one token of each row weighs, (N,), from the
    tokens of each row and their mean over the rows of the optimizer's batch, a scalar. Of a
    microbatch that mean must be handed in, or it would be the microbatch's own.

    Attributes:
        name: its own specification, as `reductions.parse_average` reads it
        token_weight: see above
    """

    name: str
    token_weight: Callable[[Tensor, Tensor], Tensor]

    def __call__(self, cost_NT: Tensor, mask_NT: Tensor, mean_length: Tensor) -> Tensor:
        """(N, T) or (P, G, T) costs of tokens, a mask of the tokens that count -> (N,), or (P, G),
        one cost a row. Costs outside the mask are never read, not even where they are not finite.
        """
        rows = cost_NT.shape[:-1]
        length_N = mask_NT.sum(-1).to(cost_NT.dtype).reshape(-1)
        weight_N = self.token_weight(length_N, mean_length.to(cost_NT.dtype))
        return weight_N.view(rows) * torch.where(mask_NT.bool(), cost_NT, 0.0).sum(-1)


@dataclass(frozen=True)
class Paper:
    title: str
    authors: str
    year: int
    arxiv: str = ""  # "2403.00409"
    venue: str = ""


@dataclass(frozen=True)
class Limit:
    """At these settings the method is another one: `Limit(at={"flip_rate": 0.0}, gives="dpo")`.
    `scale` and `shift` allow an affine identity: cost == scale * other + shift. `where` says what
    the sequences must be like besides, and `given` makes any sequences so."""

    at: Mapping[str, float]
    gives: str
    other_at: Mapping[str, float] = field(default_factory=dict)
    scale: float = 1.0
    shift: float = 0.0
    where: str = ""
    given: Callable[[Scored], Scored] = lambda part: part


@dataclass(frozen=True)
class Card:
    """What a careful reader wants to know first."""

    says: str  # what it does, in at most eight words
    paper: Paper
    equation: str  # one line, in the letters of the docstring
    tokens: Literal[
        "sum", "mean", "sum and mean", "apart", "none"
    ]  # how token log-probabilities become one number an answer, if they do
    needs: tuple[Input, ...] = ()
    departures: tuple[str, ...] = ()
    limits: tuple[Limit, ...] = ()
    at_reference: Callable[..., float] | None = (
        None  # the cost when policy = reference and a head is new, as a function of the settings
    )
    batch_dependent: bool = False  # True if a row's cost depends on the other rows of the batch
    stop_gradient: str = (
        ""  # what the policy decides and the gradient holds fixed all the same, if anything
    )
    not_to_confuse_with: str = ""
    status: str = ""


@dataclass(frozen=True)
class Head:
    """A small module that is trained beside the policy, by the same optimizer, and that no one
    needs once training is over.

    It gives K numbers for each response token t, `Scored.head_NTK`, from hidden states of shape (R,
    L, H): R response tokens, each with the states of L layers of width H.

        of="reference"    all layers of the frozen reference, before token t is read: what is known
                          when it is chosen
        of="policy"       the last layer of the policy (L = 1), after token t is read; gradients
                          flow into the policy

    Attributes:
        build: `build(width, layers)`, a new module; must draw no random numbers, so that every
            process makes the same one.
        of: whose states it reads.
    """

    build: Callable[[int, int], nn.Module]
    of: Literal["policy", "reference"]


@dataclass(frozen=True)
class PairMethod:
    """An offline objective over comparisons: `objective(pairs, *, ...) -> cost_N`, never averaged,
    never logged.

    A method that remembers from batch to batch has a `state`: `state(raters)`, a dict of tensors,
    is what it knows before the first batch, and its objective is `objective(pairs, state, *, ...)
    -> (cost_N, state)`, which leaves the state it was given alone. Whoever does not know which
    method it has calls `costs`. A method that learns something beside the policy has a `head`.

    A method whose cost is a sum over tokens may return them apart, cost_NT, and name an `average`:
    how the tokens of a row become one cost. T runs over the tokens of `batch.mask_NT`.
    """

    objective: Callable[..., Any]
    reduction: Reduction
    card: Card
    takes: type[Pairs] = Pairs
    average: Average | None = None
    state: Callable[[int], State] | None = None
    head: Head | None = None

    @property
    def name(self) -> str:
        return self.objective.__name__


@dataclass(frozen=True)
class AnswerMethod:
    """An offline objective over single answers: `objective(answers, *, ...) -> cost_N`, or cost_NT
    where the method names an `average`.
    """

    objective: Callable[..., Tensor]
    reduction: Reduction
    card: Card
    takes: type[Answers] = Answers
    average: Average | None = None
    state: None = None
    head: None = None

    @property
    def name(self) -> str:
        return self.objective.__name__


Method = PairMethod | AnswerMethod


def initial_state(method: Method, raters: int = 1) -> State:
    """What the method remembers before the first batch: a dict of tensors, empty for one that
    remembers nothing.
    """
    return {} if method.state is None else method.state(raters)


def costs(
    method: Method,
    batch: Batch,
    settings: Mapping[str, Any],
    state: State,
    mean_length: Tensor | None = None,
) -> tuple[Tensor, State]:
    """The cost of each row, and what to remember for the next batch. The one way to call any
    method.

    Where the batch is only looked at (evaluation, a microbatch of a larger batch), drop the new
    state. Of a microbatch, `mean_length` is that of the larger batch (`inputs.row_weights`), which
    an average over tokens divides by; a batch that is whole needs none.

    Raises:
        NeedError: the batch lacks what the method reads; names both.
    """
    try:
        if method.state is None:
            cost = method.objective(batch, **settings)
        else:
            cost, state = method.objective(batch, state, **settings)
    except NeedError as error:
        raise error.of(method.name) from None
    if method.average is None:
        return cost, state
    known = row_weights.mean_length(batch) if mean_length is None else mean_length
    return method.average(cost, batch.mask_NT, known), state


def settings_of(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """The keyword-only arguments of a method or a reduction: its whole configuration."""
    return {
        name: p
        for name, p in inspect.signature(function).parameters.items()
        if p.kind is inspect.Parameter.KEYWORD_ONLY
    }


def check(
    option: str, value: Any, ok: bool | Callable[[], bool], must: str, *, hint: str | None = None
) -> None:
    """Refuse a setting outside its range: `check("beta", beta, 0 < beta < inf, "be above 0")`. NaN
    fails every comparison: refused. As a function the condition also refuses what cannot be
    compared, such as text: `check("beta", beta, lambda: 0 < beta < inf, "be above 0")`.
    """
    if callable(ok):
        try:
            ok = bool(ok())
        except (TypeError, ValueError):
            ok = False
    if not ok:
        raise OptionError(f"{option} is {value!r}; it must {must}", hint=hint)


# ------------------------------------------------------------------------------------------------
# docstrings, read once


def section_of(function: Callable[..., Any], title: str) -> str:
    """The indented block under the line `title:` of a docstring, dedented; empty if there is
    none.
    """
    found = re.search(rf"^{title}:\n((?:[ \t]+.*\n?|\n)+)", inspect.getdoc(function) or "", re.M)
    return textwrap.dedent(found[1]).strip() if found else ""


def help_of(function: Callable[..., Any], title: str = "Args") -> dict[str, str]:
    """What `Args:` (or another section of `name: text` entries) says of each name, on one line
    each: the command line's help.
    """
    entries = re.findall(r"^(\w+): (.*(?:\n[ \t]+.*)*)", section_of(function, title), re.M)
    return {name: " ".join(text.split()) for name, text in entries}


def departures_of(function: Callable[..., Any]) -> tuple[str, ...]:
    """The numbered entries under `Departures:`, one line each."""
    return tuple(
        " ".join(text.split())
        for text in re.findall(
            r"^\d+\. (.*(?:\n[ \t]+.*)*)", section_of(function, "Departures"), re.M
        )
    )
