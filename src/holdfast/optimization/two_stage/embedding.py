"""The surrogate inside a mixed-integer program, exactly.

x_i is 0 or 1 and its features are constants, so Phi_x([x_i, f_i]) = e_i(0) + x_i (e_i(1) - e_i(0)):
the sum over items is affine in x, and so are the inputs of Psi_x. Each ReLU h = max(0, p) with
bounds L <= p <= U is 0 where U <= 0, p itself where L >= 0, and else

    h >= p,   h >= 0,   h <= p - L (1 - d),   h <= U d,   d in {0, 1}.

Bounds are propagated from layer to layer; those of the first one are exact.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from holdfast.optimization.two_stage.network import SetNetwork
from holdfast.optimization.two_stage.problem import Floats, Uncertainty
from holdfast.optimization.two_stage.programs import Index, Program


@dataclass(frozen=True)
class Layer:
    """Variables of a program, with bounds that hold for them."""

    places: Index
    low: Floats
    high: Floats

    def joined(self, other: Layer) -> Layer:
        return Layer(
            np.concatenate([self.places, other.places]),
            np.concatenate([self.low, other.low]),
            np.concatenate([self.high, other.high]),
        )


@dataclass(frozen=True)
class Weights:
    """A network's weights in double precision, once its features are those of one problem.

    Attributes:
        x_base_P, x_slope_NP: the inputs of Psi_x's ReLUs, base + x @ slope
        outer_KP: Psi_x after them
        value_first, bias_first, value_second, bias_second: V
    """

    x_base_P: Floats
    x_slope_NP: Floats
    outer_KP: Floats
    value_first: Floats
    bias_first: Floats
    value_second: Floats
    bias_second: float


def weights_of(network: SetNetwork, features_NF: Floats) -> Weights:
    parts = {k: v.double().numpy() for k, v in network.state_dict().items()}
    scaled = network.scales.features(features_NF)
    without_NH = scaled @ parts["x_shared.weight"].T
    with_NH = without_NH + parts["x_own"]
    off_NH, on_NH = np.maximum(without_NH, 0), np.maximum(with_NH, 0)
    inner_PH = parts["x_first.weight"] @ parts["x_sum.weight"]
    return Weights(
        x_base_P=inner_PH @ off_NH.sum(0),
        x_slope_NP=(on_NH - off_NH) @ inner_PH.T,
        outer_KP=parts["x_second.weight"],
        value_first=parts["value_first.weight"],
        bias_first=parts["value_first.bias"],
        value_second=parts["value_second.weight"][0],
        bias_second=float(parts["value_second.bias"][0]),
    )


def moved_of(network: SetNetwork, features_NF: Floats, xi_N: Floats) -> Floats:
    """Psi_xi of a given point: constants of the main program."""
    parts = {k: v.double().numpy() for k, v in network.state_dict().items()}
    base_NH = network.scales.features(features_NF) @ parts["xi_shared.weight"].T
    summed = np.maximum(base_NH + np.outer(xi_N, parts["xi_own"]), 0).sum(0)
    inner = np.maximum(parts["xi_first.weight"] @ (parts["xi_sum.weight"] @ summed), 0)
    return parts["xi_second.weight"] @ inner


def relu(program: Program, inputs: Layer, weights_OI: Floats, bias_O: Floats) -> Layer:
    """max(0, weights @ inputs + bias) as variables."""
    up, down = np.maximum(weights_OI, 0), np.minimum(weights_OI, 0)
    low_O = up @ inputs.low + down @ inputs.high + bias_O
    high_O = up @ inputs.high + down @ inputs.low + bias_O
    h = program.add(len(bias_O), low=np.maximum(low_O, 0), high=np.maximum(high_O, 0))
    for o in range(len(bias_O)):
        low, high, bias = float(low_O[o]), float(high_O[o]), float(bias_O[o])
        if high <= 0:
            continue
        terms = (inputs.places, -weights_OI[o])
        if low >= 0:
            program.row((h[o], 1.0), terms, least=bias, most=bias)
            continue
        d = program.add(1, high=1.0, whole=True)
        program.row((h[o], 1.0), terms, least=bias)
        program.row((h[o], 1.0), terms, (d, -low), most=bias - low)
        program.row((h[o], 1.0), (d, -high), most=0.0)
    return Layer(h, np.maximum(low_O, 0), np.maximum(high_O, 0))


@dataclass(frozen=True)
class Value:
    """The network's value at one point of Xi, affine in variables of the program: bias + slopes'v,
    between low and high.
    """

    places: Index
    slopes: Floats
    bias: float
    low: float
    high: float


class Embedding:
    """A network in a program, for the x at these places: Psi_x's ReLUs once, and V's for each point
    of Xi.
    """

    def __init__(
        self, program: Program, network: SetNetwork, features_NF: Floats, x: Index
    ) -> None:
        self.program, self.network, self.features_NF = program, network, features_NF
        self.weights = weights_of(network, features_NF)
        inputs = Layer(x, np.zeros(len(x)), np.ones(len(x)))
        self.inner = relu(program, inputs, self.weights.x_slope_NP.T, self.weights.x_base_P)

    def value(self, xi_N: Floats) -> Value:
        weights = self.weights
        moved_K = moved_of(self.network, self.features_NF, xi_N)
        width = len(moved_K)
        seen, given = weights.value_first[:, :width], weights.value_first[:, width:]
        bias = weights.bias_first + given @ moved_K
        hidden = relu(self.program, self.inner, seen @ weights.outer_KP, bias)
        slope = weights.value_second
        up, down = np.maximum(slope, 0), np.minimum(slope, 0)
        return Value(
            hidden.places,
            slope,
            weights.bias_second,
            float(up @ hidden.low + down @ hidden.high) + weights.bias_second,
            float(up @ hidden.high + down @ hidden.low) + weights.bias_second,
        )


def worst_of_network(
    network: SetNetwork,
    features_NF: Floats,
    x_N: Floats,
    uncertainty: Uncertainty,
    *,
    seconds: float,
    gap: float = 1e-3,
) -> tuple[Floats, float, float]:
    """max over Xi of NN(x, xi) by mixed-integer programming: the point, its value, and a bound.

    Here Phi_xi's ReLUs are variables, 32 an item; at 20 items some 200 of them are unstable, and
    the gap is rarely closed.
    """
    parts = {k: v.double().numpy() for k, v in network.state_dict().items()}
    base_NH = network.scales.features(features_NF) @ parts["xi_shared.weight"].T
    program = Program()
    xi = program.add(len(uncertainty), low=uncertainty.low_J, high=uncertainty.high_J)
    if np.isfinite(uncertainty.budget):
        program.row((xi, 1.0), most=uncertainty.budget)
    summed: Layer | None = None
    for i in range(len(base_NH)):
        place = xi[i : i + 1]
        inputs = Layer(place, uncertainty.low_J[i : i + 1], uncertainty.high_J[i : i + 1])
        item = relu(program, inputs, parts["xi_own"][:, None], base_NH[i])
        summed = item if summed is None else summed.joined(item)
    assert summed is not None
    inner_PH = parts["xi_first.weight"] @ parts["xi_sum.weight"]
    tiled = np.tile(inner_PH, len(base_NH))
    psi = relu(program, summed, tiled, np.zeros(len(inner_PH)))
    weights = weights_of(network, features_NF)
    read_K = weights.outer_KP @ np.maximum(weights.x_base_P + x_N @ weights.x_slope_NP, 0)
    width = len(read_K)
    hidden = relu(
        program,
        psi,
        weights.value_first[:, width:] @ parts["xi_second.weight"],
        weights.bias_first + weights.value_first[:, :width] @ read_K,
    )
    program.price(hidden.places, -weights.value_second)
    found = program.minimize("the network's adversary", seconds=seconds, gap=gap)
    bound = -found.bound + weights.bias_second
    if found.values is None:
        point = uncertainty.project(np.zeros(len(uncertainty)))
        return point, -np.inf, bound
    point = uncertainty.project(found.values[xi])
    return point, -found.value + weights.bias_second, bound
