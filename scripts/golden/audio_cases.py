"""Golden cases of the models of tiny_audio: the files that cases.py writes, and what the tower makes of the first clip on
the way (`audio.*`)."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import reference
import sounds
import tiny_audio
import torch
import variant_cases
from safetensors.numpy import save_file
from transformers.models.gemma4 import Gemma4Processor

import cases
import conversations as talk

CASES = [
    cases.Case("audio-shortest", messages=cases.ask("What was said?", audio=1), sounds=("voice-161.wav",), deep=True),
    cases.Case("audio-640", messages=cases.ask("What was said?", audio=1), sounds=("voice-640.wav",)),
    cases.Case("audio-641", messages=cases.ask("What was said?", audio=1), sounds=("voice-641.wav",)),
    cases.Case("audio-below-block", messages=cases.ask("What was said?", audio=1), sounds=("voice-7600.wav",), deep=True),
    cases.Case("audio-above-block", messages=cases.ask("What was said?", audio=1), sounds=("voice-7841.wav",), deep=True),
    cases.Case("audio-second", messages=cases.ask("What was said?", audio=1), sounds=("voice-16001.wav",), deep=True),
    cases.Case("audio-silence", messages=cases.ask("What was said?", audio=1), sounds=("silence-inside.wav",), deep=True),
    cases.Case("audio-quiet", messages=cases.ask("What was said?", audio=1), sounds=("quiet.wav",)),
    cases.Case("audio-three", messages=[talk.user([{"type": "audio"}, talk.text("then"), {"type": "audio"},
                                                   {"type": "audio"}, talk.text("Same?")])],
               sounds=("voice-640.wav", "voice-5000.wav", "voice-161.wav")),
]


def processor_inputs(case: cases.Case, processor, folder: Path) -> tuple[str, dict]:
    prompt = processor.tokenizer.apply_chat_template(case.messages, tokenize=False, add_generation_prompt=True, **case.options)
    clips = [cases.load_audio(str(folder / "sounds" / name), sampling_rate=sounds.RATE, backend="soundfile")
             for name in case.sounds]
    inputs = processor(text=prompt, audio=clips, return_tensors="pt", text_kwargs={"add_special_tokens": False})
    return prompt, dict(inputs)


class TowerTrace:
    """Of the first clip of a call: what goes into the first layer and comes out of each, [tokens, width]."""

    def __init__(self):
        self.subsampled = self.output = None
        self.layers: list[np.ndarray] = []

    def hooks(self, tower) -> list:
        def keep(values: torch.Tensor) -> np.ndarray:
            return values[0].numpy().copy()

        def subsampled(_module, _args, output):
            self.subsampled = keep(output[0])

        def layer(_module, _args, output):
            self.layers.append(keep(output))

        def projected(_module, _args, output):
            self.output = keep(output)
        return [tower.subsample_conv_projection.register_forward_hook(subsampled),
                *(module.register_forward_hook(layer) for module in tower.layers),
                tower.output_proj.register_forward_hook(projected)]


@torch.no_grad()
def forward(model, inputs: dict, trace_all: bool = True) -> reference.Trace:
    """One pass over a whole prompt with its sound, without a cache."""
    trace = reference.Trace()
    trace.tower = TowerTrace()
    hooks = trace.tower.hooks(model.model.audio_tower) if trace_all else []
    try:
        with reference.watched(model.model.language_model, trace, trace_all):
            trace.logits = model(**inputs, use_cache=False).logits[0].numpy().copy()
    finally:
        for hook in hooks:
            hook.remove()
    return trace


def write_case(case: cases.Case, model, processor, media_folder: Path, out: Path) -> dict:
    """Computes and writes one case; returns what is worth a line on the screen."""
    prompt, inputs = processor_inputs(case, processor, media_folder)
    ids = inputs["input_ids"][0].numpy()
    types = inputs["mm_token_type_ids"][0].numpy()
    rows = cases._kept_rows(types)
    soft = np.flatnonzero(types)
    trace = forward(model, inputs)
    steps = reference.greedy(lambda given: forward(model, given, trace_all=False).logits[-1], inputs, cases.STEPS)
    result = cases._greedy_json(steps)
    safe = result["comparable_steps"]
    assert reference.generated(model, inputs, cases.STEPS)[:safe] == result["tokens"][:safe], case.name
    given = reference.log_softmax(trace.logits[:-1])[np.arange(len(ids) - 1), ids[1:]]
    entry = {
        "name": case.name, "prompt": prompt, "messages": case.messages, **case.options,
        "images": [], "image_tokens": None, "sounds": list(case.sounds), "clip": None, "clip_frames": None,
        "prompt_tokens": ids.tolist(), "token_types": types.tolist(), "suppressed": [],
        "greedy": result, "prompt_logprobs": [None, *[round(float(p), 6) for p in given]],
    }
    tensors = {"rows": rows.astype(np.int32), "final_norm": trace.final_norm[rows], "logits": trace.logits[rows],
               "soft_positions": soft.astype(np.int32), "soft_tokens": trace.embeddings[soft]}
    if case.deep:
        tensors["embeddings"] = trace.embeddings[rows]
        tensors |= {f"layers.{i}": trace.layers[i][rows] for i in trace.layers}
        tokens = len(soft)  # of the only clip; what the tower makes of padding is left out
        tensors["audio.subsampled"] = trace.tower.subsampled[:tokens]
        tensors |= {f"audio.layers.{i}": values[:tokens] for i, values in enumerate(trace.tower.layers)}
        tensors["audio.output"] = trace.tower.output[:tokens]
    save_file({name: np.ascontiguousarray(value) for name, value in tensors.items()}, out / f"{case.name}.safetensors")
    text = json.dumps(entry, ensure_ascii=False, separators=(",", ":"))
    (out / f"{case.name}.json").write_text(text.replace(',"greedy"', ',\n"greedy"').replace(',"prompt', ',\n"prompt') + "\n")
    return {"positions": len(ids), "soft": len(soft), "comparable": safe, "distinct": len(set(result["tokens"])),
            "margin": min(result["margins"])}


@torch.no_grad()
def write_limit(model, bands: int, path: Path) -> None:
    """Soft tokens of the longest clip there is, which sounds.formula() makes."""
    mel = sounds.features([sounds.formula(sounds.LIMIT)], bands)[0]
    output = model.model.get_audio_features(torch.from_numpy(mel)[None], torch.ones(1, len(mel), dtype=torch.bool),
                                            return_dict=True)
    soft = output.pooler_output[0].numpy()
    kept = np.array([0, 1, 11, 12, 13, 374, len(soft) - 2, len(soft) - 1], np.int32)
    save_file({"rows": kept, "count": np.array([len(soft)], np.int32), "soft_tokens": np.ascontiguousarray(soft[kept])}, path)


def write(models: Path, media_folder: Path, out: Path) -> None:
    """Every case of every model; `models` holds the directories of tiny_audio. Other folders of `out` stay. Beside them,
    in audio/: MODEL-limit.safetensors."""
    (out.parent / "audio").mkdir(exist_ok=True)
    for spec, tower in tiny_audio.MODELS:
        folder = out / spec.name
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.iterdir():
            old.unlink()
        model = variant_cases.load_model(models / spec.name)
        processor = Gemma4Processor.from_pretrained(models / spec.name)
        for case in CASES:
            print(spec.name, case.name, write_case(case, model, processor, media_folder, folder), flush=True)
        write_limit(model, tower.bands, out.parent / "audio" / f"{spec.name}-limit.safetensors")
