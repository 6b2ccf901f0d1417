"""Golden cases of the models of tiny_variants: text only, the same files as cases.py writes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import reference
import tiny_variants
import torch
from safetensors.numpy import save_file
from transformers import AutoTokenizer
from transformers.models.gemma4 import Gemma4ForCausalLM, Gemma4ForConditionalGeneration
from transformers.models.gemma4 import modeling_gemma4 as modeling

import cases
import conversations as talk

CASES = [
    cases.Case("text-one-token", text="<bos>", deep=True),
    cases.Case("text-short", text="<bos>Hello there, what is the weather", deep=True),
    cases.Case("text-long", text="<bos>" + cases.STORY, deep=True),
    cases.Case("chat", messages=[talk.user("Hello, how are you?")]),
    cases.Case("chat-thinking", messages=[talk.system("Be brief."), talk.user("What is 7 times 8?")],
               options={"enable_thinking": True}),
]


def text_model(model):
    """The decoder's stack of layers, with or without the multimodal wrapper."""
    return model.model.language_model if hasattr(model.model, "language_model") else model.model


def load_model(folder: Path):
    """In float32, eager attention and one expert after the other; table factors rounded to bf16 as in a bf16 run."""
    text_only = json.loads((folder / "config.json").read_text())["model_type"] == "gemma4_text"
    loader = Gemma4ForCausalLM if text_only else Gemma4ForConditionalGeneration
    model = loader.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager",
                                   experts_implementation="eager").eval()
    text = text_model(model)
    for name in ("embed_tokens", "embed_tokens_per_layer"):
        if (table := getattr(text, name, None)) is not None:
            table.embed_scale = table.embed_scale.to(torch.bfloat16).to(table.weight.dtype)
    return model


@torch.no_grad()
def forward(model, ids: list[int], trace_all: bool = True) -> reference.Trace:
    """One pass over a whole prompt, without a cache."""
    trace = reference.Trace()
    original = modeling.eager_attention_forward

    def eager(module, query, key, value, *args, **kwargs):
        trace.attention[module.layer_idx] = tuple(t[0].transpose(0, 1).numpy().copy() for t in (query, key, value))
        return original(module, query, key, value, *args, **kwargs)

    modeling.eager_attention_forward = eager
    try:
        with reference.watched(text_model(model), trace, trace_all):
            trace.logits = model(input_ids=torch.tensor([ids]), use_cache=False).logits[0].numpy().copy()
    finally:
        modeling.eager_attention_forward = original
    return trace


def prompt_of(case: cases.Case, tokenizer) -> tuple[str, list[int]]:
    prompt = case.text
    if case.messages is not None:
        prompt = tokenizer.apply_chat_template(case.messages, tokenize=False, add_generation_prompt=True, **case.options)
    return prompt, tokenizer(prompt, add_special_tokens=False)["input_ids"]


def write_case(case: cases.Case, model, tokenizer, out: Path) -> dict:
    """Computes and writes one case; returns what is worth a line on the screen."""
    prompt, ids = prompt_of(case, tokenizer)
    rows = cases._kept_rows(np.zeros(len(ids)))
    trace = forward(model, ids)
    steps = reference.greedy(lambda given: forward(model, given, trace_all=False).logits[-1], ids, cases.STEPS,
                             extend=lambda given, token: [*given, token])
    result = cases._greedy_json(steps)
    safe = result["comparable_steps"]
    inputs = {"input_ids": torch.tensor([ids]), "attention_mask": torch.ones(1, len(ids), dtype=torch.long)}
    # With the default cache, where borrowing layers run for the last row only.
    assert reference.generated(model, inputs, cases.STEPS)[:safe] == result["tokens"][:safe], case.name
    given = reference.log_softmax(trace.logits[:-1])[np.arange(len(ids) - 1), ids[1:]]
    entry = {
        "name": case.name, "prompt": prompt, "messages": case.messages, **case.options,
        "images": [], "image_tokens": None, "sounds": [], "clip": None, "clip_frames": None,
        "prompt_tokens": ids, "token_types": [0] * len(ids), "suppressed": [],
        "greedy": result, "prompt_logprobs": [None, *[round(float(p), 6) for p in given]],
    }
    tensors = {"rows": rows.astype(np.int32), "final_norm": trace.final_norm[rows], "logits": trace.logits[rows]}
    if case.deep:
        tensors["embeddings"] = trace.embeddings[rows]
        tensors |= {f"layers.{i}": trace.layers[i][rows] for i in trace.layers}
    save_file({name: np.ascontiguousarray(value) for name, value in tensors.items()}, out / f"{case.name}.safetensors")
    text = json.dumps(entry, ensure_ascii=False, separators=(",", ":"))
    (out / f"{case.name}.json").write_text(text.replace(',"greedy"', ',\n"greedy"').replace(',"prompt', ',\n"prompt') + "\n")
    return {"positions": len(ids), "comparable": safe, "distinct": len(set(result["tokens"])),
            "margin": min(result["margins"])}


def write(models: Path, out: Path) -> None:
    """Every case of every variant; `models` holds the directories of tiny_variants. Other folders of `out` stay."""
    for spec in (spec for spec in tiny_variants.SPECS if spec.cases):
        folder = out / spec.name
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.iterdir():
            old.unlink()
        model = load_model(models / spec.name)
        tokenizer = AutoTokenizer.from_pretrained(models / spec.name)
        for case in CASES:
            print(spec.name, case.name, write_case(case, model, tokenizer, folder), flush=True)
