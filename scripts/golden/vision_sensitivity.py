#!/usr/bin/env python3
"""Do the golden values of pictures notice a wrong engine? As sensitivity.py, for the models of tiny_vision: spoils the
reference in the ways a vision tower invites, one at a time, and says how far soft tokens (relative to the largest) or
logits move; fails if a mistake moves none of them by more than a tolerance could hide.

    python scripts/golden/vision_sensitivity.py
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import mistakes
import numpy as np
import reference
import torch
import variant_cases
import vision_cases
from safetensors.numpy import load_file
from transformers.image_utils import load_image
from transformers.models.gemma4 import modeling_gemma4 as modeling

GOLDEN = Path(__file__).resolve().parents[2] / "tests" / "golden"
SEEN_SOFT = 6e-5  # of the largest soft token; honest engines differ by less than 1e-5, tests allow 2e-5
SEEN_LOGITS = 0.05  # honest engines differ by less than 1e-3
ALL = ("e2b-vision", "e4b-vision", "a26b-vision", "d31b-vision")
SMALL, LARGE = ALL[:2], ALL[2:]


def tower_of(model):
    return model.model.vision_tower


def attentions(model):
    return [layer.self_attn for layer in tower_of(model).encoder.layers]


def linears(model):
    return [module for module in tower_of(model).modules() if isinstance(module, modeling.Gemma4ClippableLinear)]


# ------------------------------------------------------------------------------------------------- the tower's mistakes

def patches_by_channel(model, inputs):
    value = inputs["pixel_values"]
    inputs["pixel_values"] = value.reshape(*value.shape[:-1], -1, 3).transpose(-1, -2).reshape(value.shape).contiguous()


def pixels_not_centred(model, inputs):
    inputs["pixel_values"] = inputs["pixel_values"] / 2 + 0.5


def table_axes_swapped(model, inputs):
    table = tower_of(model).patch_embedder.position_embedding_table
    table.data = table.data.flip(0).contiguous()


def rope_axes_swapped(model, inputs):
    rotary = tower_of(model).encoder.rotary_emb
    original = rotary.forward
    rotary.forward = lambda x, positions: original(x, positions.flip(-1))


def rope_over_the_whole_head(model, inputs):
    modeling.apply_multidimensional_rope = lambda x, cos, sin, positions: modeling.apply_rotary_pos_emb(x, cos, sin, 2)


def rope_exponent_by_the_whole_head(model, inputs):
    frequencies = tower_of(model).encoder.rotary_emb.inv_freq
    frequencies.copy_(frequencies.sqrt())


def rope_interleaved(model, inputs):
    mistakes.turn_neighbours(modeling)


def scale_by_head_dim(model, inputs):
    mistakes.scale_by_head_dim(attentions(model))


def no_value_norm(model, inputs):
    mistakes.forget_value_norms(attentions(model))


def no_key_norm(model, inputs):
    for attention in attentions(model):
        attention.k_norm = torch.nn.Identity()


def norm_plus_one(model, inputs):
    mistakes.add_one_to_norms(tower_of(model), modeling.Gemma4RMSNorm)


def causal_tower(model, inputs):
    modeling.create_bidirectional_mask = lambda config, inputs_embeds, attention_mask: torch.triu(
        torch.full((inputs_embeds.shape[1],) * 2, torch.finfo(torch.float32).min), 1)[None, None]


def erf_gelu(model, inputs):
    for layer in tower_of(model).encoder.layers:
        layer.mlp.act_fn = torch.nn.GELU()


def gate_and_up_swapped(model, inputs):
    mistakes.swap_gate_and_up(tower_of(model).encoder.layers)


def no_ranges(model, inputs):
    for linear in linears(model):
        linear.use_clipped_linears = False


def no_input_ranges(model, inputs):
    for linear in linears(model):
        linear.input_min.fill_(-torch.inf)
        linear.input_max.fill_(torch.inf)


def no_output_ranges(model, inputs):
    for linear in linears(model):
        linear.output_min.fill_(-torch.inf)
        linear.output_max.fill_(torch.inf)


def values_in_the_range_of_keys(model, inputs):
    for attention in attentions(model):
        for end in ("input_min", "input_max", "output_min", "output_max"):
            getattr(attention.v_proj, end).copy_(getattr(attention.k_proj, end))


def queries_in_the_range_of_keys(model, inputs):
    for attention in attentions(model):
        for end in ("input_min", "input_max", "output_min", "output_max"):
            getattr(attention.q_proj, end).copy_(getattr(attention.k_proj, end))


def not_standardised(model, inputs):
    tower_of(model).config.standardize = False


def standardised_before_the_root(model, inputs):
    tower, root = tower_of(model), tower_of(model).pooler.root_hidden_size
    tower.pooler.root_hidden_size = 1.0
    tower.std_scale.data = tower.std_scale.data * root


def scale_before_shift(model, inputs):
    tower = tower_of(model)
    tower.std_bias.data = tower.std_bias.data / tower.std_scale.data


def pooled_along_the_row(model, inputs):
    """Nine patches in a row instead of three by three."""
    def pool(hidden, positions, length):
        return hidden.reshape(hidden.shape[0], length, -1, hidden.shape[-1]).mean(2), \
            (positions[..., 0] >= 0).reshape(positions.shape[0], length, -1).any(-1)
    tower_of(model).pooler._avg_pool_by_positions = pool


def tokens_column_by_column(model, inputs):
    original = tower_of(model).pooler.forward

    def forward(**arguments):
        hidden, mask = original(**arguments)
        across, down = ((arguments["pixel_position_ids"][0].max(0).values + 1) // 3).tolist()
        order = torch.arange(across * down).reshape(down, across).T.reshape(-1)
        hidden[:, :across * down] = hidden[:, order].clone()
        return hidden, mask
    tower_of(model).pooler.forward = forward


def no_norm_before_the_projection(model, inputs):
    model.model.embed_vision.embedding_pre_projection_norm = torch.nn.Identity()


def norm_after_the_projection(model, inputs):
    embedder = model.model.embed_vision
    embedder.forward = lambda inputs_embeds: modeling.Gemma4RMSNorm(embedder.text_hidden_size, with_scale=False)(
        embedder.embedding_projection(inputs_embeds))


# ----------------------------------------------------------------------------------------------- the decoder's mistakes

def soft_tokens_scaled(model, inputs):
    model.model.embed_vision.embedding_projection.weight.data *= model.config.text_config.hidden_size**0.5


def placeholders_own_layer_inputs(model, inputs):
    model.config.text_config.pad_token_id = model.config.image_token_id


def image_causal(model, inputs):
    inputs["mm_token_type_ids"] = torch.zeros_like(inputs["mm_token_type_ids"])


def image_sees_forward(model, inputs):
    model.config.text_config.use_bidirectional_attention = "vision"


def image_seen_on_every_layer(model, inputs):
    original = modeling.create_masks_for_vision_model

    def masks(**arguments):
        made = original(**arguments)
        blocks = arguments["block_sequence_ids"]
        same = (blocks[:, :, None] == blocks[:, None, :]) & (blocks[:, :, None] >= 0)
        made["full_attention"] = made["full_attention"].masked_fill(same[:, None], 0.0)
        return made
    modeling.create_masks_for_vision_model = masks


def image_sees_beyond_the_window(model, inputs):
    original = modeling.create_masks_for_vision_model

    def masks(**arguments):
        made = original(**arguments)
        blocks = arguments["block_sequence_ids"]
        same = (blocks[:, :, None] == blocks[:, None, :]) & (blocks[:, :, None] >= 0)
        made["sliding_attention"] = made["sliding_attention"].masked_fill(same[:, None], 0.0)
        return made
    modeling.create_masks_for_vision_model = masks


def pictures_are_one_block(model, inputs):
    kept = modeling.get_block_sequence_ids_for_mask
    modeling.get_block_sequence_ids_for_mask = lambda types, device: torch.where(kept(types, device) >= 0, 0, -1)


TOWER_MISTAKES = [
    (patches_by_channel, ALL), (pixels_not_centred, ALL), (table_axes_swapped, ALL), (rope_axes_swapped, ALL),
    (rope_over_the_whole_head, ALL), (rope_exponent_by_the_whole_head, ALL), (rope_interleaved, ALL),
    (scale_by_head_dim, ALL), (no_value_norm, ALL), (no_key_norm, ALL), (norm_plus_one, ALL), (causal_tower, ALL),
    (erf_gelu, ALL), (gate_and_up_swapped, ALL), (no_ranges, SMALL), (no_input_ranges, SMALL), (no_output_ranges, SMALL),
    (values_in_the_range_of_keys, SMALL[:1]), (queries_in_the_range_of_keys, SMALL), (not_standardised, LARGE),
    (standardised_before_the_root, LARGE), (scale_before_shift, LARGE), (pooled_along_the_row, ALL),
    (tokens_column_by_column, ALL), (no_norm_before_the_projection, ALL), (norm_after_the_projection, ALL),
]
DECODER_MISTAKES = [
    (soft_tokens_scaled, ALL, "image-70"), (placeholders_own_layer_inputs, SMALL, "image-70"),
    (image_causal, LARGE, "image-70"), (image_sees_forward, SMALL, "image-70"),
    (image_seen_on_every_layer, LARGE, "image-70"), (image_sees_beyond_the_window, LARGE, "image-70"),
    (pictures_are_one_block, LARGE, "image-two"), (pictures_are_one_block, LARGE, "video"),
]


SPOILED = ("apply_rotary_pos_emb", "apply_multidimensional_rope", "create_bidirectional_mask",
           "create_masks_for_vision_model", "get_block_sequence_ids_for_mask")


def soft_tokens_moved(name: str, spoil) -> float:
    """The largest change of a kept soft token, of the largest of them; a picture wider than high and a strip."""
    most = 0.0
    for picture, budget in (("rings-301x199.png", 70), ("strip-13x977.png", 140)):
        model = variant_cases.load_model(GOLDEN / "models" / name)
        processor = reference.load_processor(GOLDEN / "models" / name)
        inputs = dict(vision_cases.picture_inputs(processor, load_image(str(GOLDEN / "media/pictures" / picture)), budget))
        golden = load_file(GOLDEN / "towers" / name / f"{Path(picture).stem}-{budget}.safetensors")
        with mistakes.restored(modeling, *SPOILED):
            if spoil:
                spoil(model, inputs)
            soft = vision_cases.tower_trace(model, inputs)[1]
        moved = np.abs(soft[golden["tokens"]] - golden["soft_tokens"]).max() / np.abs(golden["soft_tokens"]).max()
        most = max(most, float(moved))
    return most


def logits_moved(name: str, case: vision_cases.Case, spoil) -> float:
    model = variant_cases.load_model(GOLDEN / "models" / name)
    processor = reference.load_processor(GOLDEN / "models" / name)
    inputs = vision_cases.build_inputs(case, processor, GOLDEN / "media")[1]
    for extra in ("num_soft_tokens_per_image", "num_soft_tokens_per_video", "video_metadata"):
        inputs.pop(extra, None)
    golden = load_file(GOLDEN / "cases" / name / f"{case.name}.safetensors")
    with mistakes.restored(modeling, *SPOILED):
        if spoil:
            spoil(model, inputs)
        logits = vision_cases.forward(model, inputs, trace_all=False).logits
    return float(np.abs(logits[golden["rows"]] - golden["logits"]).max())


def main() -> int:
    torch.set_num_threads(1)
    by_name = {case.name: case for case in vision_cases.CASES}
    unseen = []

    def report(label, found, bound, honest):
        print(f"{label:32} {json.dumps({k: round(v, 6) for k, v in found.items()})}", flush=True)
        for name, value in found.items():  # every model that has the part must notice
            if honest and value > bound or not honest and value < bound:
                unseen.append(f"{label} in {name}")

    for spoil, names in [(None, ALL), *TOWER_MISTAKES]:
        found = {name: soft_tokens_moved(name, spoil) for name in names}
        report(spoil.__name__ if spoil else "(honest tower)", found, SEEN_SOFT if spoil else 1e-5, spoil is None)
    for spoil, names, case in [(None, ALL, "image-70"), *DECODER_MISTAKES]:
        found = {name: logits_moved(name, by_name[case], spoil) for name in names}
        report(spoil.__name__ if spoil else "(honest decoder)", found, SEEN_LOGITS if spoil else 1e-3, spoil is None)
    return mistakes.conclude(unseen, len(TOWER_MISTAKES) + len(DECODER_MISTAKES), ", in every model they concern")


if __name__ == "__main__":
    sys.exit(main())
