#!/usr/bin/env python3
"""Do the golden cases notice a wrong engine? Spoils the reference in the ways this architecture invites, one at a time,
and says how far the logits of the cases move; fails if a mistake moves none of them by more than a tolerance could hide.

    python scripts/golden/sensitivity.py
"""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path

import numpy as np
import reference
import torch
from safetensors.numpy import load_file

import cases

GOLDEN = Path(__file__).resolve().parents[2] / "tests" / "golden"
SEEN = 0.05  # logits; honest float32 engines differ by less than 1e-3
modeling = reference.modeling


def attentions(model):
    return [layer.self_attn for layer in model.model.language_model.layers]


def full_only(model):
    return [attention for attention in attentions(model) if not attention.is_sliding]


def norm_plus_one(model, inputs):
    for module in model.model.language_model.modules():
        if isinstance(module, modeling.Gemma4UnifiedRMSNorm) and module.with_scale:
            module.weight.data += 1


def scale_by_head_dim(model, inputs):
    for attention in attentions(model):
        attention.scaling = attention.head_dim**-0.5


def no_value_norm(model, inputs):
    for attention in attentions(model):
        attention.v_norm = torch.nn.Identity()


def value_after_key_norm(model, inputs):
    for attention in full_only(model):
        original, weight = attention.v_norm.forward, attention.k_norm.weight
        attention.v_norm.forward = lambda x, original=original, weight=weight: original(x) * weight


def rope_by_rotary_width(model, inputs):
    rotary = model.model.language_model.rotary_emb
    frequencies = rotary.full_attention_inv_freq
    pairs = int((frequencies > 0).sum())
    frequencies[:pairs] = 1e6 ** (-torch.arange(pairs) / pairs)


def rope_everywhere(model, inputs):
    frequencies = model.model.language_model.rotary_emb.full_attention_inv_freq
    frequencies.copy_(1e6 ** (-torch.arange(len(frequencies)) / len(frequencies)))


def rope_one_theta(model, inputs):
    frequencies = model.model.language_model.rotary_emb.sliding_attention_inv_freq
    frequencies.copy_(1e6 ** (-torch.arange(len(frequencies)) / len(frequencies)))


def rope_off_by_one(model, inputs):
    """Keys turned to the position after theirs: a slip between q and k. (A shift of both would change nothing.)"""
    for attention in attentions(model):
        original = attention.forward

        def forward(*args, original=original, attention=attention, **kwargs):
            kept = modeling.apply_rotary_pos_emb
            calls = []

            def turned(x, cos, sin, unsqueeze_dim=1):
                calls.append(0)
                if len(calls) == 2:
                    cos, sin = cos.roll(-1, 1), sin.roll(-1, 1)
                return kept(x, cos, sin, unsqueeze_dim)

            modeling.apply_rotary_pos_emb = turned
            try:
                return original(*args, **kwargs)
            finally:
                modeling.apply_rotary_pos_emb = kept
        attention.forward = forward


def rope_interleaved(model, inputs):
    def interleaved(x):
        return torch.stack((-x[..., 1::2], x[..., ::2]), -1).flatten(-2)

    def turned(x, cos, sin, unsqueeze_dim=1):
        half = x.shape[-1] // 2
        cos, sin = (t[..., :half].repeat_interleave(2, -1).unsqueeze(unsqueeze_dim) for t in (cos, sin))
        return x * cos + interleaved(x) * sin
    modeling.apply_rotary_pos_emb = turned


def no_layer_scalar(model, inputs):
    for layer in model.model.language_model.layers:
        layer.layer_scalar.fill_(1)


def kv_heads_modulo(model, inputs):
    modeling.repeat_kv = lambda states, n: states.repeat(1, n, 1, 1)


def no_softcap(model, inputs):
    model.config.text_config.final_logit_softcapping = None


def erf_gelu(model, inputs):
    for layer in model.model.language_model.layers:
        layer.mlp.act_fn = torch.nn.GELU()


def gate_and_up_swapped(model, inputs):
    for layer in model.model.language_model.layers:
        layer.mlp.gate_proj, layer.mlp.up_proj = layer.mlp.up_proj, layer.mlp.gate_proj


def embedding_scale_not_rounded(model, inputs):
    model.model.language_model.embed_tokens.embed_scale = torch.tensor(model.config.text_config.hidden_size**0.5)


def window(by):
    def spoil(model, inputs):
        model.config.text_config.sliding_window += by
    return spoil


def soft_tokens_scaled(model, inputs):
    scale = model.config.text_config.hidden_size**0.5
    model.model.embed_vision.multimodal_embedder.embedding_projection.weight.data *= scale
    model.model.embed_audio.embedding_projection.weight.data *= scale


def image_causal(model, inputs):
    inputs["mm_token_type_ids"] = torch.zeros_like(inputs["mm_token_type_ids"])


def image_seen_everywhere(model, inputs):
    return "all_layers"


def audio_bidirectional(model, inputs):
    inputs["mm_token_type_ids"] = (inputs["mm_token_type_ids"] > 0).long()


