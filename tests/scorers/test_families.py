"""Whatever the family, each number is that of one unpadded forward of a fresh model: packed where
it can be, padded or alone where not.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
import transformers as hf
from torch import Tensor, nn

from holdfast.errors import ModelError
from holdfast.scorers.branches import BranchScorer
from holdfast.scorers.float32 import in_float32
from holdfast.scorers.rope import Sides, forget_lengths
from holdfast.scorers.states import StateScorer
from holdfast.scorers.text import TextScorer, score_in_chunks
from holdfast.types import Tokenized
from tests.scorers.test_text import FAMILIES, GROUPED, SIZES, make, make_items

TOKENS = {"vocab_size": 103, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
MOE = {"num_experts_per_tok": 2, "moe_intermediate_size": 32, "shared_expert_intermediate_size": 32}
LONGROPE = {
    "rope_type": "longrope",
    "rope_theta": 10000.0,
    "short_factor": [1.0] * 8,
    "long_factor": [4.0] * 8,
    "original_max_position_embeddings": 32,
}
PHI3 = hf.Phi3Config(
    **{**GROUPED, "max_position_embeddings": 256},
    original_max_position_embeddings=32,
    rope_parameters=LONGROPE,
)
DYNAMIC = hf.LlamaConfig(
    **{**GROUPED, "max_position_embeddings": 32},
    rope_parameters={"rope_type": "dynamic", "factor": 4.0, "rope_theta": 10000.0},
)

CANNOT_PACK = {  # family -> its config, and what the reason says
    "stablelm": (hf.StableLmConfig(**GROUPED), "does not hand the layout of packed rows on"),
    "nemotron": (hf.NemotronConfig(**GROUPED), "does not hand the layout of packed rows on"),
    "falcon": (
        hf.FalconConfig(**TOKENS, hidden_size=32, num_hidden_layers=2, num_attention_heads=4),
        "by name",
    ),
    "falcon_alibi": (
        hf.FalconConfig(
            **TOKENS, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, alibi=True
        ),
        "by name",
    ),
    "gptj": (
        hf.GPTJConfig(**TOKENS, n_embd=32, n_layer=2, n_head=4, rotary_dim=4, n_positions=256),
        "by name",
    ),
    "mpt": (hf.MptConfig(**TOKENS, d_model=32, n_layers=2, n_heads=4, max_seq_len=256), "by name"),
    "gpt_neo": (
        hf.GPTNeoConfig(
            **TOKENS,
            hidden_size=32,
            num_layers=2,
            num_heads=4,
            attention_types=[[["global", "local"], 1]],
            window_size=8,
        ),
        "by name",
    ),
    "bloom": (hf.BloomConfig(**TOKENS, hidden_size=32, n_layer=2, n_head=4), "by name"),
    "xglm": (
        hf.XGLMConfig(**TOKENS, d_model=32, num_layers=2, attention_heads=4, ffn_dim=32),
        "by name",
    ),
    "openai_gpt": (hf.OpenAIGPTConfig(vocab_size=103, n_embd=32, n_layer=2, n_head=4), "by name"),
    "lfm2": (
        hf.Lfm2Config(**GROUPED, layer_types=["conv", "full_attention", "conv"]),
        "convolution across tokens",
    ),
    "qwen2_moe_windows": (
        hf.Qwen2MoeConfig(
            **GROUPED,
            **MOE,
            num_experts=4,
            use_sliding_window=True,
            sliding_window=24,
            max_window_layers=1,
        ),
        "differ by",
    ),
    "phimoe": (hf.PhimoeConfig(**GROUPED, sliding_window=24, num_local_experts=4), "differ by"),
    "rwkv": (
        hf.RwkvConfig(**TOKENS, hidden_size=32, attention_hidden_size=32, num_hidden_layers=2),
        "recurrent",
    ),
}
CAN_PACK = {"phi3_longrope": PHI3, "llama_dynamic_ntk": DYNAMIC, "llama": FAMILIES["llama"]}

# Short rows, then rows on both sides of 24 and of 32 tokens: a window or a boundary that only later
# rows meet.
ITEMS = make_items(
    [
        (4, 3, 2),
        (5, 2, 3),
        (3, 3, 3),
        (4, 4, 2),
        (6, 5, 4),
        (20, 40, 4),
        (10, 15, 30),
        (9, 22, 23),
        (10, 12, 30),
    ]
)


def alone(config: hf.PreTrainedConfig, model: nn.Module, item: Tokenized, name: str) -> Tensor:
    """One forward of this answer by a model that has seen nothing before it, with gradient to the
    weights of `model`.
    """
    answer = list(item.answers[name])
    for module in model.modules():  # the obvious way to forget: rotary modules made anew
        if type(module).__name__.endswith("RotaryEmbedding"):
            module.__init__(config)
    logp_TV = (
        model(torch.tensor([[*item.prompt, *answer]]), use_cache=False).logits[0].log_softmax(-1)
    )
    return logp_TV[len(item.prompt) - 1 : -1].gather(1, torch.tensor(answer)[:, None])[:, 0]


def slope(parts: Sequence[dict[str, Tensor]], model: nn.Module) -> dict[str, Tensor]:
    model.zero_grad()
    total = sum(
        (logp * torch.linspace(0.5, 1.5, len(logp))).tanh().sum()
        for one in parts
        for logp in one.values()
    )
    total.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("family", [*CANNOT_PACK, *CAN_PACK])
def test_numbers_and_gradients_are_those_of_each_answer_alone(family: str) -> None:
    config, reason = CANNOT_PACK.get(family, (CAN_PACK.get(family), ""))
    model, oracle = make(config), make(copy.deepcopy(config))
    scorer = TextScorer(model)
    found = scorer.verify(ITEMS)
    assert found.used == ("packed" if family in CAN_PACK else "padded")
    assert reason in found.reason and found.fell_back == bool(reason)
    assert not found.one_by_one
    right = [{name: alone(config, oracle, item, name) for name in item.answers} for item in ITEMS]
    for batch in (ITEMS[:5], ITEMS[5:], ITEMS):  # short ones after long ones, too
        parts = scorer(batch)
        for n, item in enumerate(batch):
            for name, logp in right[ITEMS.index(item)].items():
                torch.testing.assert_close(
                    parts[name].logp_NT[n, : len(logp)], logp, rtol=1e-5, atol=2e-5
                )
    ours = [
        {name: parts[name].logp_NT[n, : len(ids)] for name, ids in item.answers.items()}
        for n, item in enumerate(ITEMS)
    ]
    theirs = slope(right, oracle)
    scale = max(float(g.norm()) for g in theirs.values())
    for name, gradient in slope(ours, model).items():
        assert float((gradient - theirs[name]).norm()) <= 1e-4 * max(
            float(theirs[name].norm()), 1e-3 * scale
        ), name


def test_nobody_gets_a_number_before_the_scorer_is_verified() -> None:
    config, _ = CANNOT_PACK["qwen2_moe_windows"]
    scorer = TextScorer(make(config))
    scorer(ITEMS[:4])  # too short to meet the window
    assert scorer.verification is not None and scorer.verification.used == "packed"
    longer = scorer(ITEMS[5:6])["chosen"].logp_NT[0]
    assert scorer.scoring == "padded" and "differ by" in scorer.verification.reason
    torch.testing.assert_close(
        longer, alone(config, make(config), ITEMS[5], "chosen"), rtol=1e-5, atol=2e-5
    )


def test_a_fall_back_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    scorer = TextScorer(make(CANNOT_PACK["stablelm"][0]))
    score_in_chunks(scorer, ITEMS, tokens=30)
    scorer(make_items([(30, 50, 60)]))
    (record,) = caplog.records
    assert (
        "one padded forward per answer instead of packed rows, because StableLmAttention "
        "does not hand" in record.getMessage()
    )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_verified_in_float32(dtype: torch.dtype) -> None:
    good = TextScorer(make(FAMILIES["gemma3_sliding"]).to(dtype)).verify(ITEMS)
    assert good.used == "packed" and good.worst_nats < 1e-5 and good.worst_gradient < 1e-5
    for family in ("qwen2_moe_windows", "phimoe"):
        config, _ = CANNOT_PACK[family]
        assert TextScorer(make(config).to(dtype)).verify(ITEMS).used == "padded"


def test_float32_without_a_copy_is_the_float32_model() -> None:
    half = make(FAMILIES["llama"]).bfloat16()
    whole = copy.deepcopy(half).float()
    ids = torch.tensor([[5, 6, 7, 8]])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        with in_float32(half):
            ours = half(ids).logits
        assert (
            torch.equal(ours, whole.float()(ids).logits) is False
        )  # outside, autocast is on again
    torch.testing.assert_close(ours, whole(ids).logits, rtol=0, atol=0)
    assert all(weight.dtype == torch.bfloat16 for weight in half.parameters())


def test_only_float32_can_tell_a_small_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault of 0.01 nats drowns in bfloat16's rounding; verified in float32 it is seen."""
    scorer = TextScorer(make(FAMILIES["llama"]).bfloat16())
    packed = TextScorer.packed

    def faulty(self: TextScorer, items: Any) -> Any:
        return {name: part.map(lambda x: x * 1.002) for name, part in packed(self, items).items()}

    monkeypatch.setattr(TextScorer, "packed", faulty)
    assert "differ by" in scorer.verify(ITEMS).reason


