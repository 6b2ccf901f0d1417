#!/usr/bin/env python3
"""Writes a model directory with the true shapes of the 12B, cut to some layers, with random bf16 weights.

    python scripts/golden/true_shapes.py OUT [--layers 12] [--seed 1]

For speed and memory only: what it says is noise of a sane scale, never zeros or constants, so that no kernel has it easy.
12 layers take 7.6 GB on the disk. Weights are streamed: a pool of normal values is scaled for each tensor and
written from random offsets, so memory stays below a gigabyte and the disk sets the time.
"""

from __future__ import annotations

import argparse
import json
import struct
import time
from pathlib import Path

import numpy as np
import torch

import tiny_models

POOL_VALUES = 1 << 23
CHUNK_VALUES_MAX = 1 << 22


def spec_12b(layers: int) -> tiny_models.Spec:
    pattern = "".join("f" if index % 6 == 5 or index == layers - 1 else "s" for index in range(layers))
    return tiny_models.Spec("12b", 0, torch.bfloat16, pattern, hidden=3840, ffn=15360, heads=16, kv_heads=8,
                            global_kv_heads=1, head_dim=256, global_head_dim=512, window=1024, mm_embed_dim=3840,
                            positions=1120, vocab=262144, context=262144)


def tensors(spec: tiny_models.Spec) -> dict[str, tuple[tuple[int, ...], float, float]]:
    """name -> (shape, mean, deviation). Norms of q and k have the released model's values, so scores have its scale."""
    hidden, mm, patch = spec.hidden, spec.mm_embed_dim, 3 * (3 * spec.patch_size) ** 2
    result = {"model.language_model.embed_tokens.weight": ((spec.vocab, hidden), 0.0, 0.1)}

    def matrix(name: str, rows: int, columns: int) -> None:
        result[name] = ((rows, columns), 0.0, columns**-0.5)

    for index, letter in enumerate(spec.layer_types):
        at = f"model.language_model.layers.{index}."
        full = letter == "f"
        head_dim, kv_heads = (spec.global_head_dim, spec.global_kv_heads) if full else (spec.head_dim, spec.kv_heads)
        for norm in ("input", "post_attention", "pre_feedforward", "post_feedforward"):
            result[f"{at}{norm}_layernorm.weight"] = ((hidden,), 1.0, 0.25)
        result[at + "layer_scalar"] = ((1,), 0.5, 0.05)
        matrix(at + "self_attn.q_proj.weight", spec.heads * head_dim, hidden)
        matrix(at + "self_attn.k_proj.weight", kv_heads * head_dim, hidden)
        if not full:
            matrix(at + "self_attn.v_proj.weight", kv_heads * head_dim, hidden)
        matrix(at + "self_attn.o_proj.weight", hidden, spec.heads * head_dim)
        result[at + "self_attn.q_norm.weight"] = ((head_dim,), 1.0234, 0.01)
        result[at + "self_attn.k_norm.weight"] = ((head_dim,), 0.1221, 0.001)
        matrix(at + "mlp.gate_proj.weight", spec.ffn, hidden)
        matrix(at + "mlp.up_proj.weight", spec.ffn, hidden)
        matrix(at + "mlp.down_proj.weight", hidden, spec.ffn)
    result["model.language_model.norm.weight"] = ((hidden,), 1.0, 0.25)

    at = "model.vision_embedder."
    for norm, width in (("patch_ln1", patch), ("patch_ln2", mm), ("pos_norm", mm)):
        result[f"{at}{norm}.weight"] = ((width,), 1.0, 0.1)
        result[f"{at}{norm}.bias"] = ((width,), 0.0, 0.1)
    matrix(at + "patch_dense.weight", mm, patch)
    result[at + "patch_dense.bias"] = ((mm,), 0.0, 0.1)
    result[at + "pos_embedding"] = ((spec.positions, 2, mm), 0.0, 0.3)
    matrix("model.embed_vision.embedding_projection.weight", hidden, mm)
    matrix("model.embed_audio.embedding_projection.weight", hidden, 640)
    return result


def write_weights(spec: tiny_models.Spec, path: Path, seed: int) -> int:
    """Streams the safetensors file; returns its size in bytes."""
    plan = tensors(spec)
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--layers", type=int, default=12, help="of the released 48; every sixth and the last are full (12)")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    if arguments.layers < 1:
        parser.error("--layers: at least 1")
    started = time.monotonic()
    spec = spec_12b(arguments.layers)
    tiny_models.write_metadata(spec, arguments.out)
    size = write_weights(spec, arguments.out / "model.safetensors", arguments.seed)
    print(f"{arguments.out}: {arguments.layers} layers, {size / 1e9:.2f} GB, {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
