"""Beside its reference in memory the policy is scored as before, and what is added equals a slow
and obvious forward.
"""

from __future__ import annotations

import copy

import pytest
import torch
from peft import LoraConfig, get_peft_model

from holdfast.card import Head
from holdfast.errors import ModelError
from holdfast.inputs import activation, head, reference, token_kl
from holdfast.preference._tokens import TokenMask
from holdfast.preference.spo import DegreeHead
from holdfast.scorers import head as chunks
from holdfast.scorers.live import InMemoryReference, LiveScorer
from holdfast.types import Tokenized
from tests.conftest import build_model

MASK = Head(lambda width, layers: jumbled(TokenMask(width, layers, 2)), of="reference")
DEGREE = Head(lambda width, layers: jumbled(DegreeHead(width, layers)), of="policy")
WANTS = (reference, token_kl, activation, head)
ITEMS = [
    Tokenized([0, 5, 6, 7], {"chosen": [8, 9, 10, 1], "rejected": [11, 1], "copy": []}),
    Tokenized([0, 12], {"chosen": [13, 1], "rejected": [14, 15, 16, 17, 1], "copy": [14, 1]}),
]


def jumbled(module: torch.nn.Module) -> torch.nn.Module:
    generator = torch.Generator().manual_seed(3)
    for parameter in module.parameters():
        parameter.data += 0.3 * torch.randn(parameter.shape, generator=generator)
    return module


def scorer(scoring: str = "packed", head: Head | None = MASK, **changes) -> LiveScorer:
    reference = InMemoryReference(build_model(40, seed=1, **changes))
    return LiveScorer(
        build_model(40, seed=0, **changes),
        wants=WANTS,
        reference=reference,
        head=head,
        scoring=scoring,
    )


@pytest.mark.parametrize(
    "head", [MASK, DEGREE, None], ids=["of the reference", "of the policy", "none"]
)
def test_packed_equals_plain_in_value_and_gradient(head: Head | None):
    found = {}
    for scoring in ("packed", "padded"):
        live = scorer(scoring, head)
        parts = live(ITEMS)
        sum(
            (x * (1 + torch.arange(x.numel()).reshape(x.shape) % 3)).sum()
            for part in parts.values()
            for x in part.differentiable.values()
        ).backward()
        found[scoring] = parts, {name: p.grad for name, p in live.named_parameters()}
    (packed, slope), (plain, plain_slope) = found["packed"], found["padded"]
    for name, part in plain.items():
        assert packed[name].tensors.keys() == part.tensors.keys() >= {"kl_NT", "ref_activation_NTL"}
        for field, x in part.tensors.items():
            torch.testing.assert_close(packed[name].tensors[field], x, rtol=1e-4, atol=1e-5)
    assert slope.keys() == plain_slope.keys() and any(
        name.startswith("head.") for name in slope
    ) == (head is not None)
    for name, x in plain_slope.items():
        torch.testing.assert_close(slope[name], x, rtol=1e-3, atol=1e-4)


def obvious(model: torch.nn.Module, ids: list[int]):
    with torch.no_grad():
        return model(input_ids=torch.tensor([ids]), output_hidden_states=True)


def test_every_number_is_what_a_forward_of_one_answer_gives():
    live = scorer()
    reference = live._reference.model
    part = live(ITEMS)["rejected"]
    prompt, answer = [0, 12], ITEMS[1].branches["rejected"]
    ours, theirs = obvious(live.model, [*prompt, *answer]), obvious(reference, [*prompt, *answer])
    for t in range(5):
        before = len(prompt) - 1 + t  # the last place that token t's chooser has read
        p, q = theirs.logits[0, before].log_softmax(-1), ours.logits[0, before].log_softmax(-1)
        assert part.kl_NT[1, t].item() == pytest.approx((p.exp() * (p - q)).sum().item(), abs=1e-5)
        states = torch.stack([layer[0, before] for layer in theirs.hidden_states[1:]])
        torch.testing.assert_close(
            part.ref_activation_NTL[1, t], states.mean(-1), rtol=1e-4, atol=1e-5
        )
        torch.testing.assert_close(
            part.head_NTK[1, t], live.head(states[None])[0], rtol=1e-4, atol=1e-5
        )
    degrees = scorer(head=DEGREE)
    last = obvious(degrees.model, [*prompt, *answer]).hidden_states[-1][
        0, -1
    ]  # the last token itself
    torch.testing.assert_close(
        degrees(ITEMS)["rejected"].head_NTK[1, 4],
        degrees.head(last[None, None])[0],
        rtol=1e-4,
        atol=1e-5,
    )
    copy_ = degrees(ITEMS)["copy"]
    assert copy_.mask_NT.tolist() == [[0, 0], [1, 1]] and not copy_.head_NTK[0].any()


