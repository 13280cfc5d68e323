"""Batched fits against closed forms and against a fit of one world at a time."""

from __future__ import annotations

import torch

from holdfast.lab.fit import adam, newton


def bowl(center_WD: torch.Tensor, scale_WD: torch.Tensor):
    return lambda theta_WD: (scale_WD * (theta_WD - center_WD) ** 2).sum(-1)


def test_newton_lands_on_every_world_of_a_quadratic_at_once():
    torch.manual_seed(0)
    center_WD, scale_WD = (
        torch.randn(5, 3, dtype=torch.float64),
        torch.rand(5, 3, dtype=torch.float64) + 0.1,
    )
    fitted = newton(bowl(center_WD, scale_WD), torch.zeros(5, 3))
    torch.testing.assert_close(fitted.theta_WD, center_WD, atol=1e-8, rtol=0)
    assert fitted.slope_W.max() < 1e-8


def test_a_world_is_fitted_the_same_alone_and_in_company():
    x_WND = torch.randn(4, 60, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))

    def cost(x_WND: torch.Tensor):
        return lambda theta_WD: (
            torch.nn.functional.softplus(-(x_WND @ theta_WD[..., None])[..., 0] + 0.3).mean(-1)
            + 0.01 * theta_WD.square().sum(-1)
        )

    together = newton(cost(x_WND), torch.zeros(4, 2))
    for w in range(4):
        alone = newton(cost(x_WND[w : w + 1]), torch.zeros(1, 2))
        torch.testing.assert_close(alone.theta_WD[0], together.theta_WD[w], atol=1e-7, rtol=0)


def test_newton_leaves_a_saddle_and_goes_down():
    fitted = newton(
        lambda t_WD: (t_WD[:, 0] ** 2 - 1) ** 2 + t_WD[:, 1] ** 2, torch.tensor([[0.01, 1.0]])
    )
    torch.testing.assert_close(
        fitted.theta_WD.abs(), torch.tensor([[1.0, 0.0]], dtype=torch.float64), atol=1e-7, rtol=0
    )


def test_an_unbounded_cost_is_followed_to_the_end_of_the_steps_and_says_so():
    fitted = newton(lambda t_WD: -t_WD.sum(-1), torch.zeros(1, 2), steps=10, longest=2.0)
    assert abs(fitted.theta_WD.norm() - 20) < 1e-6
    assert fitted.slope_W[0] == 1


def test_adam_meets_a_kink_and_shows_its_way():
    seen = []
    fitted = adam(
        lambda t_WD: (t_WD - 1).abs().sum(-1),
        torch.zeros(2, 2),
        steps=200,
        rate=0.1,
        watch=lambda step, t: seen.append(step),
    )
    torch.testing.assert_close(
        fitted.theta_WD, torch.ones(2, 2, dtype=torch.float64), atol=0.02, rtol=0
    )
    assert seen == list(range(201))
