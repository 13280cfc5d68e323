"""Everything that flows, from a row of a file to the cost of a method.

    rows -> examples -> tokenized -(scorer)-> Pairs or Answers -(objective)-> cost_N -(reduction)->
    scalar

Letters in names are axes: N pairs or answers, T tokens, A answers of a table, S prompts ("states")
of a table, K groups of people. Log-probabilities are natural (nats). A `Scored` always holds
response tokens only: prompt tokens never enter an objective.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from holdfast.errors import NeedError

Message = Mapping[str, Any]  # {"role": "user", "content": "..."}
Text = str | Sequence[Message]


# ------------------------------------------------------------ rows, as people write them


@dataclass(frozen=True, slots=True)
class Where:
    """The place a row came from, so that every complaint can name it: `prefs.jsonl:17`."""

    file: str
    line: int  # 1-based line of a text file; 1-based row of a table or an iterable

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class Row:
    """One judgement. Either a comparison (`chosen` and `rejected` are set), or one answer (`answer`
    is set, `desirable` if it was judged).

    A string is plain text; a sequence of messages is a conversation. `extra` keeps every other
    column of the row, for methods that ask for their own (a rationale, a reward gap) and for the
    check-up.
    """

    where: Where
    prompt: Text = ""
    chosen: Text | None = None
    rejected: Text | None = None
    answer: Text | None = None
    desirable: bool | None = None
    rater: str | None = None
    group: str | None = None
    source: str | None = None
    strength: float | None = None  # how much better, in the unit of the file
    confidence: float | None = None  # probability that the label is right, 0 to 1
    weight: float | None = None  # how much the row counts in the average
    tie: bool = False
    named: bool = (
        False  # chosen and rejected are names (of models, teams, players) that met, not texts
    )
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Tokenized:
    """A prompt and the answers that branch off it, as token ids.

    `branches` is ordered: {"chosen": ids, "rejected": ids} or {"answer": ids}, then whatever else a
    method asked for. Where a method asks for answers to other prompts of the same row (a revision,
    a rationale), those are trees of their own in `others`; no two branches of a row share a name.
    """

    prompt: Sequence[int]
    branches: Mapping[str, Sequence[int]]
    row: int = -1  # index into the rows it came from
    others: tuple[Tokenized, ...] = ()

    @property
    def trees(self) -> tuple[Tokenized, ...]:
        return (self, *self.others)

    @property
    def answers(self) -> dict[str, Sequence[int]]:
        """Every branch of every tree."""
        return {name: ids for tree in self.trees for name, ids in tree.branches.items()}

    @property
    def tokens(self) -> int:
        """Length of the packed row: each prompt once, then its branches."""
        return sum(len(tree.prompt) + sum(map(len, tree.branches.values())) for tree in self.trees)

    def select(self, names: Collection[str]) -> Tokenized:
        """The same row with these branches alone; trees that keep none are gone."""
        kept = [
            Tokenized(
                tree.prompt,
                {name: ids for name, ids in tree.branches.items() if name in names},
                self.row,
            )
            for tree in self.trees
            if any(name in names for name in tree.branches)
        ]
        return replace(kept[0], others=tuple(kept[1:]))


# ------------------------------------------------------------ sequences, as models see them


DIFFERENTIABLE = ("logp_NT", "kl_NT", "head_NTK")


@dataclass(frozen=True)
class Scored:
    """N sequences as the policy sees them, and the reference if there is one.

    Example: two answers of 3 and 1 tokens are `logp_NT = [[-1.2, -0.3, -0.5], [-2.0, 0, 0]]`,
        `mask_NT = [[1, 1, 1], [1, 0, 0]]`.
    """

    logp_NT: Tensor  # nats per token
    mask_NT: Tensor  # 1 on response tokens
    ref_logp_NT: Tensor | None = None  # never carries a gradient
    kl_NT: Tensor | None = (
        None  # KL(pi_ref || pi) of the next token, given what stands before token t, nats
    )
    ref_activation_NTL: Tensor | None = (
        None  # mean activation of each layer of the reference there; never carries a gradient
    )
    head_NTK: Tensor | None = None  # what the method's own head says of token t

    def map(self, change: Callable[[Tensor], Tensor]) -> Scored:
        """The same sequences with every tensor that is there changed."""
        return replace(self, **{name: change(x) for name, x in self.tensors.items()})

    @property
    def tensors(self) -> dict[str, Tensor]:
        """Every tensor that is there, by its field."""
        return {name: x for name, x in vars(self).items() if x is not None}

    @property
    def differentiable(self) -> dict[str, Tensor]:
        """Those that a gradient flows through, to the policy or to the method's head."""
        return {name: x for name, x in self.tensors.items() if name in DIFFERENTIABLE}

    @property
    def length_N(self) -> Tensor:
        return self.mask_NT.sum(-1)

    @property
    def logp_N(self) -> Tensor:
        """log pi(y|x): the sum over response tokens, nats."""
        return torch.where(self.mask_NT.bool(), self.logp_NT, 0.0).sum(-1)

    @property
    def mean_logp_N(self) -> Tensor:
        """log pi(y|x) / |y|: nats per token. An empty answer gives 0."""
        return self.logp_N / self.length_N.clamp(min=1)

    @property
    def ref_logp_N(self) -> Tensor:
        if self.ref_logp_NT is None:
            raise NeedError(
                "reference",
                "these sequences were scored without a reference model",
                hint="pass reference=... to the scorer",
            )
        return torch.where(self.mask_NT.bool(), self.ref_logp_NT, 0.0).sum(-1)

    @property
    def log_ratio_N(self) -> Tensor:
        """log pi(y|x) - log pi_ref(y|x), nats."""
        return self.logp_N - self.ref_logp_N


