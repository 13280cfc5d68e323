"""Log-linear worlds, many at once: prompts with a few answers each, a known reward, and policies
whose optimum is known exactly.

    pi_theta(a|s) = pi_ref(a|s) exp(theta . phi(s, a)) / Z(s)          phi in R^D
    J(pi) = E r - beta KL(pi || pi_ref), averaged over prompts;

its maximum is at pi* = pi_ref exp(r / beta) / Z

Where r is linear in phi the optimum lies in the policy class, so every fitted policy has an exact
gap J(pi*) - J(pi) = beta KL(pi || pi*). Axes: W worlds (one a seed), S prompts, A answers, D
features, N comparisons. Every world draws from a generator of its own seed, so a world is the same
whichever others are beside it. Labels can be flipped at known rates, and `wrong_WN` remembers
where; no method sees it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import torch
from scipy.optimize import brentq
from scipy.special import expit
from torch import Tensor

from holdfast.card import AnswerMethod, Method, Reduction, State, check, costs, initial_state
from holdfast.inputs import group, label, mismatched, rater, reward_gap
from holdfast.lab.fit import Cost, adam
from holdfast.reductions.mean import mean
from holdfast.types import Answers, Batch, Pairs, Scored


@dataclass(frozen=True)
class World:
    """W worlds."""

    seeds: tuple[int, ...]
    features_WSAD: Tensor
    reference_WSA: Tensor  # log-probabilities
    reward_WSA: Tensor
    beta: float = 1.0

    @cached_property
    def optimum_WSA(self) -> Tensor:
        """log pi*: the policy that maximizes J."""
        return (self.reference_WSA + self.reward_WSA / self.beta).log_softmax(-1)

    def only(self, w: int) -> World:
        """One of the worlds."""
        own = slice(w, w + 1)
        return World(
            self.seeds[own],
            self.features_WSAD[own],
            self.reference_WSA[own],
            self.reward_WSA[own],
            self.beta,
        )

    @property
    def start_WD(self) -> Tensor:
        """theta of the reference."""
        return torch.zeros(len(self.seeds), self.features_WSAD.shape[-1], dtype=torch.float64)

    def policy_WSA(self, theta_WD: Tensor) -> Tensor:
        """log pi_theta."""
        return (
            self.reference_WSA + torch.einsum("wsad,wd->wsa", self.features_WSAD, theta_WD)
        ).log_softmax(-1)

    def reward_W(self, logp_WSA: Tensor) -> Tensor:
        """Expected gold reward, exact."""
        return (logp_WSA.exp() * self.reward_WSA).sum(-1).mean(-1)

    def kl_W(self, logp_WSA: Tensor) -> Tensor:
        """KL(pi || pi_ref), exact, nats."""
        return (logp_WSA.exp() * (logp_WSA - self.reference_WSA)).sum(-1).mean(-1)

    def gap_W(self, logp_WSA: Tensor) -> Tensor:
        """J(pi*) - J(pi), exact: 0 at the optimum and above 0 elsewhere."""
        return self.beta * (logp_WSA.exp() * (logp_WSA - self.optimum_WSA)).sum(-1).mean(-1)


@dataclass(frozen=True)
class Labels:
    """N comparisons in each of W worlds, by index: chosen over rejected."""

    prompt_WN: Tensor
    chosen_WN: Tensor
    rejected_WN: Tensor
    wrong_WN: Tensor  # True where a flip was planted
    group_WN: Tensor | None = None
    rater_WN: Tensor | None = None
    reward_gap_WN: Tensor | None = None

    def columns(self, index: Tensor | slice) -> Labels:
        """The comparisons at these places of the second axis."""
        return self._each(lambda x: x[:, index])

    def only(self, w: int) -> Labels:
        """The comparisons of one of the worlds."""
        return self._each(lambda x: x[w : w + 1])

    def _each(self, change: Callable[[Tensor], Tensor]) -> Labels:
        changed: dict[str, Any] = {
            name: None if x is None else change(x) for name, x in vars(self).items()
        }
        return Labels(**changed)

    def turned(self, flips_WN: Tensor) -> Labels:
        """The same comparisons with these labels inverted."""
        chosen_WN = torch.where(flips_WN, self.rejected_WN, self.chosen_WN)
        rejected_WN = torch.where(flips_WN, self.chosen_WN, self.rejected_WN)
        return replace(
            self, chosen_WN=chosen_WN, rejected_WN=rejected_WN, wrong_WN=self.wrong_WN ^ flips_WN
        )


# ------------------------------------------------------------------------------------------------
# making them


def generators(seeds: Sequence[int], what: str) -> list[np.random.Generator]:
    """One generator a world, apart for each purpose."""
    return [np.random.default_rng([seed, *what.encode()]) for seed in seeds]


def log_linear(
    seeds: Sequence[int],
    *,
    prompts: int = 64,
    answers: int = 10,
    features: int = 8,
    norm: float = 1.5,
    reference: float = 0.0,
    beta: float = 1.0,
) -> World:
    """Features N(0, 1), reward theta* . phi with |theta*| = `norm`, reference logits N(0,
    `reference`^2): uniform at 0.
    """
    phi, ref, reward = [], [], []
    for rng in generators(seeds, "world"):
        phi_SAD = rng.standard_normal((prompts, answers, features))
        theta_D = rng.standard_normal(features)
        phi.append(phi_SAD)
        reward.append(phi_SAD @ (norm * theta_D / np.linalg.norm(theta_D)))
        ref.append(reference * rng.standard_normal((prompts, answers)))
    stacked = [torch.from_numpy(np.stack(x)) for x in (phi, ref, reward)]
    return World(tuple(seeds), stacked[0], stacked[1].log_softmax(-1), stacked[2], beta)


def compare(
    world: World,
    n: int,
    *,
    what: str = "labels",
    reward_WSA: Tensor | None = None,
    sharpness: float = 1.0,
    sampling_WSA: Tensor | None = None,
) -> Labels:
    """n comparisons a world: prompts uniform, two different answers (uniform, or drawn from
    `sampling_WSA`), the winner by Bradley-Terry on `sharpness` times the reward (another one if
    `reward_WSA` is given)."""
    reward = (world.reward_WSA if reward_WSA is None else reward_WSA).numpy()
    _, prompts, _ = reward.shape
    mu = (torch.ones_like(world.reward_WSA) if sampling_WSA is None else sampling_WSA).numpy()
    drawn = []
    for w, rng in enumerate(generators(world.seeds, what)):
        s_N = rng.integers(prompts, size=n)
        a_N, b_N = _two_answers(rng, s_N, mu[w])
        flip_N = rng.random(n) >= expit(sharpness * (reward[w][s_N, a_N] - reward[w][s_N, b_N]))
        drawn.append([s_N, np.where(flip_N, b_N, a_N), np.where(flip_N, a_N, b_N)])
    s_WN, c_WN, r_WN = (torch.from_numpy(np.stack(x)) for x in zip(*drawn, strict=True))
    return Labels(s_WN, c_WN, r_WN, torch.zeros_like(s_WN, dtype=torch.bool))


def _two_answers(
    rng: np.random.Generator, s_N: np.ndarray, mu_SA: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Two different answers a row, as two draws from mu that are drawn again while equal."""
    edges_SA = mu_SA.cumsum(-1)
    edges_SA = edges_SA / edges_SA[:, -1:]

    def draw(rows_N: np.ndarray) -> np.ndarray:
        return (rng.random(len(rows_N))[:, None] >= edges_SA[rows_N]).sum(-1)

    a_N, b_N = draw(s_N), draw(s_N)
    while (same_N := a_N == b_N).any():
        a_N[same_N], b_N[same_N] = draw(s_N[same_N]), draw(s_N[same_N])
    return a_N, b_N


