"""config.json of every release and its drafter as published, and as the reference saves it again.

Published files give full layers their sizes by `global_head_dim` and `num_global_key_value_heads`; the reference reads that
and writes `per_layer_config`, keys padded with zeros. Values are those of the released models; nothing here is tiny.
"""

from __future__ import annotations

import json
from pathlib import Path

import drafters  # lets the reference take a model whose layers all borrow
from transformers import AutoConfig

NAMES = {"s": "sliding_attention", "f": "full_attention"}
# name: hidden, layers, layers from one full one to the next, ffn, heads, K/V heads sliding and full, window, positions
SIZES = {
    "e2b": (1536, 35, 5, 6144, 8, 1, None, 512, 131072),
    "e4b": (2560, 42, 6, 10240, 8, 2, None, 512, 131072),
    "12b": (3840, 48, 6, 15360, 16, 8, 1, 1024, 262144),
    "26b-a4b": (2816, 30, 6, 2112, 16, 8, 2, 1024, 262144),
    "31b": (5376, 60, 6, 21504, 32, 16, 4, 1024, 262144),
}
# name: hidden, ffn, heads, clustered head
DRAFTERS = {"e2b": (256, 2048, 4, True), "e4b": (256, 2048, 4, True), "12b": (1024, 8192, 16, False),
            "26b-a4b": (1024, 8192, 16, False), "31b": (1024, 8192, 32, False)}


def _text(name: str) -> dict:
    hidden, layers, period, ffn, heads, kv_heads, global_kv_heads, window, positions = SIZES[name]
    small, unified = name in ("e2b", "e4b"), name == "12b"
    moe = name == "26b-a4b"
    return {
        "attention_bias": False, "attention_dropout": 0.0, "attention_k_eq_v": not small, "bos_token_id": 2,
        "dtype": "bfloat16", "enable_moe_block": moe, "eos_token_id": 1, "final_logit_softcapping": 30.0,
        "global_head_dim": 512, "head_dim": 256, "hidden_activation": "gelu_pytorch_tanh", "hidden_size": hidden,
        "hidden_size_per_layer_input": 256 if small else 0, "initializer_range": 0.02, "intermediate_size": ffn,
        "layer_types": [NAMES["f" if index % period == period - 1 else "s"] for index in range(layers)],
        "max_position_embeddings": positions, "model_type": "gemma4_unified_text" if unified else "gemma4_text",
        "moe_intermediate_size": 704 if moe else None, "num_attention_heads": heads, "num_experts": 128 if moe else None,
        "num_global_key_value_heads": global_kv_heads, "num_hidden_layers": layers, "num_key_value_heads": kv_heads,
        "num_kv_shared_layers": {"e2b": 20, "e4b": 18}.get(name, 0), "pad_token_id": 0, "rms_norm_eps": 1e-06,
        "rope_parameters": {
            "full_attention": {"partial_rotary_factor": 0.25, "rope_theta": 1000000.0, "rope_type": "proportional"},
            "sliding_attention": {"rope_theta": 10000.0, "rope_type": "default"}},
        "sliding_window": window, "tie_word_embeddings": True, "top_k_experts": 8 if moe else None,
        "use_bidirectional_attention": None if small else "vision", "use_cache": True, "use_double_wide_mlp": name == "e2b",
        "vocab_size": 262144, "vocab_size_per_layer_input": 262144,
    }


def _vision(name: str) -> dict:
    if name == "12b":
        return {"model_type": "gemma4_unified_vision", "dtype": "bfloat16", "mm_embed_dim": 3840, "mm_posemb_size": 1120,
                "model_patch_size": 48, "num_soft_tokens": 280, "output_proj_dims": 3840, "patch_size": 16,
                "pooling_kernel_size": 3, "rms_norm_eps": 1e-06}
    small = name in ("e2b", "e4b")
    hidden, layers, heads, ffn = (768, 16, 12, 3072) if small else (1152, 27, 16, 4304)
    return {"model_type": "gemma4_vision", "dtype": "bfloat16", "attention_bias": False, "attention_dropout": 0.0,
            "default_output_length": 280, "global_head_dim": hidden // heads, "head_dim": hidden // heads,
            "hidden_activation": "gelu_pytorch_tanh", "hidden_size": hidden, "initializer_range": 0.02,
            "intermediate_size": ffn, "max_position_embeddings": 131072, "num_attention_heads": heads,
            "num_hidden_layers": layers, "num_key_value_heads": heads, "patch_size": 16, "pooling_kernel_size": 3,
            "position_embedding_size": 10240, "rms_norm_eps": 1e-06,
            "rope_parameters": {"rope_theta": 100.0, "rope_type": "default"}, "standardize": not small,
            "use_clipped_linears": small}


