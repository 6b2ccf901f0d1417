#!/usr/bin/env python3
"""Writes a model directory with the true shapes of a release, whole or cut to some layers, with random bf16 weights.

    python scripts/golden/true_shapes.py OUT [--variant e2b|e4b|12b|26b-a4b|31b] [--layers N] [--towers-only] [--seed 1]

For speed and memory only: what it says is noise of a sane scale, never zeros or constants, so that no kernel has it easy.
The towers are whole; `--towers-only` puts them under a decoder of two narrow layers, to time them alone. Twelve layers of
the 12B take 7.6 GB on the disk, E2B whole 10.2. Weights are streamed: a pool of normal values is scaled for each tensor
and written from random offsets, so memory stays below a gigabyte and the disk sets the time.
"""

from __future__ import annotations

import argparse
import json
import shutil
import struct
import time
from pathlib import Path

import configurations
import numpy as np
import tiny_models
import tiny_tokenizer
import tiny_vision
import torch

POOL_VALUES = 1 << 23
CHUNK_VALUES_MAX = 1 << 22
MEDIA_IDS = {"image_token_id": "<|image|>", "audio_token_id": "<|audio|>", "video_token_id": "<|video|>",
             "boi_token_id": "<|image>", "eoi_token_id": "<image|>", "boa_token_id": "<|audio>",
             "eoa_token_id": "<audio|>", "eoa_token_index": "<audio|>"}
# shape, mean, deviation
Tensors = dict[str, tuple[tuple[int, ...], float, float]]


def configuration(variant: str, layers: int | None, towers_only: bool, ids: dict[str, int]) -> dict:
    """The published one, cut, with the ids of the little tokenizer."""
    config = configurations.published(variant)
    config |= {key: ids[token] for key, token in MEDIA_IDS.items()}
    config["eos_token_id"] = [ids["<eos>"], ids["<turn|>"], ids["<|tool_response>"]]
    text = config["text_config"]
    if towers_only:
        text |= {"layer_types": ["sliding_attention", "full_attention"], "intermediate_size": 64, "num_attention_heads": 2,
                 "num_key_value_heads": 1, "num_global_key_value_heads": 1, "num_kv_shared_layers": 0, "enable_moe_block": False,
                 "hidden_size_per_layer_input": 0, "vocab_size": tiny_tokenizer.VOCAB_SIZE,
                 "vocab_size_per_layer_input": tiny_tokenizer.VOCAB_SIZE}
    elif layers is not None:
        assert text["num_kv_shared_layers"] == 0, "the tail of E2B and E4B borrows from its middle: they come whole"
        text["layer_types"] = text["layer_types"][:layers - 1] + ["full_attention"]
    text["num_hidden_layers"] = len(text["layer_types"])
    text |= {"pad_token_id": ids["<pad>"], "bos_token_id": ids["<bos>"], "eos_token_id": ids["<eos>"]}
    return config


def text_tensors(text: dict) -> Tensors:
    """Norms of q and k have the 12B's published values, so scores have its scale."""
    hidden, heads, layers = text["hidden_size"], text["num_attention_heads"], text["num_hidden_layers"]
    result: Tensors = {"embed_tokens.weight": ((text["vocab_size"], hidden), 0.0, 0.1)}
    per_layer = text["hidden_size_per_layer_input"]

    def matrix(name: str, *shape: int) -> None:
        result[name] = (shape, 0.0, shape[-1]**-0.5)

    def norms(at: str, *names: str) -> None:
        for name in names:
            result[f"{at}{name}.weight"] = ((hidden,), 1.0, 0.25)

    if per_layer:
        result["embed_tokens_per_layer.weight"] = ((text["vocab_size"], layers * per_layer), 0.0, 0.05)
        matrix("per_layer_model_projection.weight", layers * per_layer, hidden)
        result["per_layer_projection_norm.weight"] = ((per_layer,), 1.0, 0.25)
    for index, kind in enumerate(text["layer_types"]):
        at = f"layers.{index}."
        full, borrows = kind == "full_attention", index >= layers - text["num_kv_shared_layers"]
        head_dim = text["global_head_dim"] if full else text["head_dim"]
        shares = full and text["attention_k_eq_v"]
        kv_heads = (shares and text["num_global_key_value_heads"]) or text["num_key_value_heads"]
        ffn = text["intermediate_size"] * (2 if borrows and text["use_double_wide_mlp"] else 1)
        norms(at, "input_layernorm", "post_attention_layernorm", "pre_feedforward_layernorm", "post_feedforward_layernorm")
        result[at + "layer_scalar"] = ((1,), 0.5, 0.05)
        matrix(at + "self_attn.q_proj.weight", heads * head_dim, hidden)
        matrix(at + "self_attn.o_proj.weight", hidden, heads * head_dim)
        result[at + "self_attn.q_norm.weight"] = ((head_dim,), 1.0234, 0.01)
        if not borrows:
            matrix(at + "self_attn.k_proj.weight", kv_heads * head_dim, hidden)
            if not shares:
                matrix(at + "self_attn.v_proj.weight", kv_heads * head_dim, hidden)
            result[at + "self_attn.k_norm.weight"] = ((head_dim,), 0.1221, 0.001)
        matrix(at + "mlp.gate_proj.weight", ffn, hidden)
        matrix(at + "mlp.up_proj.weight", ffn, hidden)
        matrix(at + "mlp.down_proj.weight", hidden, ffn)
        if per_layer:
            matrix(at + "per_layer_input_gate.weight", per_layer, hidden)
            matrix(at + "per_layer_projection.weight", hidden, per_layer)
            norms(at, "post_per_layer_input_norm")
        if text["enable_moe_block"]:
            experts, width = text["num_experts"], text["moe_intermediate_size"]
            matrix(at + "router.proj.weight", experts, hidden)
            result[at + "router.scale"] = ((hidden,), 40.0, 4.0)  # some experts are chosen more often than others
            result[at + "router.per_expert_scale"] = ((experts,), 1.0, 0.1)
            matrix(at + "experts.gate_up_proj", experts, 2 * width, hidden)
            matrix(at + "experts.down_proj", experts, hidden, width)
            norms(at, "pre_feedforward_layernorm_2", "post_feedforward_layernorm_1", "post_feedforward_layernorm_2")
    norms("", "norm")
    return {"model.language_model." + name: value for name, value in result.items()}