@dataclass(frozen=True)
class Pairs:
    """N comparisons, scored. What every pairwise objective takes.

    Attributes:
        chosen: the answers that were preferred
        rejected: the others
        inputs: what else is known of each row: `{reward_gap: gap_N}` (see `holdfast.inputs`)
        extra: further sequences that a method asked for, by branch name
    """

    chosen: Scored
    rejected: Scored
    inputs: Mapping[Any, Tensor] = field(default_factory=dict)
    extra: Mapping[str, Scored] = field(default_factory=dict)

    MAIN: ClassVar = ("chosen", "rejected")

    @classmethod
    def of(cls, parts: Mapping[str, Scored], inputs: Mapping[Any, Tensor]) -> Pairs:
        """Of all sequences by branch name."""
        return cls(
            parts["chosen"],
            parts["rejected"],
            inputs,
            {name: part for name, part in parts.items() if name not in cls.MAIN},
        )

    def __len__(self) -> int:
        return len(self.chosen.logp_NT)

    @property
    def parts(self) -> dict[str, Scored]:
        """Every sequence by its branch name: "chosen", "rejected", then the further ones."""
        return {"chosen": self.chosen, "rejected": self.rejected, **self.extra}

    def with_parts(self, parts: Mapping[str, Scored]) -> Pairs:
        """The same batch with other sequences: the inverse of `parts`."""
        return Pairs.of(parts, self.inputs)

    @property
    def mask_NT(self) -> Tensor:
        """1 on the response tokens of the chosen answer, then on those of the rejected one."""
        return torch.cat([self.chosen.mask_NT, self.rejected.mask_NT], -1)

    @property
    def margin_N(self) -> Tensor:
        """h = log pi(y_w|x)/pi_ref(y_w|x) - log pi(y_l|x)/pi_ref(y_l|x), nats: DPO's implicit
        reward difference over beta.
        """
        return self.chosen.log_ratio_N - self.rejected.log_ratio_N


@dataclass(frozen=True)
class Answers:
    """N single answers, scored, each with a verdict if it was judged. What supervised and unpaired
    objectives take.

    Attributes:
        answer: the answers
        inputs: what else is known of each row: `{label: good_N}` (see `holdfast.inputs`)
        extra: further sequences that a method asked for, by branch name
    """

    answer: Scored
    inputs: Mapping[Any, Tensor] = field(default_factory=dict)
    extra: Mapping[str, Scored] = field(default_factory=dict)

    MAIN: ClassVar = ("answer",)

    @classmethod
    def of(cls, parts: Mapping[str, Scored], inputs: Mapping[Any, Tensor]) -> Answers:
        """Of all sequences by branch name."""
        return cls(
            parts["answer"],
            inputs,
            {name: part for name, part in parts.items() if name not in cls.MAIN},
        )

    def __len__(self) -> int:
        return len(self.answer.logp_NT)

    @property
    def mask_NT(self) -> Tensor:
        """1 on the response tokens of the answer."""
        return self.answer.mask_NT

    @property
    def parts(self) -> dict[str, Scored]:
        """Every sequence by its branch name: "answer", then the further ones."""
        return {"answer": self.answer, **self.extra}

    def with_parts(self, parts: Mapping[str, Scored]) -> Answers:
        """The same batch with other sequences: the inverse of `parts`."""
        return Answers.of(parts, self.inputs)


Batch = Pairs | Answers
