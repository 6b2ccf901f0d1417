#!/usr/bin/env python3
"""Makes everything under tests/golden from nothing: tiny models, media files, tokenizer and model golden values.

    python scripts/golden/make_golden.py [--out DIR] [--only models|configs|media|texts|cases|drafts|long ...]

Needs transformers 5.23.0 with torch, torchvision (its Python part is enough), tokenizers, safetensors, Pillow, av,
soundfile, soxr, and the ffmpeg program for the clip. Takes some minutes on two cores.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

import audio_cases
import cases
import configurations
import drafters
import long_context
import media
import sounds
import texts
import tiny_audio
import tiny_models
import tiny_variants
import tiny_vision
import variant_cases
import vision_cases

PARTS = ("models", "configs", "media", "texts", "cases", "drafts", "long")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parents[2] / "tests" / "golden")
    parser.add_argument("--only", choices=PARTS, nargs="+", default=PARTS)
    parser.add_argument("--threads", type=int, default=1, help="a fixed number keeps sums in the same order (1)")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    out = arguments.out
    if "models" in arguments.only:
        for spec in tiny_models.SPECS:
            tiny_models.write(spec, out / "models" / spec.name)
        for spec in tiny_variants.SPECS:
            tiny_variants.write(spec, out / "models" / spec.name)
        drafters.write_models(out / "models")
        for spec, tower in tiny_audio.MODELS:
            tiny_audio.write(spec, tower, out / "models" / spec.name)
        for spec in tiny_vision.SPECS:
            tiny_vision.write(spec, out / "models" / spec.name)
    if "configs" in arguments.only:
        configurations.write(out / "configs")
    if "media" in arguments.only:
        media.write(out / "media")
        sounds.write(out / "media" / "sounds")
    if "texts" in arguments.only:
        texts.write(out / "models" / tiny_models.SPECS[0].name, out / "tokenizer")
    if "cases" in arguments.only:
        cases.write(out / "models", out / "media", out / "cases")
        variant_cases.write(out / "models", out / "cases")
        audio_cases.write(out / "models", out / "media", out / "cases")
        vision_cases.write(out / "models", out / "media", out / "cases", out / "towers")
    if "drafts" in arguments.only:
        drafters.write_drafts(out / "models", out / "media", out / "cases", out / "drafts")
    if "long" in arguments.only:
        long_context.write(out / "models", out / "long")
    for path in sorted(out.rglob("*.safetensors")):
        path.chmod(0o644)  # the library writes them for the owner only


if __name__ == "__main__":
    main()