def images_are_one_block(model, inputs):
    kept = modeling.get_block_sequence_ids_for_mask
    modeling.get_block_sequence_ids_for_mask = lambda types, device: torch.where(kept(types, device) >= 0, 0, -1)


def position_axes_swapped(model, inputs):
    table = model.model.embed_vision.pos_embedding
    table.data = table.data.flip(1).contiguous()


def patches_by_channel(model, inputs):
    for name in ("pixel_values", "pixel_values_videos"):
        if name in inputs:
            value = inputs[name]
            inputs[name] = value.reshape(*value.shape[:-1], -1, 3).transpose(-1, -2).reshape(value.shape).contiguous()


def pixels_from_minus_one(model, inputs):
    for name in ("pixel_values", "pixel_values_videos"):
        if name in inputs:
            inputs[name] = 2 * inputs[name] - 1


def layer_norm_epsilon(model, inputs):
    embedder = model.model.embed_vision
    for norm in (embedder.patch_ln1, embedder.patch_ln2, embedder.pos_norm):
        norm.eps = 1e-6


def no_layer_norm_bias(model, inputs):
    model.model.embed_vision.patch_ln1.bias.data.zero_()


def frame_norm_without_epsilon(model, inputs):
    model.model.embed_audio.embedding_pre_projection_norm.eps = 1e-12


def no_frame_norm(model, inputs):
    model.model.embed_audio.embedding_pre_projection_norm = torch.nn.Identity()


TEXT, IMAGE, AUDIO = ["text-short", "text-long"], ["image-70", "image-two", "mixed", "video"], ["audio-silence", "mixed"]
MISTAKES = [
    (norm_plus_one, TEXT), (scale_by_head_dim, TEXT), (no_value_norm, TEXT), (value_after_key_norm, TEXT),
    (rope_by_rotary_width, TEXT), (rope_everywhere, TEXT), (rope_one_theta, TEXT), (rope_off_by_one, TEXT),
    (rope_interleaved, TEXT), (no_layer_scalar, TEXT), (kv_heads_modulo, TEXT), (no_softcap, TEXT), (erf_gelu, TEXT),
    (gate_and_up_swapped, TEXT), (embedding_scale_not_rounded, TEXT), (window(1), TEXT), (window(-1), TEXT),
    (soft_tokens_scaled, IMAGE + AUDIO), (image_causal, IMAGE), (image_seen_everywhere, IMAGE),
    (audio_bidirectional, AUDIO), (images_are_one_block, ["image-two", "video"]), (position_axes_swapped, IMAGE),
    (patches_by_channel, IMAGE), (pixels_from_minus_one, IMAGE), (layer_norm_epsilon, ["image-70", "image-strip", "video"]),
    (no_layer_norm_bias, IMAGE), (frame_norm_without_epsilon, ["audio-silence", "audio-quiet"]), (no_frame_norm, AUDIO),
]


@contextlib.contextmanager
def modules_restored():
    names = ("apply_rotary_pos_emb", "repeat_kv", "get_block_sequence_ids_for_mask")
    kept = {name: getattr(modeling, name) for name in names}
    try:
        yield
    finally:
        for name, value in kept.items():
            setattr(modeling, name, value)


def moved(name: str, case: cases.Case, spoil) -> float:
    """The largest change of a kept logit of the case. `spoil` None: what a repeated honest run changes."""
    model = reference.load_model(GOLDEN / "models" / name)
    processor = reference.load_processor(GOLDEN / "models" / name)
    inputs = cases.processor_inputs(case, processor, GOLDEN / "media")[1]
    golden = load_file(GOLDEN / "cases" / name / f"{case.name}.safetensors")
    with modules_restored():
        mask = (spoil(model, inputs) if spoil else None) or "sliding"
        logits = reference.forward(model, inputs, mask, trace_all=False).logits
    return float(np.abs(logits[golden["rows"]] - golden["logits"]).max())


def main() -> int:
    torch.set_num_threads(1)
    by_name = {case.name: case for case in cases.CASES}
    unseen = []
    for spoil, names in [(None, TEXT + IMAGE + AUDIO), *MISTAKES]:
        label = spoil.__name__ if spoil and spoil.__name__ != "spoil" else "window" if spoil else "(honest)"
        found = {}
        for name in ("unified-a", "unified-b", "unified-c"):
            there = [by_name[n] for n in names if (GOLDEN / "cases" / name / f"{n}.json").exists()]
            found[name] = {case.name: round(moved(name, case, spoil), 5) for case in there}
        largest = max(value for values in found.values() for value in values.values())
        print(f"{label:28} {largest:9.4f}  {json.dumps(found)}", flush=True)
        if spoil and largest < SEEN or not spoil and largest > 1e-3:
            unseen.append(label)
    print("not noticed: " + ", ".join(unseen) if unseen else f"all {len(MISTAKES)} mistakes noticed")
    return 1 if unseen else 0


if __name__ == "__main__":
    sys.exit(main())
