"""A Gaussian process an objective (botorch), and its lower confidence bound.

    v_j(x) = mu_j(x) - kappa sigma_j(x)

Matern 5/2 kernels with a lengthscale a variable, on objectives of zero mean and unit deviation; x
lies in [0, 1]^D. Fitted by maximum posterior under botorch's priors, whose lengthscales grow with D
(Hvarfner et al. 2024): an objective that is linear in x and free of noise, as f1 of ZDT, has no
likelihood maximum, and shorter priors hide that the other variables do not matter to it.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from holdfast.errors import RunError
from holdfast.optimization.pareto.problem import Floats


@dataclass(frozen=True)
class Surrogate:
    """Fitted to x_ND in [0, 1]^D and y_NM, and frozen.

    Attributes:
        model: botorch's, of standardized objectives
        x_ND: what it was fitted to
        y_NM: the same objectives, standardized
    """

    model: Any
    x_ND: Tensor
    y_NM: Tensor

    def mean_and_deviation(self, x_BD: Tensor) -> tuple[Tensor, Tensor]:
        """mu_BM and sigma_BM, with gradients into x."""
        posterior = self.model.posterior(x_BD)
        return posterior.mean, posterior.variance.clamp_min(1e-12).sqrt()

    def lower_bound(self, x_BD: Tensor, kappa: float) -> Tensor:
        """v_BM, with gradients into x."""
        mean_BM, deviation_BM = self.mean_and_deviation(x_BD)
        return mean_BM - kappa * deviation_BM


def standardized(y_NM: Floats) -> Floats:
    """Zero mean and unit deviation by objective; an objective that never changed stays at 0."""
    deviation_M = y_NM.std(0)
    return (y_NM - y_NM.mean(0)) / np.where(deviation_M > 0, deviation_M, 1.0)


def fit(x_ND: Floats, y_NM: Floats) -> Surrogate:
    """Raises:
    RunError: the likelihood could not be maximized.
    """
    from botorch.fit import fit_gpytorch_mll
    from botorch.models import SingleTaskGP
    from botorch.models.utils import gpt_posterior_settings
    from botorch.models.utils.gpytorch_modules import get_covar_module_with_dim_scaled_prior
    from gpytorch.mlls import ExactMarginalLogLikelihood

    x, y = torch.tensor(x_ND), torch.tensor(standardized(y_NM))
    batch = torch.Size([y.shape[1]])
    kernel = get_covar_module_with_dim_scaled_prior(
        x.shape[1], batch_shape=batch, use_rbf_kernel=False
    )
    model = SingleTaskGP(x, y, covar_module=kernel, outcome_transform=None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of restarts that did not converge; a failure raises
        try:
            fit_gpytorch_mll(ExactMarginalLogLikelihood(model.likelihood, model))
        except Exception as error:
            raise RunError(
                f"the Gaussian processes could not be fitted to {len(x)} evaluations: {error}",
                hint="look for objectives that differ by many orders of magnitude",
            ) from error
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    model.eval()
    with torch.no_grad(), gpt_posterior_settings():
        model.posterior(x[:1])  # computes what predictions share
    return Surrogate(model, x, y)