def _audio(name: str) -> dict | None:
    if name == "12b":
        return {"model_type": "gemma4_unified_audio", "dtype": "bfloat16", "audio_embed_dim": 640,
                "audio_samples_per_token": 640, "rms_norm_eps": 1e-06}
    if name in ("26b-a4b", "31b"):
        return None
    return {"model_type": "gemma4_audio", "dtype": "bfloat16", "attention_chunk_size": 12, "attention_context_left": 13,
            "attention_context_right": 0, "attention_invalid_logits_value": -1000000000.0, "attention_logit_cap": 50.0,
            "conv_kernel_size": 5, "gradient_clipping": 10000000000.0, "hidden_act": "silu", "hidden_size": 1024,
            "initializer_range": 0.02, "num_attention_heads": 8, "num_hidden_layers": 12, "output_proj_dims": 1536,
            "residual_weight": 0.5, "rms_norm_eps": 1e-06, "subsampling_conv_channels": [128, 32],
            "use_clipped_linears": True}


def published(name: str) -> dict:
    unified = name == "12b"
    return {
        "architectures": ["Gemma4UnifiedForConditionalGeneration" if unified else "Gemma4ForConditionalGeneration"],
        "audio_config": _audio(name), "audio_token_id": 258881, "boa_token_id": 256000, "boi_token_id": 255999,
        "dtype": "bfloat16", "eoa_token_id": 258883, "eoa_token_index": 258883, "eoi_token_id": 258882,
        "eos_token_id": [1, 106, 50], "image_token_id": 258880, "initializer_range": 0.02,
        "model_type": "gemma4_unified" if unified else "gemma4", "text_config": _text(name), "tie_word_embeddings": True,
        "transformers_version": "5.5.0.dev0", "video_token_id": 258884, "vision_config": _vision(name),
        "vision_soft_tokens_per_image": 280,
    }


def published_drafter(name: str) -> dict:
    hidden, ffn, heads, clustered = DRAFTERS[name]
    unified = name == "12b"
    text = _text(name) | {
        "final_logit_softcapping": None, "hidden_size": hidden, "hidden_size_per_layer_input": 0, "intermediate_size": ffn,
        "enable_moe_block": False, "moe_intermediate_size": None, "num_experts": None, "top_k_experts": None,
        "layer_types": [NAMES[letter] for letter in "sssf"], "num_attention_heads": heads, "num_hidden_layers": 4,
        "num_kv_shared_layers": 4, "use_double_wide_mlp": False, "vocab_size_per_layer_input": 0}
    return {
        "architectures": ["Gemma4UnifiedAssistantForCausalLM" if unified else "Gemma4AssistantForCausalLM"],
        "backbone_hidden_size": SIZES[name][0], "centroid_intermediate_top_k": 32, "dtype": "bfloat16",
        "eos_token_id": [1, 106], "model_type": "gemma4_unified_assistant" if unified else "gemma4_assistant",
        "num_centroids": 2048, "text_config": text, "tie_word_embeddings": True, "transformers_version": "5.6.0.dev0",
        "use_ordered_embeddings": clustered,
    }


def _compact(values: dict) -> str:
    return json.dumps(values, indent=1, sort_keys=True).replace('_attention",\n   "', '_attention", "') + "\n"


def write(out: Path) -> None:
    """out/NAME.json, NAME-drafter.json, and both as `save_pretrained` writes them: -resaved.json."""
    out.mkdir(parents=True, exist_ok=True)
    for name in SIZES:
        for suffix, values in (("", published(name)), ("-drafter", published_drafter(name))):
            path = out / f"{name}{suffix}.json"
            path.write_text(_compact(values))
            again = AutoConfig.for_model(**json.loads(path.read_text()))
            (out / f"{name}{suffix}-resaved.json").write_text(_compact(json.loads(again.to_json_string(use_diff=False))))
