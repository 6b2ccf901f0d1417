"""Tiny random MTP drafters (`gemma4_unified_assistant`) for the tiny models, and what the reference drafts with them.

A drafter lies in `drafter/` of its model's directory, where the program finds it. Golden drafts continue golden cases:
the prompt is in the target's cache, the newest token is the case's first greedy one, every step has the position of that
token. The drafter is given the last window of the target's sliding keys and values: left alone, the reference shows it
one position more (its mask counts the window from the last key on, both ends included), other implementations do not.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import reference
import tiny_models
import torch
from safetensors.torch import save_file
from transformers.models.gemma4_unified.configuration_gemma4_unified import Gemma4UnifiedTextConfig
from transformers.models.gemma4_unified_assistant.modeling_gemma4_unified_assistant import (
    Gemma4UnifiedAssistantForCausalLM)

import cases

STEPS = 8
CASES = ("text-one-token", "text-short", "text-long", "chat", "image-70", "mixed")


@dataclass(frozen=True)
class Spec:
    model: str
    seed: int
    layer_types: str
    hidden: int
    ffn: int
    heads: int


SPECS = [
    Spec("unified-a", 41, "sssf", hidden=40, ffn=56, heads=8),
    Spec("unified-b", 43, "sf", hidden=48, ffn=40, heads=6),
]

_modes = Gemma4UnifiedTextConfig.kv_sharing_modes.fget


def _all_borrowed(config):
    """transformers 5.23 refuses a model in which every layer borrows its keys and values; a drafter is one."""
    if config.num_kv_shared_layers == config.num_hidden_layers:
        return ["reuse"] * config.num_hidden_layers
    return _modes(config)


Gemma4UnifiedTextConfig.kv_sharing_modes = property(_all_borrowed)


def _config(spec: Spec, target: tiny_models.Spec) -> dict:
    names = {"s": "sliding_attention", "f": "full_attention"}
    dtype = str(target.dtype).removeprefix("torch.")
    return {
        "architectures": ["Gemma4UnifiedAssistantForCausalLM"],
        "model_type": "gemma4_unified_assistant",
        "backbone_hidden_size": target.hidden,
        "centroid_intermediate_top_k": 32, "num_centroids": 2048, "use_ordered_embeddings": False,
        "dtype": dtype,
        "tie_word_embeddings": True,
        "text_config": {
            "model_type": "gemma4_unified_text",
            "attention_bias": False, "attention_dropout": 0.0, "attention_k_eq_v": True,
            "dtype": dtype,
            "final_logit_softcapping": None,
            "global_head_dim": target.global_head_dim, "head_dim": target.head_dim,
            "hidden_activation": "gelu_pytorch_tanh",
            "hidden_size": spec.hidden,
            "initializer_range": 0.02,
            "intermediate_size": spec.ffn,
            "layer_types": [names[letter] for letter in spec.layer_types],
            "max_position_embeddings": target.context,
            "num_attention_heads": spec.heads,
            "num_global_key_value_heads": target.global_kv_heads,
            "num_hidden_layers": len(spec.layer_types),
            "num_key_value_heads": target.kv_heads,
            "num_kv_shared_layers": len(spec.layer_types),
            "rms_norm_eps": 1e-06,
            "rope_parameters": {
                "full_attention": {"partial_rotary_factor": 0.25, "rope_theta": 1000000.0, "rope_type": "proportional"},
                "sliding_attention": {"rope_theta": 10000.0, "rope_type": "default"},
            },
            "sliding_window": target.window,
            "tie_word_embeddings": True,
            "use_bidirectional_attention": "vision",
            "use_cache": True,
            "use_double_wide_mlp": False,
            "vocab_size": target.vocab,
        },
    }


def _tensors(spec: Spec, target: tiny_models.Spec) -> dict[str, torch.Tensor]:
    random = np.random.Generator(np.random.PCG64(spec.seed))

    def normal(shape, deviation):
        return random.normal(0.0, deviation, shape)

    def signed(shape, low, high):  # magnitude between low and high, one in four negative
        return random.uniform(low, high, shape) * np.where(random.random(shape) < 0.25, -1.0, 1.0)

    hidden, backbone = spec.hidden, target.hidden
    tensors = {
        "pre_projection.weight": normal((hidden, 2 * backbone), backbone**-0.5),
        "post_projection.weight": normal((backbone, hidden), hidden**-0.5),
        "model.embed_tokens.weight": normal((target.vocab, hidden), 0.7),
        "model.norm.weight": signed(hidden, 0.5, 1.5),
    }
    for index, letter in enumerate(spec.layer_types):
        width = spec.heads * (target.global_head_dim if letter == "f" else target.head_dim)
        layer = {
            "input_layernorm.weight": signed(hidden, 0.4, 2.0),
            "post_attention_layernorm.weight": signed(hidden, 1.0, 4.0),
            "pre_feedforward_layernorm.weight": signed(hidden, 0.4, 2.0),
            "post_feedforward_layernorm.weight": signed(hidden, 1.0, 4.0),
            "layer_scalar": random.uniform(0.2, 0.8, 1),
            "self_attn.q_proj.weight": normal((width, hidden), hidden**-0.5),
            "self_attn.o_proj.weight": normal((hidden, width), width**-0.5),
            "self_attn.q_norm.weight": random.uniform(0.6, 1.3, width // spec.heads),
            "mlp.gate_proj.weight": normal((spec.ffn, hidden), 1.2 * hidden**-0.5),
            "mlp.up_proj.weight": normal((spec.ffn, hidden), hidden**-0.5),
            "mlp.down_proj.weight": normal((hidden, spec.ffn), spec.ffn**-0.5),
        }
        tensors |= {f"model.layers.{index}.{name}": value for name, value in layer.items()}
    return {name: torch.from_numpy(np.ascontiguousarray(value)).to(target.dtype) for name, value in tensors.items()}


def write_models(models: Path) -> None:
    """Writes drafter/ into the models' directories."""
    targets = {target.name: target for target in tiny_models.SPECS}
    for spec in SPECS:
        folder = models / spec.model / "drafter"
        folder.mkdir(exist_ok=True)
        (folder / "config.json").write_text(json.dumps(_config(spec, targets[spec.model]), indent=2) + "\n")
        save_file(_tensors(spec, targets[spec.model]), folder / "model.safetensors", metadata={"format": "pt"})


