"""Reward and preference models of items that meet more than once and have no text: players, models,
slogans, answers.

found = fit_items(winners, losers, kind="general_preference")        # any hashable names
found.pref_AA                                                        # P(a beats b), rows and
                                                                     columns as found.items
# out-of-fold log-odds of each meeting
held = cross_validate(winners, losers, kind="bradley_terry")

The whole table is one smooth function of few numbers, so it is fitted at full batch by L-BFGS in
float64.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from rich.progress import track
from scipy.optimize import linprog, minimize
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from holdfast.card import check
from holdfast.errors import DataError, OptionError
from holdfast.games.game import Meetings, meetings
from holdfast.rewards.kind import OfItems, log_loss
from holdfast.rewards.table import get
from holdfast.stats.arrays import Floats, floats, whole
from holdfast.terminal import Terminal

START = 0.3  # standard deviation of the first vectors: at 0 a bilinear score has no slope


@dataclass(frozen=True)
class ItemModel:
    """A fitted model. `output_AH` is what it says of each item: its strength; then, of
    general_preference, 1 and `dim` more numbers.
    """

    kind: str
    items: tuple[Hashable, ...]
    output_AH: Floats
    log_loss: float  # mean log loss at the meetings fitted, nats
    meetings: float  # total weight of them
    converged: bool
    weight_FH: Floats | None = None  # from features to outputs, where items came with features
    _number: Mapping[Hashable, int] = field(default_factory=dict, repr=False, compare=False)

    def logit(self, first: Sequence[Hashable], second: Sequence[Hashable]) -> Floats:
        """Log-odds that each `first` beats its `second`, shape (N,). Raises DataError for an item
        that was not fitted.
        """
        return self._score(self.output_AH[self._at(first)], self.output_AH[self._at(second)])

    def logit_of_features(self, first_NF: ArrayLike, second_NF: ArrayLike) -> Floats:
        """The same for items that were never met, by their features. Raises DataError where the fit
        had no features.
        """
        if self.weight_FH is None:
            raise DataError(
                "this model was fitted without features, so it cannot judge items it has not met",
                hint="fit_items(features=)",
            )
        sides = (
            floats(side, "features", shape=(None, len(self.weight_FH)))
            for side in (first_NF, second_NF)
        )
        first, second = (outputs(of_items(self.kind), side @ self.weight_FH) for side in sides)
        return self._score(first, second)

    @property
    def logit_AA(self) -> Floats:
        """Log-odds of every pair: row beats column. Skew-symmetric."""
        return self._score(self.output_AH[:, None], self.output_AH[None])

    @property
    def pref_AA(self) -> Floats:
        """P(row beats column), rows and columns in the order of `items`; with its transpose it sums
        to 1.
        """
        return 1 / (1 + np.exp(-self.logit_AA))

    def _at(self, names: Sequence[Hashable]) -> list[int]:
        try:
            return [self._number[name] for name in names]
        except KeyError as error:
            raise DataError(
                f"item {error.args[0]!r} never met another, so nothing is known of it"
            ) from None

    def _score(self, first: Floats, second: Floats) -> Floats:
        made: Floats = (
            of_items(self.kind).score(torch.from_numpy(first), torch.from_numpy(second)).numpy()
        )
        return made


def fit_items(
    winners: Sequence[Hashable],
    losers: Sequence[Hashable],
    *,
    kind: str = "general_preference",
    dim: int = 6,
    weight: ArrayLike | None = None,
    confidence: ArrayLike | None = None,
    features: Mapping[Hashable, ArrayLike] | None = None,
    ridge: float = 1.0,
    circle_ridge: float | None = None,
    seed: int = 0,
    max_iterations: int = 1000,
) -> ItemModel:
    """Fit a preference model to who beat whom.

        minimize   sum_n weight_n log_loss(s(winner_n, loser_n)) + ridge/2 |strengths|^2 +
                   circle_ridge/2 |vectors|^2

    Bradley-Terry (`kind="bradley_terry"`) has one strength an item: a convex problem with one
    answer. General preference adds `dim` numbers an item, s(i, j) = r_i - r_j + `skew_score`(v_i,
    v_j), and may say that items beat each other in a circle. So Bradley-Terry is what it says where
    there are no cycles, and what a held-out comparison of the two tells is whether there are any.
    The ridge on v is the nuclear norm of the circular part of the log-odds (as of matrix
    factorization): below a threshold it has no planes at all.

    Args:
        winners: the winner of each meeting; any hashable names, N of them. A meeting may be listed
            as often as it took place.
        losers: the loser of each.
        kind: bradley_terry or general_preference.
        dim: numbers an item has beside its strength in general_preference; even. bradley_terry has
            none and does not read it.
        weight: of each meeting, such as how often it was seen; 1 unless given.
        confidence: that each label is right, 0 to 1; 1 unless given.
        features: numbers of each item; then outputs are a linear map of them (give a constant 1 as
            one of them), the ridge is on the map, and items that never met can be judged.
        ridge: the inverse variance of a normal prior on each strength; 1 expects log-odds of a few.
            0 is refused where the best fit is infinite, as where someone always won.
        circle_ridge: the same on the other numbers; half the square root of the mean number of
            meetings an item, and `ridge` at least, unless given: half of what coin flips alone
            would pull with.
        seed: of the first vectors.
        max_iterations: of L-BFGS.

    Returns:
        ItemModel; `converged` is False where the iterations ran out.

    Raises:
        DataError: no meeting, lists of different length, an item that beats itself, weights or
            features that are not finite, or no best fit without a ridge.
        OptionError: an unknown kind, or a setting out of range.

    Departures:
        1. No vector is scaled to length 1 and there is no temperature: on tables the ridge does
           that work, and dim = 2 does not get stuck.
        2. A strength is given a plane of its own, in which its second number is fixed at 1. Without
           it the model forgets, on many items with noisy votes, even what a reward knows: 53%
           against 66% of held-out humor votes (docs/reward.md).
    """
    check("kind", kind, isinstance(kind, str), "be a name of holdfast.rewards.REWARDS")
    method = of_items(kind)
    check("ridge", ridge, lambda: 0 <= ridge < inf, "be at least 0 and finite", hint="1 is a start")
    check(
        "dim",
        dim,
        lambda: whole(dim, 2) and dim % 2 == 0,
        "be even and at least 2",
        hint="6 is usual",
    )
    check(
        "max_iterations",
        max_iterations,
        lambda: whole(max_iterations, 1),
        "be a whole number of at least 1",
    )
    met = meetings(winners, losers, weight)
    items = met.names
    known_N = (
        None
        if confidence is None
        else floats(confidence, "confidence", shape=(len(met.winner_N),), low=0.0, high=1.0)
    )
    first_N, second_N, weight_N = (
        torch.from_numpy(column) for column in (met.winner_N, met.loser_N, met.weight_N)
    )
    confidence_N = None if known_N is None else torch.from_numpy(known_N)
    if circle_ridge is None:
        circle_ridge = max(ridge, 0.5 * math.sqrt(2 * float(weight_N.sum()) / len(items)))
    least = "be above 0 and finite: without it vectors grow without end"
    check("circle_ridge", circle_ridge, lambda: 0 < circle_ridge < inf, least, hint="leave it out")
    given_AF = None if features is None else _features(items, features)
    if ridge == 0:
        sides = met if known_N is None else met.turned(known_N < 0.5)
        between_N = (
            np.zeros(len(met.winner_N), bool) if known_N is None else (known_N > 0) & (known_N < 1)
        )
        _refuse_without_maximum(sides, between_N, given_AF)
    rows = len(items) if given_AF is None else given_AF.shape[1]
    start = np.random.default_rng([seed, 0x17E5]).normal(
        scale=START, size=(rows, method.width(dim))
    )
    start[:, 0] = 0.0
    ridges = torch.full((start.shape[1],), circle_ridge, dtype=torch.float64)
    ridges[0] = ridge
    basis = None if given_AF is None else torch.from_numpy(given_AF)
    found, converged = _minimize(
        method, start, basis, first_N, second_N, weight_N, confidence_N, ridges, max_iterations
    )
    output_AH = outputs(method, found if given_AF is None else given_AF @ found)
    with torch.no_grad():
        logit_N = method.score(
            torch.from_numpy(output_AH)[first_N], torch.from_numpy(output_AH)[second_N]
        )
        loss = float((weight_N * log_loss(logit_N, confidence_N)).sum() / weight_N.sum())
    number = {item: i for i, item in enumerate(items)}
    kept = None if given_AF is None else found
    return ItemModel(kind, items, output_AH, loss, float(weight_N.sum()), converged, kept, number)


def cross_validate(
    winners: Sequence[Hashable],
    losers: Sequence[Hashable],
    *,
    kind: str = "general_preference",
    folds: int = 5,
    clusters: Sequence[Hashable] | None = None,
    weight: ArrayLike | None = None,
    confidence: ArrayLike | None = None,
    seed: int = 0,
    progress: bool = False,
    **settings: Any,
) -> Floats:
    """Log-odds of each meeting's winner from a model that did not see the meeting, shape (N,).
    Compare kinds on these.

    Accuracy is the mean of `logit > 0` (a draw counts half); log loss is the mean of log(1 +
    exp(-logit)). NaN where a fold's model never met one of the two.

    Args:
        winners: as for `fit_items`.
        losers: as for `fit_items`.
        kind: bradley_terry or general_preference.
        folds: parts; each is judged by a model fitted to the others.
        clusters: meetings with the same label stay in one fold. Give the unordered pair as the
            label to ask about pairs that never met.
        weight: as for `fit_items`.
        confidence: as for `fit_items`.
        seed: of folds and fits.
        progress: show a bar, if the terminal can.
        **settings: of `fit_items`.
    """
    check("folds", folds, lambda: whole(folds, 2), "be a whole number of at least 2")
    rows = len(winners)
    labels = list(range(rows)) if clusters is None else list(clusters)
    names = list(dict.fromkeys(labels))
    if len(names) < folds:
        raise DataError(
            f"{len(names)} clusters cannot fill {folds} folds", hint="fewer folds, or more data"
        )
    order = np.random.default_rng([seed, 0xF01D]).permutation(len(names))
    fold_of = {names[place]: i % folds for i, place in enumerate(order.tolist())}
    fold_N = np.array([fold_of[label] for label in labels])
    columns = {"weight": weight, "confidence": confidence}
    out = np.full(rows, np.nan)
    console = Terminal(stderr=True)
    bar = track(
        range(folds),
        description=f"{kind}, folds",
        console=console,
        transient=True,
        disable=not (progress and console.is_terminal),
    )
    for fold in bar:
        train, test = (
            np.flatnonzero(fold_N != fold).tolist(),
            np.flatnonzero(fold_N == fold).tolist(),
        )
        part: dict[str, Any] = {
            name: None if value is None else np.asarray(value, float)[train]
            for name, value in columns.items()
        }
        model = fit_items(
            [winners[i] for i in train],
            [losers[i] for i in train],
            kind=kind,
            seed=seed,
            **part,
            **settings,
        )
        known = [i for i in test if winners[i] in model._number and losers[i] in model._number]
        if known:
            out[known] = model.logit([winners[i] for i in known], [losers[i] for i in known])
    return out


# ------------------------------------------------------------------------------------------------
# inside


def _refuse_without_maximum(
    meetings: Meetings, both_N: NDArray[np.bool_], basis_AF: Floats | None
) -> None:
    """Without a ridge the likelihood has a greatest value only if no direction of the strengths
    serves every label and some of them more (Ford 1957): without features, if every item beat every
    other along some chain of meetings.

    Args:
        meetings: who beat whom
        both_N: meetings of which both ends count as having won, those of a confidence inside 0 to 1
        basis_AF: features, where strengths are a linear map of them
    """
    hint = "ridge=1, or any above 0; or leave those items out"
    seen_N = meetings.weight_N > 0
    winner_N, loser_N, both_N = meetings.winner_N[seen_N], meetings.loser_N[seen_N], both_N[seen_N]
    if basis_AF is None:
        size = len(meetings.names)
        from_N, to_N = np.r_[winner_N, loser_N[both_N]], np.r_[loser_N, winner_N[both_N]]
        graph = coo_array((np.ones(len(from_N)), (from_N, to_N)), shape=(size, size))
        parts, part_A = connected_components(graph, directed=True, connection="strong")
        if parts > 1:
            across = (
                part_A[from_N] != part_A[to_N]
            )  # the winner never lost to that loser, by any chain of meetings
            who = meetings.names[
                from_N[across][0] if across.any() else int(np.argmax(part_A != part_A[0]))
            ]
            what = (
                "never lost, directly or by a chain, to some that it beat"
                if across.any()
                else "met some of the others by no chain"
            )
            raise DataError(f"with ridge 0 there is no best fit: {who!r} {what}", hint=hint)
        return
    gap_NF = basis_AF[winner_N] - basis_AF[loser_N]
    rows = np.r_[gap_NF, -gap_NF[both_N]]
    found = linprog(-gap_NF.sum(0), A_ub=-rows, b_ub=np.zeros(len(rows)), bounds=(-1, 1))
    if found.status == 0 and -found.fun > 1e-7 * max(1.0, float(np.abs(gap_NF).sum(0).max())):
        raise DataError(
            "with ridge 0 there is no best fit: a linear map of the features explains "
            "every meeting",
            hint=hint,
        )


def _features(items: Sequence[Hashable], features: Mapping[Hashable, ArrayLike]) -> Floats:
    missing = [item for item in items if item not in features]
    if missing:
        raise DataError(f"{len(missing)} items have no features, such as {missing[0]!r}")
    rows = [floats(features[item], f"the features of {item!r}", finite=False) for item in items]
    wrong = next(
        (
            item
            for item, row in zip(items, rows, strict=True)
            if row.shape != rows[0].shape or row.ndim != 1
        ),
        None,
    )
    if wrong is not None:
        raise DataError(f"the features of {wrong!r} are not as many as the others'")
    made = np.stack(rows)
    bad = np.flatnonzero(~np.isfinite(made).all(axis=1))
    if len(bad):
        raise DataError(f"the features of {items[int(bad[0])]!r} are not finite")
    return made


def of_items(kind: str) -> OfItems:
    """How a kind scores items without text.

    Raises:
        OptionError: there is no such kind, or it differs from another one in its cost alone.
    """
    found = get(kind).items
    if found is None:
        raise OptionError(
            f"kind is {kind!r}, which is for texts: it differs from bradley_terry in its cost, "
            "and items are fitted by maximum likelihood",
            hint="bradley_terry or general_preference",
        )
    return found


def outputs(method: OfItems, free_AF: Floats) -> Floats:
    made: Floats = method.outputs(torch.from_numpy(np.ascontiguousarray(free_AF))).numpy()
    return made


def _minimize(
    method: OfItems,
    start: Floats,
    basis: Tensor | None,
    first_N: Tensor,
    second_N: Tensor,
    weight_N: Tensor,
    confidence_N: Tensor | None,
    ridge_F: Tensor,
    max_iterations: int,
) -> tuple[Floats, bool]:
    scale = float(weight_N.sum())  # L-BFGS stops by absolute size, so the objective is a mean

    def objective(flat: Floats) -> tuple[float, Floats]:
        free = torch.from_numpy(flat.reshape(start.shape).copy()).requires_grad_()
        output_AH = method.outputs(free if basis is None else basis @ free)
        cost_N = log_loss(method.score(output_AH[first_N], output_AH[second_N]), confidence_N)
        total = ((weight_N * cost_N).sum() + (ridge_F / 2 * free**2).sum()) / scale
        (slope,) = torch.autograd.grad(total, free)
        return float(total.detach()), slope.numpy().ravel()

    options = {"maxiter": max_iterations, "maxfun": 2 * max_iterations, "gtol": 1e-8, "ftol": 1e-13}
    found = minimize(objective, start.ravel(), jac=True, method="L-BFGS-B", options=options)
    return found.x.reshape(start.shape), bool(found.success)
