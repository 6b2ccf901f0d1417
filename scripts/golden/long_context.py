"""Golden values far into a context: rotary embedding up to position 262,143, and a prompt of 33,024 tokens.

`positions.safetensors`: for each kind of layer of the released models `KIND.inv_freq` [pairs] as the reference computes it, and
`KIND.cos`, `KIND.sin` [positions, pairs] at `positions`.

`long.safetensors`: logits of the model `long` at the positions `rows` of one prompt. The prompt is made by `prompt_ids`, which
the tests repeat; `long.json` holds its ends. The reference reads it in pieces, through its cache.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import tiny_variants
import torch
import variant_cases
from safetensors.numpy import save_file
from transformers import DynamicCache
from transformers.models.gemma4.configuration_gemma4 import Gemma4TextConfig
from transformers.models.gemma4.modeling_gemma4 import Gemma4TextRotaryEmbedding

POSITIONS = [0, 1, 511, 1023, 4096, 32_768, 131_071, 200_003, 262_143]
LENGTH = 33_024
ROWS = [0, 1, 31, 32, 511, 512, 2_047, 2_048, 4_099, 16_384, 32_767, 32_768, 33_000, 33_023]
PIECE = 1024


def prompt_ids(count: int, vocab: int) -> list[int]:
    """<bos>, then the high bits of a linear congruential generator, placeholders and control tokens included."""
    ids, state = [2], 12345
    while len(ids) < count:
        state = (state * 1_664_525 + 1_013_904_223) % 2**32
        ids.append((state >> 16) % vocab)
    return ids


def write_positions(out: Path) -> None:
    """Head sizes 256 and 512 as released: every pair of a sliding layer turns, a quarter of a full one's."""
    config = Gemma4TextConfig(
        head_dim=256, global_head_dim=512,
        rope_parameters={"full_attention": {"partial_rotary_factor": 0.25, "rope_theta": 1e6, "rope_type": "proportional"},
                         "sliding_attention": {"rope_theta": 1e4, "rope_type": "default"}})
    rotary = Gemma4TextRotaryEmbedding(config)
    tensors = {"positions": np.array(POSITIONS, dtype=np.int32)}
    for kind in ("sliding_attention", "full_attention"):
        frequencies = getattr(rotary, f"{kind}_inv_freq")
        turning = int((frequencies != 0).sum())
        cos, sin = rotary(torch.zeros(1, dtype=torch.float32), torch.tensor([POSITIONS]), kind)
        half = cos.shape[-1] // 2
        assert torch.equal(cos[..., :half], cos[..., half:]) and (frequencies[turning:] == 0).all()
        name = kind.removesuffix("_attention")
        tensors[f"{name}.inv_freq"] = frequencies[:turning].numpy().copy()
        tensors[f"{name}.cos"] = cos[0, :, :turning].numpy().copy()
        tensors[f"{name}.sin"] = sin[0, :, :turning].numpy().copy()
    save_file(tensors, out / "positions.safetensors")


@torch.no_grad()
def write_long(models: Path, out: Path) -> None:
    spec = next(spec for spec in tiny_variants.SPECS if spec.name == "long")
    model = variant_cases.load_model(models / spec.name)
    ids = prompt_ids(LENGTH, spec.vocab)
    cache, rows, hidden = DynamicCache(config=model.config), [], []
    for first in range(0, LENGTH, PIECE):
        piece = ids[first:first + PIECE]
        output = model(input_ids=torch.tensor([piece]), past_key_values=cache, use_cache=True,
                       cache_position=torch.arange(first, first + len(piece)))
        rows += [output.logits[0, row - first].numpy().copy() for row in ROWS if first <= row < first + len(piece)]
        hidden.append(float(output.logits.abs().max()))
    order = [np.sort(row)[::-1] for row in rows]
    margin = min(float(row[0] - row[1]) for row in order)
    save_file({"rows": np.array(ROWS, dtype=np.int32), "logits": np.stack(rows)}, out / "long.safetensors")
    (out / "long.json").write_text(json.dumps({"tokens": LENGTH, "first": ids[:8], "last": ids[-8:]}) + "\n")
    print("long", LENGTH, "positions, least margin of the rows kept", margin, "largest logit", max(hidden), flush=True)


def write(models: Path, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    write_positions(out)
    write_long(models, out)
