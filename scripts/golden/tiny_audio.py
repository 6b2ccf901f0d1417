"""Tiny random-weight models with the sound tower of E2B and E4B: the text decoders of tiny_variants with a conformer.

The two towers differ in everything a configuration can change. Clip ranges clip, the gradient clamps of one of them too,
norms and the scales of q are far from 1, the soft cap of one bends its scores.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tiny_models
import tiny_tokenizer
import tiny_variants
import torch
from tiny_variants import Spec


@dataclass(frozen=True)
class Tower:
    seed: int
    bands: int  # of the mel rows, and channels of the first convolution: the reference takes one for the other
    channels: int  # of the second convolution
    hidden: int
    layers: int
    heads: int
    taps: int
    chunk: int
    cap: float
    residual: float
    clamp: float  # gradient_clipping
    output: int
    own_ranges: bool  # q, k and v clip differently; in the releases they agree


MODELS = [
    (Spec("e2b-audio", 3, torch.bfloat16, "sfssf", hidden=48, ffn=40, heads=4, kv_heads=1, global_kv_heads=None,
          head_dim=16, global_head_dim=32, window=9, shared=2, double_wide=True, per_layer_dim=12, small_prompt=True),
     Tower(141, bands=128, channels=4, hidden=32, layers=3, heads=4, taps=5, chunk=12, cap=50.0, residual=0.5, clamp=1e10,
           output=24, own_ranges=False)),
    (Spec("e4b-audio", 2, torch.bfloat16, "ssfsf", hidden=40, ffn=56, heads=4, kv_heads=2, global_kv_heads=None, head_dim=16,
          global_head_dim=48, window=17, shared=2, per_layer_dim=20, small_prompt=True),
     Tower(142, bands=32, channels=8, hidden=40, layers=2, heads=2, taps=3, chunk=5, cap=4.0, residual=0.7, clamp=1.5,
           output=36, own_ranges=True)),
]


def _audio_config(tower: Tower, dtype: torch.dtype) -> dict:
    return {
        "model_type": "gemma4_audio", "dtype": str(dtype).removeprefix("torch."),
        "hidden_size": tower.hidden, "num_hidden_layers": tower.layers, "num_attention_heads": tower.heads,
        "hidden_act": "silu", "subsampling_conv_channels": [tower.bands, tower.channels],
        "conv_kernel_size": tower.taps, "residual_weight": tower.residual,
        "attention_chunk_size": tower.chunk, "attention_context_left": tower.chunk + 1, "attention_context_right": 0,
        "attention_logit_cap": tower.cap, "attention_invalid_logits_value": -1e9,
        "use_clipped_linears": True, "rms_norm_eps": 1e-6, "gradient_clipping": tower.clamp,
        "output_proj_dims": tower.output, "initializer_range": 0.02,
    }


def _processor_config(tower: Tower) -> dict:
    pictures = {"do_convert_rgb": True, "do_resize": True, "do_rescale": True, "image_mean": [0.0, 0.0, 0.0],
                "image_std": [1.0, 1.0, 1.0], "rescale_factor": 0.00392156862745098, "resample": 3,
                "patch_size": 16, "pooling_kernel_size": 3}
    return {
        "processor_class": "Gemma4Processor",
        "image_seq_length": 280, "audio_seq_length": 750, "audio_ms_per_token": 40,
        "feature_extractor": {
            "feature_extractor_type": "Gemma4AudioFeatureExtractor", "feature_size": tower.bands, "sampling_rate": 16000,
            "frame_length": 320, "hop_length": 160, "fft_length": 512, "fft_overdrive": False, "min_frequency": 0.0,
            "max_frequency": 8000.0, "mel_floor": 0.001, "preemphasis": 0.0, "preemphasis_htk_flavor": True, "dither": 0.0,
            "input_scale_factor": 1.0, "per_bin_mean": None, "per_bin_stddev": None, "padding_value": 0.0,
            "padding_side": "right", "return_attention_mask": True},
        "image_processor": {"image_processor_type": "Gemma4ImageProcessor", "do_normalize": False,
                            "max_soft_tokens": 280, **pictures},
        "video_processor": {"video_processor_type": "Gemma4VideoProcessor", "do_normalize": True,
                            "do_sample_frames": True, "max_soft_tokens": 70, "num_frames": 32, "return_metadata": True,
                            **pictures},
    }


def _tensors(tower: Tower, decoder_hidden: int, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    random = np.random.Generator(np.random.PCG64(tower.seed))
    dim, ffn = tower.hidden, 4 * tower.hidden
    tensors: dict[str, np.ndarray] = {}

    def normal(name, shape, deviation):
        tensors[name + ".weight"] = random.normal(0.0, deviation, shape)

    def norm(name, width, low=0.5, high=1.6):  # magnitude between low and high, one in four negative
        tensors[name + ".weight"] = random.uniform(low, high, width) * np.where(random.random(width) < 0.25, -1.0, 1.0)

    def ranges():
        return {f"{side}_{end}": np.array(sign * random.uniform(*spread))
                for side, spread in (("input", (1.0, 1.7)), ("output", (1.2, 2.4))) for end, sign in (("min", -1), ("max", 1))}

    def linear(name, out, width, gain=1.0, bounds=None):
        normal(name + ".linear", (out, width), gain * width**-0.5)
        for key, value in (bounds or ranges()).items():
            tensors[f"{name}.{key}"] = value

    conv = "subsample_conv_projection."
    normal(conv + "layer0.conv", (tower.bands, 1, 3, 3), 0.4)
    norm(conv + "layer0.norm", tower.bands)
    normal(conv + "layer1.conv", (tower.channels, tower.bands, 3, 3), (9 * tower.bands)**-0.5)
    norm(conv + "layer1.norm", tower.channels)
    flat = tower.bands // 4 * tower.channels
    normal(conv + "input_proj_linear", (dim, flat), 1.5 * flat**-0.5)
    for index in range(tower.layers):
        layer = f"layers.{index}."
        for part in ("feed_forward1.", "feed_forward2."):
            norm(layer + part + "pre_layer_norm", dim)
            norm(layer + part + "post_layer_norm", dim)
            linear(layer + part + "ffw_layer_1", ffn, dim, 1.3)
            linear(layer + part + "ffw_layer_2", dim, ffn, 1.3)
        for part in ("norm_pre_attn", "norm_post_attn", "norm_out"):
            norm(layer + part, dim)
        shared = None if tower.own_ranges else ranges()
        for part in ("q_proj", "k_proj", "v_proj"):
            linear(layer + "self_attn." + part, dim, dim, 1.2, shared)
        linear(layer + "self_attn.post", dim, dim, 1.5)
        normal(layer + "self_attn.relative_k_proj", (dim, dim), dim**-0.5)
        tensors[layer + "self_attn.per_dim_scale"] = random.normal(0.5, 1.0, dim // tower.heads)
        norm(layer + "lconv1d.pre_layer_norm", dim)
        norm(layer + "lconv1d.conv_norm", dim)
        linear(layer + "lconv1d.linear_start", 2 * dim, dim, 1.3)
        linear(layer + "lconv1d.linear_end", dim, dim, 1.3)
        normal(layer + "lconv1d.depthwise_conv1d", (dim, 1, tower.taps), 0.6)
    normal("output_proj", (tower.output, dim), dim**-0.5)
    tensors["output_proj.bias"] = random.normal(0.0, 0.5, tower.output)
    tensors = {"model.audio_tower." + name: value for name, value in tensors.items()}
    tensors["model.embed_audio.embedding_projection.weight"] = random.normal(
        0.0, 0.8 * tower.output**-0.5, (decoder_hidden, tower.output))
    return {name: torch.tensor(value).to(dtype) for name, value in tensors.items()}


def write(spec: Spec, tower: Tower, folder: Path) -> None:
    """Empties `folder` and writes a complete model directory."""
    tiny_variants.write(spec, folder)
    ids = json.loads((folder / "tokenizer.json").read_text())
    ids = {token["content"]: token["id"] for token in ids["added_tokens"]}
    config = tiny_variants._config(spec, ids)
    config["audio_config"] = _audio_config(tower, spec.dtype)
    for name, contents in (("config.json", config), ("processor_config.json", _processor_config(tower))):
        (folder / name).write_text(json.dumps(contents, indent=2) + "\n")
    tiny_models._save(tiny_variants._tensors(spec, ids) | _tensors(tower, spec.hidden, spec.dtype), folder, spec.shards)
