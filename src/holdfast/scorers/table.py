"""Exact softmax tables: a policy over A answers to each of S prompts, small enough to know
everything about it.

A bandit over A answers is a language model whose every answer is one token, so any objective runs
on a table unchanged, and its minimizer can be compared with the answer that theory gives.
Everything is float64 and nothing is sampled.

    pref_SAA = bradley_terry(reward_SA)                        # P(a beats b) in every prompt
    # every comparison there is, weighed by how often it occurs
    data = population(flipped(pref_SAA, flip_rate=0.3))
    found = fit(rdpo, data, reference_SA=ref_SA, beta=1.0, flip_rate=0.3)
    found.table.kl_S()                                         # how far it went
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from holdfast.card import Reduction, check
from holdfast.errors import NeedError, RunError
from holdfast.inputs import group, label, mismatched, weight
from holdfast.inputs.base import Input
from holdfast.reductions.mean import mean
from holdfast.types import Answers, Batch, Pairs, Scored


@dataclass(frozen=True)
class Table:
    """A softmax policy given by its logits, and a frozen reference if there is one. Gradients flow
    to `logits_SA`.
    """

    logits_SA: Tensor
    reference_SA: Tensor | None = None  # logits of the reference

    @property
    def logp_SA(self) -> Tensor:
        """log pi(a|s), nats."""
        return self.logits_SA.log_softmax(-1)

    @property
    def ref_logp_SA(self) -> Tensor:
        """log pi_ref(a|s), nats.

        Raises:
            NeedError: the table has no reference.
        """
        if self.reference_SA is None:
            raise NeedError(
                "reference", "this table has no reference", hint="Table(logits_SA, reference_SA)"
            )
        return self.reference_SA.detach().log_softmax(-1)

    def kl_S(self) -> Tensor:
        """KL(pi || pi_ref) in each prompt, exact, nats."""
        return (self.logp_SA.exp() * (self.logp_SA - self.ref_logp_SA)).sum(-1)

    def expected_reward_S(self, reward_SA: Tensor) -> Tensor:
        """E over a ~ pi of r(s, a) in each prompt."""
        return (self.logp_SA.exp() * reward_SA).sum(-1)

    def scored(self, prompt_N: Tensor, answer_N: Tensor) -> Scored:
        """N answers of one token each, as a scorer of text would give them."""
        logp_N1 = self.logp_SA[prompt_N, answer_N].unsqueeze(-1)
        ref_N1 = (
            None
            if self.reference_SA is None
            else self.ref_logp_SA[prompt_N, answer_N].unsqueeze(-1)
        )
        return Scored(logp_N1, torch.ones_like(logp_N1).detach(), ref_N1)

    def pairs(self, data: Comparisons) -> Pairs:
        """The comparisons, scored."""
        chosen, rejected = (
            self.scored(data.prompt_N, data.chosen_N),
            self.scored(data.prompt_N, data.rejected_N),
        )
        extra = {name: self.scored(*where) for name, where in data.extra.items()}
        return Pairs(chosen, rejected, data.inputs, extra)

    def answers(self, data: Judgments) -> Answers:
        """The single answers, scored; the mismatched ones too where there are any."""
        extra = (
            {}
            if data.mismatched_N is None
            else {mismatched.name: self.scored(data.prompt_N, data.mismatched_N)}
        )
        return Answers(self.scored(data.prompt_N, data.answer_N), data.inputs, extra)


@dataclass(frozen=True)
class Comparisons:
    """N comparisons of answers by their index: in prompt 3, answer 0 was chosen over answer 2."""

    prompt_N: Tensor
    chosen_N: Tensor
    rejected_N: Tensor
    inputs: Mapping[Input, Tensor] = field(default_factory=dict)  # what else is known of each row
    extra: Mapping[str, tuple[Tensor, Tensor]] = field(
        default_factory=dict
    )  # further branches: (prompt_N, answer_N) of the same table

    def judgments(self) -> Judgments:
        """Each comparison as two judged answers: all the chosen ones (desirable), then all the
        rejected ones.

        The mismatched answer of a row is the other answer of the same comparison: a table's prompts
            have no text that would not fit.
        """
        n = len(self.prompt_N)

        twice: dict[Input, Tensor] = {
            of: x.repeat(2) for of, x in self.inputs.items() if of in (weight, group)
        }
        return Judgments(
            self.prompt_N.repeat(2),
            torch.cat([self.chosen_N, self.rejected_N]),
            torch.cat([self.rejected_N, self.chosen_N]),
            {label: torch.arange(2 * n) < n, **twice},
        )


@dataclass(frozen=True)
class Judgments:
    """N single answers by their index, each with a verdict if it was judged."""

    prompt_N: Tensor
    answer_N: Tensor
    mismatched_N: Tensor | None = None
    inputs: Mapping[Input, Tensor] = field(default_factory=dict)  # what else is known of each row


def bradley_terry(reward_SA: Tensor) -> Tensor:
    """pref_SAA[s, a, b] = P(a beats b) = sigma(r(s, a) - r(s, b))."""
    return torch.sigmoid(reward_SA.unsqueeze(-1) - reward_SA.unsqueeze(-2))


def flipped(pref_SAA: Tensor, *, flip_rate: float) -> Tensor:
    """The same preferences as a rater reports them who flips each label with probability e,
    the `flip_rate`: (1 - e) P + e (1 - P).

    Raises:
        OptionError: flip_rate is outside [0, 1].
    """
    check("flip_rate", flip_rate, 0 <= flip_rate <= 1, "be between 0 and 1")
    return (1 - flip_rate) * pref_SAA + flip_rate * (1 - pref_SAA)


def population(pref_SAA: Tensor, *, sampling_SA: Tensor | None = None) -> Comparisons:
    """Every ordered pair of different answers in every prompt, weighed by how often it is recorded:
    mu(a) mu(b) P(a beats b).

    With these weights the weighted mean of a cost is its exact expectation. Prompts are equally
    likely.

    Args:
        pref_SAA: P(a beats b), between 0 and 1, with P(a, b) + P(b, a) = 1
        sampling_SA: mu, the probability that an answer is put up for comparison; uniform if not
            given
    """
    states, actions, _ = pref_SAA.shape
    mu_SA = (
        torch.full((states, actions), 1 / actions, dtype=pref_SAA.dtype)
        if sampling_SA is None
        else sampling_SA
    )
    weight_SAA = mu_SA.unsqueeze(-1) * mu_SA.unsqueeze(-2) * pref_SAA
    s_N, a_N, b_N = torch.nonzero(
        (~torch.eye(actions, dtype=torch.bool)).expand(states, -1, -1), as_tuple=True
    )
    weight_N = weight_SAA[s_N, a_N, b_N]
    return Comparisons(s_N, a_N, b_N, {weight: weight_N / weight_N.sum()})


def tilted(reference_SA: Tensor, reward_SA: Tensor, *, beta: float) -> Tensor:
    """Logits of the policy that maximizes E[r] - beta KL(pi || pi_ref): pi* = pi_ref exp(r / beta)
    / Z.
    """
    check("beta", beta, beta > 0, "be above 0")
    return (reference_SA.log_softmax(-1) + reward_SA / beta).log_softmax(-1)


class Fit(NamedTuple):
    """Where the optimizer ended. A `slope` far from 0 means no minimum was reached: a kink, or a
    cost without one.
    """

    table: Table
    cost: float
    slope: float  # largest absolute entry of the gradient


def fit(
    objective: Callable[..., Tensor],
    data: Comparisons | Judgments,
    *,
    reference_SA: Tensor,
    start_SA: Tensor | None = None,
    reduction: Reduction | None = None,
    max_steps: int = 500,
    **settings: Any,
) -> Fit:
    """Minimize the reduced cost over all softmax tables, in float64: LBFGS to near the minimum,
    then Newton steps while they help.

    Args:
        objective: a method's cost, of `Pairs` for comparisons and of `Answers` for judgments
        data: what it is fitted to
        reference_SA: logits of the frozen reference
        start_SA: logits to start from; the reference if not given
        reduction: how costs become one number; the weighted mean if not given
        max_steps: steps of LBFGS at most
        settings: the method's own settings

    Raises:
        RunError: the cost stopped being finite, as that of an objective without a minimum does.
    """
    reduction = reduction or mean()
    logits_SA = (
        (reference_SA if start_SA is None else start_SA).detach().double().clone().requires_grad_()
    )
    reference_SA = reference_SA.detach().double()

    def scalar(logits: Tensor) -> Tensor:
        table = Table(logits, reference_SA)
        batch: Batch = table.pairs(data) if isinstance(data, Comparisons) else table.answers(data)
        cost = objective(batch, **settings)
        cost_N = cost if cost.ndim == 1 else cost.sum(-1)  # an answer of a table is one token
        return reduction.apply(cost_N, batch, reduction.init())[0]

    optimizer = torch.optim.LBFGS(
        [logits_SA],
        max_iter=max_steps,
        history_size=50,
        tolerance_grad=1e-12,
        tolerance_change=0,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        cost = scalar(logits_SA)
        cost.backward()
        return cost

    optimizer.step(closure)
    best = _polished(scalar, logits_SA.detach())
    cost, slope_SA = _value_and_slope(scalar, best)
    if not (cost.isfinite() and slope_SA.isfinite().all()):
        raise RunError(
            "the cost stopped being finite: this objective has no minimum on these data",
            hint="lower max_steps",
        )
    return Fit(Table(best, reference_SA), cost.item(), slope_SA.abs().max().item())


def _value_and_slope(
    scalar: Callable[[Tensor], Tensor], logits_SA: Tensor
) -> tuple[Tensor, Tensor]:
    leaf_SA = logits_SA.clone().requires_grad_()
    cost = scalar(leaf_SA)
    return cost.detach(), torch.autograd.grad(cost, leaf_SA)[0]


def _polished(scalar: Callable[[Tensor], Tensor], logits_SA: Tensor, steps: int = 10) -> Tensor:
    """Newton steps from a point near a minimum, kept only while they shrink the slope. Line
    searches end where the cost's own rounding hides the descent, at the square root of machine
    precision; a slope has no such floor."""
    _, slope_SA = _value_and_slope(scalar, logits_SA)
    for _ in range(steps):
        hessian = torch.autograd.functional.hessian(scalar, logits_SA).reshape(
            logits_SA.numel(), -1
        )
        if not hessian.isfinite().all():
            break
        # The shift of all logits of a prompt is flat: the pseudo-inverse leaves it alone.
        step = torch.linalg.pinv(hessian, rtol=1e-10, hermitian=True) @ slope_SA.flatten()
        tried_SA = logits_SA - step.view_as(logits_SA)
        _, tried_slope_SA = _value_and_slope(scalar, tried_SA)
        if not tried_slope_SA.abs().max() < slope_SA.abs().max():
            break
        logits_SA, slope_SA = tried_SA, tried_slope_SA
    return logits_SA
