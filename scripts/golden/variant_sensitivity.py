#!/usr/bin/env python3
"""As sensitivity.py, for the text decoders of E2B, E4B, 26B-A4B and 31B (tiny_variants): spoils the reference in the ways
they invite, one at a time, and fails if a mistake moves the logits of a model it concerns by less than a tolerance could
hide.

    python scripts/golden/variant_sensitivity.py

Three slips show in no model, because a norm follows that removes a factor common to a row: per-layer inputs not divided by
sqrt(2), weights of the chosen experts that do not sum to 1, and experts' scales brought back to a sum of 1. The router's
operation has a test of its own (tests/ops/reference_experts_test.cpp).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import mistakes
import numpy as np
import torch
import variant_cases
from safetensors.numpy import load_file
from safetensors.torch import load_file as load_weights
from transformers import AutoTokenizer
from transformers.models.gemma4 import modeling_gemma4 as modeling

GOLDEN = Path(__file__).resolve().parents[2] / "tests" / "golden"
SEEN = 0.05  # logits; honest float32 engines differ by less than 1e-3
CASES = ("text-short", "text-long")
ALL = ("e2b", "e4b", "a26b", "d31b")
SMALL, LARGE, EXPERTS = ALL[:2], ALL[2:], ("a26b",)


def layers(model):
    return variant_cases.text_model(model).layers


def attentions(model):
    return [layer.self_attn for layer in layers(model)]


def owners(model):
    return [attention for attention in attentions(model) if not attention.is_kv_shared_layer]


# ---------------------------------------------------------------------------------------------- what all of them share

def norm_plus_one(model):
    mistakes.add_one_to_norms(variant_cases.text_model(model), modeling.Gemma4RMSNorm)


def scale_by_head_dim(model):
    mistakes.scale_by_head_dim(attentions(model))


def no_value_norm(model):
    mistakes.forget_value_norms(owners(model))


def value_after_key_norm(model):
    mistakes.norm_values_after_keys(attention for attention in owners(model) if attention.v_proj is None)


def rope_by_rotary_width(model):
    mistakes.divide_exponents_by_the_rotary_width(variant_cases.text_model(model).rotary_emb.full_attention_inv_freq)


def rope_everywhere(model):
    mistakes.turn_all_pairs(variant_cases.text_model(model).rotary_emb.full_attention_inv_freq)


def rope_interleaved(model):
    mistakes.turn_neighbours(modeling)


def rope_of_the_first_dimensions(model):
    mistakes.turn_the_first_dimensions(modeling)


def no_layer_scalar(model):
    for layer in layers(model):
        layer.layer_scalar.fill_(1)


def layer_scalar_on_the_last_branch(model):
    """It multiplies what is added last and leaves the residual alone."""
    for layer in layers(model):
        last = layer.post_per_layer_input_norm if layer.hidden_size_per_layer_input else layer.post_feedforward_layernorm
        last.weight.data *= layer.layer_scalar
        layer.layer_scalar.fill_(1)


def kv_heads_modulo(model):
    modeling.repeat_kv = lambda states, n: states.repeat(1, n, 1, 1)


def no_softcap(model):
    model.config.get_text_config().final_logit_softcapping = None


def gate_and_up_swapped(model):
    mistakes.swap_gate_and_up(layers(model))


def embedding_scale_not_rounded(model):
    """Not in d31b: the root of 64 is 8."""
    text = variant_cases.text_model(model)
    text.embed_tokens.embed_scale = torch.tensor(text.config.hidden_size**0.5)


def window(by):
    def spoil(model):
        variant_cases.text_model(model).config.sliding_window += by
    spoil.__name__ = f"window_{by:+d}"
    return spoil


# ---------------------------------------------------------------------------------------- layers that borrow K and V

def keys_of_their_own(model):
    """The K and V tensors that first releases ship for borrowing layers are used."""
    tensors = load_weights(GOLDEN / "models" / "e2b" / "model.safetensors")
    for index, attention in enumerate(attentions(model)):
        if not attention.is_kv_shared_layer:
            continue
        lender = next(a for a in owners(model) if a.layer_type == attention.layer_type)
        for name, like in (("k_proj", lender.k_proj), ("v_proj", lender.v_proj), ("k_norm", lender.k_norm)):
            weight = tensors[f"model.language_model.layers.{index}.self_attn.{name}.weight"]
            module = torch.nn.Linear(*weight.shape[::-1], bias=False) if weight.ndim == 2 else type(like)(len(weight), 1e-6)
            module.weight.data = weight.float()
            setattr(attention, name, module)
        attention.v_norm, attention.is_kv_shared_layer = lender.v_norm, False


def keys_of_the_first_of_the_kind(model):
    stored = [attention for attention in owners(model) if attention.store_full_length_kv]
    for attention in stored:
        attention.store_full_length_kv = False
        next(a for a in owners(model) if a.layer_type == attention.layer_type).store_full_length_kv = True


def borrowing_layers_see_everything(model):
    """Sliding layers of the tail without their window."""
    for attention in attentions(model):
        if attention.is_kv_shared_layer and attention.is_sliding:
            original = attention.forward

            def forward(*args, original=original, **kwargs):
                mask = kwargs["attention_mask"]
                kwargs["attention_mask"] = torch.triu(torch.full_like(mask, torch.finfo(mask.dtype).min), 1)
                return original(*args, **kwargs)
            attention.forward = forward


def tail_not_twice_as_wide(model):
    for layer in layers(model):
        if layer.self_attn.is_kv_shared_layer:
            half = layer.mlp.intermediate_size // 2
            layer.mlp.down_proj.weight.data[:, half:] = 0


# ---------------------------------------------------------------------------------------------- per-layer inputs

def no_layer_inputs(model):
    for layer in layers(model):
        layer.hidden_size_per_layer_input = 0


def layer_inputs_after_the_scalar(model):
    """x = scalar (r + ffn), then x += norm(...) of the scaled stream."""
    for layer in layers(model):
        layer.per_layer_input_gate.register_forward_pre_hook(lambda _module, args, by=layer.layer_scalar: (args[0] * by,))
        layer.post_per_layer_input_norm.register_forward_hook(lambda _module, _args, out, by=layer.layer_scalar: out / by)


def layer_inputs_before_the_feed_forward(model):
    """The gate reads what the feed-forward network reads, before its norm."""
    for layer in layers(model):
        stream = []
        layer.pre_feedforward_layernorm.register_forward_pre_hook(lambda _module, args, stream=stream: stream.append(args[0]))
        layer.per_layer_input_gate.register_forward_pre_hook(lambda _module, _args, stream=stream: (stream.pop(),))


def layer_inputs_without_the_table(model):
    variant_cases.text_model(model).embed_tokens_per_layer.weight.data.zero_()


def layer_inputs_without_the_stream(model):
    variant_cases.text_model(model).per_layer_projection_norm.weight.data.zero_()


def layer_table_scale_not_rounded(model):
    text = variant_cases.text_model(model)
    text.embed_tokens_per_layer.embed_scale = torch.tensor(text.hidden_size_per_layer_input**0.5)


def layer_table_scaled_by_the_stream(model):
    text = variant_cases.text_model(model)
    text.embed_tokens_per_layer.embed_scale = text.embed_tokens.embed_scale


def layer_inputs_from_unscaled_embeddings_and_no_root(model):
    """A norm removes a factor: it shows in the epsilon alone, and there hardly; so the norm goes, too."""
    text = variant_cases.text_model(model)
    text.per_layer_projection_norm.forward = lambda x: x * text.per_layer_projection_norm.weight


def layer_inputs_normalised_together(model):
    """The norm over all layers' slices at once."""
    text = variant_cases.text_model(model)
    weight = text.per_layer_projection_norm.weight
    text.per_layer_projection_norm.forward = lambda x: (
        x * (x.pow(2).mean((-1, -2), keepdim=True) + 1e-6)**-0.5 * weight)


