"""Writes the example media of the repository: a picture, a recording and a clip that the demo model has never seen.

    python make_examples.py --banks BANKS

The same generators as in training with a seed of their own; the recording is from the test bank.
"""

import argparse
import json
import pathlib

import numpy as np
from PIL import Image

import evaluate
import pictures
import speech

TOOLS = [
    {"type": "function", "function": {
        "name": "get_weather", "description": "Get the current weather", "parameters": {
            "type": "object", "properties": {"city": {"type": "string", "description": "The city"}}, "required": ["city"]}}},
    {"type": "function", "function": {
        "name": "set_timer", "description": "Set a timer", "parameters": {
            "type": "object", "properties": {"minutes": {"type": "integer", "description": "Minutes"}},
            "required": ["minutes"]}}}]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--banks", required=True, type=pathlib.Path)
    parser.add_argument("--out", default=evaluate.ROOT / "examples", type=pathlib.Path)
    parser.add_argument("--picture-seed", type=int, default=5042)
    parser.add_argument("--things", type=int, default=3, help="in the picture")
    parser.add_argument("--clip-seed", type=int, default=6009)
    parser.add_argument("--sentence", default="turn on the kitchen light")
    parser.add_argument("--take", type=int, default=0, help="which of the recordings of the sentence")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)

    rng = np.random.default_rng(options.picture_seed)
    things = []
    while len(things) != options.things:
        picture, things = pictures.scene(rng, (384, 384))
    Image.fromarray(pictures.resized(picture, (512, 512))).save(options.out / "picture.jpg", quality=90)
    print("picture:", [(t.large, t.colour, t.shape, pictures.PLACES[t.cell]) for t in things])

    bank = speech.Bank(options.banks / "test_seen")
    wanted = [i for i in range(len(bank)) if bank.text[i] == options.sentence] or [
        i for i in range(len(bank)) if len(bank.text[i].split()) == 5]
    wave, text, _ = bank[wanted[options.take]]
    wave = np.pad(wave / np.abs(wave).max() * 0.6, 3200)
    evaluate.write_wave(options.out / "recording", wave + np.random.default_rng(3).normal(0, 0.001, len(wave)))
    print("recording:", text)

    shown, mover, direction, still, _ = pictures.clip(np.random.default_rng(options.clip_seed), 36, (384, 384))
    evaluate.write_clip(options.out / "video", shown, 12, crf=30)
    print("video:", mover.colour, mover.shape, direction, still and (still.colour, still.shape))
    (options.out / "tools.json").write_text(json.dumps(TOOLS, indent=2) + "\n")


if __name__ == "__main__":
    main()
