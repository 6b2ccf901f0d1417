"""Tiny random-weight text decoders with the structures of E2B, E4B, 26B-A4B and 31B (`gemma4`), as Hugging Face
directories.

As in tiny_models, the weights are drawn so that a wrong engine gives visibly other answers: every norm, layer scalar and
expert scale is far from 1, windows are shorter than the prompts, sqrt(per_layer_dim) is no bf16 number, the redundant K/V
tensors of borrowing layers hold other values than the layers they borrow from.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tiny_models
import tiny_tokenizer
import torch


@dataclass(frozen=True)
class Spec(tiny_models.Decoder):
    keys_are_values: bool = False
    shared: int = 0  # last layers that borrow K and V
    redundant_kv: bool = False  # K/V tensors of those layers are in the file all the same
    double_wide: bool = False
    per_layer_dim: int = 0
    experts: int = 0
    active: int = 0
    expert_ffn: int = 0
    bidirectional: str | None = None
    small_prompt: bool = False  # no empty thought channel in the generation prompt
    text_only: bool = False  # model_type gemma4_text, no multimodal wrapper
    shards: int = 1
    vocab: int = tiny_tokenizer.VOCAB_SIZE
    context: int = 4096
    cases: bool = True  # of variant_cases


SPECS = [
    # The tail of five holds both kinds; its sources are layers 3 and 4, not the last of their kind in the model.
    Spec("e2b", 25, torch.bfloat16, "ssfsfssfsf", hidden=48, ffn=40, heads=4, kv_heads=1, global_kv_heads=None, head_dim=16,
         global_head_dim=32, window=9, shared=5, redundant_kv=True, double_wide=True, per_layer_dim=12, small_prompt=True),
    Spec("e4b", 20, torch.bfloat16, "sfssfsf", hidden=40, ffn=56, heads=4, kv_heads=2, global_kv_heads=None, head_dim=16,
         global_head_dim=48, window=17, shared=2, per_layer_dim=20, small_prompt=True),
    Spec("a26b", 6, torch.bfloat16, "ssfsf", hidden=56, ffn=40, heads=8, kv_heads=4, global_kv_heads=2, head_dim=16,
         global_head_dim=32, window=13, keys_are_values=True, experts=12, active=4, expert_ffn=24, bidirectional="vision",
         shards=2),
    Spec("d31b", 4, torch.bfloat16, "ssfssf", hidden=64, ffn=88, heads=8, kv_heads=4, global_kv_heads=1, head_dim=16,
         global_head_dim=32, window=33, keys_are_values=True, bidirectional="vision", text_only=True),
    # Targets of drafters with a clustered head, whose clusters must divide the vocabulary: rows beyond the tokenizer's fill
    # it up. The drafter's sources are layers 3 and 4 in the first, 3 and 2 in the second.
    Spec("e2b-mtp", 41, torch.bfloat16, "ssfsfssf", hidden=32, ffn=24, heads=4, kv_heads=1, global_kv_heads=None, head_dim=16,
         global_head_dim=32, window=9, shared=3, double_wide=True, per_layer_dim=12, small_prompt=True, vocab=648),
    Spec("e4b-mtp", 48, torch.bfloat16, "ssfssf", hidden=40, ffn=32, heads=4, kv_heads=2, global_kv_heads=None, head_dim=16,
         global_head_dim=48, window=17, shared=2, per_layer_dim=8, small_prompt=True, vocab=672),
    # Small enough to read a prompt of 33,000 tokens in a test; as many positions as the released models have.
    Spec("long", 60, torch.bfloat16, "sf", hidden=16, ffn=24, heads=2, kv_heads=1, global_kv_heads=1, head_dim=16,
         global_head_dim=16, window=512, keys_are_values=True, text_only=True, context=262144, cases=False),
]


def _config(spec: Spec, ids: dict[str, int]) -> dict:
    names = {"s": "sliding_attention", "f": "full_attention"}
    dtype = str(spec.dtype).removeprefix("torch.")
    text = {
        "model_type": "gemma4_text",
        "attention_bias": False, "attention_dropout": 0.0, "attention_k_eq_v": spec.keys_are_values,
        "bos_token_id": ids["<bos>"], "eos_token_id": ids["<eos>"], "pad_token_id": ids["<pad>"],
        "dtype": dtype,
        "enable_moe_block": spec.experts > 0,
        "expert_intermediate_size": spec.expert_ffn or None,
        "final_logit_softcapping": 30.0,
        "global_head_dim": spec.global_head_dim, "head_dim": spec.head_dim,
        "hidden_activation": "gelu_pytorch_tanh",
        "hidden_size": spec.hidden, "hidden_size_per_layer_input": spec.per_layer_dim,
        "initializer_range": 0.02,
        "intermediate_size": spec.ffn,
        "layer_types": [names[letter] for letter in spec.layer_types],
        "max_position_embeddings": spec.context,
        "moe_intermediate_size": spec.expert_ffn or None,
        "num_attention_heads": spec.heads,
        "num_experts": spec.experts or None,
        "num_global_key_value_heads": spec.global_kv_heads,
        "num_hidden_layers": len(spec.layer_types),
        "num_key_value_heads": spec.kv_heads,
        "num_kv_shared_layers": spec.shared,
        "rms_norm_eps": 1e-06,
        "rope_parameters": tiny_models.ROPE,
        "sliding_window": spec.window,
        "tie_word_embeddings": True,
        "top_k_experts": spec.active or None,
        "use_bidirectional_attention": spec.bidirectional,
        "use_cache": True,
        "use_double_wide_mlp": spec.double_wide,
        "vocab_size": spec.vocab,
        "vocab_size_per_layer_input": spec.vocab,
    }
    eos = [ids["<eos>"], ids["<turn|>"], ids["<|tool_response>"]]
    if spec.text_only:
        return {"architectures": ["Gemma4ForCausalLM"], **text, "eos_token_id": eos}
    return {
        "architectures": ["Gemma4ForConditionalGeneration"],
        "model_type": "gemma4",
        "dtype": dtype,
        "audio_config": None, "vision_config": None,
        "text_config": text,
        "boi_token_id": ids["<|image>"], "eoi_token_id": ids["<image|>"], "image_token_id": ids["<|image|>"],
        "boa_token_id": ids["<|audio>"], "eoa_token_index": ids["<audio|>"], "audio_token_id": ids["<|audio|>"],
        "video_token_id": ids["<|video|>"],
        "eos_token_id": eos,
        "initializer_range": 0.02,
        "tie_word_embeddings": True,
        "vision_soft_tokens_per_image": 280,
    }


def _tensors(spec: Spec, ids: dict[str, int]) -> dict[str, torch.Tensor]:
    random = np.random.Generator(np.random.PCG64(spec.seed))

    def normal(shape, deviation):
        return random.normal(0.0, deviation, shape)

    def signed(shape, low, high):  # magnitude between low and high, one in four negative
        return random.uniform(low, high, shape) * np.where(random.random(shape) < 0.25, -1.0, 1.0)

    hidden, layers, ple = spec.hidden, len(spec.layer_types), spec.per_layer_dim
    embedding = normal((spec.vocab, hidden), 0.7)
    for token in ("<|image|>", "<|audio|>", "<|video|>"):  # must not be generated: the reference takes it for a soft token
        embedding[ids[token]] *= 0.05
    embedding[tiny_tokenizer.VOCAB_SIZE:] *= 0.05  # nor what has no piece
    prefix = "model." if spec.text_only else "model.language_model."
    tensors = {"embed_tokens.weight": embedding, "norm.weight": signed(hidden, 0.5, 1.5)}
    if ple:
        tensors |= {"embed_tokens_per_layer.weight": normal((spec.vocab, layers * ple), 0.5),
                    "per_layer_model_projection.weight": normal((layers * ple, hidden), 1.0),
                    "per_layer_projection_norm.weight": signed(ple, 0.5, 2.0)}
    for index, letter in enumerate(spec.layer_types):
        full, borrows = letter == "f", index >= layers - spec.shared
        head_dim = spec.global_head_dim if full else spec.head_dim
        kv_heads = spec.global_kv_heads if full and spec.keys_are_values and spec.global_kv_heads else spec.kv_heads
        ffn = spec.ffn * (2 if borrows and spec.double_wide else 1)
        layer = {
            "input_layernorm.weight": signed(hidden, 0.4, 2.0),
            "post_attention_layernorm.weight": signed(hidden, *((0.4, 1.4) if ple else (1.0, 4.0))),
            "pre_feedforward_layernorm.weight": signed(hidden, 0.4, 2.0),
            "post_feedforward_layernorm.weight": signed(hidden, *((0.4, 1.4) if ple else (1.0, 4.0))),
            "layer_scalar": random.uniform(*((0.5, 0.9) if ple else (0.2, 0.8)), 1),
            "self_attn.q_proj.weight": normal((spec.heads * head_dim, hidden), hidden**-0.5),
            "self_attn.o_proj.weight": normal((hidden, spec.heads * head_dim), (spec.heads * head_dim)**-0.5),
            "self_attn.q_norm.weight": random.uniform(0.6, 1.3, head_dim),
            "mlp.gate_proj.weight": normal((ffn, hidden), 1.2 * hidden**-0.5),
            "mlp.up_proj.weight": normal((ffn, hidden), hidden**-0.5),
            "mlp.down_proj.weight": normal((hidden, ffn), ffn**-0.5),
        }
        if not borrows or spec.redundant_kv:
            layer["self_attn.k_proj.weight"] = normal((kv_heads * head_dim, hidden), 1.4 * hidden**-0.5)
            layer["self_attn.k_norm.weight"] = random.uniform(0.3, 0.9, head_dim)
            if not (full and spec.keys_are_values):
                layer["self_attn.v_proj.weight"] = normal((kv_heads * head_dim, hidden), 0.7 * hidden**-0.5)
        if ple:
            layer |= {"per_layer_input_gate.weight": normal((ple, hidden), 1.2 * hidden**-0.5),
                      "per_layer_projection.weight": normal((hidden, ple), ple**-0.5),
                      "post_per_layer_input_norm.weight": signed(hidden, 0.4, 1.4)}
        if spec.experts:
            experts, width = spec.experts, spec.expert_ffn
            layer |= {"router.proj.weight": normal((experts, hidden), 1.5),
                      "router.scale": signed(hidden, 0.5, 2.0),
                      "router.per_expert_scale": random.uniform(0.3, 2.5, experts),
                      "experts.gate_up_proj": normal((experts, 2 * width, hidden), 1.1 * hidden**-0.5),
                      "experts.down_proj": normal((experts, hidden, width), width**-0.5),
                      "pre_feedforward_layernorm_2.weight": signed(hidden, 0.4, 2.0),
                      "post_feedforward_layernorm_1.weight": signed(hidden, 0.5, 3.0),
                      "post_feedforward_layernorm_2.weight": signed(hidden, 0.5, 3.0)}
        tensors |= {f"layers.{index}.{name}": value for name, value in layer.items()}
    return {prefix + name: torch.from_numpy(np.ascontiguousarray(value)).to(spec.dtype) for name, value in tensors.items()}


def write(spec: Spec, folder: Path) -> None:
    """Empties `folder` and writes a complete model directory."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    ids = tiny_tokenizer.write(folder)
    template = Path(__file__).with_name("chat_template.jinja").read_text()
    if spec.small_prompt:
        template = tiny_tokenizer.small_template(template)
    (folder / "chat_template.jinja").write_text(template)
    generation = {
        "bos_token_id": ids["<bos>"], "pad_token_id": ids["<pad>"],
        "eos_token_id": [ids["<eos>"], ids["<turn|>"], ids["<|tool_response>"]],
        "do_sample": True, "temperature": 1.0, "top_k": 64, "top_p": 0.95,
    }
    for name, contents in (("config.json", _config(spec, ids)), ("generation_config.json", generation)):
        (folder / name).write_text(json.dumps(contents, indent=2) + "\n")
    tiny_models._save(_tensors(spec, ids), folder, spec.shards)
