"""Small media files in every form a reader meets, and what the reference makes of them.

Pictures, sounds and the clip are drawn from formulas, so a rerun gives the same pixels and samples; encoders may give
other bytes with another version, which is why the files are committed with their golden values.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import struct
import subprocess
import zlib
from pathlib import Path

import numpy as np
import reference  # noqa: F401  (makes torchvision importable)
import soundfile
import torch
from PIL import Image
from safetensors.numpy import save_file
from torchvision.transforms.v2 import functional as tvF
from transformers.audio_utils import load_audio
from transformers.image_utils import load_image
from transformers.models.gemma4_unified.image_processing_gemma4_unified import (
    Gemma4UnifiedImageProcessor,
    get_aspect_ratio_preserving_size,
)
from transformers.video_utils import VideoMetadata, default_sample_indices_fn, load_video

BUDGETS = (70, 140, 280, 560, 1120)
RATE = 16000


# ---------------------------------------------------------------------------------------------------------- pictures

def rings(width: int, height: int) -> np.ndarray:
    """Smooth colour, [height, width, 3] uint8: circles around a point off the centre, a gradient in blue."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    distance = np.hypot(x - 0.35 * width, y - 0.6 * height)
    red = 127.5 + 127.5 * np.cos(distance / 6)
    green = 127.5 + 127.5 * np.sin(x / 11 + y / 17)
    blue = 255 * (x + 2 * y) / (width + 2 * height)
    return np.stack([red, green, blue], -1).round().clip(0, 255).astype(np.uint8)


def blocks(width: int, height: int) -> np.ndarray:
    """Flat rectangles with hard edges, which make the cubic kernel overshoot; black and white are among them."""
    random = np.random.Generator(np.random.PCG64(5))
    palette = np.array([[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 160, 60], [20, 40, 250], [250, 220, 0]], np.uint8)
    picture = np.full((height, width, 3), 128, np.uint8)
    for _ in range(40):
        x0, x1 = np.sort(random.integers(0, width + 1, 2))
        y0, y1 = np.sort(random.integers(0, height + 1, 2))
        picture[y0:y1, x0:x1] = palette[random.integers(len(palette))]
    return picture


def _png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def write_png16(path: Path, pixels: np.ndarray) -> None:
    """A 16-bit RGB PNG, which Pillow can read but not write. `pixels` [height, width, 3] uint16."""
    height, width, _ = pixels.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    path.write_bytes(b"\x89PNG\r\n\x1a\n"
                     + _png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0))
                     + _png_chunk(b"IDAT", zlib.compress(rows, 9)) + _png_chunk(b"IEND", b""))


def _write_pictures(folder: Path) -> list[str]:
    small = Image.fromarray(rings(60, 40))
    alpha = Image.fromarray((np.arange(40)[:, None] * 6 + np.arange(60) % 7).astype(np.uint8))
    rgba = small.copy()
    rgba.putalpha(alpha)
    grey = small.convert("L")
    palette = small.quantize(32)

    Image.fromarray(rings(301, 199)).save(folder / "rings-301x199.png", optimize=True)
    Image.fromarray(blocks(640, 480)).save(folder / "blocks-640x480.png", optimize=True)
    Image.fromarray(blocks(13, 977)).save(folder / "strip-13x977.png", optimize=True)
    Image.fromarray(blocks(33, 21)).save(folder / "tiny-33x21.png", optimize=True)
    small.save(folder / "rgb.png")
    rgba.save(folder / "rgba.png")
    grey.save(folder / "grey.png")
    Image.merge("LA", [grey, alpha]).save(folder / "grey-alpha.png")
    palette.save(folder / "palette.png")
    palette.save(folder / "palette-transparent.png", transparency=3)
    grey.convert("1").save(folder / "bilevel.png")
    wide = np.arange(40)[:, None] * 1500 + np.arange(60) * 37
    Image.fromarray(wide.astype(np.uint16)).save(folder / "grey16.png")
    write_png16(folder / "rgb16.png", np.stack([wide, 65535 - wide, wide * 3 % 65536], -1).astype(np.uint16))
    small.save(folder / "quality-85.jpg", quality=85)
    small.save(folder / "full-chroma.jpg", quality=90, subsampling=0)
    Image.fromarray(rings(61, 43)).save(folder / "odd-size.jpg", quality=80, subsampling=2)
    small.save(folder / "progressive.jpg", quality=85, progressive=True)
    grey.save(folder / "grey.jpg", quality=85)
    small.convert("CMYK").save(folder / "cmyk.jpg", quality=90)
    small.save(folder / "lossy.webp", quality=80)
    small.save(folder / "lossless.webp", lossless=True)
    rgba.save(folder / "alpha.webp", lossless=True, exact=True)
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        Image.fromarray(blocks(24, 16)).save(folder / f"orientation-{orientation}.jpg", quality=92, exif=exif)
    return sorted(path.name for path in folder.glob("*.*"))


