"""Small models of every causal-LM family of the installed transformers, made from their config
classes by the names of fields.

A field keeps its default unless SMALL names it, so that what makes a family itself (its norms,
gates, biases, scalings, softcaps) stays as its authors set it. Sizes shrink, windows become shorter
than the rows, and each kind of layer that the full-size config has is there at least once.
OVERRIDES holds what cannot be told from the name of a field, VARIANTS settings that a family also
exists in.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import CONFIG_MAPPING, AutoModelForCausalLM
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

VOCABULARY, BOS, EOS, PAD = 160, 1, 2, 3
WIDTH, HEADS, KEY_HEADS, HEAD_WIDTH, LAYERS, POSITIONS, WINDOW = 32, 4, 2, 8, 2, 256, 8

SMALL: dict[str, int] = {
    **dict.fromkeys(
        ("vocab_size", "unpadded_vocab_size", "vocab_size_per_layer_input"), VOCABULARY
    ),
    **dict.fromkeys(
        (
            "hidden_size",
            "n_embd",
            "d_model",
            "embedding_size",
            "emb_dim",
            "word_embed_proj_dim",
            "dim",
        ),
        WIDTH,
    ),
    **dict.fromkeys(
        (
            "backbone_hidden_size",
            "input_embedding_size",
            "output_embedding_size",
            "router_hidden_size",
        ),
        WIDTH,
    ),
    **dict.fromkeys(
        (
            "intermediate_size",
            "moe_intermediate_size",
            "shared_expert_intermediate_size",
            "shared_intermediate_size",
        ),
        48,
    ),
    **dict.fromkeys(
        (
            "ffn_dim",
            "encoder_ffn_dim",
            "decoder_ffn_dim",
            "feed_forward_size",
            "dff",
            "dim_ff",
            "d_inner",
        ),
        48,
    ),
    **dict.fromkeys(
        (
            "ffn_hidden_size",
            "expert_ffn_hidden_size",
            "intermediate_size_mlp",
            "dense_intermediate_size",
        ),
        48,
    ),
    **dict.fromkeys(
        ("moe_shared_expert_intermediate_size", "shared_experts_intermediate_size"), 48
    ),
    **dict.fromkeys(("num_hidden_layers", "n_layer", "n_layers", "num_layers"), LAYERS),
    **dict.fromkeys(
        ("decoder_layers", "encoder_layers", "num_decoder_layers", "num_encoder_layers"), LAYERS
    ),
    **dict.fromkeys(
        (
            "num_attention_heads",
            "n_head",
            "n_heads",
            "num_heads",
            "attention_heads",
            "swa_num_attention_heads",
        ),
        HEADS,
    ),
    **dict.fromkeys(
        ("decoder_attention_heads", "encoder_attention_heads", "linear_num_heads"), HEADS
    ),
    **dict.fromkeys(
        ("num_encoder_attention_heads", "num_decoder_attention_heads", "linear_num_value_heads"),
        HEADS,
    ),
    **dict.fromkeys(
        ("num_key_value_heads", "swa_num_key_value_heads", "linear_num_key_heads"), KEY_HEADS
    ),
    **dict.fromkeys(
        (
            "head_dim",
            "global_head_dim",
            "swa_head_dim",
            "attention_head_size",
            "kv_channels",
            "dim_head",
        ),
        HEAD_WIDTH,
    ),
    **dict.fromkeys(
        (
            "v_head_dim",
            "qk_rope_head_dim",
            "qk_nope_head_dim",
            "linear_key_head_dim",
            "linear_value_head_dim",
        ),
        HEAD_WIDTH,
    ),
    **dict.fromkeys(("linear_head_dim", "index_head_dim", "d_kv"), HEAD_WIDTH),
    **dict.fromkeys(("q_lora_rank", "kv_lora_rank", "o_lora_rank", "index_topk"), 16),
    **dict.fromkeys(
        ("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len", "context_length"),
        POSITIONS,
    ),
    **dict.fromkeys(
        (
            "sliding_window",
            "sliding_window_size",
            "window_size",
            "local_attention",
            "attention_window_size",
        ),
        WINDOW,
    ),
    **dict.fromkeys(("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts"), 4),
    **dict.fromkeys(("num_experts_per_tok", "moe_topk", "moe_k", "n_group"), 2),
    **dict.fromkeys(
        (
            "topk_group",
            "n_shared_experts",
            "num_shared_experts",
            "moe_num_shared_experts",
            "first_k_dense_replace",
        ),
        1,
    ),
    **dict.fromkeys(("num_dense_layers", "moe_layer_start_index"), 1),
    **dict.fromkeys(("mamba_d_state", "state_size", "ssm_state_size"), 8),
    **dict.fromkeys(("chunk_size", "mamba_chunk_size"), 16),
    **dict.fromkeys(("mamba_n_heads", "mamba_num_heads"), 4),
    **dict.fromkeys(("n_groups", "mamba_n_groups", "mamba_ngroups"), 1),
    **dict.fromkeys(("type_vocab_size", "depth", "hc_lowrank"), 2),
    **dict.fromkeys(("num_logits_to_keep", "num_kv_shared_layers"), 0),
    **dict.fromkeys(("image_size",), 32),
    **dict.fromkeys(("mlp_dim", "output_channels", "out_hidden_size"), WIDTH),
    **dict.fromkeys(
        ("encoder_hash_byte_group_vocab", "pronunciation_vocab_size", "shape_vocab_size"),
        VOCABULARY,
    ),
    **dict.fromkeys(
        (
            "pronunciation_embed_dim",
            "shape_embed_dim",
            "hidden_size_per_layer_input",
            "adapter_rank",
            "laurel_rank",
        ),
        8,
    ),
    # with few, many keys get a score of exactly 0, and which of equals are kept depends on the
    # row's length
    "index_n_heads": 16,
    "bos_token_id": BOS,
    "eos_token_id": EOS,
    "pad_token_id": PAD,
    "max_window_layers": 1,
}
MOST_WEIGHTS = 10_000_000
ALWAYS = (
    "bos_token_id",
    "eos_token_id",
    "pad_token_id",
    "num_key_value_heads",
)  # also where the default is None
LAYER_LISTS = ("layer_types", "mlp_layer_types")

MAMBA_AND_ATTENTION = ["linear_attention", "hybrid"] * 2
MROPE = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 1, 1]}

OVERRIDES: dict[str, dict[str, Any]] = {
    "codegen": {"rotary_dim": 4},
    "gptj": {"rotary_dim": 4},
    "cohere_compass_text": {
        "rope_parameters": {"full_attention": MROPE, "sliding_attention": MROPE}
    },
    "dbrx": {
        "attn_config": {"kv_n_heads": 2, "rope_theta": 1e4, "clip_qkv": 8},
        "ffn_config": {"ffn_hidden_size": 48, "moe_num_experts": 4, "moe_top_k": 2},
    },
    "bamba": {"attn_layer_indices": [1]},
    "deepseek_v2": {"num_experts_per_tok": 2, "q_lora_rank": 16},
    "dots1": {"n_routed_experts": 4, "n_shared_experts": 1, "num_experts_per_tok": 2},
    "dots3_note_text": {"num_key_value_heads": HEADS},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]]},
    "hunyuan_v1_dense": {"head_dim": HEAD_WIDTH},
    "hunyuan_v1_moe": {"head_dim": HEAD_WIDTH},
    "ministral": {"head_dim": HEAD_WIDTH},
    "inkling_text": {"rel_extent": 16, "log_scaling_n_floor": 16},
    "inkling2_text": {"rel_extent": 16, "log_scaling_n_floor": 16},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1},
    "llama4_text": {"attention_chunk_size": 16, "floor_scale": 16},
    "lfm2_moe": {"layer_types": ["conv", "full_attention", "conv"], "num_hidden_layers": 3},
    "mamba2": {"head_dim": 16},
    "minimax": {"block_size": 8},
    "minimax_m3_vl_text": {"index_block_size": 8, "index_topk_blocks": 2, "rotary_dim": 4},
    "qwen4_exp_text": {
        **{
            "indexer_n_heads": 2,
            "indexer_kv_heads": 1,
            "indexer_head_dim": 8,
            "indexer_budget": 16,
            "indexer_compress_ratio": 2,
        },
    },
    "reformer": {
        **{
            "is_decoder": True,
            "axial_pos_embds_dim": [16, 16],
            "axial_pos_shape": [16, 16],
            "attn_layers": ["local", "lsh"],
        },
        **{
            "local_attn_chunk_length": 8,
            "lsh_attn_chunk_length": 8,
            "num_buckets": 4,
            "hash_seed": 0,
        },
    },
    "xmod": {"default_language": "en_XX"},
    "zamba": {"layers_block_type": MAMBA_AND_ATTENTION, "num_hidden_layers": 4},
    "zamba2": {"layers_block_type": MAMBA_AND_ATTENTION, "num_hidden_layers": 4},
    "zaya": {"num_experts_per_tok": 1},
}


@dataclass(frozen=True)
class Variant:
    """A family with settings of its own. `rows_beyond` asks for rows on both sides of that many
    tokens.
    """

    family: str
    name: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.family}, {self.name}" if self.name else self.family


class NotBuiltError(Exception):
    """Why a family has no small model here."""


def families() -> list[str]:
    return sorted(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)


def small_config(variant: Variant) -> Any:
    """The config of a small model of this family."""
    cls = CONFIG_MAPPING[variant.family]
    return _small(cls, {**OVERRIDES.get(variant.family, {}), **variant.settings})


def _small(cls: Any, settings: Mapping[str, Any]) -> Any:
    given = {name: value for name, value in _shrunk(cls).items() if name not in settings}
    if "kv_lora_rank" in {
        each.name for each in dataclasses.fields(cls)
    }:  # latent attention has a key head for each head
        given |= {name: HEADS for name in ("num_key_value_heads",) if name in given}
    given |= _layer_lists(cls, {**given, **settings})
    for name, sub in (getattr(cls, "sub_configs", None) or {}).items():
        if name not in settings:
            given[name] = _small(_sub_class(cls, name, sub), {})
    return cls(**{**given, **settings})


def _sub_class(cls: Any, name: str, sub: Any) -> Any:
    """A part may be any config; then the parent says which it is by default."""
    default = (getattr(cls, "sub_configs_defaults", None) or {}).get(name)
    return CONFIG_MAPPING[default.model_type] if default is not None else sub


def _shrunk(cls: Any) -> dict[str, Any]:
    return {
        each.name: SMALL[each.name]
        for each in dataclasses.fields(cls)
        if each.name in SMALL
        and (
            each.name in ALWAYS
            or (isinstance(each.default, int) and not isinstance(each.default, bool))
        )
    }


def _layer_lists(cls: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    """Every kind of layer that the full-size config has, in its order, at least LAYERS of them."""
    full = cls()
    kinds = {}
    for name in LAYER_LISTS:
        value = getattr(full, name, None)
        if (
            isinstance(value, list)
            and name in {each.name for each in dataclasses.fields(cls)}
            and name not in given
        ):
            kinds[name] = list(dict.fromkeys(value))
    if not kinds:
        return {}
    count = max(LAYERS, *(len(value) for value in kinds.values()))
    made: dict[str, Any] = {
        name: [value[i % len(value)] for i in range(count)] for name, value in kinds.items()
    }
    return made | {"num_hidden_layers": count}


# ------------------------------------------------------------ variants

LONG, FACTORS = 32, HEAD_WIDTH // 2  # rows of up to 80 tokens lie on both sides of LONG


def _rope(kind: str, factors: int = FACTORS, **more: Any) -> dict[str, Any]:
    """Rotary positions that are stretched, the model having been trained on LONG positions."""
    rope = {"rope_type": kind, "rope_theta": 1e4, "factor": 4.0, **more}
    if kind == "longrope":
        rope |= {"short_factor": [1.0] * factors, "long_factor": [4.0 + i for i in range(factors)]}
        rope |= {"original_max_position_embeddings": LONG}
        return {
            "rope_parameters": rope,
            "max_position_embeddings": POSITIONS,
            "original_max_position_embeddings": LONG,
        }
    if kind == "dynamic":
        return {"rope_parameters": rope, "max_position_embeddings": LONG}
    return {"rope_parameters": rope | {"original_max_position_embeddings": LONG}}


ROPES = {f"{kind} rope": _rope(kind) for kind in ("linear", "dynamic", "yarn", "longrope")}
ROPES["llama3 rope"] = _rope("llama3", low_freq_factor=1.0, high_freq_factor=4.0)
PARTLY = {
    "dynamic rope": _rope("dynamic", partial_rotary_factor=0.5)
}  # where heads turn in a few of their dimensions only
DYNAMIC, LONGROPE = ({name: ROPES[name]} for name in ("dynamic rope", "longrope rope"))
SLIDING = {
    "use_sliding_window": {
        "use_sliding_window": True,
        "sliding_window": WINDOW,
        "max_window_layers": 1,
        "layer_types": None,
    }
}
NO_WINDOW = {"no window": {"sliding_window": None}}
TIED, UNTIED = {"tied": {"tie_word_embeddings": True}}, {"untied": {"tie_word_embeddings": False}}
ROUTER = {"router loss": {"output_router_logits": True, "router_aux_loss_coef": 0.1}}
MULTIPLIED = {
    "scaled": {
        "embedding_multiplier": 3.0,
        "logits_scaling": 4.0,
        "residual_multiplier": 0.5,
        "attention_multiplier": 0.2,
    }
}

VARIANTS: dict[str, dict[str, dict[str, Any]]] = {
    "llama": {
        **TIED,
        **ROPES,
        "biased": {"attention_bias": True, "mlp_bias": True},
        "one key head": {"num_key_value_heads": 1},
    },
    "mistral": {**NO_WINDOW, **DYNAMIC},
    "ministral": NO_WINDOW,
    "mixtral": {**NO_WINDOW, **ROUTER, "window": {"sliding_window": WINDOW}},
    "qwen2": {**SLIDING, **TIED, **DYNAMIC, **LONGROPE},
    "qwen2_moe": {**SLIDING, **ROUTER, **DYNAMIC},
    "qwen3": {**SLIDING, **TIED, **DYNAMIC},
    "qwen3_moe": {**SLIDING, **ROUTER},
    "olmoe": ROUTER,
    "phi": PARTLY,
    "phi3": {
        **LONGROPE,
        "window": {"sliding_window": WINDOW},
        "window and longrope": {"sliding_window": WINDOW, **_rope("longrope")},
    },
    "phimoe": {
        "longrope rope": _rope("longrope", short_mscale=1.0, long_mscale=1.2),
        "window": {"sliding_window": WINDOW},
        **ROUTER,
    },
    "minicpm3": {"longrope rope": _rope("longrope", factors=HEAD_WIDTH // 2)},
    "gpt_neox": {"sequential residual": {"use_parallel_residual": False}, **TIED, **PARTLY},
    "falcon": {
        "alibi": {"alibi": True},
        "new decoder": {"new_decoder_architecture": True, "num_kv_heads": KEY_HEADS},
        "sequential": {"parallel_attn": False, "multi_query": False, "bias": True},
        "alibi, sequential": {
            "alibi": True,
            "parallel_attn": False,
            "multi_query": False,
            "bias": True,
        },
    },
    "stablelm": {
        "parallel residual": {"use_parallel_residual": True},
        "query and key norms": {"qk_layernorm": True, "use_qkv_bias": True},
        **PARTLY,
    },
    "gpt2": {
        **UNTIED,
        "scaled by layer": {
            "scale_attn_by_inverse_layer_idx": True,
            "reorder_and_upcast_attn": True,
        },
    },
    "gpt_bigcode": {"many key heads": {"multi_query": False}},
    "opt": {
        "norm after": {"do_layer_norm_before": False},
        "narrow embedding": {"word_embed_proj_dim": 16},
    },
    "mpt": {"clipped": {"attn_config": {"clip_qkv": 1.0, "softmax_scale": 0.3}}},
    "bloom": {"residual after norm": {"apply_residual_connection_post_layernorm": True}},
    "granite": MULTIPLIED,
    "granitemoe": {**MULTIPLIED, **ROUTER},
    "granitemoeshared": MULTIPLIED,
    "granitemoehybrid": {
        "attention only": {"layer_types": ["attention", "attention"], "num_hidden_layers": 2}
    },
    "cohere": {"scaled": {"logit_scale": 0.5, "use_qk_norm": True}},
    "gemma2": {"no softcap": {"attn_logit_softcapping": None, "final_logit_softcapping": None}},
    "olmo": {"clipped": {"clip_qkv": 0.5}},
    "starcoder2": NO_WINDOW,
    "doge": {"router loss": {"is_moe": True, "num_experts": 4, "output_router_logits": True}},
    "llama4_text": {"long chunks": {"attention_chunk_size": 64}},
    "lfm2": {
        "attention only": {
            "layer_types": ["full_attention", "full_attention"],
            "num_hidden_layers": 2,
        }
    },
    "dbrx": {"router loss": {"output_router_logits": True}},
    **{
        name: {"as a decoder": {"is_decoder": True}}
        for name in ("bert", "roberta", "electra", "xlm-roberta", "big_bird", "rembert")
    },
    "xlm": {"causal": {"causal": True}},
}


def variants(family: str) -> list[Variant]:
    return [
        Variant(family),
        *(Variant(family, name, settings) for name, settings in VARIANTS.get(family, {}).items()),
    ]


def build(variant: Variant, *, seed: int) -> Any:
    """A model with random weights, large enough that every part of it shows in the
    log-probabilities.

    Raises:
        NotBuiltError: it is too large, or cannot run here.
    """
    config = small_config(variant)
    with torch.device("meta"):
        count = sum(p.numel() for p in AutoModelForCausalLM.from_config(config).parameters())
    if count > MOST_WEIGHTS:
        raise NotBuiltError(f"its smallest config still has {count:,} weights")
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.is_floating_point():
                parameter.add_(torch.randn_like(parameter) * (0.1 if parameter.ndim > 1 else 0.05))
    return model
