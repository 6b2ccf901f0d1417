"""Golden cases of the tiny models: a prompt with its media, and what the reference computes from it.

A case is two files: NAME.json with the prompt and the greedy continuation, NAME.safetensors with tensors (f32 and i32).
The prompt goes through the reference's processor, which expands the placeholders and builds the model's inputs.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import reference
import tiny_models
from PIL import Image
from safetensors.numpy import save_file
from transformers.audio_utils import load_audio
from transformers.image_utils import load_image
from transformers.video_utils import VideoMetadata

import conversations as talk
import media

STEPS = 16
MARGIN_SAFE = 5e-3  # greedy tokens are comparable up to the first step whose margin is below this
ROWS_MAX = 13  # positions whose logits and hidden states are kept of a long prompt


@dataclass(frozen=True)
class Case:
    name: str
    messages: list | None = None  # through the chat template, or
    text: str | None = None  # raw, <bos> included
    images: tuple[str, ...] = ()
    sounds: tuple[str, ...] = ()
    clip: bool = False
    budget: int = 280
    options: dict = field(default_factory=dict)  # tools, enable_thinking
    deep: bool = False  # keep every layer, and q, k, v of the first sliding and the first full layer


def ask(text: str, **parts: int) -> list:
    """One user turn: so many images, sounds and clips, then the text."""
    content = [{"type": kind} for kind in ("image", "audio", "video") for _ in range(parts.get(kind, 0))]
    return [talk.user(content + [talk.text(text)])]


STORY = ("There was once a stone cutter who wished for nothing more than a stone that held the light of the evening. "
         "He turned the stone in his hand, and each face that he cut let a little more of the light through. ") * 2

CASES = [
    Case("text-one-token", text="<bos>", deep=True),
    Case("text-short", text="<bos>Hello there, what is the weather", deep=True),
    Case("text-bytes", text="<bos>naïve 🙂 東京\n\n\n  x"),
    Case("text-long", text="<bos>" + STORY, deep=True),
    Case("chat", messages=[talk.user("Hello, how are you?")]),
    Case("chat-thinking", messages=[talk.system("Be brief."), talk.user("What is 7 times 8?")],
         options={"enable_thinking": True}),
    Case("chat-turns", messages=[talk.user("Name a river."), talk.assistant("The Rhine."), talk.user("Another one?")]),
    Case("chat-tools", messages=[talk.user("Weather?")], options={"tools": [talk.WEATHER]}),
    Case("chat-tool-response", messages=talk.WEATHER_LOOP, options={"tools": [talk.WEATHER], "enable_thinking": True}),
    Case("image-70", messages=ask("What is this?", image=1), images=("rings-301x199.png",), budget=70, deep=True),
    Case("image-140", messages=ask("What is this?", image=1), images=("rings-301x199.png",), budget=140),
    Case("image-280", messages=ask("What is this?", image=1), images=("blocks-640x480.png",), budget=280),
    Case("image-strip", messages=ask("How long?", image=1), images=("strip-13x977.png",), budget=140),
    Case("image-tiny", messages=ask("What is this?", image=1), images=("tiny-33x21.png",), budget=70),
    Case("image-two", messages=[talk.user([{"type": "image"}, talk.text("is left of"), {"type": "image"}, talk.text("?")])],
         images=("rgb.png", "rings-301x199.png"), budget=70, deep=True),
    Case("audio-exact", messages=ask("What was said?", audio=1), sounds=("exact-1280.wav",), deep=True),
    Case("audio-ragged", messages=ask("What was said?", audio=1), sounds=("ragged-1001.wav",)),
    Case("audio-silence", messages=ask("What was said?", audio=1), sounds=("silence-inside.wav",), deep=True),
    Case("audio-quiet", messages=ask("What was said?", audio=1), sounds=("quiet.wav",)),
    Case("audio-two", messages=ask("Same?", audio=2), sounds=("stereo.wav", "int24.wav")),
    Case("video", messages=ask("What happens?", video=1), clip=True),
    Case("mixed", messages=ask("What do you see and hear?", image=1, audio=1), images=("rgb.png",),
         sounds=("ragged-1001.wav",), budget=70, deep=True),
    Case("mixed-all", messages=[talk.user([{"type": "video"}, talk.text("then"), {"type": "audio"}, {"type": "image"},
                                           talk.text("and?")])],
         images=("tiny-33x21.png",), sounds=("exact-1280.wav",), clip=True, budget=70),
]
# The second and third model repeat what depends on their shapes.
FEWER = {"text-one-token", "text-short", "text-long", "chat", "image-70", "image-two", "image-strip", "audio-silence",
         "video", "mixed"}


def _clip_frames(folder: Path) -> tuple[np.ndarray, VideoMetadata]:
    contents = json.loads((folder / "clip.json").read_text())
    indices = contents["samplings"]["picked"]["indices"]
    frames = np.stack([np.asarray(Image.open(folder / f"frame-{i:03d}.png")) for i in indices])
    return frames, VideoMetadata(total_num_frames=contents["total"], fps=contents["fps"], frames_indices=indices)


def processor_inputs(case: Case, processor, media_folder: Path) -> tuple[str, dict]:
    """The prompt before its placeholders are expanded, and the model's inputs."""
    prompt = case.text
    if case.messages is not None:
        prompt = processor.tokenizer.apply_chat_template(case.messages, tokenize=False, add_generation_prompt=True,
                                                         **case.options)
    arguments = {}
    if case.images:
        arguments["images"] = [load_image(str(media_folder / "pictures" / name)) for name in case.images]
        arguments["images_kwargs"] = {"max_soft_tokens": case.budget}
    if case.sounds:
        arguments["audio"] = [load_audio(str(media_folder / "sounds" / name), sampling_rate=media.RATE,
                                         backend="soundfile") for name in case.sounds]
    if case.clip:
        frames, metadata = _clip_frames(media_folder / "clip")
        arguments["videos"] = [frames]
        arguments["videos_kwargs"] = {"video_metadata": [metadata], "do_sample_frames": False}
    inputs = processor(text=prompt, return_tensors="pt", text_kwargs={"add_special_tokens": False}, **arguments)
    return prompt, dict(inputs)


