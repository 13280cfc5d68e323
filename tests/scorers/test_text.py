"""The packed scorer equals one plain padded forward per answer, whatever the model; and says so
when it cannot.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import transformers as hf
from torch import Tensor

from holdfast.errors import DataError
from holdfast.scorers import head as head_module
from holdfast.scorers.layout import pack
from holdfast.scorers.padded import score_padded
from holdfast.scorers.text import TextScorer, chunks_by_tokens, score_in_chunks
from holdfast.types import Scored, Tokenized

SIZES = {
    "vocab_size": 103,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": 512,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
GROUPED = {**SIZES, "num_key_value_heads": 2}

FAMILIES = {
    "llama": hf.LlamaConfig(**GROUPED),
    "llama_tied": hf.LlamaConfig(**GROUPED, tie_word_embeddings=True),
    "qwen2": hf.Qwen2Config(**GROUPED),
    "qwen2_sliding": hf.Qwen2Config(
        **GROUPED, use_sliding_window=True, sliding_window=8, max_window_layers=1
    ),
    "qwen3": hf.Qwen3Config(**GROUPED, head_dim=16),
    "gpt_neox": hf.GPTNeoXConfig(**SIZES),
    "gemma": hf.GemmaConfig(**{**SIZES, "num_key_value_heads": 1}, head_dim=16),
    "gemma2_softcapped": hf.Gemma2Config(**GROUPED, head_dim=16, sliding_window=8),
    "gemma3_sliding": hf.Gemma3TextConfig(**GROUPED, head_dim=16, sliding_window=8),
    "mistral_sliding": hf.MistralConfig(**GROUPED, sliding_window=8),
    "granite_scaled": hf.GraniteConfig(**GROUPED, logits_scaling=3.0),
    "gpt2_learned_positions": hf.GPT2Config(
        vocab_size=103, n_embd=64, n_layer=2, n_head=4, bos_token_id=1, eos_token_id=2
    ),
}


def make(config: hf.PreTrainedConfig, seed: int = 0) -> hf.PreTrainedModel:
    torch.manual_seed(seed)
    model = hf.AutoModelForCausalLM.from_config(config).float().eval()
    for parameter in model.parameters():
        if parameter.ndim > 1:  # large enough that a wrong mask shows
            torch.nn.init.normal_(parameter, std=0.15)
    return model


def make_items(shapes: list[tuple[int, int, int]], seed: int = 0) -> list[Tokenized]:
    g = torch.Generator().manual_seed(seed)

    def ids(length: int) -> list[int]:
        return torch.randint(3, 103, (length,), generator=g).tolist()

    return [
        Tokenized(ids(p), {"chosen": ids(c), "rejected": ids(r)}, row=n)
        for n, (p, c, r) in enumerate(shapes)
    ]


ITEMS = make_items([(5, 7, 3), (30, 1, 20), (12, 64, 40), (1, 5, 2)])


def objective(parts: dict[str, Scored]) -> Tensor:
    """Some smooth function of every log-probability, with different slopes everywhere."""
    return sum(
        (scored.logp_NT * torch.linspace(0.5, 1.5, scored.logp_NT.shape[1]) * (1 + n)).tanh().sum()
        for n, scored in enumerate(parts.values())
    )


def gradients(model: torch.nn.Module, parts: dict[str, Scored]) -> dict[str, Tensor]:
    model.zero_grad()
    objective(parts).backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def assert_same_gradients(
    ours: dict[str, Tensor], plain: dict[str, Tensor], tolerance: float
) -> None:
    assert ours.keys() == plain.keys()
    scale = max(float(g.norm()) for g in plain.values())
    for name, g in plain.items():
        assert float((ours[name] - g).norm()) <= tolerance * max(float(g.norm()), 1e-3 * scale), (
            name
        )


@pytest.mark.parametrize("family", FAMILIES)
def test_packed_equals_plain(family: str) -> None:
    model = make(FAMILIES[family])
    scorer = TextScorer(model)
    assert scorer.scoring == "packed"
    packed, plain = scorer(ITEMS), score_padded(model, ITEMS, device=scorer.device)
    for name in plain:
        assert torch.equal(packed[name].mask_NT, plain[name].mask_NT)
        torch.testing.assert_close(packed[name].logp_NT, plain[name].logp_NT, rtol=1e-5, atol=1e-5)
    assert_same_gradients(
        gradients(model, scorer(ITEMS)),
        gradients(model, score_padded(model, ITEMS, device=scorer.device)),
        1e-4,
    )


def test_plain_is_the_models_own_logits_one_row_at_a_time() -> None:
    model = make(FAMILIES["llama"])
    parts = score_padded(model, ITEMS, device=torch.device("cpu"))
    for n, item in enumerate(ITEMS):
        for name, answer in item.branches.items():
            with torch.no_grad():
                logits = model(torch.tensor([[*item.prompt, *answer]])).logits[0].log_softmax(-1)
            slow = torch.stack(
                [logits[len(item.prompt) + t - 1, token] for t, token in enumerate(answer)]
            )
            torch.testing.assert_close(
                parts[name].logp_NT[n, : len(answer)], slow, rtol=1e-5, atol=1e-5
            )
            assert parts[name].mask_NT[n].sum() == len(answer)


def test_a_row_does_not_see_its_neighbors_or_its_sibling() -> None:
    scorer = TextScorer(make(FAMILIES["llama"]))
    alone = scorer([ITEMS[2]])["chosen"].logp_N
    among = scorer(ITEMS)["chosen"].logp_N[2:3]
    torch.testing.assert_close(alone, among, rtol=1e-5, atol=1e-5)
    other = Tokenized(ITEMS[2].prompt, {"chosen": ITEMS[2].branches["chosen"], "rejected": [9] * 7})
    torch.testing.assert_close(scorer([other])["chosen"].logp_N, alone, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("length", [63, 64, 65, 128, 192, 320])
def test_finite_at_every_length(length: int) -> None:
    model = make(FAMILIES["llama"])
    scorer = TextScorer(model)
    items = make_items([(length - 20, 20, 7), (length // 2, length - length // 2, 1)])
    parts = scorer(items)
    grads = gradients(model, parts)
    assert all(torch.isfinite(scored.logp_NT).all() for scored in parts.values())
    assert all(torch.isfinite(g).all() for g in grads.values())


def test_head_chunks_do_not_change_the_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    model = make(FAMILIES["llama"])
    scorer = TextScorer(model)
    whole, whole_grads = scorer(ITEMS), gradients(model, scorer(ITEMS))
    monkeypatch.setitem(head_module.CHUNK_ELEMENTS, "cpu", 103 * 5)  # five tokens at a time
    torch.testing.assert_close(
        scorer(ITEMS)["chosen"].logp_NT, whole["chosen"].logp_NT, rtol=1e-6, atol=1e-6
    )
    assert_same_gradients(gradients(model, scorer(ITEMS)), whole_grads, 1e-5)


def test_no_array_of_tokens_by_vocabulary_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(head_module.CHUNK_ELEMENTS, "cpu", 103 * 10)
    scorer = TextScorer(make(FAMILIES["llama"]))
    scorer.verify(ITEMS)
    saved: list[int] = []

    def note(tensor: Tensor) -> Tensor:
        saved.append(tensor.shape[0] if tensor.shape[-1:] == (103,) else 0)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda t: t):
        scorer(ITEMS)
    assert max(saved) == 0  # logits are made again in backward, not kept


def test_gradient_checkpointing_gives_the_same_gradients() -> None:
    model = make(FAMILIES["gemma3_sliding"])
    scorer = TextScorer(model)
    before = gradients(model, scorer(ITEMS))
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    model.train()
    assert_same_gradients(gradients(model, scorer(ITEMS)), before, 1e-5)


def test_lora_trains_only_its_adapter_and_equals_plain() -> None:
    import peft

    model = peft.get_peft_model(
        make(FAMILIES["llama"]),
        peft.LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False),
    )
    scorer = TextScorer(model)
    packed, plain = (
        gradients(model, scorer(ITEMS)),
        gradients(model, score_padded(model, ITEMS, device=scorer.device)),
    )
    assert packed and all("lora_" in name for name in packed)
    assert_same_gradients(packed, plain, 1e-4)
    with model.disable_adapter():
        base = scorer(ITEMS)["chosen"].logp_N
    assert not torch.allclose(base, scorer(ITEMS)["chosen"].logp_N)


def test_bfloat16_is_close_and_sums_in_float32() -> None:
    exact = TextScorer(make(FAMILIES["llama"]))(ITEMS)
    model = make(FAMILIES["llama"]).bfloat16()
    scorer = TextScorer(model)
    parts = scorer(ITEMS)
    assert parts["chosen"].logp_NT.dtype == torch.float32
    assert float((parts["chosen"].logp_NT - exact["chosen"].logp_NT).detach().abs().mean()) < 0.05
    assert not scorer.verify(ITEMS).fell_back


def test_verify_accepts_a_good_model_and_leaves_the_random_state_alone() -> None:
    scorer = TextScorer(make(FAMILIES["gpt_neox"]).train())
    state = torch.get_rng_state()
    verdict = scorer.verify(ITEMS)
    assert torch.equal(torch.get_rng_state(), state)
    assert scorer.model.training
    assert (verdict.used, verdict.fell_back, scorer.fallbacks) == ("packed", False, 0)
    assert 0 <= verdict.worst_nats < 1e-4


def test_verify_catches_a_wrong_mask_and_falls_back(monkeypatch: pytest.MonkeyPatch) -> None:
    from holdfast.scorers.layout import Layout

    scorer = TextScorer(make(FAMILIES["llama"]))
    monkeypatch.setattr(
        Layout, "visible", lambda self, q, k, window=None: self.position_L[q] >= self.position_L[k]
    )  # siblings leak
    verdict = scorer.verify(ITEMS)
    assert verdict.fell_back and scorer.scoring == "padded" and scorer.fallbacks == 1
    assert "differ by" in verdict.reason
    plain = score_padded(scorer.model, ITEMS, device=scorer.device)
    torch.testing.assert_close(scorer(ITEMS)["rejected"].logp_NT, plain["rejected"].logp_NT)


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (
            hf.MambaConfig(
                vocab_size=103,
                hidden_size=32,
                num_hidden_layers=2,
                bos_token_id=1,
                eos_token_id=2,
                pad_token_id=0,
            ),
            "recurrent",
        ),
        (
            hf.BloomConfig(
                vocab_size=103,
                hidden_size=32,
                n_layer=2,
                n_head=4,
                bos_token_id=1,
                eos_token_id=2,
                pad_token_id=0,
            ),
            "by name",
        ),
    ],
)
def test_models_that_cannot_branch_fall_back_and_are_still_right(
    config: hf.PreTrainedConfig, reason: str
) -> None:
    model = make(config)
    scorer = TextScorer(model)
    verdict = scorer.verify(ITEMS)
    assert verdict.fell_back and reason in verdict.reason and scorer.fallbacks == 1
    plain = score_padded(model, ITEMS, device=scorer.device)
    torch.testing.assert_close(scorer(ITEMS)["chosen"].logp_NT, plain["chosen"].logp_NT)


def test_the_model_still_runs_and_saves_as_it_did(tmp_path) -> None:
    config = FAMILIES["mistral_sliding"]
    untouched, model = make(config), make(config)
    TextScorer(model)
    ids = torch.randint(3, 103, (2, 20), generator=torch.Generator().manual_seed(1))
    attend = torch.ones_like(ids)
    attend[0, :6] = 0
    with torch.no_grad():
        torch.testing.assert_close(
            model(ids, attention_mask=attend).logits, untouched(ids, attention_mask=attend).logits
        )
    kwargs = {"max_new_tokens": 8, "do_sample": False, "pad_token_id": 0}
    assert torch.equal(
        model.generate(ids, attention_mask=attend, **kwargs),
        untouched.generate(ids, attention_mask=attend, **kwargs),
    )
    model.save_pretrained(tmp_path)
    assert "holdfast" not in (tmp_path / "config.json").read_text()


def test_flex_attention_sees_the_same_mask() -> None:
    """The mask that FlexAttention is given on CUDA, evaluated here densely, is the CPU's additive
    mask.
    """
    from torch.nn.attention.flex_attention import create_mask

    layout = pack(ITEMS)
    for window in (None, 4):
        length = len(layout.ids_L)
        dense = create_mask(
            lambda b, h, q, k, w=window: layout.visible(q, k, w),
            None,
            None,
            length,
            length,
            device="cpu",
        )[0, 0]
        expected = torch.zeros(length, length, dtype=torch.bool)
        for (start, end), mask in zip(
            layout.bounds, layout.additive_masks(window, torch.float32), strict=True
        ):
            expected[start:end, start:end] = mask == 0
        assert torch.equal(dense, expected)


def test_layout_by_hand() -> None:
    layout = pack([Tokenized([5, 6], {"a": [7, 8], "b": [9]})])
    assert layout.ids_L.tolist() == [5, 6, 7, 8, 9]
    assert layout.position_L.tolist() == [0, 1, 2, 3, 2]
    assert layout.predictor_R.tolist() == [
        1,
        2,
        1,
    ]  # the last prompt token predicts the first token of both branches
    assert layout.target_R.tolist() == [7, 8, 9]
    assert (layout.additive_masks(None, torch.float32)[0] == 0).int().tolist() == [
        [1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [1, 1, 1, 0, 0],
        [1, 1, 1, 1, 0],
        [1, 1, 0, 0, 1],
    ]


def test_other_prompts_of_a_row_are_trees_of_their_own() -> None:
    """What a method asks beside chosen and rejected (a revision, a rationale) has its own prompt
    and does not touch them.
    """
    scorer = TextScorer(make(FAMILIES["llama"]))
    other = Tokenized([7, 8, 9, 10], {"rationale": [11, 12], "revision": [13]})
    rows = [replace(item, others=(other,)) for item in ITEMS]
    parts = scorer(rows)
    assert list(parts) == ["chosen", "rejected", "rationale", "revision"]
    torch.testing.assert_close(
        parts["chosen"].logp_NT, scorer(ITEMS)["chosen"].logp_NT, rtol=1e-5, atol=1e-5
    )
    torch.testing.assert_close(
        parts["rationale"].logp_NT[0], scorer([other])["rationale"].logp_NT[0], rtol=1e-5, atol=1e-5
    )
    plain = score_padded(scorer.model, rows, device=scorer.device)
    for name in parts:
        torch.testing.assert_close(parts[name].logp_NT, plain[name].logp_NT, rtol=1e-5, atol=1e-5)
    assert rows[0].tokens == ITEMS[0].tokens + 7
    assert rows[0].select({"rationale"}) == Tokenized([7, 8, 9, 10], {"rationale": [11, 12]}, row=0)


def test_empty_branch_scores_nothing_and_empty_prompt_is_refused() -> None:
    scorer = TextScorer(make(FAMILIES["llama"]))
    parts = scorer([Tokenized([5, 6], {"chosen": [7], "rejected": []})])
    assert parts["rejected"].length_N.tolist() == [0] and parts["rejected"].logp_N.tolist() == [0]
    with pytest.raises(DataError, match="prompt of no tokens"):
        pack([Tokenized([], {"chosen": [7], "rejected": [8]})])
    with pytest.raises(DataError, match="same answers"):
        pack([Tokenized([5], {"chosen": [7]}), Tokenized([5], {"answer": [7]})])


def test_scoring_in_chunks_keeps_order_and_budget() -> None:
    items = make_items([(3 + n % 7, 2 + n % 5, 1 + n % 3) for n in range(23)])
    scorer = TextScorer(make(FAMILIES["llama"]))
    batches = chunks_by_tokens(items, tokens=40)
    assert sorted(i for batch in batches for i in batch) == list(range(23))
    assert all(sum(items[i].tokens for i in batch) <= 40 for batch in batches)
    scored = score_in_chunks(scorer, items, tokens=40)
    with torch.no_grad():
        for n in (0, 11, 22):
            torch.testing.assert_close(
                scored[n]["chosen"], scorer([items[n]])["chosen"].logp_NT[0], rtol=1e-5, atol=1e-5
            )
