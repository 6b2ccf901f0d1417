"""Tiny random-weight models with the structure of the encoder-free 12B (`gemma4_unified`), as Hugging Face directories.

The weights are drawn so that a wrong engine gives visibly other answers: norm weights far from 1 and of both signs,
layer scalars far from 1, position tables and biases as large as what they are added to, attention scores of several
units, logits that reach into the bend of the soft cap, windows shorter than the prompts, and the rows of the suppressed
tokens loud enough to win when they are not suppressed. Seeds were chosen among a few for the fewest near ties in the
greedy continuations.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

import tiny_tokenizer


ROPE = {
    "full_attention": {"partial_rotary_factor": 0.25, "rope_theta": 1000000.0, "rope_type": "proportional"},
    "sliding_attention": {"rope_theta": 10000.0, "rope_type": "default"},
}


@dataclass(frozen=True)
class Decoder:
    """The sizes that every decoder has."""
    name: str
    seed: int
    dtype: torch.dtype
    layer_types: str  # one letter a layer: s sliding, f full
    hidden: int
    ffn: int
    heads: int
    kv_heads: int
    global_kv_heads: int | None
    head_dim: int
    global_head_dim: int
    window: int


@dataclass(frozen=True)
class Spec(Decoder):
    mm_embed_dim: int
    positions: int  # rows of the position table
    patch_size: int = 16  # three of them make one side of a soft token's patch
    shards: int = 1
    vocab: int = tiny_tokenizer.VOCAB_SIZE
    context: int = 4096


SPECS = [
    Spec("unified-a", 118, torch.float32, "ssfssf", hidden=64, ffn=80, heads=4, kv_heads=2, global_kv_heads=1,
         head_dim=16, global_head_dim=32, window=20, mm_embed_dim=16, positions=288),
    Spec("unified-b", 123, torch.bfloat16, "ssfsf", hidden=80, ffn=104, heads=6, kv_heads=3, global_kv_heads=2,
         head_dim=16, global_head_dim=48, window=7, mm_embed_dim=24, positions=290, shards=2),
    # Windows longer than one image, a smaller patch, a first layer with full attention, one K/V head everywhere.
    Spec("unified-c", 136, torch.bfloat16, "fssf", hidden=48, ffn=64, heads=4, kv_heads=1, global_kv_heads=1,
         head_dim=32, global_head_dim=64, window=96, mm_embed_dim=48, positions=300, patch_size=4),
]


def _config(spec: Spec, ids: dict[str, int]) -> dict:
    names = {"s": "sliding_attention", "f": "full_attention"}
    dtype = str(spec.dtype).removeprefix("torch.")
    text = {
        "model_type": "gemma4_unified_text",
        "attention_bias": False, "attention_dropout": 0.0, "attention_k_eq_v": True,
        "bos_token_id": ids["<bos>"], "eos_token_id": ids["<eos>"], "pad_token_id": ids["<pad>"],
        "dtype": dtype,
        "enable_moe_block": False,
        "final_logit_softcapping": 30.0,
        "global_head_dim": spec.global_head_dim, "head_dim": spec.head_dim,
        "hidden_activation": "gelu_pytorch_tanh",
        "hidden_size": spec.hidden, "hidden_size_per_layer_input": 0,
        "initializer_range": 0.02,
        "intermediate_size": spec.ffn,
        "layer_types": [names[letter] for letter in spec.layer_types],
        "max_position_embeddings": spec.context,
        "num_attention_heads": spec.heads,
        "num_global_key_value_heads": spec.global_kv_heads,
        "num_hidden_layers": len(spec.layer_types),
        "num_key_value_heads": spec.kv_heads,
        "num_kv_shared_layers": 0,
        "rms_norm_eps": 1e-06,
        "rope_parameters": ROPE,
        "sliding_window": spec.window,
        "tie_word_embeddings": True,
        "use_bidirectional_attention": "vision",
        "use_cache": True,
        "use_double_wide_mlp": False,
        "vocab_size": spec.vocab,
        "vocab_size_per_layer_input": spec.vocab,
    }
    return {
        "architectures": ["Gemma4UnifiedForConditionalGeneration"],
        "model_type": "gemma4_unified",
        "dtype": dtype,
        "audio_config": {"model_type": "gemma4_unified_audio", "audio_embed_dim": 640, "audio_samples_per_token": 640,
                         "output_proj_dims": 640, "rms_norm_eps": 1e-06},
        "vision_config": {"model_type": "gemma4_unified_vision", "patch_size": spec.patch_size, "pooling_kernel_size": 3,
                          "model_patch_size": 3 * spec.patch_size, "mm_embed_dim": spec.mm_embed_dim,
                          "mm_posemb_size": spec.positions, "output_proj_dims": spec.mm_embed_dim,
                          "rms_norm_eps": 1e-06},
        "text_config": text,
        "boi_token_id": ids["<|image>"], "eoi_token_id": ids["<image|>"], "image_token_id": ids["<|image|>"],
        "boa_token_id": ids["<|audio>"], "eoa_token_index": ids["<audio|>"], "audio_token_id": ids["<|audio|>"],
        "video_token_id": ids["<|video|>"],
        "eos_token_id": [ids["<eos>"], ids["<turn|>"], ids["<|tool_response>"]],
        "initializer_range": 0.02,
        "tie_word_embeddings": True,
        "vision_soft_tokens_per_image": 280,
    }


def _processor_config(spec: Spec) -> dict:
    pictures = {"do_convert_rgb": True, "do_resize": True, "do_rescale": True, "image_mean": [0.0, 0.0, 0.0],
                "image_std": [1.0, 1.0, 1.0], "rescale_factor": 0.00392156862745098, "resample": 3,
                "patch_size": spec.patch_size, "pooling_kernel_size": 3}
    return {
        "processor_class": "Gemma4UnifiedProcessor",
        "image_seq_length": 280, "audio_seq_length": 750, "audio_ms_per_token": 40,
        "feature_extractor": {"feature_extractor_type": "Gemma4UnifiedAudioFeatureExtractor", "feature_size": 640,
                              "sampling_rate": 16000, "padding_value": 0.0, "padding_side": "right",
                              "audio_samples_per_token": 640, "return_attention_mask": True},
        "image_processor": {"image_processor_type": "Gemma4UnifiedImageProcessor", "do_normalize": False,
                            "max_soft_tokens": 280, **pictures},
        "video_processor": {"video_processor_type": "Gemma4UnifiedVideoProcessor", "do_normalize": True,
                            "do_sample_frames": True, "max_soft_tokens": 70, "num_frames": 32, "return_metadata": True,
                            **pictures},
    }


def _tensors(spec: Spec, ids: dict[str, int]) -> dict[str, torch.Tensor]:
    random = np.random.Generator(np.random.PCG64(spec.seed))

    def normal(shape, deviation, mean=0.0):
        return random.normal(mean, deviation, shape)

    def signed(shape, low, high):  # magnitude between low and high, one in four negative
        return random.uniform(low, high, shape) * np.where(random.random(shape) < 0.25, -1.0, 1.0)

    hidden, patch, mm = spec.hidden, 3 * (3 * spec.patch_size) ** 2, spec.mm_embed_dim
    embedding = normal((spec.vocab, hidden), 0.7)
    for token in ("<image|>", "<audio|>"):
        embedding[ids[token]] *= 1.8
    for token in ("<|image|>", "<|audio|>", "<|video|>"):  # must not be generated: the reference takes it for a soft token
        embedding[ids[token]] *= 0.05
    tensors = {"model.language_model.embed_tokens.weight": embedding,
               "model.language_model.norm.weight": signed(hidden, 0.5, 1.5)}
    for index, letter in enumerate(spec.layer_types):
        full = letter == "f"
        head_dim = spec.global_head_dim if full else spec.head_dim
        kv_heads = spec.global_kv_heads if full else spec.kv_heads
        layer = {
            "input_layernorm.weight": signed(hidden, 0.4, 2.0),
            "post_attention_layernorm.weight": signed(hidden, 1.0, 4.0),
            "pre_feedforward_layernorm.weight": signed(hidden, 0.4, 2.0),
            "post_feedforward_layernorm.weight": signed(hidden, 1.0, 4.0),
            "layer_scalar": random.uniform(0.2, 0.8, 1),
            "self_attn.q_proj.weight": normal((spec.heads * head_dim, hidden), hidden**-0.5),
            "self_attn.k_proj.weight": normal((kv_heads * head_dim, hidden), 1.4 * hidden**-0.5),
            "self_attn.o_proj.weight": normal((hidden, spec.heads * head_dim), (spec.heads * head_dim)**-0.5),
            "self_attn.q_norm.weight": random.uniform(0.6, 1.3, head_dim),
            "self_attn.k_norm.weight": random.uniform(0.3, 0.9, head_dim),
            "mlp.gate_proj.weight": normal((spec.ffn, hidden), 1.2 * hidden**-0.5),
            "mlp.up_proj.weight": normal((spec.ffn, hidden), hidden**-0.5),
            "mlp.down_proj.weight": normal((hidden, spec.ffn), spec.ffn**-0.5),
        }
        if not full:  # full layers take their values from the keys' projection
            layer["self_attn.v_proj.weight"] = normal((kv_heads * head_dim, hidden), 0.7 * hidden**-0.5)
        tensors |= {f"model.language_model.layers.{index}.{name}": value for name, value in layer.items()}
    tensors |= {
        "model.vision_embedder.patch_ln1.weight": random.uniform(0.5, 1.5, patch),
        "model.vision_embedder.patch_ln1.bias": normal(patch, 0.3),
        "model.vision_embedder.patch_dense.weight": normal((mm, patch), 2.0 * patch**-0.5),
        "model.vision_embedder.patch_dense.bias": normal(mm, 0.5),
        "model.vision_embedder.patch_ln2.weight": random.uniform(0.5, 1.5, mm),
        "model.vision_embedder.patch_ln2.bias": normal(mm, 0.3),
        "model.vision_embedder.pos_embedding": normal((spec.positions, 2, mm), 0.6),
        "model.vision_embedder.pos_norm.weight": random.uniform(0.5, 1.5, mm),
        "model.vision_embedder.pos_norm.bias": normal(mm, 0.3),
        "model.embed_vision.embedding_projection.weight": normal((hidden, mm), 3.0 * mm**-0.5),
        "model.embed_audio.embedding_projection.weight": normal((hidden, 640), 3.0 * 640**-0.5),
    }
    return {name: torch.from_numpy(np.ascontiguousarray(value)).to(spec.dtype) for name, value in tensors.items()}


def _save(tensors: dict[str, torch.Tensor], folder: Path, shards: int) -> None:
    if shards == 1:
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        return
    names = list(tensors)
    cuts = [len(names) * i // shards for i in range(shards + 1)]
    index = {"metadata": {"total_size": sum(t.numel() * t.element_size() for t in tensors.values())}, "weight_map": {}}
    for shard in range(shards):
        file = f"model-{shard + 1:05d}-of-{shards:05d}.safetensors"
        part = {name: tensors[name] for name in names[cuts[shard]:cuts[shard + 1]]}
        save_file(part, folder / file, metadata={"format": "pt"})
        index["weight_map"] |= dict.fromkeys(part, file)
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=1) + "\n")


def write_metadata(spec: Spec, folder: Path) -> dict[str, int]:
    """Empties `folder` and writes everything of a model directory but the weights; returns the special tokens' ids."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    ids = tiny_tokenizer.write(folder)
    shutil.copy(Path(__file__).with_name("chat_template.jinja"), folder / "chat_template.jinja")
    generation = {
        "bos_token_id": ids["<bos>"], "pad_token_id": ids["<pad>"],
        "eos_token_id": [ids["<eos>"], ids["<turn|>"], ids["<|tool_response>"]],
        "do_sample": True, "temperature": 1.0, "top_k": 64, "top_p": 0.95,
        "suppress_tokens": [ids["<audio|>"], ids["<image|>"]],
    }
    for name, contents in (("config.json", _config(spec, ids)), ("generation_config.json", generation),
                           ("processor_config.json", _processor_config(spec))):
        (folder / name).write_text(json.dumps(contents, indent=2) + "\n")
    return ids


def write(spec: Spec, folder: Path) -> None:
    """Writes a complete model directory."""
    ids = write_metadata(spec, folder)
    _save(_tensors(spec, ids), folder, spec.shards)
