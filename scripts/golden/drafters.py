"""Tiny random MTP drafters (`gemma4_unified_assistant`, `gemma4_assistant`) for the tiny models, and what the reference
drafts with them.

A drafter lies in `drafter/` of its model's directory, where the program finds it. Golden drafts continue golden cases:
the prompt is in the target's cache, the newest token is the case's first greedy one, every step has the position of that
token. The drafter is given the last window of the target's sliding keys and values: left alone, the reference shows it
one position more (its mask counts the window from the last key on, both ends included), other implementations do not.

A clustered head (`use_ordered_embeddings`) scores the tokens of its best clusters only. The reference gives all others the
least of these scores minus one; the files hold that as it is.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import reference
import tiny_models
import tiny_variants
import torch
import variant_cases
from safetensors.torch import save_file
from transformers import AutoTokenizer
from transformers.models.gemma4.configuration_gemma4 import Gemma4TextConfig
from transformers.models.gemma4_assistant.modeling_gemma4_assistant import Gemma4AssistantForCausalLM
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
    clusters: int = 0  # of the output head; 0: dense
    active: int = 0  # clusters that are scored


SPECS = [
    Spec("unified-a", 41, "sssf", hidden=40, ffn=56, heads=8),
    Spec("unified-b", 43, "sf", hidden=48, ffn=40, heads=6),
    Spec("e2b-mtp", 51, "sssf", hidden=24, ffn=40, heads=4, clusters=27, active=5),
    Spec("e4b-mtp", 57, "sf", hidden=32, ffn=48, heads=6, clusters=56, active=12),
    Spec("a26b", 53, "sssf", hidden=40, ffn=56, heads=8),
    Spec("d31b", 54, "ssf", hidden=48, ffn=40, heads=12),
]


def _allow_drafters(config_class) -> None:
    """transformers 5.23 refuses a model in which every layer borrows its keys and values; a drafter is one."""
    modes = config_class.kv_sharing_modes.fget

    def all_borrowed(config):
        if config.num_kv_shared_layers == config.num_hidden_layers:
            return ["reuse"] * config.num_hidden_layers
        return modes(config)

    config_class.kv_sharing_modes = property(all_borrowed)


_allow_drafters(Gemma4UnifiedTextConfig)
_allow_drafters(Gemma4TextConfig)


def _is_unified(target) -> bool:
    return isinstance(target, tiny_models.Spec)


def _config(spec: Spec, target) -> dict:
    """`target`: a Spec of tiny_models or tiny_variants."""
    names = {"s": "sliding_attention", "f": "full_attention"}
    dtype = str(target.dtype).removeprefix("torch.")
    family = "gemma4_unified" if _is_unified(target) else "gemma4"
    keys_are_values = _is_unified(target) or target.keys_are_values
    return {
        "architectures": ["Gemma4UnifiedAssistantForCausalLM" if _is_unified(target) else "Gemma4AssistantForCausalLM"],
        "model_type": family + "_assistant",
        "backbone_hidden_size": target.hidden,
        "centroid_intermediate_top_k": spec.active or 32, "num_centroids": spec.clusters or 2048,
        "use_ordered_embeddings": spec.clusters > 0,
        "dtype": dtype,
        "tie_word_embeddings": True,
        "text_config": {
            "model_type": family + "_text",
            "attention_bias": False, "attention_dropout": 0.0, "attention_k_eq_v": keys_are_values,
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
            "rope_parameters": tiny_models.ROPE,
            "sliding_window": target.window,
            "tie_word_embeddings": True,
            "use_bidirectional_attention": "vision" if keys_are_values else None,
            "use_cache": True,
            "use_double_wide_mlp": False,
            "vocab_size": target.vocab,
            **({} if _is_unified(target) else {"enable_moe_block": False, "hidden_size_per_layer_input": 0,
                                               "vocab_size_per_layer_input": 0}),
        },
    }


def _tensors(spec: Spec, target) -> dict[str, torch.Tensor]:
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
    if spec.clusters:
        tensors["masked_embedding.centroids.weight"] = normal((spec.clusters, hidden), 0.4)
    result = {name: torch.from_numpy(np.ascontiguousarray(value)).to(target.dtype) for name, value in tensors.items()}
    if spec.clusters:
        result["masked_embedding.token_ordering"] = torch.from_numpy(random.permutation(target.vocab))  # int64
    return result


def _targets() -> dict:
    return {target.name: target for target in [*tiny_models.SPECS, *tiny_variants.SPECS]}


def write_models(models: Path) -> None:
    """Writes drafter/ into the models' directories."""
    targets = _targets()
    for spec in SPECS:
        folder = models / spec.model / "drafter"
        folder.mkdir(exist_ok=True)
        (folder / "config.json").write_text(json.dumps(_config(spec, targets[spec.model]), indent=2) + "\n")
        save_file(_tensors(spec, targets[spec.model]), folder / "model.safetensors", metadata={"format": "pt"})


