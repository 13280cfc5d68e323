"""Online prediction that is good for every group at once, however groups overlap."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf, isfinite
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike
from rich.progress import track

from holdfast.card import check
from holdfast.errors import DataError, OptionError
from holdfast.stats import arrays
from holdfast.stats.arrays import Bools, Floats
from holdfast.terminal import Terminal

Loss = Callable[[Any, Any], Any]  # (predictions, label) -> losses, all in 0 to 1


class Learner(Protocol):
    """What scikit-learn calls an online estimator. A classifier's `predict_proba` is used where it
    has one.
    """

    def partial_fit(self, x_ND: Any, y_N: Any) -> Any: ...

    def predict(self, x_ND: Any) -> Any: ...


def squared(prediction: Any, label: Any) -> Any:
    """(p - y)^2."""
    return (prediction - label) ** 2


def log_loss(prediction: Any, label: Any) -> Any:
    """-log P(label), probabilities kept within 0.01 to 0.99 and the loss divided by its largest
    value, log 100: from 0 to 1.
    """
    p = np.clip(prediction, 0.01, 0.99)
    return -(label * np.log(p) + (1 - label) * np.log(1 - p)) / np.log(100)


class OnlineRidge:
    """Ridge regression, one row at a time: theta = (ridge I + sum x x^T)^-1 sum y x, by Sherman and
    Morrison's update.
    """

    def __init__(self, ridge: float = 1.0) -> None:
        check("ridge", ridge, lambda: 0 < ridge < inf, "be above 0 and finite")
        self.ridge = ridge
        self.theta_D: Floats | None = None

    def partial_fit(self, x_ND: ArrayLike, y_N: ArrayLike) -> OnlineRidge:
        x_ND = np.atleast_2d(np.asarray(x_ND, float))
        if self.theta_D is None:
            self.inverse_DD = np.eye(x_ND.shape[1]) / self.ridge
            self.theta_D = np.zeros(x_ND.shape[1])
        for x_D, y in zip(x_ND, np.atleast_1d(np.asarray(y_N, float)), strict=True):
            seen_D = self.inverse_DD @ x_D
            gain_D = seen_D / (1 + x_D @ seen_D)
            self.inverse_DD -= np.outer(gain_D, seen_D)
            self.theta_D = self.theta_D + gain_D * (y - x_D @ self.theta_D)
        return self

    def predict(self, x_ND: ArrayLike) -> Floats:
        x_ND = np.atleast_2d(np.asarray(x_ND, float))
        return np.zeros(len(x_ND)) if self.theta_D is None else x_ND @ self.theta_D


# ------------------------------------------------------------ AdaNormalHedge, over experts that
# sleep


def log_potential_weight(regret_G: Floats, total_G: Floats) -> Floats:
    """log w(R, C), w = (Phi(R + 1, C + 1) - Phi(R - 1, C + 1)) / 2, Phi(R, C) = exp(max(R, 0)^2 /
    (3 C)); -inf where w is 0.
    """
    high = np.maximum(regret_G + 1, 0) ** 2 / (3 * (total_G + 1))
    low = np.maximum(regret_G - 1, 0) ** 2 / (3 * (total_G + 1))
    with np.errstate(divide="ignore"):
        return np.asarray(high + np.log(-np.expm1(low - high)) - np.log(2))


class Hedge:
    """Weights over experts of whom some are awake each round (Luo and Schapire 2015, "Achieving All
    with No Parameters").

    R_g += active (lhat - loss_g), C_g += |active (lhat - loss_g)|: how much better than the mixture
    an expert was, while awake.
    """

    def __init__(self, experts: int) -> None:
        self.regret_G = np.zeros(experts)
        self.total_G = np.zeros(experts)

    def weights(self, awake_G: Bools) -> Floats:
        """q_g proportional to w(R_g, C_g) over those awake; equal where all of these are 0."""
        log_w = np.where(awake_G, log_potential_weight(self.regret_G, self.total_G), -inf)
        top = log_w.max()
        q = np.exp(log_w - top) if top > -inf else awake_G.astype(float)
        return np.asarray(q / q.sum())

    def update(self, weight_G: Floats, loss_G: Floats, awake_G: Bools) -> None:
        gained_G = np.where(awake_G, weight_G @ np.where(awake_G, loss_G, 0.0) - loss_G, 0.0)
        self.regret_G += gained_G
        self.total_G += np.abs(gained_G)

    @property
    def bound_G(self) -> Floats:
        """What R_g cannot exceed: sqrt(3 C_g (ln N + ln B + ln(1 + ln N))), B = 1 + 3/2 mean_g (1 +
        ln(1 + C_g)).
        """
        n = len(self.regret_G)
        b = 1 + 1.5 * float(np.mean(1 + np.log1p(self.total_G)))
        return np.asarray(np.sqrt(3 * self.total_G * (np.log(n) + np.log(b) + np.log1p(np.log(n)))))


# ------------------------------------------------------------ the reduction


@dataclass(frozen=True)
class Stream:
    """What happened, round by round. Experts are the groups, and last the one that is always awake,
    if there is one.

    Attributes:
        prediction_T: what was predicted.
        loss_T: the mixture's expected loss sum_g q_g loss_g, which the guarantee is about; a convex
            loss of the prediction is no larger.
        active_TG: who was awake.
        expert_loss_TG: each expert's own loss, NaN while asleep.
        weight_TG: how much each counted.
        over_own_G: R_g: how much more the mixture lost than the group's own learner, on the group's
            rounds.
        bound_G: what R_g cannot exceed.
    """

    prediction_T: Floats
    loss_T: Floats
    active_TG: Bools
    expert_loss_TG: Floats
    weight_TG: Floats
    over_own_G: Floats
    bound_G: Floats


class Groupwise:
    """One online learner for each group, and a mixture of those awake that is nearly as good as the
    best of them, on every group's rounds.

        Regret_g <= (regret of g's own learner on its rounds) + O(sqrt(T_g log G))
                (Acharya et al. 2023, theorem of the reduction)

    Each round: every awake learner predicts; the mixture weighs them by AdaNormalHedge; the label
    comes; every awake learner is trained, chosen or not. Cost is linear in the number of groups.

    Args:
        groups: number of groups; they may overlap in any way.
        learner: makes a learner: `OnlineRidge`, or any estimator with `partial_fit` and `predict`
            (`lambda: SGDRegressor()`).
        always: add a learner that is always awake, so that every round has one and the whole stream
            is a group.
        loss: of a prediction, between 0 and 1; `squared` or `log_loss`, or another that takes
            arrays.

    Departures:
        1. The prediction is the weighted mean of the learners' (for a convex loss it loses no more
           than the expected loss of drawing one).
        2. Before its first label a learner predicts 1/2, and predictions are clipped to 0 to 1.
    """

    def __init__(
        self,
        groups: int,
        learner: Callable[[], Any] = OnlineRidge,
        *,
        always: bool = True,
        loss: Loss = squared,
    ) -> None:
        check(
            "groups",
            groups,
            lambda: arrays.whole(groups, 0 if always else 1),
            "be a whole number, 1 or more",
        )
        self.groups, self.always, self.loss = groups, always, loss
        self.learners = [learner() for _ in range(groups + always)]
        for made in self.learners[:1]:
            if not (
                hasattr(made, "partial_fit")
                and (hasattr(made, "predict") or hasattr(made, "predict_proba"))
            ):
                raise OptionError(
                    f"{type(made).__name__} is no online learner",
                    hint="it needs partial_fit(x, y) and predict(x)",
                )
        self.fitted_G = np.zeros(len(self.learners), bool)
        self.hedge = Hedge(len(self.learners))

    def awake(self, active_G: ArrayLike) -> Bools:
        """The groups of a round, and the one that is always awake."""
        given = arrays.floats(active_G, "active_G", low=0.0, high=1.0).astype(bool)
        if given.shape != (self.groups,):
            raise DataError(
                f"a round says which of {self.groups} groups are active; this one has "
                f"shape {given.shape}"
            )
        return np.append(given, True) if self.always else given

    def experts(self, x_D: Floats, awake_G: Bools) -> Floats:
        """Each awake learner's prediction, clipped to 0 to 1."""
        said = np.full(len(self.learners), 0.5)
        for g in np.flatnonzero(awake_G & self.fitted_G):
            told = _predicted(self.learners[g], x_D[None])
            if not isfinite(told):  # clipped, NaN would read as a confident 0
                raise DataError(
                    f"the learner of group {g} predicts {told}",
                    hint="a learner that stays finite; features of similar size",
                )
            said[g] = min(1.0, max(0.0, told))
        return said

    def predict(self, x_D: ArrayLike, active_G: ArrayLike) -> float:
        """The mixture's prediction for one row; 1/2 where nobody is awake."""
        awake_G = self.awake(active_G)
        if not awake_G.any():
            return 0.5
        return float(self.hedge.weights(awake_G) @ self.experts(np.asarray(x_D, float), awake_G))

    def learn(
        self, x_D: ArrayLike, y: float, active_G: ArrayLike
    ) -> tuple[float, float, Floats, Floats]:
        """Predict a row, then see its label: (prediction, expected loss, each expert's loss,
        weights). A row where nobody is awake gets 1/2 and teaches nothing."""
        x_D, awake_G = arrays.floats(x_D, "x_D", shape=(None,)), self.awake(active_G)
        asleep = np.full(len(self.learners), np.nan)
        if not awake_G.any():
            return 0.5, float(self.loss(0.5, y)), asleep, np.zeros(len(self.learners))
        weight_G, said_G = self.hedge.weights(awake_G), self.experts(x_D, awake_G)
        loss_G = np.asarray(self.loss(said_G, y), float)
        if not ((loss_G[awake_G] >= 0) & (loss_G[awake_G] <= 1)).all():
            raise DataError(
                f"a loss of {loss_G[awake_G].tolist()} at label {y}: losses lie in 0 to 1",
                hint="scale labels to 0 to 1",
            )
        self.hedge.update(weight_G, loss_G, awake_G)
        for g in np.flatnonzero(awake_G):
            _teach(self.learners[g], x_D[None], y, first=not self.fitted_G[g])
            self.fitted_G[g] = True
        return (
            float(weight_G @ said_G),
            float(weight_G[awake_G] @ loss_G[awake_G]),
            np.where(awake_G, loss_G, np.nan),
            weight_G,
        )


def groupwise(
    x_TD: ArrayLike,
    y_T: ArrayLike,
    active_TG: ArrayLike,
    *,
    learner: Callable[[], Any] = OnlineRidge,
    always: bool = True,
    loss: Loss = squared,
    progress: bool = False,
) -> Stream:
    """Run `Groupwise` over a stream. Groups of none give the plain learner: `groupwise(x, y,
    np.zeros((T, 0)))`.

    In preference data: x the features of a pair, y whether the first answer won, groups those of
        the raters or of the prompts.

    Args:
        x_TD: rows in the order they come, with a constant 1 among the features if an intercept is
            wanted.
        y_T: labels from 0 to 1.
        active_TG: which groups each row belongs to; several may be true, or none.
        learner: as for `Groupwise`.
        always: as for `Groupwise`.
        loss: as for `Groupwise`.
        progress: a bar over the rounds.

    Raises:
        DataError: shapes that do not fit, numbers that are not finite, labels outside 0 to 1.
        OptionError: what `learner` makes is no online learner.
    """
    x, y, active = stream_of(x_TD, y_T, active_TG)
    model = Groupwise(active.shape[1], learner, always=always, loss=loss)
    rounds = range(len(y))
    shown = (
        track(rounds, "stream", console=Terminal(stderr=True), transient=True)
        if progress
        else rounds
    )
    kept = [model.learn(x[t], float(y[t]), active[t]) for t in shown]
    prediction, mixed, expert, weight = (np.array(part) for part in zip(*kept, strict=True))
    awake = np.column_stack([active, np.ones(len(y), bool)]) if always else active
    return Stream(
        prediction, mixed, awake, expert, weight, model.hedge.regret_G, model.hedge.bound_G
    )


def per_group(loss_T: ArrayLike, active_TG: ArrayLike) -> Floats:
    """Mean loss on each group's rounds; NaN for a group without any."""
    active = np.asarray(active_TG, float)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.asarray(loss_T, float) @ active / active.sum(0))