# ------------------------------------------------------------------------------------------------
# planting flaws


def flip_uniform(world: World, labels: Labels, rate: float) -> Labels:
    """Each label flipped with probability `rate`, whatever it says."""
    return _flipped(
        world, labels, torch.full(labels.prompt_WN.shape, float(rate), dtype=torch.float64), rate
    )


def flip_by_length(world: World, labels: Labels, rate: float, *, slope: float = 1.5) -> Labels:
    """Flips by a judge who likes length, at a mean rate of `rate`: the longer the rejected answer,
    the likelier the flip. The first feature stands for length. p = sigmoid(a + slope z), z the
    standardized difference rejected - chosen, a set so that the mean is the rate."""
    length_WSA = world.features_WSAD[..., 0]
    longer_WN = at(length_WSA, labels.prompt_WN, labels.rejected_WN) - at(
        length_WSA, labels.prompt_WN, labels.chosen_WN
    )
    return _flipped(world, labels, tilted(longer_WN, rate, slope), rate)


def flip_by_group(world: World, labels: Labels, rate: float, *, groups: int = 4) -> Labels:
    """Prompts belong to groups (s modulo `groups`) whose rates differ, at a mean rate of `rate`:
    from 0 for the first to 2 `rate` for the last."""
    group_WN = labels.prompt_WN % groups
    rate_WN = (2 * rate * group_WN.double() / (groups - 1)).clamp(max=1)
    return _flipped(world, replace(labels, group_WN=group_WN), rate_WN, rate)


