"""Compares the packed pass, the sample builder and the shipped files with the reference; a difference ends with status 1.

For one sample of every skill: the token ids and soft-token inputs of AutoProcessor with those of the builder, and the
logits of the unchanged model (eager attention, float32, the reference's own masks) with those of the packed pass.
"""

import argparse
import sys

import numpy as np
import torch

import model as demo
import samples


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--banks", required=True)
    parser.add_argument("--model", default=str(samples.MODEL_DIR))
    options = parser.parse_args()
    from transformers import AutoModelForMultimodalLM, AutoProcessor

    processor = AutoProcessor.from_pretrained(options.model)
    model = AutoModelForMultimodalLM.from_pretrained(options.model, dtype=torch.float32, attn_implementation="eager").eval()
    skills = samples.Skills(options.banks)
    rng = np.random.default_rng(7)
    chosen = [getattr(skills, name)(rng) for name in samples.SKILLS]
    worst, wrong = 0.0, 0
    reference = []
    for s in chosen:
        ids, kinds = torch.from_numpy(s.ids)[None], torch.from_numpy(s.kinds)[None]
        inputs = {"input_ids": ids, "mm_token_type_ids": kinds}
        patches = torch.from_numpy(s.patches).float()[None] / 255
        positions = torch.from_numpy(s.patch_positions)[None]
        if s.skill == "clip":
            frames = samples.VIDEO_FRAMES
            inputs |= {"pixel_values_videos": patches.view(frames, -1, 6912), "video_position_ids": positions.view(frames, -1, 2),
                       "num_frames_per_video": torch.tensor([frames])}
        elif len(s.patches):
            inputs |= {"pixel_values": patches, "image_position_ids": positions}
        if len(s.frames):
            inputs |= {"input_features": torch.from_numpy(s.frames)[None],
                       "input_features_mask": torch.ones(1, len(s.frames), dtype=torch.bool)}
        # The masks of generate(): both directions within an image only on the sliding layers. The bare forward pass of
        # transformers 5.23 makes others when it is given no masks.
        inputs["attention_mask"] = model.create_masks_for_generate(
            model.config, torch.zeros(1, ids.shape[1], 1), None, None, torch.arange(ids.shape[1])[None], kinds)
        with torch.no_grad():
            reference.append(model(**inputs).logits[0])
    model.config._attn_implementation = model.model.language_model.config._attn_implementation = "packed"
    starts = np.cumsum([0] + [len(s.ids) for s in chosen])
    batch = {
        "ids": torch.from_numpy(np.concatenate([s.ids for s in chosen])), "lengths": [len(s.ids) for s in chosen],
        "positions": torch.from_numpy(np.concatenate([np.arange(len(s.ids)) for s in chosen])),
        "kinds": torch.from_numpy(np.concatenate([s.kinds for s in chosen])),
        "patches": torch.from_numpy(np.concatenate([s.patches for s in chosen])),
        "patch_positions": torch.from_numpy(np.concatenate([s.patch_positions for s in chosen])),
        "frames": torch.from_numpy(np.concatenate([s.frames for s in chosen]))}
    with torch.no_grad():
        hidden = demo.packed_hidden(model, batch)
        for s, start, expected in zip(chosen, starts, reference):
            logits = 30 * torch.tanh(model.lm_head(hidden[start: start + len(s.ids)]) / 30)
            difference = (logits - expected).abs().max().item()
            worst = max(worst, difference)
            print(f"{s.skill:8} {len(s.ids):4} positions, largest difference of a logit {difference:.2e}")

    # The processor: same ids and the same inputs from the media themselves.
    import pictures

    picture, _ = pictures.scene(rng, (400, 300))
    wave, _, _ = skills.sentences[3]
    shown, *_ = pictures.clip(rng, 8, (384, 384), frames=[0, 2, 4, 6])
    width, height = pictures.target_size(400, 300)
    cases = [
        ("image", {"images": [picture]}, {"images": [pictures.resized(picture, (width, height))]}),
        ("audio", {"audio": [wave]}, {"frames": wave}),
        ("video", {"videos": [np.stack(shown)], "video_metadata": [
            {"total_num_frames": 8, "fps": 2.0, "frames_indices": [0, 2, 4, 6]}], "do_sample_frames": False},
         {"clip": (shown, ["00:00", "00:01", "00:02", "00:03"])})]
    for name, given, built in cases:
        messages = [{"role": "user", "content": [{"type": name}, {"type": "text", "text": "What is it?"}]}]
        text = skills.builder.prompt(messages)
        inputs = processor(text=[text], return_tensors="pt", add_special_tokens=False, **given)
        sample = skills.builder.build("scene", messages + [{"role": "assistant", "content": "x"}], **built)
        ids = sample.ids[: sample.prompt_length]
        same = inputs["input_ids"][0].tolist() == ids.tolist()
        if name == "audio":
            off = float((inputs["input_features"][0] - torch.from_numpy(sample.frames)).abs().max())
        else:
            key = "pixel_values" if name == "image" else "pixel_values_videos"
            pixels = inputs[key].reshape(-1, 6912)
            pixels = pixels[(inputs[(
                "image_position_ids" if name == "image" else "video_position_ids")].reshape(-1, 2) >= 0).all(1)]
            off = float((pixels * 255 - torch.from_numpy(sample.patches).float()).abs().max())
        print(f"{name}: ids {'agree' if same else 'DIFFER'}, inputs differ by at most {off:.3g}")
        wrong += not same or off > (2.01 if name != "audio" else 1e-6)
    wrong += worst > 1e-3
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