def clipped(name: str, out: int, width: int) -> Tensors:
    """A linear layer with ranges at three deviations of what goes in and comes out."""
    ends = {"input_min": -3.0, "input_max": 3.0, "output_min": -3.0, "output_max": 3.0}
    return {name + ".linear.weight": ((out, width), 0.0, width**-0.5)} | {
        f"{name}.{end}": ((), value, 0.0) for end, value in ends.items()}


def vision_tower_tensors(config: dict, hidden: int) -> Tensors:
    dim, ffn, patch = config["hidden_size"], config["intermediate_size"], 3 * config["patch_size"]**2
    at = "model.vision_tower."
    result: Tensors = {at + "patch_embedder.input_proj.weight": ((dim, patch), 0.0, patch**-0.5),
                       at + "patch_embedder.position_embedding_table": ((2, config["position_embedding_size"], dim), 0.0, 0.3)}
    for index in range(config["num_hidden_layers"]):
        layer = f"{at}encoder.layers.{index}."
        for norm in ("input", "post_attention", "pre_feedforward", "post_feedforward"):
            result[f"{layer}{norm}_layernorm.weight"] = ((dim,), 1.0, 0.25)
        for norm in ("q", "k"):
            result[f"{layer}self_attn.{norm}_norm.weight"] = ((config["head_dim"],), 0.4, 0.02)
        for name in tiny_vision.LINEARS:
            out, width = (ffn, dim) if name in ("mlp.gate_proj", "mlp.up_proj") else (dim, ffn) if name == "mlp.down_proj" else (dim, dim)
            linear = clipped(layer + name, out, width)
            result |= linear if config["use_clipped_linears"] else dict(list(linear.items())[:1])
    if config["standardize"]:
        result[at + "std_bias"] = ((dim,), 0.0, 1.0)
        result[at + "std_scale"] = ((dim,), 1.0, 0.1)
    return result | {"model.embed_vision.embedding_projection.weight": ((hidden, dim), 0.0, dim**-0.5)}