def write_pictures(folder: Path) -> None:
    """pictures/: the files; pictures/pixels/: what load_image() (orientation applied, converted to RGB) makes of them."""
    folder.mkdir(parents=True)
    names = _write_pictures(folder)
    (folder / "pixels").mkdir()
    entries = []
    for name in names:
        loaded = load_image(str(folder / name))
        with Image.open(folder / name) as opened:
            mode = opened.mode
        pixels = np.asarray(loaded)
        loaded.save(folder / "pixels" / (name + ".png"), optimize=True)
        entries.append({"file": name, "stored_as": mode, "width": loaded.width, "height": loaded.height,
                        "lossy": name.endswith(".jpg") or name == "lossy.webp",
                        "sha256": hashlib.sha256(pixels.tobytes()).hexdigest()})
    (folder / "pictures.json").write_text(json.dumps(entries, indent=1) + "\n")


# -------------------------------------------------------------------------------------------------------- resampling

def axis_weights(size_in: int, size_out: int) -> tuple[int, list[tuple[int, list[int]]]]:
    """Precision P and, for each output pixel, (first input pixel, integer weights): the antialiased cubic (a = -0.5)
    resampler for uint8 as PyTorch computes it, written out here to say what the engine must do."""
    scale = size_in / size_out
    support = 2 * scale if scale >= 1 else 2.0
    inverse = 1 / scale if scale >= 1 else 1.0

    def cubic(x: float, a: float = -0.5) -> float:
        x = abs(x)
        if x < 1:
            return ((a + 2) * x - (a + 3)) * x * x + 1
        return (((x - 5) * x + 8) * x - 4) * a if x < 2 else 0.0

    rows = []
    for i in range(size_out):
        centre = scale * (i + 0.5)
        first = max(int(centre - support + 0.5), 0)
        count = min(int(centre + support + 0.5), size_in) - first
        weights = [cubic((j + first - centre + 0.5) * inverse) for j in range(count)]
        total = sum(weights)
        rows.append((first, [w / total for w in weights]))
    largest = max(max(weights) for _, weights in rows)
    precision = 0
    while precision < 22 and int(0.5 + largest * 2 ** (precision + 1)) < 2**15:
        precision += 1
    return precision, [(first, [int(w * 2**precision + (-0.5 if w < 0 else 0.5)) for w in weights])
                       for first, weights in rows]


def resample_axis(row: np.ndarray, size_out: int) -> np.ndarray:
    """One row of uint8 through axis_weights()."""
    precision, rows = axis_weights(len(row), size_out)
    values = row.astype(np.int64)
    sums = [sum(w * values[first + j] for j, w in enumerate(weights)) + (1 << (precision - 1)) for first, weights in rows]
    return np.clip(np.array(sums) >> precision, 0, 255).astype(np.uint8)


