"""The diffusion scorer against plain transcriptions, on networks of a few thousand weights."""

import copy
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from holdfast.errors import ModelError
from holdfast.preference import diffusion_dpo
from holdfast.scorers.diffusion.items import Draw, LatentItem
from holdfast.scorers.diffusion.schedule import Schedule
from holdfast.scorers.diffusion.scorer import DiffusionScorer, TruncatedScorer
from holdfast.scorers.diffusion.small import small_pipeline
from holdfast.scorers.live import InMemoryReference
from holdfast.types import Pairs

SHAPE = (1, 16, 16)


def networks(prediction="epsilon"):
    """A network, and one that is somewhat different."""
    pipeline = small_pipeline(width=8, labels=("a", "b"), prediction=prediction)
    frozen = copy.deepcopy(pipeline.unet).eval()
    torch.manual_seed(1)
    with torch.no_grad():
        for x in pipeline.unet.parameters():
            x.add_(0.02 * torch.randn_like(x))
    return pipeline, pipeline.unet.eval(), frozen


def items_of(n, branches=("chosen", "rejected"), *, step=0, seed=0, per_dimension=False):
    rng = torch.Generator().manual_seed(7)
    return [
        LatentItem(
            {name: torch.randn(SHAPE, generator=rng) for name in branches},
            {"class_labels": torch.tensor(row % 2)},
            row,
            Draw.of(seed, step, row, SHAPE),
            per_dimension,
        )
        for row in range(n)
    ]


def example_script_loss(model, frozen, scheduler, items, beta, prediction):
    """The loss of diffusers' example script for Diffusion-DPO, written from its formula."""
    latents = torch.cat(
        [torch.stack([i.latents[n] for i in items]) for n in ("chosen", "rejected")]
    )
    noise = torch.stack([i.draw.noise[0] for i in items]).repeat(2, 1, 1, 1)
    steps = scheduler.config.num_train_timesteps
    t = torch.tensor([int(i.draw.uniform[0] * steps) for i in items]).repeat(2)
    labels = torch.stack([i.condition["class_labels"] for i in items]).repeat(2)
    noisy = scheduler.add_noise(latents, noise, t)
    target = noise if prediction == "epsilon" else scheduler.get_velocity(latents, noise, t)
    errors = F.mse_loss(model(noisy, t, labels).sample, target, reduction="none").mean((1, 2, 3))
    with torch.no_grad():
        ref = F.mse_loss(frozen(noisy, t, labels).sample, target, reduction="none").mean((1, 2, 3))
    (won, lost), (ref_won, ref_lost) = errors.chunk(2), ref.chunk(2)
    return -F.logsigmoid(-0.5 * beta * ((won - lost) - (ref_won - ref_lost))).mean()


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_loss_and_gradient_are_those_of_diffusers_example_script(prediction):
    pipeline, model, frozen = networks(prediction)
    items = items_of(4)
    schedule = Schedule.of(pipeline.scheduler)
    scorer = DiffusionScorer(model, schedule, InMemoryReference(frozen))
    ours = diffusion_dpo(Pairs(**scorer(items)), beta=50.0).mean()
    ours.backward()
    mine = [x.grad.clone() for x in model.parameters()]
    model.zero_grad()
    theirs = example_script_loss(model, frozen, pipeline.scheduler, items, 50.0, prediction)
    theirs.backward()
    # float32; errors of velocities are larger
    assert ours.item() == pytest.approx(
        theirs.item(), abs=1e-6 if prediction == "epsilon" else 5e-6
    )
    for a, x in zip(mine, model.parameters(), strict=True):
        torch.testing.assert_close(a, x.grad, atol=1e-6, rtol=1e-4)


def test_policy_equal_to_reference_has_no_margin():
    pipeline, _, frozen = networks()
    scorer = DiffusionScorer(frozen, Schedule.of(pipeline.scheduler), InMemoryReference(frozen))
    assert Pairs(**scorer(items_of(3))).margin_N.abs().max() == 0


def test_noise_is_of_seed_step_and_row_alone():
    pipeline, model, frozen = networks()
    scorer = DiffusionScorer(model, Schedule.of(pipeline.scheduler), InMemoryReference(frozen))
    together = scorer(items_of(4))["chosen"].logp_NT.detach()
    again = torch.cat([scorer([item])["chosen"].logp_NT for item in items_of(4)]).detach()
    torch.testing.assert_close(together, again, atol=1e-5, rtol=1e-5)
    other = scorer(items_of(4, step=1))["chosen"].logp_NT.detach()
    assert not torch.allclose(together, other)


def test_truncated_by_a_plain_transcription():
    """A few deterministic steps from noise, an estimate, noise from where they ended, the copy's
    own estimate.
    """
    pipeline, model, frozen = networks()
    (item,) = items_of(1, ("answer",), per_dimension=True)
    schedule = Schedule.of(pipeline.scheduler)
    scorer = TruncatedScorer(model, schedule, InMemoryReference(frozen), steps=3, grid_steps=10)
    found = scorer([item])["answer"].logp_NT
    abar = schedule.abar_T.float()
    grid = [99, 199, 299, 399, 499, 599, 699, 799, 899, 999]
    label = item.condition["class_labels"][None]
    x = item.draw.noise[0][None]

    def eps(net, x, t):
        return net(x, torch.tensor([t]), label).sample

    def image(e, x, t):
        return (x - (1 - abar[t]).sqrt() * e) / abar[t].sqrt()

    with torch.no_grad():
        for at in (9, 8, 7):
            e = eps(frozen, x, grid[at])
            low = grid[at - 1]
            x = abar[low].sqrt() * image(e, x, grid[at]) + (1 - abar[low]).sqrt() * e
        t = grid[6]
        estimate = image(eps(frozen, x, t), x, t)
        s = min(t + 1 + int(item.draw.uniform[1] * (999 - t)), 999)
        ratio = abar[s] / abar[t]
        x_s = ratio.sqrt() * x + (1 - ratio).sqrt() * item.draw.noise[1][None]
    d = estimate - image(eps(model, x_s, s), x_s, s)
    torch.testing.assert_close(found, -0.5 * d.flatten(1) ** 2, atol=1e-4, rtol=1e-4)


def test_a_network_that_mixes_images_is_refused():
    pipeline, model, frozen = networks()

    class Mixing(torch.nn.Module):
        config = model.config

        def __init__(self):
            super().__init__()
            self.inner = model

        def forward(self, x, t, **condition):
            return self.inner(x - x.mean(0, keepdim=True), t, **condition)

    scorer = DiffusionScorer(Mixing(), Schedule.of(pipeline.scheduler), InMemoryReference(frozen))
    with pytest.raises(ModelError, match="differently in a batch and alone"):
        scorer.verify(items_of(3))
    plain = DiffusionScorer(model, Schedule.of(pipeline.scheduler), InMemoryReference(frozen))
    assert plain.verify(items_of(3)).worst_nats < 1e-4


def test_an_image_without_noise_is_refused():
    pipeline, model, frozen = networks()
    scorer = DiffusionScorer(model, Schedule.of(pipeline.scheduler), InMemoryReference(frozen))
    with pytest.raises(ModelError, match="no noise"):
        scorer([replace(items_of(1)[0], draw=None)])


def test_flow_matching_is_refused():
    from diffusers import FlowMatchEulerDiscreteScheduler

    with pytest.raises(ModelError, match="has no alphas_cumprod"):
        Schedule.of(FlowMatchEulerDiscreteScheduler())