def audio_tower_tensors(config: dict, hidden: int) -> Tensors:
    dim, out = config["hidden_size"], config["output_proj_dims"]
    bands, channels = config["subsampling_conv_channels"]
    result: Tensors = {}

    def plain(name: str, *shape: int, fan: int) -> None:
        result[name + ".weight"] = (shape, 0.0, fan**-0.5)

    def norm(name: str, width: int = dim) -> None:
        result[name + ".weight"] = ((width,), 1.0, 0.25)

    conv = "subsample_conv_projection."
    plain(conv + "layer0.conv", bands, 1, 3, 3, fan=9)
    plain(conv + "layer1.conv", channels, bands, 3, 3, fan=9 * bands)
    norm(conv + "layer0.norm", bands)
    norm(conv + "layer1.norm", channels)
    plain(conv + "input_proj_linear", dim, bands // 4 * channels, fan=bands // 4 * channels)
    for index in range(config["num_hidden_layers"]):
        at = f"layers.{index}."
        for part in ("feed_forward1.", "feed_forward2."):
            norm(at + part + "pre_layer_norm")
            norm(at + part + "post_layer_norm")
            result |= clipped(at + part + "ffw_layer_1", 4 * dim, dim) | clipped(at + part + "ffw_layer_2", dim, 4 * dim)
        for part in ("norm_pre_attn", "norm_post_attn", "norm_out", "lconv1d.pre_layer_norm", "lconv1d.conv_norm"):
            norm(at + part)
        for part in ("q_proj", "k_proj", "v_proj", "post"):
            result |= clipped(f"{at}self_attn.{part}", dim, dim)
        plain(at + "self_attn.relative_k_proj", dim, dim, fan=dim)
        result[at + "self_attn.per_dim_scale"] = ((dim // config["num_attention_heads"],), 0.5, 0.1)
        result |= clipped(at + "lconv1d.linear_start", 2 * dim, dim) | clipped(at + "lconv1d.linear_end", dim, dim)
        plain(at + "lconv1d.depthwise_conv1d", dim, 1, config["conv_kernel_size"], fan=config["conv_kernel_size"])
    plain("output_proj", out, dim, fan=dim)
    result["output_proj.bias"] = ((out,), 0.0, 0.1)
    return {"model.audio_tower." + name: value for name, value in result.items()} | {
        "model.embed_audio.embedding_projection.weight": ((hidden, out), 0.0, out**-0.5)}


def embedder_tensors(config: dict, hidden: int) -> Tensors:
    """Pictures and sound of the 12B, which has no towers."""
    mm, patch = config["mm_embed_dim"], 3 * config["model_patch_size"]**2
    at = "model.vision_embedder."
    result: Tensors = {}
    for norm, width in (("patch_ln1", patch), ("patch_ln2", mm), ("pos_norm", mm)):
        result |= {f"{at}{norm}.weight": ((width,), 1.0, 0.1), f"{at}{norm}.bias": ((width,), 0.0, 0.1)}
    result |= {at + "patch_dense.weight": ((mm, patch), 0.0, patch**-0.5), at + "patch_dense.bias": ((mm,), 0.0, 0.1),
               at + "pos_embedding": ((config["mm_posemb_size"], 2, mm), 0.0, 0.3),
               "model.embed_vision.embedding_projection.weight": ((hidden, mm), 0.0, mm**-0.5),
               "model.embed_audio.embedding_projection.weight": ((hidden, 640), 0.0, 640**-0.5)}
    return result


def tensors(config: dict) -> Tensors:
    hidden = config["text_config"]["hidden_size"]
    result = text_tensors(config["text_config"])
    if config["model_type"] == "gemma4_unified":
        return result | embedder_tensors(config["vision_config"], hidden)
    result |= vision_tower_tensors(config["vision_config"], hidden)
    return result | audio_tower_tensors(config["audio_config"], hidden) if config["audio_config"] else result


def write_weights(plan: Tensors, path: Path, seed: int) -> int:
    """Streams the safetensors file; returns its size in bytes."""
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    for name, (shape, _, _) in plan.items():
        end = offset + 2 * int(np.prod(shape, dtype=np.int64))
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)

    random = np.random.Generator(np.random.PCG64(seed))
    noise = torch.from_numpy(random.standard_normal(POOL_VALUES, dtype=np.float32))
    pools: dict[tuple[float, float], memoryview] = {}
    with path.open("wb", buffering=0) as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for shape, mean, deviation in plan.values():
            if (mean, deviation) not in pools:
                values = (noise * deviation + mean).to(torch.bfloat16)
                pools[mean, deviation] = memoryview(values.view(torch.int16).numpy()).cast("B")
            pool = pools[mean, deviation]
            left = int(np.prod(shape, dtype=np.int64))
            while left:
                # Any length and any start: rows that are copies of each other would tie in the output head.
                count = min(left, int(random.integers(CHUNK_VALUES_MAX // 2, CHUNK_VALUES_MAX)))
                start = int(random.integers(0, POOL_VALUES - count))
                file.write(pool[2 * start:2 * (start + count)])
                left -= count
    return path.stat().st_size


def processor_configuration(config: dict) -> dict:
    if config["model_type"] == "gemma4_unified":
        return tiny_models._processor_config(tiny_models.SPECS[0])
    result = tiny_vision.processor_config(tiny_vision.SPECS[0].tower)
    assert result["image_processor"]["patch_size"] == config["vision_config"]["patch_size"]
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--variant", choices=list(configurations.SIZES), default="12b")
    parser.add_argument("--layers", type=int, help="the first so many, the last of them full; not for e2b and e4b (all)")
    parser.add_argument("--towers-only", action="store_true")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    if arguments.layers is not None and arguments.layers < 1:
        parser.error("--layers: at least 1")
    started = time.monotonic()
    shutil.rmtree(arguments.out, ignore_errors=True)
    arguments.out.mkdir(parents=True)
    ids = tiny_tokenizer.write(arguments.out)
    config = configuration(arguments.variant, arguments.layers, arguments.towers_only, ids)
    template = Path(__file__).with_name("chat_template.jinja").read_text()
    if arguments.variant in ("e2b", "e4b"):
        template = tiny_tokenizer.small_template(template)
    (arguments.out / "chat_template.jinja").write_text(template)
    for name, contents in (("config.json", config), ("processor_config.json", processor_configuration(config))):
        (arguments.out / name).write_text(json.dumps(contents, indent=2) + "\n")
    size = write_weights(tensors(config), arguments.out / "model.safetensors", arguments.seed)
    print(f"{arguments.out}: {arguments.variant}, {config['text_config']['num_hidden_layers']} layers, {size / 1e9:.2f} GB, "
          f"{time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