def flip_by_rater(world: World, labels: Labels, rates: Sequence[float]) -> Labels:
    """Raters share the labels evenly and at random; rater k flips with probability rates[k]."""
    raters = [
        rng.integers(len(rates), size=labels.prompt_WN.shape[1])
        for rng in generators(world.seeds, "raters")
    ]
    rater_WN = torch.from_numpy(np.stack(raters))
    return _flipped(
        world,
        replace(labels, rater_WN=rater_WN),
        torch.tensor(rates, dtype=torch.float64)[rater_WN],
        max(rates),
    )


FLIPS = {"uniform": flip_uniform, "length": flip_by_length, "group": flip_by_group}


def _flipped(world: World, labels: Labels, chance_WN: Tensor, rate: float) -> Labels:
    check("rate", rate, 0 <= rate <= 1, "be between 0 and 1")
    drawn_WN = torch.from_numpy(
        np.stack(
            [rng.random(labels.prompt_WN.shape[1]) for rng in generators(world.seeds, "flips")]
        )
    )
    return labels.turned(drawn_WN < chance_WN)


def tilted(linked_WN: Tensor, rate: float, slope: float) -> Tensor:
    """sigmoid(a + slope z) with z standardized and a such that the mean of each world is the
    rate.
    """
    if rate in (0, 1):
        return torch.full_like(linked_WN, float(rate))
    z_WN = (
        slope
        * (linked_WN - linked_WN.mean(-1, keepdim=True))
        / linked_WN.std(-1, keepdim=True).clamp(min=1e-12)
    )
    rows = [
        expit(brentq(lambda a, z=z: expit(a + z).mean() - rate, -80, 80) + z) for z in z_WN.numpy()
    ]
    return torch.from_numpy(np.stack(rows))


# ------------------------------------------------------------------------------------------------
# costs of methods


def at(x_WSA: Tensor, prompt_WN: Tensor, answer_WN: Tensor) -> Tensor:
    """x[w, s, a] at the given prompts and answers, shape (W, N)."""
    worlds, prompts, answers = x_WSA.shape
    place_WN = (torch.arange(worlds)[:, None] * prompts + prompt_WN) * answers + answer_WN
    return x_WSA.reshape(-1)[place_WN]


def scored(world: World, logp_WSA: Tensor, prompt_WN: Tensor, answer_WN: Tensor) -> Scored:
    """W N answers of one token each, as a scorer of text would give them."""
    logp = at(logp_WSA, prompt_WN, answer_WN).reshape(-1, 1)
    return Scored(
        logp,
        torch.ones_like(logp).detach(),
        at(world.reference_WSA, prompt_WN, answer_WN).reshape(-1, 1),
    )


def pairs(world: World, logp_WSA: Tensor, labels: Labels) -> Pairs:
    """All worlds' comparisons in one batch of W N rows, world by world."""
    chosen = scored(world, logp_WSA, labels.prompt_WN, labels.chosen_WN)
    rejected = scored(world, logp_WSA, labels.prompt_WN, labels.rejected_WN)
    columns = {group: labels.group_WN, rater: labels.rater_WN, reward_gap: labels.reward_gap_WN}
    return Pairs(
        chosen, rejected, {of: x.reshape(-1) for of, x in columns.items() if x is not None}
    )


def answers(world: World, logp_WSA: Tensor, labels: Labels) -> Answers:
    """The chosen answers alone, for methods that read no verdict."""
    return Answers(scored(world, logp_WSA, labels.prompt_WN, labels.chosen_WN))


def judged(world: World, logp_WSA: Tensor, labels: Labels) -> Answers:
    """Each comparison as two judged answers. The mismatched one of a row is the next row's answer,
    under this row's prompt.
    """
    prompt_WN = labels.prompt_WN.repeat(1, 2)
    answer_WN = torch.cat([labels.chosen_WN, labels.rejected_WN], 1)
    desirable_WN = (torch.arange(answer_WN.shape[1]) < labels.chosen_WN.shape[1]).expand_as(
        answer_WN
    )
    extra = {mismatched.name: scored(world, logp_WSA, prompt_WN, answer_WN.roll(1, 1))}
    return Answers(
        scored(world, logp_WSA, prompt_WN, answer_WN), {label: desirable_WN.reshape(-1)}, extra
    )


