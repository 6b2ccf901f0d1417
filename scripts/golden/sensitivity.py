#!/usr/bin/env python3
"""Do the golden cases notice a wrong engine? Spoils the reference in the ways this architecture invites, one at a time,
and says how far the logits of the cases move; fails if a mistake moves none of them by more than a tolerance could hide.

    python scripts/golden/sensitivity.py
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import reference
import torch
from safetensors.numpy import load_file

import cases
import mistakes

GOLDEN = Path(__file__).resolve().parents[2] / "tests" / "golden"
SEEN = 0.05  # logits; honest float32 engines differ by less than 1e-3
modeling = reference.modeling


def attentions(model):
    return [layer.self_attn for layer in model.model.language_model.layers]


def full_only(model):
    return [attention for attention in attentions(model) if not attention.is_sliding]


def norm_plus_one(model, inputs):
    mistakes.add_one_to_norms(model.model.language_model, modeling.Gemma4UnifiedRMSNorm)


def scale_by_head_dim(model, inputs):
    mistakes.scale_by_head_dim(attentions(model))


def no_value_norm(model, inputs):
    mistakes.forget_value_norms(attentions(model))


def value_after_key_norm(model, inputs):
    mistakes.norm_values_after_keys(full_only(model))


def rope_by_rotary_width(model, inputs):
    mistakes.divide_exponents_by_the_rotary_width(model.model.language_model.rotary_emb.full_attention_inv_freq)


def rope_everywhere(model, inputs):
    mistakes.turn_all_pairs(model.model.language_model.rotary_emb.full_attention_inv_freq)


def rope_one_theta(model, inputs):
    mistakes.turn_all_pairs(model.model.language_model.rotary_emb.sliding_attention_inv_freq)


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
    mistakes.turn_neighbours(modeling)


def rope_of_the_first_dimensions(model, inputs):
    mistakes.turn_the_first_dimensions(modeling)


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
    mistakes.swap_gate_and_up(model.model.language_model.layers)


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
    (rope_interleaved, TEXT), (rope_of_the_first_dimensions, TEXT), (no_layer_scalar, TEXT), (kv_heads_modulo, TEXT), (no_softcap, TEXT), (erf_gelu, TEXT),
    (gate_and_up_swapped, TEXT), (embedding_scale_not_rounded, TEXT), (window(1), TEXT), (window(-1), TEXT),
    (soft_tokens_scaled, IMAGE + AUDIO), (image_causal, IMAGE), (image_seen_everywhere, IMAGE),
    (audio_bidirectional, AUDIO), (images_are_one_block, ["image-two", "video"]), (position_axes_swapped, IMAGE),
    (patches_by_channel, IMAGE), (pixels_from_minus_one, IMAGE), (layer_norm_epsilon, ["image-70", "image-strip", "video"]),
    (no_layer_norm_bias, IMAGE), (frame_norm_without_epsilon, ["audio-silence", "audio-quiet"]), (no_frame_norm, AUDIO),
]


def moved(name: str, case: cases.Case, spoil) -> float:
    """The largest change of a kept logit of the case. `spoil` None: what a repeated honest run changes."""
    model = reference.load_model(GOLDEN / "models" / name)
    processor = reference.load_processor(GOLDEN / "models" / name)
    inputs = cases.processor_inputs(case, processor, GOLDEN / "media")[1]
    golden = load_file(GOLDEN / "cases" / name / f"{case.name}.safetensors")
    with mistakes.restored(modeling, "apply_rotary_pos_emb", "repeat_kv", "get_block_sequence_ids_for_mask"):
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
    return mistakes.conclude(unseen, len(MISTAKES))


if __name__ == "__main__":
    sys.exit(main())