def layer_inputs_in_columns(model):
    """The packed table read as [width, layers]."""
    text = variant_cases.text_model(model)
    count, width = len(text.layers), text.hidden_size_per_layer_input
    table = text.embed_tokens_per_layer.weight
    table.data = table.data.reshape(-1, width, count).transpose(1, 2).reshape(len(table), -1).contiguous()


def layer_inputs_shifted(model):
    """Layer l gets the slice of layer l + 1."""
    text = variant_cases.text_model(model)
    table = text.embed_tokens_per_layer.weight
    table.data = table.data.roll(-text.hidden_size_per_layer_input, 1)


def layer_gate_without_gelu(model):
    for layer in layers(model):
        layer.act_fn = torch.nn.Identity()


# ---------------------------------------------------------------------------------------------- experts

def router(change):
    """A mistake of the router: `change` gets the module and the stream, and returns weights and choice."""
    def spoil(model):
        for layer in layers(model):
            module = layer.router
            module.forward = lambda x, module=module: (None, *change(module, x))
    spoil.__name__ = change.__name__
    return spoil


def chosen(module, x, k=None):
    scores = module.proj(module.norm(x) * module.scale * module.scalar_root_size)
    probabilities = scores.softmax(-1)
    weights, index = probabilities.topk(k or module.config.top_k_experts, -1)
    return probabilities, weights, index


