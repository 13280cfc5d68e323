"""`holdfast.score`: rows in, Pairs out, gradients through the policy alone; the README's loop."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from holdfast.data import read
from holdfast.errors import DataError
from holdfast.inputs import group, label
from holdfast.preference import dpo
from holdfast.scorers.rows import score
from holdfast.types import Answers, Pairs


@pytest.fixture
def models(tiny_model_dir: Any) -> tuple[Any, Any]:
    return AutoModelForCausalLM.from_pretrained(
        tiny_model_dir
    ), AutoModelForCausalLM.from_pretrained(tiny_model_dir)


def test_pairs_with_gradients_through_the_policy_alone(
    models: Any, tiny_tokenizer: Any, pair_rows: Any
) -> None:
    policy, reference = models
    pairs = score(policy, tiny_tokenizer, read(pair_rows)[:8], reference=reference)
    assert isinstance(pairs, Pairs) and len(pairs) == 8
    assert group.of(pairs) is not None and group.of(pairs).tolist() == [0, 1, 2, 0, 1, 2, 0, 1]
    loss = dpo(pairs).mean()
    assert abs(float(loss.detach()) - 0.6931472) < 1e-5
    loss.backward()
    assert all(p.grad is not None for p in policy.parameters())
    assert all(p.grad is None for p in reference.parameters())


def test_packed_and_plain_agree_and_a_step_lowers_the_loss(
    models: Any, tiny_tokenizer: Any, pair_rows: Any
) -> None:
    policy, reference = models
    rows = read(pair_rows)[:16]
    packed = score(policy, tiny_tokenizer, rows, reference=reference)
    plain = score(policy, tiny_tokenizer, rows, reference=reference, scoring="padded")
    torch.testing.assert_close(packed.chosen.logp_N, plain.chosen.logp_N, rtol=1e-5, atol=1e-5)
    optimizer = torch.optim.SGD(policy.parameters(), lr=0.1)
    before = dpo(packed).mean()
    before.backward()
    optimizer.step()
    assert float(
        dpo(score(policy, tiny_tokenizer, rows, reference=reference)).mean().detach()
    ) < float(before.detach())


def test_single_answers_and_what_is_refused(
    models: Any, tiny_tokenizer: Any, pair_rows: Any
) -> None:
    policy, _ = models
    judged = read(
        [
            {"prompt": "the cat", "completion": " sat", "label": True},
            {"prompt": "a dog", "completion": " ran", "label": False},
        ]
    )
    answers = score(policy, tiny_tokenizer, judged)
    assert (
        isinstance(answers, Answers)
        and label.of(answers) is not None
        and label.of(answers).tolist() == [True, False]
    )
    with pytest.raises(DataError, match="no rows"):
        score(policy, tiny_tokenizer, [])
    with pytest.raises(DataError, match="all comparisons or all single"):
        score(policy, tiny_tokenizer, [judged[0], read(pair_rows)[0]])
