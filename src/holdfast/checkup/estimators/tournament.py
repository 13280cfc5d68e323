"""Who beat whom as a graph: its triangles, the best transitive model, and how far the graph is from
it.

A node is an answer, a model or a player; an edge is a pair that met; a unit is one match, y = 1
if the edge's first node won, 0 if its second did, and in between where several judges judged one
match. The best transitive model is P(first wins) = g(s_first - s_second) with Bradley-Terry
scores s (a normal prior whose width cross-validation chooses) and an increasing g that bends at
fixed log-odds, so that neither flipped labels nor steep preferences look like cycles. A g that may
jump anywhere would not do: where contestants are nearly equal it makes a ranking of their noise,
and explains by it up to a third of a purely cyclic graph, however many the matches.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.optimize import minimize, nnls
from scipy.sparse.linalg import lsqr
from scipy.special import expit

from holdfast.stats.arrays import Floats, Ints

RIDGES = (0.03, 0.1, 0.3, 1.0, 3.0)
FOLDS = 3
BENDS = np.array(
    [0.0, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0]
)  # log-odds at which the link may bend
TRIANGLES = 1_000_000  # that are looked at; of more, those of nodes drawn at random


@dataclass(frozen=True)
class Tournament:
    """E edges between V nodes, U units.

    Attributes:
        nodes: V codes that the nodes had
        edge_E2: first and second node of each edge
        at_U: the edge of each unit
        y_U: what the unit says, 0 to 1
        unit_U: the code that the unit had
    """

    nodes: Ints
    edge_E2: Ints
    at_U: Ints
    y_U: Floats
    unit_U: Ints

    @classmethod
    def of(cls, winner_N: Ints, loser_N: Ints, unit_N: Ints) -> Tournament:
        """From rows; rows with one unit code are verdicts on one match, and are averaged. Nodes
        on no cycle of the graph are left out.
        """
        low, high = np.minimum(winner_N, loser_N), np.maximum(winner_N, loser_N)
        key_N2 = np.column_stack([low, high, unit_N])
        units, code_N = np.unique(key_N2, axis=0, return_inverse=True)
        y_U = np.bincount(code_N.ravel(), weights=winner_N == low) / np.bincount(code_N.ravel())
        kept = _in_2_core(units[:, :2])
        edges, at_U = np.unique(units[kept, :2], axis=0, return_inverse=True)
        nodes, edge_E2 = np.unique(edges, return_inverse=True)
        return cls(nodes, edge_E2.reshape(-1, 2), at_U.ravel(), y_U[kept], units[kept, 2])

    @property
    def cycle_rank(self) -> int:
        """Independent cycles of the graph (its cyclomatic number): edges - nodes + components."""
        if not len(self.edge_E2):
            return 0
        size = len(self.nodes)
        links = sparse.coo_matrix((np.ones(len(self.edge_E2)), self.edge_E2.T), shape=(size, size))
        return (
            len(self.edge_E2)
            - size
            + int(sparse.csgraph.connected_components(links, directed=False)[0])
        )

    @cached_property
    def n_E(self) -> Floats:
        return np.bincount(self.at_U, minlength=len(self.edge_E2)).astype(float)

    @cached_property
    def win_E(self) -> Floats:
        """Share of its matches that the first node won."""
        return np.bincount(self.at_U, weights=self.y_U, minlength=len(self.edge_E2)) / self.n_E

    @cached_property
    def spread_E(self) -> Floats:
        """The unbiased variance of a unit, on the scale -1 to 1; NaN where the pair met once."""
        square_E = (
            np.bincount(self.at_U, weights=(2 * self.y_U - 1) ** 2, minlength=len(self.edge_E2))
            / self.n_E
        )
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(
                self.n_E > 1,
                self.n_E / (self.n_E - 1) * (square_E - (2 * self.win_E - 1) ** 2),
                np.nan,
            )

    def again(self, p_U: Floats, rng: np.random.Generator) -> Tournament:
        """The same matches with results drawn from these chances."""
        return replace(self, y_U=(rng.random(len(p_U)) < p_U).astype(float))

    def apart(self, stratum_U: Ints) -> Tournament:
        """The same units, of which those of different strata share no node: a contestant is another
        one in every stratum.
        """
        pair_U2 = self.edge_E2[self.at_U] + len(self.nodes) * stratum_U[:, None]
        edges, at_U = np.unique(pair_U2, axis=0, return_inverse=True)
        nodes, edge_E2 = np.unique(edges, return_inverse=True)
        return replace(self, nodes=nodes, edge_E2=edge_E2.reshape(-1, 2), at_U=at_U.ravel())

    # ------------------------------------------------------------ triangles

    @cached_property
    def triangle_T3(self) -> Ints:
        """Edges of every triangle i < j < k: (i, j), (j, k), (i, k)."""
        return triangles(self.edge_E2, len(self.nodes))

    def turns(self, triangle_T3: Ints) -> tuple[NDArray[np.bool_], Floats]:
        """Whether each triangle is a cycle, and its weight: the product of its three margins."""
        margin_T3 = (2 * self.win_E - 1)[triangle_T3] * np.array([1.0, 1.0, -1.0])
        cyclic_T = (margin_T3 > 0).all(axis=1) | (margin_T3 < 0).all(axis=1)
        return cyclic_T, np.abs(margin_T3.prod(axis=1))


def _in_2_core(edge_U2: Ints) -> NDArray[np.bool_]:
    """Units whose two nodes both keep two opponents when those with fewer are taken away, again and
    again (the 2-core).
    """
    kept = np.ones(len(edge_U2), bool)
    while kept.any():
        edges = np.unique(edge_U2[kept], axis=0)
        degree = np.bincount(edges.ravel(), minlength=int(edge_U2.max()) + 1)
        weak = kept & (degree[edge_U2] < 2).any(axis=1)
        if not weak.any():
            break
        kept &= ~weak
    return kept


def triangles(edge_E2: Ints, size: int, *, most: int = TRIANGLES) -> Ints:
    """Edge numbers of the triangles. Each is found at its node of least degree, so that hubs cost
    little.
    """
    if not len(edge_E2):
        return np.empty((0, 3), np.int64)
    degree = np.bincount(edge_E2.ravel(), minlength=size)
    rank = np.empty(size, np.int64)
    rank[np.argsort(degree, kind="stable")] = np.arange(size)
    turned = rank[edge_E2[:, 0]] > rank[edge_E2[:, 1]]
    low, high = (
        np.where(turned, edge_E2[:, 1], edge_E2[:, 0]),
        np.where(turned, edge_E2[:, 0], edge_E2[:, 1]),
    )
    order = np.argsort(low, kind="stable")
    starts = np.searchsorted(low[order], np.arange(size + 1))
    key_E = edge_E2[:, 0] * size + edge_E2[:, 1]
    by_key = np.argsort(key_E)
    found: list[Ints] = []
    total = 0
    for node in np.random.default_rng(0).permutation(size).tolist():
        mine = order[starts[node] : starts[node + 1]]
        if len(mine) < 2:
            continue
        a, b = (mine[k] for k in np.triu_indices(len(mine), 1))
        ends = np.sort(np.column_stack([high[a], high[b]]), axis=1)
        key = ends[:, 0] * size + ends[:, 1]
        at = np.minimum(np.searchsorted(key_E[by_key], key), len(by_key) - 1)
        closed = key_E[by_key[at]] == key
        found.append(_in_order(np.column_stack([a, b, by_key[at]])[closed], edge_E2))
        total += int(closed.sum())
        if total >= most:
            break
    return np.concatenate(found)[:most] if found else np.empty((0, 3), np.int64)


def _in_order(edges_T3: Ints, edge_E2: Ints) -> Ints:
    """Columns sorted to (i, j), (j, k), (i, k) with i < j < k."""
    key_T3 = edge_E2[edges_T3, 0] * (int(edge_E2.max()) + 1) + edge_E2[edges_T3, 1]
    first, middle, last = np.take_along_axis(edges_T3, np.argsort(key_T3, axis=1), axis=1).T
    return np.column_stack([first, last, middle])  # sorted: (i, j), (i, k), (j, k)


# ------------------------------------------------------------ the best transitive model


def scores_of(
    edge_E2: Ints,
    n_E: Floats,
    win_E: Floats,
    size: int,
    *,
    ridge: float,
    start: Floats | None = None,
) -> Floats:
    """Bradley-Terry scores under a normal prior of variance 1 / ridge."""
    first, second = edge_E2.T

    def objective(s_V: Floats) -> tuple[float, Floats]:
        gap_E = s_V[first] - s_V[second]
        pull_E = n_E * (expit(gap_E) - win_E)
        cost = float(
            (n_E * (np.logaddexp(0, gap_E) - win_E * gap_E)).sum() + ridge / 2 * (s_V**2).sum()
        )
        slope = np.bincount(first, weights=pull_E, minlength=size) - np.bincount(
            second, weights=pull_E, minlength=size
        )
        return cost, slope + ridge * s_V

    found = minimize(
        objective,
        np.zeros(size) if start is None else start,
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": 200, "gtol": 1e-3},
    )
    return np.asarray(found.x)


def increasing(gap_E: Floats, y_E: Floats, n_E: Floats) -> Floats:
    """The increasing g with g(x) + g(-x) = 1, straight between `BENDS`, nearest to shares of wins:
    its values there.

    2 g(x) - 1 = sign(x) sum_k rise_k ramp_k(|x|), ramp_k going from 0 to 1 between two bends,
    rise_k >= 0: least squares under bounds.
    """
    ramp_EK = np.clip((np.abs(gap_E)[:, None] - BENDS[:-1]) / np.diff(BENDS), 0, 1)
    margin_E = np.sign(gap_E) * (2 * y_E - 1)
    root_KK = np.linalg.cholesky(
        ramp_EK.T @ (n_E[:, None] * ramp_EK) + 1e-6 * np.eye(len(BENDS) - 1)
    )  # keeps bends without data flat
    rise_K, _ = nnls(root_KK.T, np.linalg.solve(root_KK, ramp_EK.T @ (n_E * margin_E)))
    return 0.5 + np.minimum(np.r_[0.0, np.cumsum(rise_K)], 1.0) / 2


def linked(gap_E: Floats, value_K: Floats) -> Floats:
    """g at these gaps, from its values at `BENDS`."""
    return np.asarray(0.5 + np.sign(gap_E) * (np.interp(np.abs(gap_E), BENDS, value_K) - 0.5))


@dataclass(frozen=True)
class Transitive:
    """The best transitive model: what it expects in sample, what it expects of matches it has not
    seen, and its scores.
    """

    ridge: float
    score_V: Floats
    fitted_E: Floats
    expected_E: Floats  # from models that did not see the matches: what to draw new results from


def fit(t: Tournament, rng: np.random.Generator) -> Transitive:
    fold_U = rng.integers(0, FOLDS, len(t.at_U))
    size, edges = len(t.nodes), len(t.edge_E2)
    best: tuple[float, float, Floats] | None = None
    for ridge in RIDGES:
        gap_U = np.zeros(len(t.at_U))
        for fold in range(FOLDS):
            train, held = fold_U != fold, fold_U == fold
            n_E = np.bincount(t.at_U[train], minlength=edges).astype(float)
            win_E = np.bincount(t.at_U[train], weights=t.y_U[train], minlength=edges) / np.maximum(
                n_E, 1
            )
            s_V = scores_of(t.edge_E2, n_E, win_E, size, ridge=ridge)
            gap_U[held] = (s_V[t.edge_E2[:, 0]] - s_V[t.edge_E2[:, 1]])[t.at_U[held]]
        cost = float((np.logaddexp(0, gap_U) - t.y_U * gap_U).mean())
        if best is None or cost < best[0]:
            best = cost, ridge, gap_U
    assert best is not None
    _, ridge, gap_U = best
    value_K = increasing(gap_U, t.y_U, np.ones(len(gap_U)))
    edge_gap_E = np.bincount(t.at_U, weights=gap_U, minlength=edges) / t.n_E
    least = 1 / (2 + len(t.at_U))
    expected_E = np.clip(linked(edge_gap_E, value_K), least, 1 - least)
    score_V, fitted_E = refit(t, t.win_E, ridge)
    return Transitive(ridge, score_V, fitted_E, expected_E)


def refit(
    t: Tournament, win_E: Floats, ridge: float, start: Floats | None = None
) -> tuple[Floats, Floats]:
    """Scores, and the chances that the nearest increasing link makes of them, for these shares of
    wins in the matches of t.
    """
    score_V = scores_of(t.edge_E2, t.n_E, win_E, len(t.nodes), ridge=ridge, start=start)
    gap_E = score_V[t.edge_E2[:, 0]] - score_V[t.edge_E2[:, 1]]
    return score_V, linked(gap_E, increasing(gap_E, win_E, t.n_E))


# ------------------------------------------------------------ two measures of cycles


def energies(t: Tournament, fitted_E: Floats) -> tuple[float, float]:
    """(total, left over): sums over pairs that met again of n times the squared margin, and of n
    times its squared distance from the model.

    Noise is taken out: (mean - m)^2 - spread / n is unbiased for the square of the true distance
        from a given m.
    """
    met = t.n_E > 1
    n, margin, noise = t.n_E[met], 2 * t.win_E[met] - 1, t.spread_E[met] / t.n_E[met]
    total = float((n * (margin**2 - noise)).sum())
    left = float((n * ((margin - (2 * fitted_E[met] - 1)) ** 2 - noise)).sum())
    return total, left


def apart_from_rankings(t: Tournament, logit_E: Floats) -> Floats:
    """What of these log-odds no differences of scores give: the cyclic part of HodgeRank, least
    squares weighed by matches.
    """
    root_E = np.sqrt(t.n_E)
    edges = np.arange(len(root_E))
    gradient = sparse.csr_matrix(
        (np.r_[root_E, -root_E], (np.r_[edges, edges], t.edge_E2.T.ravel())),
        shape=(len(root_E), len(t.nodes)),
    )
    return logit_E - (gradient @ lsqr(gradient, root_E * logit_E)[0]) / root_E


def left_by_rankings(t: Tournament, p_E: Floats) -> float:
    """Of the variance of exact chances, over pairs that met again, the share that the nearest
    ranking leaves: no noise, hardly a prior.
    """
    exact = 1e4 / t.n_E.max()
    score_V = scores_of(t.edge_E2, exact * t.n_E, p_E, len(t.nodes), ridge=1e-3)
    gap_E = score_V[t.edge_E2[:, 0]] - score_V[t.edge_E2[:, 1]]
    fitted_E = linked(gap_E, increasing(gap_E, p_E, exact * t.n_E))
    weight_E = np.where(t.n_E > 1, t.n_E, 0.0)
    return float(
        (weight_E * (p_E - fitted_E) ** 2).sum() / max((weight_E * (p_E - 0.5) ** 2).sum(), 1e-12)
    )


def cyclic_share(t: Tournament, triangle_T3: Ints) -> float:
    """Share of the triangles that are cycles, each weighed by the product of its margins; one
    fourth where results are random.
    """
    cyclic_T, weight_T = t.turns(triangle_T3)
    whole = float(weight_T.sum())
    return float(weight_T[cyclic_T].sum()) / whole if whole > 0 else 0.0


def clearest_cycle(t: Tournament, triangle_T3: Ints) -> float:
    """How clear the clearest cycle of three is: of its least clear meeting, the wins beyond one
    half over their standard error under a coin; 0 where no triangle is a cycle.
    """
    cyclic_T, _ = t.turns(triangle_T3)
    if not cyclic_T.any():
        return 0.0
    clear_E = np.abs(2 * t.win_E - 1) * np.sqrt(t.n_E)
    return float(clear_E[triangle_T3[cyclic_T]].min(axis=1).max())


def steps(numbers: Ints) -> list[tuple[int, int]]:
    """The pairs of neighbors around a cycle: (a, b), (b, c), (c, a)."""
    return [*pairwise(numbers.tolist()), (int(numbers[-1]), int(numbers[0]))]
