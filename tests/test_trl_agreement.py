"""Our objectives against TRL's own loss code, on the same tensors.

TRL computes a loss inside its trainers. Here each trainer's real method is called with a stand-in
for `self` that holds the settings it reads, and a stand-in for the model that returns
log-probabilities (or logits) we chose. Nothing of TRL is retyped. Where the conventions differ, the
difference is stated and converted in the open.

TRL averages over the rows of a batch; batches of one row therefore give its cost row by row.
"""

from __future__ import annotations

import os
from collections import defaultdict
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
pytest.importorskip("trl")

from trl.experimental.cpo import CPOTrainer
from trl.experimental.orpo import ORPOTrainer
from trl.trainer.dpo_trainer import DPOTrainer
from trl.trainer.kto_trainer import KTOTrainer

from holdfast.card import costs
from holdfast.inputs import label
from holdfast.methods import METHODS
from holdfast.preference import cdpo, cpo, dpo, ipo, kto, ln_dpo, orpo, rdpo, simpo, slic
from holdfast.reductions import with_average
from holdfast.types import Answers, Pairs, Scored

N, T, PROMPT, VOCABULARY = 4, 6, 3, 11


def sequences(seed: int) -> Scored:
    """N answers of 1 to T tokens."""
    generator = torch.Generator().manual_seed(seed)
    mask_NT = (torch.arange(T) < torch.randint(1, T + 1, (N, 1), generator=generator)).double()
    logp_NT, ref_logp_NT = (
        -3 * torch.rand(N, T, generator=generator, dtype=torch.float64) * mask_NT for _ in range(2)
    )
    return Scored(logp_NT, mask_NT, ref_logp_NT)


PAIRS = Pairs(sequences(0), sequences(1))


def row(pairs: Pairs, i: int) -> Pairs:
    def one(part: Scored) -> Scored:
        return Scored(part.logp_NT[i : i + 1], part.mask_NT[i : i + 1], part.ref_logp_NT[i : i + 1])

    return Pairs(one(pairs.chosen), one(pairs.rejected))


ACCELERATOR = SimpleNamespace(
    device=torch.device("cpu"), gather=lambda x: x, gather_for_metrics=lambda x: x
)


def a_trainer(**settings: Any) -> Any:
    """What a trainer's loss reads of `self`."""
    shared = {
        "accelerator": ACCELERATOR,
        "model": SimpleNamespace(training=True),
        "aux_loss_enabled": False,
        "precompute_ref_logps": True,
        "label_smoothing": 0.0,
        "is_encoder_decoder": False,
        "_metrics": defaultdict(lambda: defaultdict(list)),
        "_total_train_tokens": 0,
        "_tp_size": 1,
    }
    return SimpleNamespace(**{**shared, **settings})


def token_ids(mask_NT: Tensor, first: int = 1) -> dict[str, Tensor]:
    """Prompt, then answer: ids do not matter beyond the first, which tells the stand-in model which
    sequences these are.
    """
    rows = len(mask_NT)
    completion = torch.cat([torch.zeros(rows, PROMPT), mask_NT], -1).long()
    ids = torch.full((rows, PROMPT + T), first)
    attention = torch.cat([torch.ones(rows, PROMPT), mask_NT], -1).long()
    return {"input_ids": ids, "attention_mask": attention, "completion_mask": completion}


def outputs(logp_NT: Tensor) -> Any:
    """A model's answer in TRL's shape: one position less than the sequence, zeros at the prompt."""
    shifted = torch.cat([logp_NT.new_zeros(len(logp_NT), PROMPT - 1), logp_NT], -1)
    return SimpleNamespace(
        log_probs=shifted,
        entropy=shifted.detach(),
        mean_logits=shifted.detach(),
        is_top1=shifted > 0,
    )


# ------------------------------------------------------------------------------------------------
# DPOTrainer


def trl_dpo(pairs: Pairs, loss_type: str, **settings: Any) -> Tensor:
    """The scalar of DPOTrainer for a batch."""
    plain = {
        "loss_weights": [1.0],
        "ld_alpha": None,
        "f_divergence_type": "reverse_kl",
        "use_weighting": False,
    }
    trainer = a_trainer(loss_types=[loss_type], **plain, **settings)
    both = torch.cat([pairs.chosen.mask_NT, pairs.rejected.mask_NT])
    inputs = {
        **token_ids(both),
        "ref_chosen_logps": pairs.chosen.ref_logp_N,
        "ref_rejected_logps": pairs.rejected.ref_logp_N,
    }
    logp = torch.cat([pairs.chosen.logp_NT, pairs.rejected.logp_NT])
    return DPOTrainer._compute_loss(trainer, lambda **_: outputs(logp), inputs, False)