def test_a_gradient_that_is_not_the_scores_falls_back(monkeypatch: pytest.MonkeyPatch) -> None:
    scorer = TextScorer(make(FAMILIES["llama"]))
    packed = TextScorer.packed

    def cut(self: TextScorer, items: Any) -> Any:
        parts = packed(self, items)
        return parts | {"rejected": parts["rejected"].map(Tensor.detach)}

    monkeypatch.setattr(TextScorer, "packed", cut)
    assert "gradients of packed and padded log-probabilities differ" in scorer.verify(ITEMS).reason


def test_verifying_changes_nothing() -> None:
    model = make(FAMILIES["gpt_neox"]).train()
    model.gpt_neox.layers[0].eval()
    modes, state = [module.training for module in model.modules()], torch.get_rng_state()
    TextScorer(model).verify(ITEMS)
    assert [module.training for module in model.modules()] == modes
    assert torch.equal(torch.get_rng_state(), state)
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize(
    "config",
    [hf.BertConfig(**SIZES), hf.XLNetConfig(**TOKENS, d_model=32, n_layer=2, n_head=4, d_inner=32)],
    ids=["bert", "xlnet"],
)
def test_a_model_that_sees_later_tokens_is_refused(config: hf.PreTrainedConfig) -> None:
    with pytest.raises(ModelError, match="is not causal as it is configured"):
        TextScorer(make(config))(ITEMS)