def cost_of(
    world: World,
    labels: Labels,
    method: Method,
    *,
    reduction: Reduction | None = None,
    states: Sequence[State] | None = None,
    **settings: Any,
) -> Cost:
    """theta_WD -> cost_W of a method on these comparisons, reduced by its own reduction or another.
    `states`: what a method that remembers knows in each world; it is held fixed."""
    reduction = reduction or method.reduction
    if (
        reduction.name == mean().name and not method.card.batch_dependent and method.state is None
    ):  # rows never meet, so all worlds are one batch

        def together(theta_WD: Tensor) -> Tensor:
            cost_N, _ = costs(
                method, batch_of(method, world, world.policy_WSA(theta_WD), labels), settings, {}
            )
            return cost_N.view(len(theta_WD), -1).mean(-1)

        return together
    parts = [(world.only(w), labels.only(w)) for w in range(len(world.seeds))]
    known = states or [initial_state(method) for _ in parts]

    def apart(theta_WD: Tensor) -> Tensor:
        logp_WSA = world.policy_WSA(theta_WD)
        return torch.stack(
            [
                one(method, reduction, *part, logp_WSA[w : w + 1], known[w], settings)[0]
                for w, part in enumerate(parts)
            ]
        )

    return apart


def one(
    method: Method,
    reduction: Reduction,
    world: World,
    labels: Labels,
    logp_1SA: Tensor,
    state: State,
    settings: Mapping[str, Any],
) -> tuple[Tensor, State]:
    """A single world's reduced cost, and what the method then remembers."""
    batch = batch_of(method, world, logp_1SA, labels)
    cost_N, state = costs(method, batch, settings, state)
    return reduction.apply(cost_N, batch, reduction.init())[0], state


def batch_of(method: Method, world: World, logp_WSA: Tensor, labels: Labels) -> Batch:
    if not isinstance(method, AnswerMethod):
        return pairs(world, logp_WSA, labels)
    return (judged if label in method.card.needs else answers)(world, logp_WSA, labels)


class Further(Protocol):
    """Scores more than the comparisons' own answers. `theta_1E` are parameters that the policy does
    not share.
    """

    def parameters(self, features: int) -> int: ...
    def score(
        self, world: World, labels: Labels, logp_1SA: Tensor, theta_1E: Tensor
    ) -> Mapping[str, Scored]: ...


def trained(
    world: World,
    labels: Labels,
    method: Method,
    *,
    steps: int,
    rate: float,
    raters: int = 1,
    reduction: Reduction | None = None,
    further: Further | None = None,
    **settings: Any,
) -> tuple[Tensor, list[State]]:
    """Adam on full batches, for methods and reductions that remember: what they know goes from step
    to step, as in training. `further` scores what a method asks for beside the comparisons' own
    answers, with parameters of its own if it has any.

    Returns:
        theta_WD, and each world's state after the last step.
    """
    reduction = reduction or method.reduction
    features = world.features_WSAD.shape[-1]
    parts = [(world.only(w), labels.only(w)) for w in range(len(world.seeds))]
    memories, states = (
        [initial_state(method, raters) for _ in parts],
        [reduction.init() for _ in parts],
    )

    def cost(theta_WD: Tensor) -> Tensor:
        logp_WSA = world.policy_WSA(theta_WD[:, :features])
        out = []
        for w, part in enumerate(parts):
            batch = batch_of(method, part[0], logp_WSA[w : w + 1], part[1])
            if further is not None:
                scores = further.score(*part, logp_WSA[w : w + 1], theta_WD[w : w + 1, features:])
                batch = batch.with_parts({**batch.parts, **scores})
            cost_N, memories[w] = costs(method, batch, settings, memories[w])
            value, states[w] = reduction.apply(cost_N, batch, states[w])
            out.append(value)
        return torch.stack(out)

    extra = 0 if further is None else further.parameters(features)
    start_WD = torch.cat([world.start_WD, world.start_WD.new_zeros(len(parts), extra)], 1)
    return adam(cost, start_WD, steps=steps, rate=rate).theta_WD[:, :features], memories