@router
def no_expert_scale(module, x):
    _, weights, index = chosen(module, x)
    return weights / weights.sum(-1, keepdim=True), index


@router
def expert_scale_before_the_choice(module, x):
    probabilities, _, _ = chosen(module, x)
    weights, index = (probabilities * module.per_expert_scale).topk(module.config.top_k_experts, -1)
    return weights / weights.sum(-1, keepdim=True), index


@router
def one_expert_less(module, x):
    _, weights, index = chosen(module, x, module.config.top_k_experts - 1)
    return weights / weights.sum(-1, keepdim=True) * module.per_expert_scale[index], index


@router
def equal_weights(module, x):
    _, weights, index = chosen(module, x)
    return torch.full_like(weights, 1 / weights.shape[-1]) * module.per_expert_scale[index], index


def no_router_root(model):
    for layer in layers(model):
        layer.router.scalar_root_size = 1.0


def no_router_scale(model):
    for layer in layers(model):
        layer.router.scale.data.fill_(1)


def router_without_its_norm(model):
    for layer in layers(model):
        layer.router.norm = torch.nn.Identity()


def router_reads_the_experts_norm(model):
    for layer in layers(model):
        original, norm = layer.router.forward, layer.pre_feedforward_layernorm_2
        layer.router.forward = lambda x, original=original, norm=norm: original(norm(x))


def router_reads_the_dense_norm(model):
    for layer in layers(model):
        original, norm = layer.router.forward, layer.pre_feedforward_layernorm
        layer.router.forward = lambda x, original=original, norm=norm: original(norm(x))


def experts_read_the_dense_norm(model):
    for layer in layers(model):
        layer.pre_feedforward_layernorm_2.weight.data = layer.pre_feedforward_layernorm.weight.data


def answers_norms_swapped(model):
    for layer in layers(model):
        first, second = layer.post_feedforward_layernorm_1, layer.post_feedforward_layernorm_2
        first.weight.data, second.weight.data = second.weight.data, first.weight.data


def no_norm_of_the_sum(model):
    for layer in layers(model):
        layer.post_feedforward_layernorm.forward = lambda x: x