class _Target:
    """A tiny model as its drafter sees it, of either family."""

    def __init__(self, folder: Path, unified: bool):
        self.unified = unified
        if unified:
            self.model = reference.load_model(folder)
            self.processor = reference.load_processor(folder)
            self.text = self.model.model.language_model
        else:
            self.model = variant_cases.load_model(folder)
            self.tokenizer = AutoTokenizer.from_pretrained(folder)
            self.text = variant_cases.text_model(self.model)
        self.config = self.model.config.get_text_config()

    def cases(self) -> list[cases.Case]:
        return [case for case in (cases if self.unified else variant_cases).CASES if case.name in CASES]

    def trace(self, case: cases.Case, media_folder: Path) -> tuple[list[int], reference.Trace]:
        if not self.unified:
            _, ids = variant_cases.prompt_of(case, self.tokenizer)
            return ids, variant_cases.forward(self.model, ids)
        _, inputs = cases.processor_inputs(case, self.processor, media_folder)
        return inputs["input_ids"][0].tolist(), reference.forward(self.model, inputs, "sliding")

    def shared_states(self, trace: reference.Trace) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
        """Keys and values of the last layer of each kind, borrowed ones included."""
        kinds, shared = self.config.layer_types, {}
        for kind in ("sliding_attention", "full_attention"):
            last = len(kinds) - 1 - kinds[::-1].index(kind)
            keys, values = (torch.from_numpy(value).transpose(0, 1)[None] for value in trace.attention[last][1:])
            cut = slice(-self.config.sliding_window, None) if kind == "sliding_attention" else slice(None)
            shared[kind] = (keys[:, :, cut], values[:, :, cut])
        return shared


@torch.no_grad()
def _cluster_margin(drafter, rows: list[torch.Tensor]) -> tuple[float, int]:
    """Of the drafter's normalised rows: by how much the last chosen cluster beats the first that is not (the least), and
    how often the dense head would have drafted something else."""
    least, others = np.inf, 0
    embedder, head = drafter.masked_embedding, drafter.lm_head.weight
    for row in rows:
        scores = embedder.centroids(row)[0, 0]
        best = torch.sort(scores, descending=True).values
        least = min(least, float(best[embedder.centroid_intermediate_top_k - 1] - best[embedder.centroid_intermediate_top_k]))
        others += int((row @ head.T).argmax() != embedder(row, head).argmax())
    return least, others


@torch.no_grad()
def _draft(target: _Target, drafter, trace: reference.Trace, position: int, newest: int, suppressed: list[int]) -> dict[str, list]:
    shared = target.shared_states(trace)
    carried, token = torch.from_numpy(trace.final_norm[-1])[None, None], newest
    result = {"logits": [], "carried": [], "drafts": [], "margins": [], "rows": []}
    hook = drafter.model.norm.register_forward_hook(lambda _module, _args, output: result["rows"].append(output.clone()))
    for _ in range(STEPS):
        joined = torch.cat([target.text.embed_tokens(torch.tensor([[token]])), carried], -1)
        out = drafter(inputs_embeds=joined, position_ids=torch.tensor([[position]]), shared_kv_states=shared)
        carried, logits = out.last_hidden_state, out.logits[0, 0].numpy()
        allowed = logits.copy()
        allowed[suppressed] = -np.inf
        order = np.argsort(-allowed, kind="stable")
        token = int(order[0])
        result["logits"].append(logits)
        result["carried"].append(carried[0, 0].numpy())
        result["drafts"].append(token)
        result["margins"].append(float(allowed[order[0]] - allowed[order[1]]))
    hook.remove()
    return result


def write_drafts(models: Path, media_folder: Path, cases_folder: Path, out: Path) -> None:
    """out/MODEL/NAME.{json,safetensors}: STEPS greedy drafts after each case's first greedy token."""
    shutil.rmtree(out, ignore_errors=True)
    targets = _targets()
    for spec in SPECS:
        (out / spec.model).mkdir(parents=True)
        target = _Target(models / spec.model, _is_unified(targets[spec.model]))
        loader = Gemma4UnifiedAssistantForCausalLM if target.unified else Gemma4AssistantForCausalLM
        drafter = loader.from_pretrained(
            models / spec.model / "drafter", dtype=torch.float32, attn_implementation="eager").eval()
        rows = []
        for case in target.cases():
            known = json.loads((cases_folder / spec.model / f"{case.name}.json").read_text())
            ids, trace = target.trace(case, media_folder)
            assert ids == known["prompt_tokens"], case.name
            newest = known["greedy"]["tokens"][0]
            result = _draft(target, drafter, trace, len(ids), newest, known["suppressed"])
            rows += result.pop("rows")
            low = [i for i, margin in enumerate(result["margins"]) if margin < cases.MARGIN_SAFE]
            entry = {"newest": newest, "drafts": result["drafts"],
                     "margins": [round(margin, 6) for margin in result["margins"]],
                     "comparable_steps": low[0] if low else STEPS}
            (out / spec.model / f"{case.name}.json").write_text(json.dumps(entry, separators=(",", ":")) + "\n")
            save_file({name: torch.from_numpy(np.stack(result[name])) for name in ("logits", "carried")},
                      out / spec.model / f"{case.name}.safetensors")
            print(spec.model, case.name, entry["drafts"], "least margin", min(entry["margins"]), flush=True)
        if spec.clusters:
            margin, others = _cluster_margin(drafter, rows)
            print(spec.model, f"clusters are chosen by {margin:.4f} at least; dense drafts differ in {others} of {len(rows)}")
            assert margin > cases.MARGIN_SAFE and 0 < others < len(rows)