def test_the_mask_does_not_see_the_token_it_weighs():
    """Change token t: masks of tokens up to t stay, later ones do not."""
    live = scorer()
    other = Tokenized(
        [0, 12], {"chosen": [13, 1], "rejected": [14, 15, 20, 17, 1], "copy": [14, 1]}
    )
    one, two = live(ITEMS)["rejected"].head_NTK[1], live([ITEMS[0], other])["rejected"].head_NTK[1]
    torch.testing.assert_close(one[:3], two[:3])
    assert not torch.allclose(one[3:], two[3:])


def test_slope_of_the_divergence_is_policy_minus_reference():
    logits = torch.randn(3, 7, dtype=torch.float64, requires_grad=True)
    reference = torch.randn(3, 7, dtype=torch.float64)
    chunks.divergence(reference.log_softmax(-1), logits.log_softmax(-1)).sum().backward()
    torch.testing.assert_close(logits.grad, logits.softmax(-1) - reference.softmax(-1))
    sure = torch.tensor([[0.0, -torch.inf]])
    assert chunks.divergence(sure, torch.tensor([[0.3, 0.7]]).log()).item() == pytest.approx(
        -torch.tensor(0.3).log().item()
    )


def test_chunks_of_any_size_give_the_same(monkeypatch: pytest.MonkeyPatch):
    whole = scorer()(ITEMS)
    seen = []
    first = chunks._chunk_with_kl
    monkeypatch.setattr(
        chunks,
        "_chunk_with_kl",
        lambda hidden, *rest: (seen.append(len(hidden)), first(hidden, *rest))[1],
    )
    monkeypatch.setitem(
        chunks.CHUNK_ELEMENTS, "cpu", 40 * 4
    )  # four rows of logits: two of the policy, two of the reference
    small = scorer()(ITEMS)
    assert max(seen) == 2
    for name, part in whole.items():
        torch.testing.assert_close(small[name].kl_NT, part.kl_NT)
        torch.testing.assert_close(small[name].logp_NT, part.logp_NT)


def test_an_adapter_switched_off_is_the_base_model():
    base = build_model(40, seed=0)
    before = copy.deepcopy(base)
    policy = get_peft_model(
        base,
        LoraConfig(
            r=2, target_modules="all-linear", task_type="CAUSAL_LM", init_lora_weights=False
        ),
    )
    live = LiveScorer(
        policy, wants=WANTS, reference=InMemoryReference(policy, adapter_off=True), head=MASK
    )
    apart = LiveScorer(policy, wants=WANTS, reference=InMemoryReference(before), head=MASK)
    one, two = live(ITEMS), apart(ITEMS)
    assert two["chosen"].kl_NT.sum() > 0.01
    for name, part in two.items():
        for field, x in part.tensors.items():
            torch.testing.assert_close(one[name].tensors[field], x, rtol=1e-4, atol=1e-5)
    one["chosen"].kl_NT.sum().backward()
    trained = [
        p for name, p in live.named_parameters() if p.requires_grad and name.startswith("model.")
    ]
    assert trained and all(p.grad is not None and p.grad.any() for p in trained)


def test_the_reference_is_no_part_of_the_scorer_and_runs_without_dropout():
    live = scorer(attention_dropout=0.5)
    assert len(list(live.model.parameters())) + 3 == len(list(live.parameters()))
    live.train()
    first, again = live(ITEMS)["chosen"], live(ITEMS)["chosen"]
    assert torch.equal(first.ref_activation_NTL, again.ref_activation_NTL) and not torch.equal(
        first.logp_NT, again.logp_NT
    )


def test_log_probs_alone_and_verification():
    live = scorer()
    with live.log_probs_alone():
        assert live(ITEMS)["chosen"].tensors.keys() == {"logp_NT", "mask_NT"}
    found = live.verify(ITEMS)
    assert found.used == "packed" and found.worst_nats < 1e-4
    with pytest.raises(ModelError, match="given no reference"):
        LiveScorer(build_model(40), wants=WANTS)(ITEMS)