@torch.no_grad()
def _draft(target, drafter, inputs: dict, newest: int, suppressed: list[int]) -> dict[str, list]:
    trace = reference.forward(target, inputs, "sliding")
    kinds = target.config.text_config.layer_types
    window = target.config.text_config.sliding_window
    shared = {}
    for kind in ("sliding_attention", "full_attention"):
        last = len(kinds) - 1 - kinds[::-1].index(kind)
        keys, values = (torch.from_numpy(value).transpose(0, 1)[None] for value in trace.attention[last][1:])
        cut = slice(-window, None) if kind == "sliding_attention" else slice(None)
        shared[kind] = (keys[:, :, cut], values[:, :, cut])
    embedding = target.model.language_model.embed_tokens
    position = torch.tensor([[inputs["input_ids"].shape[1]]])
    carried, token = torch.from_numpy(trace.final_norm[-1])[None, None], newest
    result = {"logits": [], "carried": [], "drafts": [], "margins": []}
    for _ in range(STEPS):
        joined = torch.cat([embedding(torch.tensor([[token]])), carried], -1)
        out = drafter(inputs_embeds=joined, position_ids=position, shared_kv_states=shared)
        carried, logits = out.last_hidden_state, out.logits[0, 0].numpy()
        allowed = logits.copy()
        allowed[suppressed] = -np.inf
        order = np.argsort(-allowed, kind="stable")
        token = int(order[0])
        result["logits"].append(logits)
        result["carried"].append(carried[0, 0].numpy())
        result["drafts"].append(token)
        result["margins"].append(float(allowed[order[0]] - allowed[order[1]]))
    return result


def write_drafts(models: Path, media_folder: Path, cases_folder: Path, out: Path) -> None:
    """out/MODEL/NAME.{json,safetensors}: STEPS greedy drafts after each case's first greedy token."""
    shutil.rmtree(out, ignore_errors=True)
    for spec in SPECS:
        (out / spec.model).mkdir(parents=True)
        target = reference.load_model(models / spec.model)
        processor = reference.load_processor(models / spec.model)
        drafter = Gemma4UnifiedAssistantForCausalLM.from_pretrained(
            models / spec.model / "drafter", dtype=torch.float32, attn_implementation="eager").eval()
        for case in (case for case in cases.CASES if case.name in CASES):
            known = json.loads((cases_folder / spec.model / f"{case.name}.json").read_text())
            _, inputs = cases.processor_inputs(case, processor, media_folder)
            assert inputs["input_ids"][0].tolist() == known["prompt_tokens"], case.name
            newest = known["greedy"]["tokens"][0]
            result = _draft(target, drafter, inputs, newest, known["suppressed"])
            low = [i for i, margin in enumerate(result["margins"]) if margin < cases.MARGIN_SAFE]
            entry = {"newest": newest, "drafts": result["drafts"],
                     "margins": [round(margin, 6) for margin in result["margins"]],
                     "comparable_steps": low[0] if low else STEPS}
            (out / spec.model / f"{case.name}.json").write_text(json.dumps(entry, separators=(",", ":")) + "\n")
            save_file({name: torch.from_numpy(np.stack(result[name])) for name in ("logits", "carried")},
                      out / spec.model / f"{case.name}.safetensors")
            print(spec.model, case.name, entry["drafts"], "least margin", min(entry["margins"]), flush=True)
