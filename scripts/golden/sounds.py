"""Recordings for the models with a conformer, and the reference's log-mel rows of every sound at 16 kHz."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import soundfile
from safetensors.numpy import load_file, save_file
from transformers.models.gemma4.feature_extraction_gemma4 import Gemma4AudioFeatureExtractor

RATE = 16000
# Shorter than a mel frame and one sample; tokens just below, at and after a multiple of 12 (the reference's blocks).
VOICES = {"voice-161.wav": 161, "voice-640.wav": 640, "voice-641.wav": 641, "voice-5000.wav": 5000,
          "voice-7600.wav": 7600, "voice-7841.wav": 7841, "voice-16001.wav": 16001}
CUTS = (160, 161, 320, 321, 480, 481)  # lengths of the start of one sound, around the borders of frames
LIMIT = 480_000


def voice(samples: int, seed: int) -> np.ndarray:
    """Gliding harmonics under a moving formant, with breath: no band is without energy. int16."""
    random = np.random.Generator(np.random.PCG64(seed))
    t = np.arange(samples) / RATE
    pitch = 120 + 40 * np.sin(2 * np.pi * 1.3 * t + seed)
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    formant = 900 + 600 * np.sin(2 * np.pi * 2.1 * t)
    wave = sum(np.exp(-((k * pitch - formant) / 500)**2) * np.sin(k * phase) for k in range(1, 30))
    envelope = 0.15 + 0.85 * np.sin(np.pi * 3.3 * t)**2
    wave = envelope * wave / 4 + 0.03 * random.standard_normal(samples)
    return (wave / np.abs(wave).max() * 26000).round().astype(np.int16)


def formula(samples: int) -> np.ndarray:
    """A long recording that needs no file, f32: numbers that look random, louder and softer every four seconds."""
    n = np.arange(samples, dtype=np.int64)
    noise = (n * n % 7919 * 31 + n * 17) % 8191 - 4095
    return (noise * (1 + n // 32000 % 4)).astype(np.float32) / np.float32(32768)


def features(waves: list[np.ndarray], bands: int = 128) -> list[np.ndarray]:
    """[rows, bands] of each wave, padding left out."""
    output = Gemma4AudioFeatureExtractor(feature_size=bands)([wave.astype(np.float32) for wave in waves])
    return [rows[mask] for rows, mask in zip(output["input_features"], output["input_features_mask"])]


def write(folder: Path) -> None:
    """Adds to sounds/, which media.py has written: voice-N.wav, N samples each, and mel.safetensors, [rows, 128] of every
    file that is at 16 kHz and of the starts of one, NAME@LENGTH."""
    for seed, (name, samples) in enumerate(VOICES.items()):
        soundfile.write(folder / name, voice(samples, seed), RATE, subtype="PCM_16")
    loaded = load_file(folder / "samples.safetensors")
    exact = {entry["file"] for entry in json.loads((folder / "sounds.json").read_text()) if not entry["resampled"]}
    waves = {name: loaded[name] for name in sorted(exact)}
    for name in VOICES:
        waves[name] = soundfile.read(folder / name, dtype="float32")[0]
    waves |= {f"stereo.wav@{cut}": waves["stereo.wav"][:cut] for cut in CUTS}
    mel = {name: features([wave])[0] for name, wave in waves.items()}
    save_file({name: np.ascontiguousarray(rows) for name, rows in mel.items()}, folder / "mel.safetensors")
    long = features([formula(LIMIT + 700)])[0]
    kept = np.array([0, 1, 1499, len(long) - 2, len(long) - 1], np.int32)
    save_file({"rows": kept, "count": np.array([len(long)], np.int32), "mel": np.ascontiguousarray(long[kept])},
              folder / "mel-limit.safetensors")
