"""The surrogate of Neur2RO: the second stage's optimum from x, xi and the items' features.

    NN(x, xi) = V([Psi_x(sum_i Phi_x([x_i, f_i])), Psi_xi(sum_i Phi_xi([xi_i, f_i]))])

Phi: linear, ReLU, linear; Psi: linear, ReLU, linear, all without biases; V: linear, ReLU, linear.
(Dumouchelle et al., 2024, section 4.) Sums over items make the order of items irrelevant, and items
may be any number. Features are scaled to [0, 1] by the training data, labels to [0, 1] for each
number of items; between the sizes it was trained on the scale is interpolated.

Phi's last layer is linear and Psi's first is too, so the sum goes over Phi's ReLUs, which is where
the time goes: one multiplication, one addition and one maximum an item and unit.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from holdfast.errors import ModelError, OptionError
from holdfast.optimization.two_stage.problem import Floats

PHI, PSI, VALUE = (32, 16), (64, 8), 8  # widths of the paper for knapsacks


class SetNetwork(nn.Module):
    """N items, F features; a batch is D decisions with B points of Xi each.

    Args:
        scales: how features and labels are scaled, see `Scales`
        record: how it was made, kept with it
    """

    def __init__(self, scales: Scales, record: Mapping[str, Any] | None = None):
        super().__init__()
        self.scales, self.record = scales, dict(record or {})
        wide, out = PHI
        for side in ("x", "xi"):
            own = nn.Parameter(torch.randn(wide))  # the weights of x_i or xi_i
            setattr(self, f"{side}_own", own)
            for name, part in {
                "shared": nn.Linear(len(scales.feature_low_F), wide, bias=False),
                "sum": nn.Linear(wide, out, bias=False),
                "first": nn.Linear(out, PSI[0], bias=False),
                "second": nn.Linear(PSI[0], PSI[1], bias=False),
            }.items():
                setattr(self, f"{side}_{name}", part)
        self.value_first = nn.Linear(2 * PSI[1], VALUE)
        self.value_second = nn.Linear(VALUE, 1)

    def forward(self, features_DNF: Tensor, x_DN: Tensor, xi_DBN: Tensor) -> Tensor:
        """Scaled labels, D x B, of scaled features."""
        seen_DK = self._read("x", x_DN[:, None], features_DNF)[:, 0]
        moved_DBK = self._read("xi", xi_DBN, features_DNF)
        both = torch.cat([seen_DK[:, None].expand(*moved_DBK.shape[:2], -1), moved_DBK], -1)
        return self.value_second(torch.relu(self.value_first(both)))[..., 0]

    def _read(self, side: str, values_DBN: Tensor, features_DNF: Tensor) -> Tensor:
        """Psi of the summed Phi: D x B x the outputs of Psi."""
        own, shared = getattr(self, f"{side}_own"), getattr(self, f"{side}_shared")
        base_DNH = shared(features_DNF)
        h_DBNH = torch.addcmul(base_DNH[:, None], values_DBN[..., None], own)
        summed = torch.relu_(h_DBNH).sum(2)
        inner = torch.relu(getattr(self, f"{side}_first")(getattr(self, f"{side}_sum")(summed)))
        return getattr(self, f"{side}_second")(inner)

    def predict(self, features_NF: Floats, x_N: Floats, xi_BN: Floats) -> Floats:
        """Scaled labels of one decision at several points, in the weights' precision."""
        dtype = self.value_second.weight.dtype
        with torch.no_grad():
            scaled = torch.as_tensor(self.scales.features(features_NF), dtype=dtype)
            out = self(
                scaled[None],
                torch.as_tensor(x_N, dtype=dtype)[None],
                torch.as_tensor(xi_BN, dtype=dtype)[None],
            )
        return out[0].double().numpy()


class Scales:
    """Ranges by which features and labels are scaled to [0, 1].

    Args:
        feature_low_F, feature_high_F: of each feature
        sizes_S: numbers of items, rising
        label_low_S, label_high_S: of the labels of each
    """

    FIELDS = ("feature_low_F", "feature_high_F", "sizes_S", "label_low_S", "label_high_S")

    def __init__(self, **ranges: Any):
        for name in self.FIELDS:
            setattr(self, name, np.asarray(ranges[name], dtype=float))

    feature_low_F: NDArray[np.float64]
    feature_high_F: NDArray[np.float64]
    sizes_S: NDArray[np.float64]
    label_low_S: NDArray[np.float64]
    label_high_S: NDArray[np.float64]

    def features(self, features_NF: Any) -> Floats:
        return (np.asarray(features_NF, float) - self.feature_low_F) / np.maximum(
            self.feature_high_F - self.feature_low_F, 1e-9
        )

    def label_range(self, size: int) -> tuple[float, float]:
        """Raises OptionError outside the sizes it was made from."""
        if not self.sizes_S[0] <= size <= self.sizes_S[-1]:
            raise OptionError(
                f"the network was trained on {self.sizes_S[0]:g} to {self.sizes_S[-1]:g} items, "
                f"and the problem has {size}",
                hint="train one with holdfast optimize two-stage train, or use another method",
            )
        return (
            float(np.interp(size, self.sizes_S, self.label_low_S)),
            float(np.interp(size, self.sizes_S, self.label_high_S)),
        )

    def labels(self, label: Any, size: int) -> Any:
        low, high = self.label_range(size)
        return (label - low) / max(high - low, 1e-9)

    def record(self) -> dict[str, list[float]]:
        return {name: getattr(self, name).tolist() for name in self.FIELDS}


def save_network(network: SetNetwork, path: Path) -> None:
    """One safetensors file, with the scales and how it was made in its metadata."""
    from safetensors.torch import save

    from holdfast.files import write_bytes, writing

    made = {"scales": network.scales.record(), "record": network.record}
    metadata = {"made": json.dumps(made)}  # several keys would come in any order
    with writing(str(path)):
        write_bytes(path, save(network.state_dict(), metadata))


def load_network(path: Path) -> SetNetwork:
    """What `save_network` wrote.

    Raises:
        ModelError: it is missing, damaged, or another kind of file.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="pt") as file:
            made = json.loads((file.metadata() or {})["made"])
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        network = SetNetwork(Scales(**made["scales"]), made["record"])
        network.load_state_dict(weights)
    except (OSError, SafetensorError, KeyError, ValueError, RuntimeError) as error:
        raise ModelError(
            f"{path} is no network of a two-stage problem: {error}",
            hint="holdfast optimize two-stage train makes one",
        ) from error
    return network.eval()
