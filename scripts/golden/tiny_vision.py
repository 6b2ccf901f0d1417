"""Tiny random-weight models of E2B, E4B, 26B-A4B and 31B with their vision towers (`gemma4`), as Hugging Face directories.

The text decoders are those of tiny_variants with fewer layers. The towers are drawn so that a wrong one gives visibly
other answers: norms far from 1 and of both signs, ranges of clipped layers that cut, a position table as large as the
patches it is added to with x and y of their own, head widths that differ from the tower's width, shifts and factors of the
standardisation as large as what they act on.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tiny_audio
import tiny_models
import tiny_tokenizer
import tiny_variants
import torch


@dataclass(frozen=True)
class Tower:
    hidden: int
    ffn: int
    layers: int
    heads: int
    head_dim: int
    positions: int  # entries of the position table along each axis
    patch_size: int = 16
    clipped: bool = False
    shared_ranges: bool = False  # k and v, gate and up have the same ranges, as in the releases
    standardised: bool = False
    rope_type: str = "default"  # what releases call it; newer files say "axial"


@dataclass(frozen=True)
class Spec:
    text: tiny_variants.Spec
    tower: Tower
    audio: tiny_audio.Tower | None = None

    @property
    def name(self) -> str:
        return self.text.name


SPECS = [
    Spec(tiny_variants.Spec("e2b-vision", 40, torch.bfloat16, "ssfsf", hidden=48, ffn=40, heads=4, kv_heads=1,
                            global_kv_heads=None, head_dim=16, global_head_dim=32, window=9, shared=2, double_wide=True,
                            per_layer_dim=12, small_prompt=True),
         Tower(hidden=32, ffn=56, layers=3, heads=2, head_dim=16, positions=310, clipped=True),
         audio=tiny_audio.MODELS[0][1]),  # the releases of E2B and E4B have both towers
    Spec(tiny_variants.Spec("e4b-vision", 35, torch.bfloat16, "sfssf", hidden=40, ffn=56, heads=4, kv_heads=2,
                            global_kv_heads=None, head_dim=16, global_head_dim=48, window=17, shared=2, per_layer_dim=20,
                            small_prompt=True),
         Tower(hidden=24, ffn=40, layers=2, heads=2, head_dim=20, positions=310, patch_size=4, clipped=True,
               shared_ranges=True, rope_type="axial")),
    Spec(tiny_variants.Spec("a26b-vision", 36, torch.bfloat16, "ssfsf", hidden=56, ffn=40, heads=8, kv_heads=4,
                            global_kv_heads=2, head_dim=16, global_head_dim=32, window=13, keys_are_values=True,
                            experts=8, active=3, expert_ffn=16, bidirectional="vision"),
         Tower(hidden=36, ffn=52, layers=2, heads=3, head_dim=12, positions=310, standardised=True)),
    Spec(tiny_variants.Spec("d31b-vision", 34, torch.bfloat16, "sfsf", hidden=56, ffn=72, heads=8, kv_heads=4,
                            global_kv_heads=1, head_dim=16, global_head_dim=32, window=33, keys_are_values=True,
                            bidirectional="vision"),
         Tower(hidden=40, ffn=60, layers=2, heads=2, head_dim=24, positions=320, standardised=True)),
]
LINEARS = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj", "mlp.gate_proj", "mlp.up_proj",
           "mlp.down_proj")


def vision_config(tower: Tower) -> dict:
    return {
        "model_type": "gemma4_vision", "attention_bias": False, "attention_dropout": 0.0, "head_dim": tower.head_dim,
        "hidden_activation": "gelu_pytorch_tanh", "hidden_size": tower.hidden, "intermediate_size": tower.ffn,
        "max_position_embeddings": 131072, "num_attention_heads": tower.heads, "num_hidden_layers": tower.layers,
        "num_key_value_heads": tower.heads, "patch_size": tower.patch_size, "pooling_kernel_size": 3,
        "position_embedding_size": tower.positions, "rms_norm_eps": 1e-06,
        "rope_parameters": {"rope_theta": 100.0, "rope_type": tower.rope_type},
        "standardize": tower.standardised, "use_clipped_linears": tower.clipped,
    }


def processor_config(tower: Tower) -> dict:
    pictures = {"do_convert_rgb": True, "do_resize": True, "do_rescale": True, "image_mean": [0.0, 0.0, 0.0],
                "image_std": [1.0, 1.0, 1.0], "rescale_factor": 0.00392156862745098, "resample": 3,
                "patch_size": tower.patch_size, "pooling_kernel_size": 3}
    return {
        "processor_class": "Gemma4Processor",
        "image_seq_length": 280, "audio_seq_length": 750, "audio_ms_per_token": 40,
        "feature_extractor": {"feature_extractor_type": "Gemma4AudioFeatureExtractor", "sampling_rate": 16000},
        "image_processor": {"image_processor_type": "Gemma4ImageProcessor", "do_normalize": False, "max_soft_tokens": 280,
                            **pictures},
        "video_processor": {"video_processor_type": "Gemma4VideoProcessor", "do_normalize": True, "do_sample_frames": True,
                            "max_soft_tokens": 70, "num_frames": 32, "return_metadata": True, **pictures},
    }


def tower_tensors(spec: Spec) -> dict[str, torch.Tensor]:
    tower = spec.tower
    random = np.random.Generator(np.random.PCG64(1000 + spec.text.seed))

    def normal(shape, deviation):
        return random.normal(0.0, deviation, shape)

    def signed(shape, low, high):  # magnitude between low and high, one in four negative
        return random.uniform(low, high, shape) * np.where(random.random(shape) < 0.25, -1.0, 1.0)

    def ranges(input_size, output_size):
        """Bounds of their own on each side; what lies beyond them is cut."""
        return {"input_min": -input_size * random.uniform(0.7, 1.3), "input_max": input_size * random.uniform(0.7, 1.3),
                "output_min": -output_size * random.uniform(0.7, 1.3), "output_max": output_size * random.uniform(0.7, 1.3)}

    dim, width, patch = tower.hidden, tower.heads * tower.head_dim, 3 * tower.patch_size**2
    shapes = dict(zip(LINEARS, [(width, dim)] * 3 + [(dim, width)] + [(tower.ffn, dim)] * 2 + [(dim, tower.ffn)]))
    tensors = {"vision_tower.patch_embedder.input_proj.weight": normal((dim, patch), 2.0 * patch**-0.5),
               "vision_tower.patch_embedder.position_embedding_table": normal((2, tower.positions, dim), 0.7)}
    for index in range(tower.layers):
        layer = {f"{name}.weight": signed(dim, 0.4, 1.6) for name in
                 ("input_layernorm", "post_attention_layernorm", "pre_feedforward_layernorm", "post_feedforward_layernorm")}
        layer |= {"self_attn.q_norm.weight": random.uniform(0.5, 1.2, tower.head_dim),
                  "self_attn.k_norm.weight": random.uniform(0.4, 1.0, tower.head_dim)}
        for name, shape in shapes.items():
            layer[f"{name}.linear.weight"] = normal(shape, shape[1]**-0.5)
        if tower.clipped:
            bounds = {name: ranges(*((0.6, 0.5) if name in ("self_attn.o_proj", "mlp.down_proj") else (1.4, 1.2)))
                      for name in LINEARS}
            if tower.shared_ranges:
                bounds["self_attn.v_proj"], bounds["mlp.up_proj"] = bounds["self_attn.k_proj"], bounds["mlp.gate_proj"]
            layer |= {f"{name}.{end}": np.array(value) for name, ends in bounds.items() for end, value in ends.items()}
        tensors |= {f"vision_tower.encoder.layers.{index}.{name}": value for name, value in layer.items()}
    if tower.standardised:
        tensors |= {"vision_tower.std_bias": normal(dim, 10.0), "vision_tower.std_scale": signed(dim, 0.05, 0.3)}
    tensors["embed_vision.embedding_projection.weight"] = normal((spec.text.hidden, dim), 2.0 * dim**-0.5)
    return {"model." + name: torch.from_numpy(np.array(value)).to(spec.text.dtype) for name, value in tensors.items()}


def write(spec: Spec, folder: Path) -> None:
    """Empties `folder` and writes a complete model directory: the text model's, with a tower."""
    tiny_variants.write(spec.text, folder)
    ids = tiny_tokenizer.write(folder)
    config = tiny_variants._config(spec.text, ids) | {"vision_config": vision_config(spec.tower)}
    processor, tensors = processor_config(spec.tower), tiny_variants._tensors(spec.text, ids) | tower_tensors(spec)
    if spec.audio:
        config["audio_config"] = tiny_audio._audio_config(spec.audio, spec.text.dtype)
        processor["feature_extractor"] = tiny_audio._processor_config(spec.audio)["feature_extractor"]
        tensors |= tiny_audio._tensors(spec.audio, spec.text.hidden, spec.text.dtype)
    for name, contents in (("config.json", config), ("processor_config.json", processor)):
        (folder / name).write_text(json.dumps(contents, indent=2) + "\n")
    tiny_models._save(tensors, folder, spec.text.shards)