def test_a_model_that_cannot_be_scored_at_all_is_a_named_error() -> None:
    config = hf.GPT2Config(vocab_size=103, n_embd=32, n_layer=1, n_head=4, n_positions=16)
    with pytest.raises(
        ModelError, match=r"GPT2LMHeadModel cannot score an answer: .* failed with IndexError"
    ):
        TextScorer(make(config), scoring="padded")(ITEMS)


def test_padding_that_changes_numbers_means_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model whose numbers depend on how long the longest row of its forward is, by a rule that
    nobody knows.
    """
    config, _ = CANNOT_PACK["bloom"]
    model, oracle = make(config), make(config)
    forward = model.forward

    def strange(input_ids: Tensor, **more: Any) -> Any:
        out = forward(input_ids, **more)
        out.logits = out.logits * (1 + input_ids.shape[1] / 100)
        return out

    model.forward = strange
    scorer = TextScorer(model)
    monkeypatch.setattr(TextScorer, "_check_causal", lambda *args: None)
    found = scorer.verify(ITEMS)
    assert (
        found.one_by_one
        and "answers are scored one by one, because padding changes" in found.reason
    )
    parts = scorer(ITEMS)
    ids = torch.tensor([[*ITEMS[1].prompt, *ITEMS[1].branches["rejected"]]])
    right = (oracle(ids).logits[0] * (1 + ids.shape[1] / 100)).log_softmax(-1)[
        len(ITEMS[1].prompt) - 1 : -1
    ]
    expected = right.gather(1, ids[0, len(ITEMS[1].prompt) :, None])[:, 0]
    torch.testing.assert_close(
        parts["rejected"].logp_NT[1, : len(expected)], expected, rtol=1e-5, atol=2e-5
    )


def test_two_scorers_of_one_model_do_not_spoil_each_other() -> None:
    model = make(FAMILIES["llama"])
    first, second = TextScorer(model), StateScorer(model)
    before = first(ITEMS)["chosen"].logp_NT
    second.fall_back("for a test")
    second(ITEMS)
    assert torch.equal(first(ITEMS)["chosen"].logp_NT, before)


# ------------------------------------------------------------ rope that depends on length


def test_sides() -> None:
    long, dynamic = Sides.of_model(make(PHI3)), Sides.of_model(make(DYNAMIC))
    assert long.boundaries == {(32, False)} and dynamic.boundaries == {(32, True)}
    assert not Sides.of_model(make(FAMILIES["llama"])).boundaries
    assert long.of(32) == long.of(5) != long.of(33) == long.of(90)
    assert dynamic.of(32) == dynamic.of(5) != dynamic.of(33) != dynamic.of(34)
    both = long | dynamic
    assert both.of(40) != both.of(41) != both.of(32)


def test_a_model_with_code_of_its_own_is_known_by_its_config() -> None:
    class Own(nn.Module):
        config = hf.PreTrainedConfig(
            rope_scaling={"type": "su", "long_factor": [4.0]}, original_max_position_embeddings=4096
        )

    assert Sides.of_model(Own()).boundaries == {(4096, False)}


def test_dynamic_ntk_leaves_no_trace() -> None:
    model, untouched = make(DYNAMIC), make(DYNAMIC)
    scorer = TextScorer(model)
    scorer(ITEMS)
    ids = torch.arange(3, 37)[None]  # beyond the boundary, shorter than what was scored
    with torch.no_grad():
        assert torch.equal(model(ids).logits, untouched(ids).logits)
        model(torch.arange(3, 63)[None])
        assert not torch.allclose(
            model(ids).logits, untouched(ids).logits
        )  # as Hugging Face has it
        forget_lengths(model)
        assert torch.equal(model(ids).logits, untouched(ids).logits)


def test_no_forward_holds_both_sides(monkeypatch: pytest.MonkeyPatch) -> None:
    scorer = TextScorer(make(PHI3))
    scorer.verify(ITEMS)
    seen = []
    once = BranchScorer._once

    def watched(self: BranchScorer, items: Any) -> Any:
        lengths = [len(item.prompt) + len(ids) for item in items for ids in item.answers.values()]
        seen.append({length > 32 for length in lengths})
        return once(self, items)

    monkeypatch.setattr(BranchScorer, "_once", watched)
    for scoring in ("packed", "padded"):
        scorer.scoring = scoring
        scorer(ITEMS)
    assert seen and all(len(sides) == 1 for sides in seen)
    assert len(seen) <= 2 * 6  # on each path at most one for each side and set of branches


# ------------------------------------------------------------ the public functions


def test_score_gives_the_true_loss_of_a_llama_against_a_stablelm(tiny_tokenizer: Any) -> None:
    import holdfast

    sizes = {**GROUPED, "vocab_size": len(tiny_tokenizer)}
    policy, reference = make(hf.LlamaConfig(**sizes)), make(hf.StableLmConfig(**sizes), seed=1)
    data = [
        {"prompt": f"the cat {n}", "chosen": " sat on the mat" * (n + 1), "rejected": " ran"}
        for n in range(6)
    ]
    rows = holdfast.read(data)
    pairs = holdfast.score(policy, tiny_tokenizer, rows, reference=reference)
    ours = float(holdfast.preference.dpo(pairs, beta=0.1).mean())
    losses = []
    for item in holdfast.data.tokenize(rows, tiny_tokenizer).items:
        with torch.no_grad():
            logp = {
                (who, name): float(alone(model.config, model, item, name).sum())
                for who, model in (("policy", policy), ("reference", reference))
                for name in item.answers
            }
        h = (logp["policy", "chosen"] - logp["reference", "chosen"]) - (
            logp["policy", "rejected"] - logp["reference", "rejected"]
        )
        losses.append(math.log1p(math.exp(-0.1 * h)))
    assert ours == pytest.approx(sum(losses) / len(losses), abs=1e-5)


def test_score_verifies_a_model_once(tiny_tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import holdfast

    model = make(hf.LlamaConfig(**{**GROUPED, "vocab_size": len(tiny_tokenizer)}))
    rows = holdfast.read(
        [
            {"prompt": "the cat", "chosen": " sat", "rejected": " ran"},
            {"prompt": "a", "chosen": " b c", "rejected": " d"},
        ]
    )
    verified = []
    verify = BranchScorer.verify
    monkeypatch.setattr(
        BranchScorer,
        "verify",
        lambda self, items: verified.append(len(items)) or verify(self, items),
    )
    for _ in range(3):
        holdfast.score(model, tiny_tokenizer, rows)
    assert verified == [2]