def hindsight(
    x_TD: ArrayLike, y_T: ArrayLike, active_TG: ArrayLike, *, ridge: float = 1e-6
) -> Floats:
    """Total squared loss on each group's rounds of the linear function that fits those rounds best,
    predictions clipped to 0 to 1: what regret is measured from."""
    check("ridge", ridge, lambda: 0 < ridge < inf, "be above 0 and finite")
    x, y, active = stream_of(x_TD, y_T, active_TG)
    out = np.zeros(active.shape[1])
    for g, rows in enumerate(active.T):
        own_x, own_y = x[rows], y[rows]
        theta = np.linalg.solve(own_x.T @ own_x + ridge * np.eye(x.shape[1]), own_x.T @ own_y)
        out[g] = squared(np.clip(own_x @ theta, 0, 1), own_y).sum()
    return out


def stream_of(
    x_TD: ArrayLike, y_T: ArrayLike, active_TG: ArrayLike
) -> tuple[Floats, Floats, Bools]:
    """The same as arrays, or a DataError that says what is wrong."""
    x, y, active = (
        arrays.floats(given, name, finite=False)
        for given, name in ((x_TD, "x_TD"), (y_T, "y_T"), (active_TG, "active_TG"))
    )
    if (
        x.ndim != 2
        or y.shape != (len(x),)
        or active.ndim != 2
        or len(active) != len(x)
        or not len(x)
    ):
        raise DataError(
            f"rows x features, a label a row, rows x groups; these have shapes {x.shape}, "
            f"{y.shape} and {active.shape}"
        )
    if not np.isfinite(x).all():
        raise DataError(
            f"row {int(np.argwhere(~np.isfinite(x))[0][0])} has a feature that is not finite",
            hint="leave such rows out",
        )
    bad = np.flatnonzero(~((y >= 0) & (y <= 1)))
    if len(bad):
        raise DataError(
            f"the label of row {bad[0]} is {y[bad[0]]}, outside 0 to 1",
            hint="divide by the largest label, known in advance",
        )
    if not np.isin(active, (0, 1)).all():
        raise DataError("memberships must be true or false", hint="one column a group")
    return x, y, active.astype(bool)


def bands(values_T: ArrayLike, edges: Sequence[float]) -> Bools:
    """Groups by intervals of a number: below the first edge, between each two, from the last on.
    One column each.
    """
    edge_E = arrays.floats(edges, "edges", shape=(None,))
    if (np.diff(edge_E) <= 0).any():
        raise DataError(f"edges must rise; these are {edge_E.tolist()}")
    place = np.digitize(arrays.floats(values_T, "values_T", shape=(None,)), edge_E)
    return np.asarray(place[:, None] == np.arange(len(edge_E) + 1))


def _predicted(learner: Any, x_1D: Floats) -> float:
    return (
        float(learner.predict_proba(x_1D)[0, 1])
        if hasattr(learner, "predict_proba")
        else float(learner.predict(x_1D)[0])
    )


def _teach(learner: Any, x_1D: Floats, y: float, *, first: bool) -> None:
    if hasattr(learner, "predict_proba"):
        label = np.array([int(y >= 0.5)])
        learner.partial_fit(x_1D, label, **({"classes": np.array([0, 1])} if first else {}))
    else:
        learner.partial_fit(x_1D, np.array([y]))
