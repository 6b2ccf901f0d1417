"""The reference implementation (Hugging Face transformers) as the golden values need it: float32, eager attention, on
the CPU, with what it computes on the way made visible.

Two image masks exist in transformers 5.23 for `gemma4_unified`, and they disagree:
  * "sliding": what `generate()` builds for a static cache, and what `gemma4` and the other implementations do. On
    sliding layers a query sees key k if (k <= q or both in one image) and k > q - window; full layers are causal.
  * "all_layers": what `forward()` makes by itself, hence also `generate()` with its default cache. The image overlay is
    on both kinds of layer and is not cut by the window.
The first is the published behaviour of the family and the golden one; the second is recorded beside it.
"""

from __future__ import annotations

import contextlib
import os
import warnings
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import numpy as np
import torch


@contextlib.contextmanager
def _without_fake_kernels():
    """torchvision without its compiled part cannot register fake kernels for operators that do not exist; its Python
    resize, which is all we use, does not need them."""
    original = torch.library.register_fake
    torch.library.register_fake = lambda *args, **kwargs: (lambda function: function)
    try:
        yield
    finally:
        torch.library.register_fake = original


with _without_fake_kernels(), warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import torchvision  # noqa: F401

from transformers import AutoProcessor
from transformers.models.gemma4_unified import Gemma4UnifiedForConditionalGeneration
from transformers.models.gemma4_unified import modeling_gemma4_unified as modeling

MASKS = ("sliding", "all_layers")


def load_model(folder: Path) -> Gemma4UnifiedForConditionalGeneration:
    model = Gemma4UnifiedForConditionalGeneration.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager").eval()
    # Released weights are bf16, and there sqrt(hidden) is rounded to bf16 before it multiplies the embedding.
    embedding = model.model.language_model.embed_tokens
    embedding.embed_scale = embedding.embed_scale.to(torch.bfloat16).float()
    return model


def load_processor(folder: Path):
    return AutoProcessor.from_pretrained(folder)


class Trace:
    """What one forward pass computed: `layers[i]` [positions, hidden] after layer i, `final_norm` [positions, hidden],
    `embeddings` [positions, hidden] going into layer 0, `attention[i]` = (q, k, v) [positions, heads, head_dim] as
    they enter the scores (q and k normalised and rotated, v normalised), `logits` [positions, vocab] soft-capped."""

    def __init__(self):
        self.layers: dict[int, np.ndarray] = {}
        self.attention: dict[int, tuple[np.ndarray, np.ndarray, np.ndarray]] = {}
        self.embeddings = self.final_norm = self.logits = None


@contextlib.contextmanager
def watched(text, trace: Trace, trace_all: bool = True):
    """While it lasts, passes of the decoder `text` leave their final norm in `trace`; with `trace_all` what goes into the
    first layer and comes out of each, too."""
    hooks = []

    def keep(name, index=None):
        def hook(_module, _args, output):
            value = output[0].numpy().copy()
            if index is None:
                setattr(trace, name, value)
            else:
                trace.layers[index] = value
        return hook

    def keep_input(_module, args, kwargs):
        trace.embeddings = (args[0] if args else kwargs["hidden_states"])[0].numpy().copy()

    if trace_all:
        hooks += [layer.register_forward_hook(keep("layers", i)) for i, layer in enumerate(text.layers)]
        hooks.append(text.layers[0].register_forward_pre_hook(keep_input, with_kwargs=True))
    hooks.append(text.norm.register_forward_hook(keep("final_norm")))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@torch.no_grad()
def forward(model, inputs: dict, mask: str, trace_all: bool = True) -> Trace:
    """One pass over a whole prompt, without a cache."""
    trace = Trace()
    original = modeling.eager_attention_forward

    def eager(module, query, key, value, *args, **kwargs):
        if trace_all:
            trace.attention[module.layer_idx] = tuple(t[0].transpose(0, 1).numpy().copy() for t in (query, key, value))
        return original(module, query, key, value, *args, **kwargs)

    modeling.eager_attention_forward = eager
    try:
        arguments = dict(inputs)
        if mask == "sliding":
            ids = inputs["input_ids"]
            arguments["attention_mask"] = model.create_masks_for_generate(
                config=model.config,
                inputs_embeds=torch.empty((*ids.shape, 0), dtype=torch.float32),
                attention_mask=inputs["attention_mask"],
                past_key_values=None,
                position_ids=torch.arange(ids.shape[1])[None],
                mm_token_type_ids=inputs["mm_token_type_ids"],
            )
        with watched(model.model.language_model, trace, trace_all):
            trace.logits = model(**arguments, use_cache=False).logits[0].numpy().copy()
    finally:
        modeling.eager_attention_forward = original
    return trace


def extended(inputs: dict, token: int) -> dict:
    """The same inputs with one more text token."""
    longer = dict(inputs)
    for name, value in (("input_ids", token), ("attention_mask", 1), ("mm_token_type_ids", 0)):
        longer[name] = torch.cat([inputs[name], torch.tensor([[value]], dtype=inputs[name].dtype)], dim=1)
    return longer


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """In double, over the last axis."""
    x = logits.astype(np.float64)
    x = x - x.max(-1, keepdims=True)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def greedy(last_logits, inputs, steps: int, suppressed=(), extend=extended) -> list[dict]:
    """`steps` tokens by argmax, end tokens ignored, the whole prompt each time: token, margin in logits over the runner-up
    (after suppression), log-probability and the five best (before suppression).

    last_logits: of the inputs, [vocab]; extend: the inputs with one more token."""
    result = []
    for _ in range(steps):
        logits = last_logits(inputs)
        log_probabilities = log_softmax(logits)
        allowed = logits.copy()
        allowed[list(suppressed)] = -np.inf
        order = np.argsort(-allowed, kind="stable")
        best = np.argsort(-log_probabilities, kind="stable")[:5]
        token = int(order[0])
        result.append({
            "token": token,
            "margin": float(allowed[order[0]] - allowed[order[1]]),
            "logprob": float(log_probabilities[token]),
            "top": [[int(i), float(log_probabilities[i])] for i in best],
        })
        inputs = extend(inputs, token)
    return result


@torch.no_grad()
def generated(model, inputs: dict, steps: int, **options) -> list[int]:
    """What `generate()` gives greedily, end tokens ignored; with its default cache unless `options` name another."""
    output = model.generate(**inputs, max_new_tokens=steps, min_new_tokens=steps, do_sample=False, top_k=None, top_p=None,
                            temperature=None, disable_compile=True, eos_token_id=None, **options)
    return output[0, inputs["input_ids"].shape[1]:].tolist()