def experts_gate_and_up_swapped(model):
    for layer in layers(model):
        table = layer.experts.gate_up_proj
        table.data = table.data.roll(table.shape[1] // 2, 1)


def dense_network_forgotten(model):
    for layer in layers(model):
        layer.mlp.down_proj.weight.data.zero_()


MISTAKES = [
    (norm_plus_one, ALL), (scale_by_head_dim, ALL), (no_value_norm, ALL), (value_after_key_norm, LARGE),
    (rope_by_rotary_width, ALL), (rope_everywhere, ALL), (rope_interleaved, ALL),
    (rope_of_the_first_dimensions, ALL), (no_layer_scalar, ALL),
    (layer_scalar_on_the_last_branch, ALL), (kv_heads_modulo, ALL[1:]), (no_softcap, ALL), (gate_and_up_swapped, ALL),
    (embedding_scale_not_rounded, ALL[:3]), (window(1), ALL), (window(-1), ALL),
    (keys_of_their_own, SMALL[:1]), (keys_of_the_first_of_the_kind, SMALL), (borrowing_layers_see_everything, SMALL),
    (tail_not_twice_as_wide, SMALL[:1]),
    (no_layer_inputs, SMALL), (layer_inputs_after_the_scalar, SMALL), (layer_inputs_before_the_feed_forward, SMALL),
    (layer_inputs_without_the_table, SMALL), (layer_inputs_without_the_stream, SMALL),
    (layer_table_scale_not_rounded, SMALL[:1]), (layer_table_scaled_by_the_stream, SMALL),
    (layer_inputs_from_unscaled_embeddings_and_no_root, SMALL), (layer_inputs_normalised_together, SMALL),
    (layer_inputs_in_columns, SMALL), (layer_inputs_shifted, SMALL), (layer_gate_without_gelu, SMALL),
    (no_expert_scale, EXPERTS), (expert_scale_before_the_choice, EXPERTS), (one_expert_less, EXPERTS),
    (equal_weights, EXPERTS), (no_router_root, EXPERTS), (no_router_scale, EXPERTS), (router_without_its_norm, EXPERTS),
    (router_reads_the_experts_norm, EXPERTS), (router_reads_the_dense_norm, EXPERTS),
    (experts_read_the_dense_norm, EXPERTS), (answers_norms_swapped, EXPERTS), (no_norm_of_the_sum, EXPERTS),
    (experts_gate_and_up_swapped, EXPERTS), (dense_network_forgotten, EXPERTS),
]


@torch.no_grad()
def moved(name: str, spoil) -> float:
    """The largest change of a kept logit of the cases. `spoil` None: what a repeated honest run changes."""
    model = variant_cases.load_model(GOLDEN / "models" / name)
    tokenizer = AutoTokenizer.from_pretrained(GOLDEN / "models" / name)
    largest = 0.0
    with mistakes.restored(modeling, "apply_rotary_pos_emb", "repeat_kv"):
        if spoil:
            spoil(model)
        for case in (case for case in variant_cases.CASES if case.name in CASES):
            golden = load_file(GOLDEN / "cases" / name / f"{case.name}.safetensors")
            _, ids = variant_cases.prompt_of(case, tokenizer)
            logits = variant_cases.forward(model, ids, trace_all=False).logits
            largest = max(largest, float(np.abs(logits[golden["rows"]] - golden["logits"]).max()))
    return largest


def main() -> int:
    torch.set_num_threads(1)
    unseen = []
    for spoil, names in [(None, ALL), *MISTAKES]:
        label = spoil.__name__ if spoil else "(honest)"
        found = {name: moved(name, spoil) for name in names}
        print(f"{label:50} {json.dumps({name: round(value, 5) for name, value in found.items()})}", flush=True)
        # Every model that has the part must notice; not a number is noticed.
        unseen += [f"{label} in {name}" for name, value in found.items() if (value < SEEN if spoil else not value <= 1e-3)]
    return mistakes.conclude(unseen, len(MISTAKES), ", in every model they concern")


if __name__ == "__main__":
    sys.exit(main())