def torch_resize(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """[h, w, channels] uint8 through the reference's resize."""
    tensor = torch.from_numpy(np.array(pixels)).permute(2, 0, 1).contiguous()
    resized = tvF.resize(tensor, [height, width], interpolation=tvF.InterpolationMode.BICUBIC, antialias=True)
    return resized.permute(1, 2, 0).numpy()


def write_resampling(folder: Path) -> None:
    """resample.json: weights and rows of single axes. Every row is checked against PyTorch before it is written."""
    random = np.random.Generator(np.random.PCG64(6))
    fixed = {(8, 3): [0, 255, 0, 255, 10, 20, 30, 40], (5, 4): [10, 200, 30, 250, 90], (4, 6): [0, 0, 255, 255],
             (3, 8): [0, 128, 255]}
    sizes = [*fixed, (1, 5), (2, 3), (7, 7), (16, 1), (100, 99), (99, 100), (13, 48), (977, 3360), (301, 624), (199, 384),
             (1024, 912), (768, 672), (1920, 1056), (1080, 576), (1920, 528), (224, 768), (640, 912), (3000, 96)]
    entries = []
    for size_in, size_out in sizes:
        row = np.array(fixed.get((size_in, size_out), random.integers(0, 256, size_in)), np.uint8)
        expected = torch_resize(row[None, :, None].repeat(3, 2), 1, size_out)[0, :, 0]
        if size_in != size_out:
            ours = resample_axis(row, size_out)
            assert np.array_equal(ours, expected), (size_in, size_out)
        precision, rows = axis_weights(size_in, size_out)
        kept = range(size_out) if size_out <= 16 else (0, size_out // 2, size_out - 1)
        entry = {"in": size_in, "out": size_out, "precision": precision,
                 "weights": [{"index": i, "first": rows[i][0], "values": rows[i][1]} for i in kept]}
        if size_in <= 200:
            entry |= {"row": row.tolist(), "resized": expected.tolist()}
        entries.append(entry)
    (folder / "resample.json").write_text(json.dumps(entries, separators=(",", ":")).replace("},{\"in", "},\n{\"in") + "\n")


def _target(width: int, height: int, budget: int) -> dict:
    entry = {"width": width, "height": height, "budget": budget}
    try:
        h, w = get_aspect_ratio_preserving_size(height, width, 16, budget * 9, 3)
    except ValueError as error:
        return entry | {"error": str(error).split("\n")[0]}
    return entry | {"resized_width": w, "resized_height": h, "soft_tokens": (w // 48) * (h // 48)}


def write_target_sizes(folder: Path) -> None:
    """target_sizes.json: what size a picture is given for a budget, the cases where doubles round down included."""
    random = np.random.Generator(np.random.PCG64(7))
    pictures = [(1, 1), (1, 2), (2, 1), (3, 3), (300, 1), (1, 300), (900, 3), (3, 900), (70, 1), (71, 1), (5000, 1),
                (13, 977), (977, 13), (33, 21), (60, 40), (301, 199), (640, 480), (480, 640), (1024, 768), (4032, 3024),
                (1920, 1080), (1080, 1920), (2560, 1080), (960, 672), (1024, 256), (440, 308), (680, 476), (308, 440),
                (1820, 650), (220, 154), (1360, 952), (48, 48), (47, 49), (384, 384), (768, 768), (20000, 15000)]
    pictures += [(int(w), int(h)) for w, h in np.exp(random.uniform(0, np.log(6000), (60, 2)))]
    entries = [_target(w, h, budget) for w, h in pictures for budget in BUDGETS]
    lines = ",\n".join(json.dumps(entry) for entry in entries)
    (folder / "target_sizes.json").write_text("[\n" + lines + "\n]\n")


def write_resizes(folder: Path, pictures: Path) -> None:
    """resized/: whole pictures through the reference's processor. Small results as PNG, large ones as a hash and a
    crop; patches.safetensors holds some rows of patches, f32, as they enter the model."""
    (folder / "resized").mkdir()
    entries, patches = [], {}
    jobs = [("tiny-33x21.png", 70), ("strip-13x977.png", 70), ("strip-13x977.png", 140), ("rgb.png", 70),
            ("rings-301x199.png", 70), ("rings-301x199.png", 140), ("blocks-640x480.png", 70),
            ("blocks-640x480.png", 280), ("rings-301x199.png", 280), ("blocks-640x480.png", 1120)]
    for name, budget in jobs:
        picture = load_image(str(pictures / name))
        processor = Gemma4UnifiedImageProcessor(max_soft_tokens=budget)
        output = processor(images=picture, return_tensors="pt")
        n = int(output["num_soft_tokens_per_image"][0])
        rows = output["pixel_values"][0, :n].numpy()
        positions = output["image_position_ids"][0, :n].numpy()
        columns = int(positions[:, 0].max()) + 1
        # Patches hold pixel / 255 in (row, column, channel) order: put the picture together again.
        pixels = np.rint(rows * 255).astype(np.uint8).reshape(n // columns, columns, 48, 48, 3)
        pixels = np.ascontiguousarray(pixels.transpose(0, 2, 1, 3, 4).reshape(n // columns * 48, columns * 48, 3))
        height, width, _ = pixels.shape
        assert np.array_equal(pixels, torch_resize(np.asarray(picture), height, width))
        stem = f"{Path(name).stem}-{budget}"
        x, y = max(0, width // 2 - 32), max(0, height // 2 - 32)
        whole = stem in ("tiny-33x21-70", "strip-13x977-70", "blocks-640x480-70")
        kept = pixels if whole else pixels[y:y + 64, x:x + 64]
        Image.fromarray(kept).save(folder / "resized" / f"{stem}.png", optimize=True)
        entries.append({"file": name, "budget": budget, "width": width, "height": height, "soft_tokens": n,
                        "sha256": hashlib.sha256(pixels.tobytes()).hexdigest(),
                        "crop": {"file": f"resized/{stem}.png", "x": 0 if whole else x, "y": 0 if whole else y}})
        if stem in ("rings-301x199-70", "strip-13x977-140"):
            chosen = np.array([0, n - 2])
            patches |= {f"{stem}.tokens": chosen.astype(np.int32), f"{stem}.patches": rows[chosen],
                        f"{stem}.positions": positions[chosen].astype(np.int32)}
    save_file(patches, folder / "patches.safetensors")
    (folder / "resized.json").write_text(json.dumps(entries, indent=1) + "\n")
    plain = []
    random = np.random.Generator(np.random.PCG64(8))
    (folder / "plain").mkdir()
    for (w, h), (w2, h2) in [((60, 40), (33, 21)), ((60, 40), (90, 71)), ((60, 40), (60, 80)), ((60, 40), (15, 40)),
                             ((1, 1), (48, 48)), ((3, 3), (8, 5)), ((17, 2), (5, 9))]:
        picture = random.integers(0, 256, (h, w, 3), dtype=np.uint8)  # noise: every overshoot is clamped somewhere
        names = f"plain/{w}x{h}.png", f"plain/{w}x{h}-{w2}x{h2}.png"
        if not (folder / names[0]).exists():
            Image.fromarray(picture).save(folder / names[0])
        picture = np.asarray(Image.open(folder / names[0]))
        Image.fromarray(torch_resize(picture, h2, w2)).save(folder / names[1])
        plain.append({"file": names[0], "width": w2, "height": h2, "resized": names[1]})
    (folder / "plain.json").write_text(json.dumps(plain, indent=1) + "\n")


# ------------------------------------------------------------------------------------------------------------- sound

def chirp(samples: int, rate: int, start: float = 200.0, stop: float = 3000.0) -> np.ndarray:
    """A rising tone of changing loudness, f64 in [-0.8, 0.8]."""
    t = np.arange(samples) / rate
    length = samples / rate
    phase = 2 * np.pi * (start * t + (stop - start) * t * t / (2 * length))
    return 0.8 * np.sin(phase) * (0.25 + 0.75 * np.sin(np.pi * t / length) ** 2)


def write_sounds(folder: Path) -> None:
    """sounds/: WAV files; samples.safetensors: f32 mono at 16 kHz as the reference's loader gives them (soundfile and
    the soxr resampler). sounds.json says which had to be resampled, for which no exact answer is defined."""
    folder.mkdir(parents=True)
    silence = chirp(4000, RATE)
    silence[700:2300] = 0.0  # frames 2 and 3 wholly silent, 1 partly
    stereo = np.stack([chirp(3000, RATE), chirp(3000, RATE, 900, 100)], 1)
    files = {
        "exact-1280.wav": (chirp(1280, RATE), RATE, "PCM_16"), "ragged-1001.wav": (chirp(1001, RATE), RATE, "PCM_16"),
        "one-sample.wav": (np.array([0.5]), RATE, "PCM_16"), "silence-inside.wav": (silence, RATE, "PCM_16"),
        "quiet.wav": (chirp(1920, RATE) * 1e-3, RATE, "FLOAT"), "int24.wav": (chirp(2000, RATE), RATE, "PCM_24"),
        "int32.wav": (chirp(1500, RATE), RATE, "PCM_32"), "uint8.wav": (chirp(1500, RATE), RATE, "PCM_U8"),
        "float.wav": (chirp(2000, RATE) * 1.5, RATE, "FLOAT"), "double.wav": (chirp(1500, RATE), RATE, "DOUBLE"),
        "stereo.wav": (stereo, RATE, "PCM_16"), "stereo-float.wav": (stereo, RATE, "FLOAT"),
        "rate-8000.wav": (chirp(2000, 8000), 8000, "PCM_16"), "rate-44100.wav": (chirp(8820, 44100), 44100, "PCM_16"),
        "rate-48000-stereo.wav": (np.stack([chirp(7200, 48000), chirp(7200, 48000, 2000, 300)], 1), 48000, "PCM_16"),
        "lossless.flac": (chirp(2000, RATE), RATE, "PCM_16"),
    }
    samples, entries = {}, []
    for name, (wave, rate, kind) in files.items():
        soundfile.write(folder / name, wave, rate, subtype=kind)
        loaded = load_audio(str(folder / name), sampling_rate=RATE, backend="soundfile").astype(np.float32)
        samples[name] = loaded
        entries.append({"file": name, "rate": rate, "channels": 1 if wave.ndim == 1 else 2, "encoding": kind,
                        "samples": len(loaded), "soft_tokens": -(-len(loaded) // 640), "resampled": rate != RATE})
    save_file(samples, folder / "samples.safetensors")
    (folder / "sounds.json").write_text(json.dumps(entries, indent=1) + "\n")


# -------------------------------------------------------------------------------------------------------------- clip

CLIP_FRAMES, CLIP_RATE, CLIP_SIZE = 40, 20, (160, 120)
CLIP_PICKED = 4  # frames of the model cases


def clip_frame(index: int) -> np.ndarray:
    """A disc that moves to the right over a gradient that darkens."""
    width, height = CLIP_SIZE
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    frame = np.stack([x, y, x + y], -1) * (0.9 - 0.01 * index)
    disc = np.hypot(x - 20 - 3 * index, y - 60) < 18
    frame[disc] = (240, 60, 40)
    return frame.clip(0, 255).astype(np.uint8)


def sampled(metadata: VideoMetadata, frames: int | None, fps: float | None = None) -> dict:
    indices = default_sample_indices_fn(metadata, num_frames=frames, fps=fps)
    seconds = [index / metadata.fps for index in indices]
    return {"indices": [int(i) for i in indices], "stamps": [f"{int(s // 60):02d}:{int(s % 60):02d}" for s in seconds]}


def write_clip(folder: Path) -> None:
    """clip/: a two-second MP4, four of its frames as PyAV decodes them, and tables of sampled frames and time stamps."""
    folder.mkdir(parents=True)
    path = folder / "clip.mp4"
    raw = b"".join(clip_frame(i).tobytes() for i in range(CLIP_FRAMES))
    width, height = CLIP_SIZE
    subprocess.run(["ffmpeg", "-loglevel", "error", "-y", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}",
                    "-r", str(CLIP_RATE), "-i", "-", "-c:v", "libx264", "-pix_fmt", "yuv420p", "-crf", "24", "-g", "10",
                    "-threads", "1", "-bitexact", str(path)], input=raw, check=True)
    picks = {}
    for label, frames, fps in [("default", 32, None), ("picked", CLIP_PICKED, None), ("per_second", None, 2.0)]:
        video, metadata = load_video(str(path), num_frames=frames, fps=fps, backend="pyav")
        picks[label] = sampled(metadata, frames, fps)
        if label == "picked":
            for index, frame in zip(picks[label]["indices"], video):
                Image.fromarray(frame).save(folder / f"frame-{index:03d}.png", optimize=True)
    tables = []
    for total, rate in [(32, 24.0), (40, 20.0), (40, 25.0), (300, 30.0), (900, 30.0), (1500, 25.0), (1798, 30000 / 1001),
                        (109890, 30.0), (180000, 29.97)]:
        metadata = VideoMetadata(total_num_frames=total, fps=rate)
        tables.append({"total": total, "fps": rate, "frames": 32, **sampled(metadata, 32)})
        if total < 2000:
            tables.append({"total": total, "fps": rate, "per_second": 1.0, **sampled(metadata, None, 1.0)})
    contents = {"file": "clip.mp4", "total": CLIP_FRAMES, "fps": CLIP_RATE, "width": width, "height": height,
                "samplings": picks, "tables": tables}
    (folder / "clip.json").write_text(json.dumps(contents).replace('{"total"', '\n{"total"') + "\n")


def write(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    write_pictures(folder / "pictures")
    write_resampling(folder)
    write_target_sizes(folder)
    write_resizes(folder, folder / "pictures")
    write_sounds(folder / "sounds")
    write_clip(folder / "clip")
