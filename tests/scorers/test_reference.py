"""The reference cache gives back what was scored, notices what changed, and draws no random
number.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import transformers as hf

from holdfast.inputs import confidence, group, label, weight
from holdfast.scorers.assemble import assemble
from holdfast.scorers.reference import attach, items_hash, model_hash, score_reference
from holdfast.scorers.text import TextScorer
from holdfast.types import Answers, Pairs, Row, Scored, Tokenized, Where

CONFIG = hf.LlamaConfig(
    vocab_size=50,
    hidden_size=32,
    intermediate_size=64,
    num_hidden_layers=2,
    num_attention_heads=2,
    attention_dropout=0.5,
    max_position_embeddings=64,
)
ITEMS = [
    Tokenized([3, 4, 5], {"chosen": [6, 7], "rejected": [8]}),
    Tokenized([9], {"chosen": [10], "rejected": [11, 12, 13]}),
]


def make(seed: int = 0) -> hf.LlamaForCausalLM:
    torch.manual_seed(seed)
    return hf.LlamaForCausalLM(CONFIG)


def test_cache_gives_back_the_same_numbers_without_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scorer = TextScorer(make())
    scored = score_reference(scorer, ITEMS, key="k", cache_dir=tmp_path)
    monkeypatch.setattr(
        TextScorer, "forward", lambda self, items: pytest.fail("the cache was not used")
    )
    again = score_reference(scorer, ITEMS, key="k", cache_dir=tmp_path)
    for before, after in zip(scored, again, strict=True):
        assert before.keys() == after.keys()
        assert all(torch.equal(before[name], after[name]) for name in before)
    assert [len(item["rejected"]) for item in again] == [1, 3]


def test_scoring_leaves_random_state_and_training_mode_alone(tmp_path: Path) -> None:
    model = make().train()
    scorer = TextScorer(model)
    state = torch.get_rng_state()
    first = score_reference(scorer, ITEMS, key="k")
    assert torch.equal(torch.get_rng_state(), state) and model.training
    assert torch.equal(
        first[0]["chosen"], score_reference(scorer, ITEMS, key="k")[0]["chosen"]
    )  # dropout is off while scoring


def test_another_key_or_row_is_another_entry(tmp_path: Path) -> None:
    scorer = TextScorer(make())
    score_reference(scorer, ITEMS, key="k", cache_dir=tmp_path)
    score_reference(scorer, ITEMS, key="other", cache_dir=tmp_path)
    score_reference(scorer, list(reversed(ITEMS)), key="k", cache_dir=tmp_path)
    assert len(list(tmp_path.glob("reference-*.safetensors"))) == 3
    assert not list(tmp_path.glob("*.part"))


def test_damaged_entry_is_scored_again(tmp_path: Path) -> None:
    scorer = TextScorer(make())
    scored = score_reference(scorer, ITEMS, key="k", cache_dir=tmp_path)
    (entry,) = tmp_path.glob("*.safetensors")
    entry.write_bytes(entry.read_bytes()[:40])
    again = score_reference(scorer, ITEMS, key="k", cache_dir=tmp_path)
    assert torch.equal(scored[1]["rejected"], again[1]["rejected"])


def test_hashes_follow_content_not_place(tmp_path: Path) -> None:
    model = make()
    before = model_hash(model)
    model.save_pretrained(tmp_path / "a")
    assert model_hash(hf.LlamaForCausalLM.from_pretrained(tmp_path / "a")) == before
    assert model_hash(make(seed=1)) != before
    with torch.no_grad():
        model.lm_head.weight[0, 0] += 1e-3
    assert model_hash(model) != before
    assert items_hash(ITEMS) != items_hash([ITEMS[0], replace(ITEMS[1], prompt=[8])])
    # the border between prompt and answer counts, not only the ids in a row
    assert items_hash([Tokenized([1, 2], {"a": [3]})]) != items_hash(
        [Tokenized([1], {"a": [2, 3]})]
    )


def test_attach_fills_the_reference_and_step_zero_reads_ln_2() -> None:
    scorer = TextScorer(make().eval())
    parts = attach(scorer(ITEMS), score_reference(scorer, ITEMS, key="k"))
    pairs = assemble(Pairs, parts, rows(2))
    assert isinstance(pairs, Pairs)
    torch.testing.assert_close(
        torch.nn.functional.softplus(-0.1 * pairs.margin_N),
        torch.full((2,), 2.0).log(),
        rtol=0,
        atol=1e-5,
    )
    assert not parts["chosen"].ref_logp_NT.requires_grad and parts["chosen"].logp_NT.requires_grad


def rows(n: int, **columns: object) -> list[Row]:
    return [
        Row(
            Where("f", i + 1),
            "p",
            chosen="a",
            rejected="b",
            **{k: v[i] for k, v in columns.items()},
        )
        for i in range(n)
    ]  # type: ignore[index]


def test_assemble_carries_the_columns() -> None:
    part = Scored(torch.zeros(2, 1), torch.ones(2, 1))
    parts = {"chosen": part, "rejected": part, "rationale": part}
    pairs = assemble(
        Pairs,
        parts,
        rows(2, weight=[2.0, None], confidence=[0.5, 0.75], group=["x", "y"]),
        groups=["y", "x"],
    )
    assert isinstance(pairs, Pairs)
    assert weight.of(pairs).tolist() == [2.0, 1.0]
    assert confidence.of(pairs).tolist() == [0.5, 0.75]
    assert group.of(pairs).tolist() == [1, 0]
    assert list(pairs.extra) == ["rationale"]
    partly = assemble(
        Pairs, parts, rows(2, confidence=[0.5, None], group=["x", None]), groups=["x"]
    )
    assert confidence.of(partly) is None and group.of(partly) is None and weight.of(partly) is None
    answers = assemble(
        Answers,
        {"answer": part, "mismatched": part},
        [Row(Where("f", 1), "p", answer="a", desirable=d) for d in (True, False)],
    )
    assert isinstance(answers, Answers)
    assert label.of(answers).tolist() == [True, False] and list(answers.extra) == ["mismatched"]