def _kept_rows(types: np.ndarray) -> np.ndarray:
    """All positions of a short prompt; of a long one the ends, what lies around media, and an even sample."""
    n = len(types)
    if n <= ROWS_MAX:
        return np.arange(n)
    edges = np.flatnonzero(np.diff(types))  # last position before a change of kind
    wanted = {0, n - 2, n - 1, *(int(e) + d for e in edges[:4] for d in (0, 1))}
    wanted |= {int(i) for i in np.linspace(1, n - 3, max(2, ROWS_MAX - len(wanted)))}
    return np.array(sorted(wanted))


def _greedy_json(steps: list[dict]) -> dict:
    low = [i for i, step in enumerate(steps) if step["margin"] < MARGIN_SAFE]
    return {"tokens": [step["token"] for step in steps], "margins": [round(step["margin"], 7) for step in steps],
            "logprobs": [round(step["logprob"], 7) for step in steps],
            "top": [[[token, round(value, 7)] for token, value in step["top"]] for step in steps],
            "comparable_steps": low[0] if low else len(steps)}


def write_case(case: Case, model, processor, media_folder: Path, out: Path) -> dict:
    """Computes and writes one case; returns what is worth a line on the screen."""
    prompt, inputs = processor_inputs(case, processor, media_folder)
    ids = inputs["input_ids"][0].numpy()
    types = inputs["mm_token_type_ids"][0].numpy()
    rows = _kept_rows(types)
    soft = np.flatnonzero(types)
    suppressed = model.generation_config.suppress_tokens
    has_pictures = bool(case.images or case.clip)

    entry = {
        "name": case.name, "prompt": prompt, "messages": case.messages, **case.options,
        "images": list(case.images), "image_tokens": case.budget if case.images else None,
        "sounds": list(case.sounds), "clip": "clip.mp4" if case.clip else None,
        "clip_frames": media.CLIP_PICKED if case.clip else None,
        "prompt_tokens": ids.tolist(), "token_types": types.tolist(), "suppressed": suppressed,
    }
    tensors = {"rows": rows.astype(np.int32)}
    for mask in reference.MASKS if has_pictures else reference.MASKS[:1]:
        trace = reference.forward(model, inputs, mask)
        steps = reference.greedy(lambda given: reference.forward(model, given, mask, trace_all=False).logits[-1], inputs,
                                 STEPS, suppressed)
        # The two masks are those of the two caches (see reference.py).
        cache = {"cache_implementation": "static"} if mask == "sliding" else {}
        told = reference.generated(model, inputs, STEPS, suppress_tokens=suppressed, **cache)
        own = [step["token"] for step in steps]
        safe = _greedy_json(steps)["comparable_steps"]
        assert told[:safe] == own[:safe], (case.name, mask, told, own)
        probabilities = reference.log_softmax(trace.logits[:-1])
        given = probabilities[np.arange(len(ids) - 1), ids[1:]]
        prefix = "" if mask == "sliding" else "all_layers."
        result = {"greedy": _greedy_json(steps), "prompt_logprobs": [None, *[round(float(p), 6) for p in given]]}
        if prefix:
            entry["all_layers"] = result
            tensors[prefix + "final_norm"] = trace.final_norm[rows[-3:]]
            tensors[prefix + "logits"] = trace.logits[rows[-3:]]
            continue
        entry |= result
        tensors |= {"final_norm": trace.final_norm[rows], "logits": trace.logits[rows]}
        if len(soft):
            tensors |= {"soft_positions": soft.astype(np.int32), "soft_tokens": trace.embeddings[soft]}
        if case.deep:
            tensors["embeddings"] = trace.embeddings[rows]
            tensors |= {f"layers.{i}": trace.layers[i][rows] for i in trace.layers}
            layer_types = model.config.text_config.layer_types
            for index in {layer_types.index("sliding_attention"), layer_types.index("full_attention")}:
                for letter, value in zip("qkv", trace.attention[index]):
                    tensors[f"layers.{index}.{letter}"] = value[rows]
    save_file({name: np.ascontiguousarray(value) for name, value in tensors.items()}, out / f"{case.name}.safetensors")
    text = json.dumps(entry, ensure_ascii=False, separators=(",", ":"))
    (out / f"{case.name}.json").write_text(text.replace(',"greedy"', ',\n"greedy"').replace(',"prompt', ',\n"prompt') + "\n")
    return {"positions": len(ids), "comparable": entry["greedy"]["comparable_steps"],
            "distinct": len(set(entry["greedy"]["tokens"])), "margin": min(entry["greedy"]["margins"]),
            "suppressed": sum(step["top"][0][0] in suppressed for step in steps)}


def write(models: Path, media_folder: Path, out: Path) -> None:
    """Every case of every model; `models` holds the directories of tiny_models."""
    shutil.rmtree(out, ignore_errors=True)
    for spec in tiny_models.SPECS:
        (out / spec.name).mkdir(parents=True)
        model = reference.load_model(models / spec.name)
        processor = reference.load_processor(models / spec.name)
        for case in CASES:
            if spec is tiny_models.SPECS[0] or case.name in FEWER:
                print(spec.name, case.name, write_case(case, model, processor, media_folder, out / spec.name), flush=True)