@pytest.mark.parametrize("beta", [0.1, 0.7])
@pytest.mark.parametrize("i", range(N))
def test_dpo_is_sigmoid(beta: float, i: int):
    pairs = row(PAIRS, i)
    assert dpo(pairs, beta=beta).item() == pytest.approx(
        trl_dpo(pairs, "sigmoid", beta=beta).item(), rel=1e-12
    )


@pytest.mark.parametrize("i", range(N))
def test_ln_dpo_is_sigmoid_norm(i: int):
    pairs = row(PAIRS, i)
    assert ln_dpo(pairs, beta=5.0).item() == pytest.approx(
        trl_dpo(pairs, "sigmoid_norm", beta=5.0).item(), rel=1e-12
    )


@pytest.mark.parametrize("flip", [0.0, 0.1, 0.4])
@pytest.mark.parametrize("i", range(N))
def test_rdpo_is_robust_with_the_flip_rate_called_label_smoothing(flip: float, i: int):
    pairs = row(PAIRS, i)
    theirs = trl_dpo(pairs, "robust", beta=0.3, label_smoothing=flip)
    assert rdpo(pairs, beta=0.3, flip_rate=flip).item() == pytest.approx(theirs.item(), rel=1e-12)


def test_gradients_of_dpo_and_rdpo_agree_in_every_token():
    for ours, loss_type, more in ((dpo, "sigmoid", {}), (rdpo, "robust", {"label_smoothing": 0.2})):
        found = []
        for which in ("ours", "theirs"):
            leaves = [
                part.logp_NT.clone().requires_grad_() for part in (PAIRS.chosen, PAIRS.rejected)
            ]
            parts = (
                Scored(leaf, p.mask_NT, p.ref_logp_NT)
                for leaf, p in zip(leaves, (PAIRS.chosen, PAIRS.rejected), strict=True)
            )
            pairs = Pairs(*parts)
            settings = {"flip_rate": 0.2} if ours is rdpo else {}
            scalar = (
                ours(pairs, beta=0.3, **settings).mean()
                if which == "ours"
                else trl_dpo(pairs, loss_type, beta=0.3, **more)
            )
            # TRL sums the padding too, where its model returns zeros: only response tokens can be
            # compared.
            found.append(
                [
                    g * p.mask_NT
                    for g, p in zip(
                        torch.autograd.grad(scalar, leaves),
                        (PAIRS.chosen, PAIRS.rejected),
                        strict=True,
                    )
                ]
            )
        for mine, other in zip(*found, strict=True):
            torch.testing.assert_close(mine, other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("i", range(N))
def test_cdpo_is_not_what_sigmoid_with_label_smoothing_does_there(i: int):
    """TRL's `sigmoid` no longer reads `label_smoothing`; `cdpo` does. The mixture it stands for is
    made of TRL's own loss on the pair and on the swapped pair."""
    pairs = row(PAIRS, i)
    swapped = Pairs(pairs.rejected, pairs.chosen)
    unread = trl_dpo(pairs, "sigmoid", beta=0.3, label_smoothing=0.2)
    mixed = 0.8 * trl_dpo(pairs, "sigmoid", beta=0.3) + 0.2 * trl_dpo(swapped, "sigmoid", beta=0.3)
    assert unread.item() == pytest.approx(dpo(pairs, beta=0.3).item(), rel=1e-12)
    assert cdpo(pairs, beta=0.3, flip_rate=0.2).item() == pytest.approx(mixed.item(), rel=1e-12)
    assert cdpo(pairs, beta=0.3, flip_rate=0.2).item() != pytest.approx(unread.item(), rel=1e-3)


@pytest.mark.parametrize("i", range(N))
def test_ipo_differs_by_the_length(i: int):
    """TRL divides each log-ratio by its answer's length, ours is on sums. Handing TRL
    log-probabilities multiplied by that length (so that its average is our sum) gives our number;
    as they are, answers of several tokens give another."""
    pairs = row(PAIRS, i)

    def stretched(part: Scored) -> Scored:
        length_N1 = part.length_N.unsqueeze(-1)
        return Scored(part.logp_NT * length_N1, part.mask_NT, part.ref_logp_NT * length_N1)

    theirs = trl_dpo(Pairs(stretched(pairs.chosen), stretched(pairs.rejected)), "ipo", beta=0.1)
    assert ipo(pairs, tau=0.1).item() == pytest.approx(theirs.item(), rel=1e-12)
    if pairs.chosen.length_N.item() > 1 or pairs.rejected.length_N.item() > 1:
        assert ipo(pairs, tau=0.1).item() != pytest.approx(
            trl_dpo(pairs, "ipo", beta=0.1).item(), rel=1e-3
        )


def test_ipo_agrees_where_answers_have_one_token():
    def first(part: Scored) -> Scored:
        only = torch.zeros_like(part.mask_NT)
        only[:, 0] = 1
        return Scored(part.logp_NT * only, only, part.ref_logp_NT * only)

    pairs = Pairs(first(PAIRS.chosen), first(PAIRS.rejected))
    assert ipo(pairs, tau=0.3).mean().item() == pytest.approx(
        trl_dpo(pairs, "ipo", beta=0.3).item(), rel=1e-12
    )


@pytest.mark.parametrize("delta", [1.0, 4.0])
@pytest.mark.parametrize("i", range(N))
def test_slic_is_hinge_where_the_reference_is_flat(delta: float, i: int):
    """TRL's `hinge` is on log-ratios, 1 - beta h. With a reference that cancels and beta = 1 /
    delta, ours without likelihood is delta times it."""
    pairs = row(PAIRS, i)
    flat = Pairs(
        *(
            Scored(part.logp_NT, part.mask_NT, torch.zeros_like(part.logp_NT))
            for part in (pairs.chosen, pairs.rejected)
        )
    )
    assert slic(pairs, delta=delta, weight=0.0).item() == pytest.approx(
        delta * trl_dpo(flat, "hinge", beta=1 / delta).item(), rel=1e-12
    )


def test_sft_by_token_mean_is_its_sft():
    """TRL averages over the chosen tokens of the whole batch, ours within each answer unless
    asked.
    """
    theirs = trl_dpo(PAIRS, "sft", beta=0.1)
    batch = Answers(PAIRS.chosen)
    by_token_N, _ = costs(with_average(METHODS["sft"], "token_mean"), batch, {}, {})
    assert by_token_N.mean().item() == pytest.approx(theirs.item(), rel=1e-12)
    cost_N, _ = costs(METHODS["sft"], batch, {}, {})
    assert cost_N.mean().item() != pytest.approx(theirs.item(), rel=1e-3)


# ------------------------------------------------------------------------------------------------
# CPO, SimPO, ORPO


def from_logits(seed: int = 5) -> tuple[dict[str, Tensor], Tensor, Pairs, list[Tensor]]:
    """Random logits of 2N sequences; TRL's batch; the same as Pairs; and the log-probabilities of
    each chosen row's prompt tokens.
    """
    generator = torch.Generator().manual_seed(seed)
    length = PROMPT + T
    ids = torch.randint(0, VOCABULARY, (2 * N, length), generator=generator)
    logits = torch.randn(2 * N, length, VOCABULARY, generator=generator, dtype=torch.float64)
    mask = (torch.arange(T) < torch.randint(1, T + 1, (2 * N, 1), generator=generator)).long()
    attention = torch.cat([torch.ones(2 * N, PROMPT, dtype=torch.long), mask], -1)
    labels = torch.where(
        torch.cat([torch.zeros(2 * N, PROMPT, dtype=torch.long), mask], -1) == 1, ids, -100
    )
    batch = {}
    for name, rows in (("chosen", slice(0, N)), ("rejected", slice(N, None))):
        batch |= {
            f"{name}_input_ids": ids[rows],
            f"{name}_attention_mask": attention[rows],
            f"{name}_labels": labels[rows],
        }
    logp = logits.log_softmax(-1)[:, :-1].gather(-1, ids[:, 1:, None]).squeeze(-1)
    response, prompt = logp[:, PROMPT - 1 :], logp[:N, : PROMPT - 1]
    pairs = Pairs(Scored(response[:N], mask[:N].double()), Scored(response[N:], mask[N:].double()))
    return batch, logits, pairs, list(prompt)


def trl_logits(
    trainer_class: Any, extra_methods: tuple[str, ...], **settings: Any
) -> tuple[Tensor, Pairs, list[Tensor]]:
    batch, logits, pairs, prompt = from_logits()
    trainer = a_trainer(pad_token_id=0, padding_value=0, **settings)
    for name in ("concatenated_inputs", "get_batch_logps"):
        setattr(trainer, name, getattr(trainer_class, name))
    for name in ("concatenated_forward", *extra_methods):
        setattr(trainer, name, getattr(trainer_class, name).__get__(trainer))
    model = lambda *_, **__: SimpleNamespace(logits=logits)  # noqa: E731
    return trainer_class.get_batch_loss_metrics(trainer, model, batch)[0], pairs, prompt


@pytest.mark.parametrize("alpha", [0.0, 1.0, 0.4])
def test_cpo_is_its_sigmoid_with_the_likelihood_averaged_over_the_batch(alpha: float):
    """TRL averages the likelihood term over all chosen tokens of the batch, ours within each
    answer: weigh our rows by their length.
    """
    theirs, pairs, _ = trl_logits(
        CPOTrainer, ("cpo_loss",), loss_type="sigmoid", beta=0.3, alpha=0.0, cpo_alpha=alpha
    )
    comparison_N = cpo(pairs, beta=0.3, alpha=0.0)
    likelihood_N = cpo(pairs, beta=0.3, alpha=alpha) - comparison_N
    length_N = pairs.chosen.length_N
    converted = comparison_N.mean() + (length_N * likelihood_N).sum() / length_N.sum()
    assert converted.item() == pytest.approx(theirs.item(), rel=1e-10)


@pytest.mark.parametrize(("beta", "gamma"), [(2.0, 0.5), (2.5, 1.375)])
def test_simpo_is_its_simpo_with_gamma_absolute(beta: float, gamma: float):
    """`cpo_alpha` must be 0 there, or a likelihood term joins."""
    settings = {
        "loss_type": "simpo",
        "beta": beta,
        "simpo_gamma": gamma,
        "alpha": 0.0,
        "cpo_alpha": 0.0,
    }
    theirs, pairs, _ = trl_logits(CPOTrainer, ("cpo_loss",), **settings)
    assert simpo(pairs, beta=beta, gamma=gamma).mean().item() == pytest.approx(
        theirs.item(), rel=1e-10
    )


@pytest.mark.parametrize("weight", [0.1, 1.5])
def test_orpo_is_its_odds_ratio_with_a_likelihood_that_skips_the_prompt(weight: float):
    """TRL's likelihood term averages over prompt and response tokens of the whole batch and calls
    the weight `beta`; ours averages over each response. The penalty is the same (TRL rounds it to
    float32)."""
    theirs, pairs, prompt = trl_logits(ORPOTrainer, ("odds_ratio_loss",), beta=weight)
    penalty_N = orpo(pairs, weight=weight) - orpo(pairs, weight=0.0)
    tokens = pairs.chosen.length_N.sum() + N * (PROMPT - 1)
    likelihood = -(pairs.chosen.logp_N.sum() + sum(p.sum() for p in prompt)) / tokens
    assert (penalty_N.mean() + likelihood).item() == pytest.approx(theirs.item(), rel=1e-6)


# ------------------------------------------------------------------------------------------------
# KTOTrainer


@pytest.mark.parametrize("shift", [-0.5, 2.0])
@pytest.mark.parametrize(("desirable", "undesirable"), [(1.0, 1.0), (1.3, 0.6)])
def test_kto_is_its_kto(shift: float, desirable: float, undesirable: float):
    """The same mismatched answers given to both; one shift leaves z0 at 0, the other makes it
    positive.
    """
    answer, mismatched = sequences(2), sequences(3)
    mismatched = Scored(
        mismatched.logp_NT, mismatched.mask_NT, mismatched.ref_logp_NT - shift * mismatched.mask_NT
    )
    assert (mismatched.log_ratio_N.mean().item() > 0) == (shift > 0)
    label_N = torch.tensor([True, False, False, True])
    inputs = {
        **token_ids(answer.mask_NT, first=1),
        **{f"KL_{k}": v for k, v in token_ids(mismatched.mask_NT, first=2).items()},
        "label": label_N,
        "ref_logps": answer.ref_logp_N,
        "ref_KL_logps": mismatched.ref_logp_N,
    }
    trainer = a_trainer(
        loss_type="kto",
        calculate_KL=True,
        beta=0.2,
        desirable_weight=desirable,
        undesirable_weight=undesirable,
    )
    trainer._compute_kl_logps = KTOTrainer._compute_kl_logps.__get__(trainer)
    by_first = {1: answer.logp_NT, 2: mismatched.logp_NT}
    theirs = KTOTrainer._compute_loss(
        trainer, lambda *, input_ids, **_: outputs(by_first[input_ids[0, 0].item()]), inputs, False
    )
    ours_N = kto(
        Answers(answer, {label: label_N}, extra={"mismatched": mismatched}),
        beta=0.2,
        desirable=desirable,
        undesirable=undesirable,
    )
    assert ours_N.mean().item() == pytest.approx(theirs.item(), rel=1e-12)
