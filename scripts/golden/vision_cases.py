"""Golden cases of the models of tiny_vision: pictures and clips through the tower into the decoder, the same files as
cases.py writes, and what the tower alone makes of pictures at every budget."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import reference
import tiny_vision
import torch
import variant_cases
from PIL import Image
from safetensors.numpy import save_file
from transformers.audio_utils import load_audio
from transformers.image_utils import load_image

import cases
import conversations as talk
import media

PATCHES_KEPT = 12  # patches of a picture whose stream is kept, after every layer
TOKENS_KEPT = 40  # soft tokens kept of a picture at a large budget


@dataclass(frozen=True)
class Case:
    name: str
    messages: list
    images: tuple[str, ...] = ()
    budgets: tuple[int, ...] = ()  # of each image
    sounds: tuple[str, ...] = ()
    clip: bool = False
    deep: bool = False


CASES = [
    Case("image-70", cases.ask("What is this?", image=1), ("rings-301x199.png",), (70,), deep=True),
    Case("image-280", cases.ask("What is this?", image=1), ("blocks-640x480.png",), (280,)),
    Case("image-strip", cases.ask("How long?", image=1), ("strip-13x977.png",), (140,)),
    Case("image-tiny", cases.ask("What is this?", image=1), ("tiny-33x21.png",), (70,)),
    Case("image-two", [talk.user([{"type": "image"}, talk.text("is left of"), {"type": "image"}, talk.text("?")])],
         ("rgb.png", "rings-301x199.png"), (140, 70), deep=True),
    Case("images-before", cases.ask("Same?", image=2), ("odd-size.jpg", "rgb.png"), (70, 140)),
    Case("video", cases.ask("What happens?", video=1), clip=True, deep=True),
    Case("mixed", [talk.user([{"type": "video"}, talk.text("then"), {"type": "audio"}, {"type": "image"}, talk.text("and?")])],
         ("tiny-33x21.png",), (70,), sounds=("voice-7600.wav",), clip=True, deep=True),
]
# The last three models repeat what depends on their shapes and masks.
FEWER = {"image-70", "image-two", "images-before", "image-strip", "video"}

# The tower alone: picture and budget. The larger ones take a minute, so one model has them.
PICTURES = [("rings-301x199.png", 70), ("strip-13x977.png", 140), ("blocks-640x480.png", 280)]
LARGE_PICTURES = [("rings-301x199.png", 560), ("blocks-640x480.png", 1120)]


def picture_inputs(processor, picture: Image.Image, budget: int) -> dict:
    return processor.image_processor(images=picture, max_soft_tokens=budget, return_tensors="pt")


def build_inputs(case: Case, processor, media_folder: Path) -> tuple[str, dict]:
    """The prompt before its placeholders are expanded, and the model's inputs. The reference's processor knows one budget
    for all images of a call; with several, each image goes through it alone, and all are padded to the largest."""
    prompt = processor.tokenizer.apply_chat_template(case.messages, tokenize=False, add_generation_prompt=True)
    pictures = [load_image(str(media_folder / "pictures" / name)) for name in case.images]
    arguments = {}
    if case.clip:
        frames, metadata = cases._clip_frames(media_folder / "clip")
        arguments = {"videos": [frames], "videos_kwargs": {"video_metadata": [metadata], "do_sample_frames": False}}
    if case.sounds:
        arguments["audio"] = [load_audio(str(media_folder / "sounds" / name), sampling_rate=media.RATE, backend="soundfile")
                              for name in case.sounds]
    if len(set(case.budgets)) <= 1:
        if pictures:
            arguments |= {"images": pictures, "images_kwargs": {"max_soft_tokens": case.budgets[0]}}
        return prompt, dict(processor(text=prompt, return_tensors="pt", text_kwargs={"add_special_tokens": False}, **arguments))
    assert not case.clip
    parts = [picture_inputs(processor, picture, budget) for picture, budget in zip(pictures, case.budgets)]
    patches = max(part["pixel_values"].shape[1] for part in parts)

    def padded(name, value):
        return torch.cat([torch.nn.functional.pad(part[name], (0, 0, 0, patches - part[name].shape[1]), value=value)
                          for part in parts])

    text = prompt
    for part in parts:
        text = text.replace("<|image|>", "\0", 1).replace(
            "\0", processor.boi_token + "\1" * int(part["num_soft_tokens_per_image"][0]) + processor.eoi_token)
    ids = processor.tokenizer(text.replace("\1", "<|image|>"), add_special_tokens=False, return_tensors="pt")["input_ids"]
    return prompt, {"input_ids": ids, "attention_mask": torch.ones_like(ids),
                    "mm_token_type_ids": (ids == processor.image_token_id).long(),
                    "pixel_values": padded("pixel_values", 0.0), "image_position_ids": padded("image_position_ids", -1)}


@torch.no_grad()
def encoded(model, inputs: dict) -> dict:
    """The inputs with soft tokens in the place of pixels, so that the tower runs once for all steps."""
    outputs = {}
    if "pixel_values" in inputs:
        outputs["image"] = model.model.get_image_features(inputs["pixel_values"], inputs["image_position_ids"],
                                                          return_dict=True)
    if "pixel_values_videos" in inputs:
        outputs["video"] = model.model.get_video_features(inputs["pixel_values_videos"], inputs["video_position_ids"],
                                                          num_frames_per_video=inputs["num_frames_per_video"],
                                                          return_dict=True)
    names = ("input_ids", "attention_mask", "mm_token_type_ids", "input_features", "input_features_mask")
    return {name: inputs[name] for name in names if name in inputs} | {"mm_encoder_outputs": outputs}


@torch.no_grad()
def forward(model, inputs: dict, trace_all: bool = True) -> reference.Trace:
    """One pass over a whole prompt, without a cache; `inputs` as encoded() makes them, or with pixels."""
    trace = reference.Trace()
    with reference.watched(model.model.language_model, trace, trace_all):
        trace.logits = model(**inputs, use_cache=False).logits[0].numpy().copy()
    return trace


def write_case(case: Case, model, processor, media_folder: Path, out: Path) -> dict:
    """Computes and writes one case; returns what is worth a line on the screen."""
    prompt, inputs = build_inputs(case, processor, media_folder)
    for name in ("num_soft_tokens_per_image", "num_soft_tokens_per_video", "video_metadata"):
        inputs.pop(name, None)
    ids, types = inputs["input_ids"][0].numpy(), inputs["mm_token_type_ids"][0].numpy()
    rows, soft = cases._kept_rows(types), np.flatnonzero(types)
    ready = encoded(model, inputs)
    trace = forward(model, ready)
    result = cases._greedy_json(reference.greedy(lambda given: forward(model, given, trace_all=False).logits[-1], ready, cases.STEPS))
    safe = result["comparable_steps"]
    assert reference.generated(model, inputs, cases.STEPS)[:safe] == result["tokens"][:safe], case.name
    given = reference.log_softmax(trace.logits[:-1])[np.arange(len(ids) - 1), ids[1:]]
    entry = {
        "name": case.name, "prompt": prompt, "messages": case.messages,
        "images": list(case.images), "image_tokens": list(case.budgets) if case.images else None, "sounds": list(case.sounds),
        "clip": "clip.mp4" if case.clip else None, "clip_frames": media.CLIP_PICKED if case.clip else None,
        "prompt_tokens": ids.tolist(), "token_types": types.tolist(), "suppressed": [],
        "greedy": result, "prompt_logprobs": [None, *[round(float(p), 6) for p in given]],
    }
    tensors = {"rows": rows.astype(np.int32), "final_norm": trace.final_norm[rows], "logits": trace.logits[rows],
               "soft_positions": soft.astype(np.int32), "soft_tokens": trace.embeddings[soft]}
    if case.deep:
        tensors["embeddings"] = trace.embeddings[rows]
        tensors |= {f"layers.{i}": trace.layers[i][rows] for i in trace.layers}
    save_file({name: np.ascontiguousarray(value) for name, value in tensors.items()}, out / f"{case.name}.safetensors")
    text = json.dumps(entry, ensure_ascii=False, separators=(",", ":"))
    (out / f"{case.name}.json").write_text(text.replace(',"greedy"', ',\n"greedy"').replace(',"prompt', ',\n"prompt') + "\n")
    return {"positions": len(ids), "comparable": safe, "distinct": len(set(result["tokens"])),
            "margin": min(result["margins"])}


@torch.no_grad()
def tower_trace(model, inputs: dict) -> tuple[dict[int, np.ndarray], np.ndarray]:
    """The stream [patches, hidden] going into layer 0 (-1) and after each layer, padding included, and the soft tokens."""
    tower, layers, hooks = model.model.vision_tower, {}, []

    def keep(index):
        def hook(_module, _args, output):
            layers[index] = (output[0] if isinstance(output, tuple) else output)[0].numpy().copy()
        return hook

    hooks.append(tower.patch_embedder.register_forward_hook(keep(-1)))
    hooks += [layer.register_forward_hook(keep(i)) for i, layer in enumerate(tower.encoder.layers)]
    try:
        features = model.model.get_image_features(inputs["pixel_values"], inputs["image_position_ids"], return_dict=True)
    finally:
        for hook in hooks:
            hook.remove()
    return layers, features.pooler_output[0].numpy().copy()


def write_tower(model, processor, name: str, budget: int, media_folder: Path, out: Path) -> dict:
    """NAME-BUDGET.json and .safetensors: what the tower alone makes of one picture."""
    inputs = picture_inputs(processor, load_image(str(media_folder / "pictures" / name)), budget)
    layers, soft = tower_trace(model, inputs)
    positions = inputs["image_position_ids"][0].numpy()
    patches = int((positions[:, 0] >= 0).sum())
    width, height = (positions[:patches].max(0) + 1).tolist()
    kept_patches = np.unique(np.linspace(0, patches - 1, PATCHES_KEPT).astype(np.int32))
    kept_tokens = np.unique(np.linspace(0, len(soft) - 1, min(TOKENS_KEPT, len(soft))).astype(np.int32))
    tensors = {"patches": kept_patches, "tokens": kept_tokens, "soft_tokens": soft[kept_tokens],
               "pixels": inputs["pixel_values"][0, kept_patches].numpy()[:, :48]}
    tensors |= {f"layers.{index}": value[kept_patches] for index, value in layers.items()}
    stem = f"{Path(name).stem}-{budget}"
    save_file({key: np.ascontiguousarray(value) for key, value in tensors.items()}, out / f"{stem}.safetensors")
    entry = {"image": name, "image_tokens": budget, "patches_across": width, "patches_down": height,
             "soft_tokens": len(soft)}
    (out / f"{stem}.json").write_text(json.dumps(entry) + "\n")
    return entry


def write(models: Path, media_folder: Path, out: Path, towers: Path) -> None:
    """Every case of every model; `models` holds the directories of tiny_vision. Other folders of `out` stay."""
    shutil.rmtree(towers, ignore_errors=True)
    for index, spec in enumerate(tiny_vision.SPECS):
        for folder in (out / spec.name, towers / spec.name):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
        model = variant_cases.load_model(models / spec.name)
        processor = reference.load_processor(models / spec.name)
        for name, budget in PICTURES + (LARGE_PICTURES if index == 0 else []):
            print(spec.name, write_tower(model, processor, name, budget, media_folder, towers / spec.name), flush=True)
        for case in CASES:
            if index == 0 or case.name in FEWER:
                print(spec.name, case.name, write_case(case, model, processor, media_folder, out / spec.name), flush=True)
