"""Makes tests/media/data: small pictures, sounds and clips, and what the reference libraries make of them.

Usage: python tests/media/make_data.py   (Pillow, numpy, torch and torchvision; ffmpeg on the path)

  pictures/NAME       files of every kind that PIL writes; NAME.rgb: the pixels of
                      exif_transpose(Image.open(NAME)).convert("RGB") as width, height (uint32) and RGB bytes
  resize.txt          in_width in_height out_width out_height crc32, of torchvision's antialiased bicubic resize of
                      the uint8 picture pattern(x, y, c) below
  sounds/NAME, clips/NAME   see sounds() and clips(): their content is known by formula

Made with Pillow 13.0.0 (libjpeg-turbo 3.2.0, libwebp 1.6.0), torch 2.13.0, torchvision 0.28.0, ffmpeg 5.1.
"""

import pathlib
import shutil
import struct
import subprocess
import zlib

import numpy as np
import torch
from PIL import Image, ImageOps

DATA = pathlib.Path(__file__).parent / "data"
SIZE = (29, 18)


def pattern(width, height):
    """uint8 [height, width, 3]: hash of x, y, channel, the same as in resize_test.cpp."""
    y, x, c = np.meshgrid(np.arange(height), np.arange(width), np.arange(3), indexing="ij")
    mixed = (x.astype(np.uint64) * 73856093 ^ y.astype(np.uint64) * 19349663 ^ c.astype(np.uint64) * 83492791) & 0xFFFFFFFF
    return ((mixed * 2654435761 & 0xFFFFFFFF) >> 24).astype(np.uint8)


def smooth_picture():
    """Gradients, edges and a little noise: what JPEG is made for, and still every channel its own."""
    width, height = SIZE
    y, x = np.mgrid[0:height, 0:width]
    red, green = 255 * x / width, 255 * y / height
    blue = np.where((x // 7 + y // 5) % 2, 220, 30)
    noise = np.random.default_rng(7).integers(-12, 13, (height, width, 3))
    return np.clip(np.stack([red, green, blue], -1) + noise, 0, 255).astype(np.uint8)


def png_bytes(width, height, depth, colour, raw, interlace=0):
    """raw: the filtered rows, one zero byte before each."""
    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b""))


def unfiltered(rows):
    return b"".join(b"\0" + row for row in rows)


def interlaced():
    """Adam7, which PIL reads but does not write."""
    pixels = smooth_picture()
    passes = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
    raw = b"".join(unfiltered(row.tobytes() for row in pixels[y::step_y, x::step_x]) for x, y, step_x, step_y in passes)
    return png_bytes(*SIZE, 8, 2, raw, interlace=1)


def lzw(indices, bits):
    """Compressed indices in sub-blocks, with a clear code whenever the table is full."""
    clear, codes, out = 1 << bits, [], bytearray()
    table, size, text = {}, bits + 1, ()

    def put(code):
        codes.append((code, size))

    put(clear)
    table = {(i,): i for i in range(clear)}
    free = clear + 2
    for index in indices:
        if text + (index,) in table:
            text += (index,)
            continue
        put(table[text])
        if free < 4096:
            table[text + (index,)] = free
            size += free == 1 << size and size < 12
            free += 1
        else:
            put(clear)
            table, size, free = {(i,): i for i in range(clear)}, bits + 1, clear + 2
        text = (index,)
    put(table[text])
    put(clear + 1)
    pool = have = 0
    for code, width in codes:
        pool |= code << have
        have += width
        while have >= 8:
            out.append(pool & 255)
            pool >>= 8
            have -= 8
    out.append(pool)
    blocks = b"".join(bytes([len(out[i:i + 255])]) + out[i:i + 255] for i in range(0, len(out), 255))
    return bytes([bits]) + blocks + b"\0"


def gif(canvas, frame, indices, bits, palette, local=None, transparent=None, interlace=False):
    """A GIF of one frame (left, top, width, height), which PIL does not write so freely."""
    left, top, width, height = frame
    flags = 0x80 | (len(palette) // 3).bit_length() - 2
    out = b"GIF89a" + struct.pack("<HHBBB", *canvas, flags, 5, 0) + palette
    if transparent is not None:
        out += b"\x21\xf9\x04" + bytes([1, 0, 0, transparent, 0])
    out += b"\x21\xfe\x05hello\0"
    local_flags = (0x40 if interlace else 0) | (0x80 | (len(local) // 3).bit_length() - 2 if local else 0)
    out += b"\x2c" + struct.pack("<HHHHB", left, top, width, height, local_flags) + (local or b"")
    return out + lzw(indices, bits) + b"\x3b"


def gifs(folder, rgb):
    random = np.random.default_rng(5)
    rgb.quantize(200).save(folder / "palette8.gif")
    rgb.convert("L").save(folder / "grey.gif")
    rgb.convert("1").save(folder / "bilevel.gif")
    rgb.quantize(30).save(folder / "animation.gif", save_all=True, duration=50, loop=0,
                          append_images=[rgb.transpose(Image.Transpose.ROTATE_180).quantize(30)] * 3)
    width, height = SIZE
    palette = random.bytes(48)
    smooth = [(x // 3 + y // 2) % 16 for y in range(height) for x in range(width)]
    (folder / "interlaced.gif").write_bytes(gif(SIZE, (0, 0, *SIZE), smooth, 4, palette, interlace=True))
    (folder / "transparent.gif").write_bytes(gif(SIZE, (0, 0, *SIZE), smooth, 4, palette, transparent=7))
    inside = [index % 8 for index in smooth[:9 * 11]]
    (folder / "inside.gif").write_bytes(gif(SIZE, (5, 3, 9, 11), inside, 3, palette, local=random.bytes(24)))
    (folder / "inside_transparent.gif").write_bytes(gif(SIZE, (5, 3, 9, 11), inside, 3, palette, transparent=2))
    (folder / "beyond.gif").write_bytes(gif((8, 4), (5, 3, 9, 11), inside, 3, palette))
    noise = random.integers(0, 256, 120 * 90).tolist()  # fills the table of codes
    (folder / "full_table.gif").write_bytes(gif((120, 90), (0, 0, 120, 90), noise, 8, random.bytes(768)))
    (folder / "one.gif").write_bytes(gif((1, 1), (0, 0, 1, 1), [1], 2, palette[:12]))


def bmp(size, bits, rows, palette=b"", compression=0, masks=b"", top_down=False, colors=0):
    """rows: from the bottom up (from the top down if top_down), padded; or run-length encoded bytes."""
    width, height = size
    offset = 14 + 40 + len(masks) + len(palette)
    header = struct.pack("<IiiHHIIiiII", 40, width, -height if top_down else height, 1, bits, compression, len(rows), 0, 0, colors, 0)
    return b"BM" + struct.pack("<IHHI", offset + len(rows), 0, 0, offset) + header + masks + palette + rows


def bmps(folder, rgb):
    random = np.random.default_rng(6)
    width, height = SIZE
    rgb.save(folder / "rgb.bmp")
    rgb.quantize(77).save(folder / "palette8.bmp")
    rgb.convert("L").save(folder / "grey.bmp")
    rgb.convert("1").save(folder / "bilevel.bmp")
    rgba = rgb.copy()
    rgba.putalpha(128)
    rgba.save(folder / "rgba.bmp")
    rgb.crop((0, 0, 1, 1)).save(folder / "one.bmp")
    stride = (width * 4 + 31) // 32 * 4
    palette = random.bytes(64)
    (folder / "palette4.bmp").write_bytes(bmp(SIZE, 4, random.bytes(stride * height), palette))
    (folder / "few_colors.bmp").write_bytes(bmp(SIZE, 4, random.bytes(stride * height), palette[:20], colors=5))
    stride = (width * 16 + 31) // 32 * 4
    (folder / "rgb555.bmp").write_bytes(bmp(SIZE, 16, random.bytes(stride * height)))
    (folder / "rgb565.bmp").write_bytes(bmp(SIZE, 16, random.bytes(stride * height), compression=3,
                                            masks=struct.pack("<III", 0xF800, 0x7E0, 0x1F)))
    (folder / "masks32.bmp").write_bytes(bmp(SIZE, 32, random.bytes(width * 4 * height), compression=3,
                                             masks=struct.pack("<III", 0xFF0000, 0xFF00, 0xFF)))
    (folder / "top_down.bmp").write_bytes(bmp(SIZE, 24, random.bytes((width * 24 + 31) // 32 * 4 * height), top_down=True))
    old = struct.pack("<IHHHH", 12, 5, 3, 1, 8) + random.bytes(768)
    (folder / "os2.bmp").write_bytes(b"BM" + struct.pack("<IHHI", 0, 0, 0, 14 + len(old)) + old + random.bytes(24))
    # Runs, literals of both parities, a row cut short, and the end mark; PIL reads no moves.
    runs = b"\x05\x11\x00\x03\x01\x02\x03\x00\x00\x04\x0a\x0b\x0c\x0d\x00\x00" + b"\x0c\x22\x00\x00" + b"\x04\x33\x00\x00" + b"\x0c\x44\x00\x01"
    (folder / "rle8.bmp").write_bytes(bmp((12, 4), 8, runs, random.bytes(1024), compression=1))
    runs = b"\x05\x12\x00\x04\x34\x56\x03\x78\x00\x00" + b"\x0c\x9a\x00\x00" + b"\x04\xbc\x00\x00" + b"\x0c\xde\x00\x01"
    (folder / "rle4.bmp").write_bytes(bmp((12, 4), 4, runs, palette, compression=2))


def pictures():
    folder = DATA / "pictures"
    folder.mkdir(parents=True)
    rgb = Image.fromarray(smooth_picture())
    alpha = Image.fromarray((np.indices(SIZE[::-1]).sum(0) * 9 % 256).astype(np.uint8))
    rgba = rgb.copy()
    rgba.putalpha(alpha)

    def save(name, image, **options):
        image.save(folder / name, **options)

    save("420.jpg", rgb, quality=85, subsampling=2)
    save("422.jpg", rgb, quality=85, subsampling=1)
    save("444.jpg", rgb, quality=95, subsampling=0)
    save("progressive.jpg", rgb, quality=80, progressive=True)
    save("grey.jpg", rgb.convert("L"), quality=85)
    save("cmyk.jpg", rgb.convert("CMYK"), quality=90)
    save("one.jpg", rgb.crop((0, 0, 1, 1)))
    save("rgb.png", rgb)
    save("rgba.png", rgba)
    save("grey.png", rgb.convert("L"))
    save("grey_alpha.png", rgba.convert("LA"))
    save("bilevel.png", rgb.convert("1"))
    save("palette4.png", rgb.quantize(13))
    save("palette8.png", rgb.quantize(100))
    save("palette_transparent.png", rgb.quantize(9), transparency=3)
    save("colour_key.png", rgb, transparency=rgb.getpixel((0, 0)))
    save("one.png", rgb.crop((0, 0, 1, 1)))
    random = np.random.default_rng(11)
    for colour, channels in ((0, 1), (2, 3), (4, 2), (6, 4)):
        rows = [random.integers(0, 600, SIZE[0] * channels).astype(">u2").tobytes() for _ in range(SIZE[1])]
        (folder / f"bits16_colour{colour}.png").write_bytes(png_bytes(*SIZE, 16, colour, unfiltered(rows)))
    for depth in (2, 4):
        rows = [random.bytes((SIZE[0] * depth + 7) // 8) for _ in range(SIZE[1])]
        (folder / f"grey{depth}.png").write_bytes(png_bytes(*SIZE, depth, 0, unfiltered(rows)))
    (folder / "interlaced.png").write_bytes(interlaced())
    save("lossy.webp", rgb, quality=80)
    save("lossless.webp", rgb, lossless=True)
    save("lossy_alpha.webp", rgba, quality=80)
    save("lossless_alpha.webp", rgba, lossless=True, exact=True)
    save("animation.webp", rgb, save_all=True, append_images=[rgb.transpose(Image.Transpose.ROTATE_180)], duration=100, quality=80)
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        save(f"orientation{orientation}.jpg", rgb, exif=exif, quality=85)
        save(f"orientation{orientation}.png", rgb, exif=exif)
        save(f"orientation{orientation}.webp", rgb, exif=exif, lossless=True)
    gifs(folder, rgb)
    bmps(folder, rgb)
    for path in sorted(folder.iterdir()):
        pixels = np.asarray(ImageOps.exif_transpose(Image.open(path)).convert("RGB"))
        height, width, _ = pixels.shape
        (folder / (path.name + ".rgb")).write_bytes(struct.pack("<II", width, height) + pixels.tobytes())


def resize():
    # The build of torchvision without compiled operators: only its Python resize is needed.
    real, torch.library.register_fake = torch.library.register_fake, lambda *a, **k: lambda f: f
    from torchvision.transforms import InterpolationMode
    from torchvision.transforms.v2 import functional
    torch.library.register_fake = real
    lines = []
    for in_width, in_height, out_width, out_height in (
            (1, 1, 48, 48), (1, 7, 48, 336), (5, 3, 5, 7), (5, 3, 9, 3), (37, 23, 20, 31), (64, 48, 16, 12), (100, 70, 13, 9),
            (900, 3, 3360, 48), (3, 900, 48, 3360), (300, 1, 1440, 48), (640, 480, 432, 336), (1024, 768, 912, 672),
            (1920, 1080, 528, 288), (224, 224, 768, 768)):
        source = torch.from_numpy(pattern(in_width, in_height)).permute(2, 0, 1).contiguous()
        target = functional.resize(source, [out_height, out_width], interpolation=InterpolationMode.BICUBIC, antialias=True)
        pixels = target.permute(1, 2, 0).contiguous().numpy()
        lines.append(f"{in_width} {in_height} {out_width} {out_height} {zlib.crc32(pixels.tobytes())}\n")
    (DATA / "resize.txt").write_text("".join(lines))


def ffmpeg(*arguments):
    subprocess.run(["ffmpeg", "-y", "-loglevel", "error", *map(str, arguments)], check=True)


def tone(rate, seconds, hertz, amplitude):
    return amplitude * np.sin(2 * np.pi * hertz * np.arange(int(rate * seconds)) / rate)


def wav(path, rate, channels, codec):
    """channels: float [n, channels]; written by ffmpeg in the given sample format."""
    raw = path.with_suffix(".raw")
    raw.write_bytes(channels.astype("<f8").tobytes())
    ffmpeg("-f", "f64le", "-ar", rate, "-ac", channels.shape[1], "-i", raw, "-c:a", codec, "-bitexact", path)
    raw.unlink()


def sounds():
    folder = DATA / "sounds"
    folder.mkdir(parents=True)
    ramp = (np.arange(-160, 160) / 160)[:, None]  # sample i is (i - 160) / 160
    for codec in ("pcm_u8", "pcm_s16le", "pcm_s24le", "pcm_s32le", "pcm_f32le", "pcm_f64le"):
        wav(folder / f"ramp_{codec}.wav", 16000, ramp, codec)
    # 1 kHz of 0.5 on the left, 3 kHz of 0.25 on the right, 0.2 s; lossy and lossless, 44.1 and 48 kHz.
    for rate in (44100, 48000):
        stereo = np.stack([tone(rate, 0.2, 1000, 0.5), tone(rate, 0.2, 3000, 0.25)], -1)
        wav(folder / f"stereo_{rate}.wav", rate, stereo, "pcm_s16le")
    source = folder / "stereo_44100.wav"
    for name, options in (("stereo.flac", ()), ("stereo.mp3", ("-b:a", "96k")), ("stereo.ogg", ("-c:a", "libvorbis")),
                          ("stereo.opus", ("-c:a", "libopus", "-b:a", "64k")), ("stereo.m4a", ("-b:a", "192k"))):
        ffmpeg("-i", source, *options, "-bitexact", folder / name)
    six = np.stack([tone(48000, 0.05, 500, 0.1 * (c + 1)) for c in range(6)], -1)
    wav(folder / "six_channels.wav", 48000, six, "pcm_s16le")


def clips():
    folder = DATA / "clips"
    folder.mkdir(parents=True)
    width, height, frames = 64, 48, 40
    # Frame i: grey 40 + 5 i, with the upper left quarter white.
    raw = folder / "frames.raw"
    pictures = np.zeros((frames, height, width, 3), np.uint8)
    for i in range(frames):
        pictures[i] = 40 + 5 * i
        pictures[i, :height // 2, :width // 2] = 255
    raw.write_bytes(pictures.tobytes())
    source = ("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", "10", "-i", raw)
    ffmpeg(*source, "-c:v", "libx264", "-pix_fmt", "yuv420p", "-bitexact", folder / "h264.mp4")
    ffmpeg(*source, "-i", DATA / "sounds" / "stereo_44100.wav", "-c:v", "libx264", "-pix_fmt", "yuv420p", "-c:a", "aac", "-b:a", "192k", "-bitexact",
           folder / "with_sound.mp4")
    ffmpeg(*source, "-c:v", "libvpx", "-b:v", "500k", "-bitexact", folder / "vp8.webm")
    ffmpeg(*source, "-c:v", "mpeg4", "-bf", "2", "-q:v", "2", "-bitexact", folder / "mpeg4.avi")
    ffmpeg(*source, "-c:v", "mjpeg", "-pix_fmt", "yuvj420p", "-q:v", "2", "-bitexact", folder / "full_range.mkv")
    ffmpeg(*source, "-c:v", "libx264", "-pix_fmt", "yuv420p", "-bitexact", folder / "stream.ts")
    ffmpeg(*source, "-frames:v", "3", "-c:v", "ffv1", "-pix_fmt", "bgr0", "-bitexact", folder / "three_frames.mkv")
    # 300 frames of black and white blocks that spell the frame's number: bits 0 to 7 in the upper half, bit 8 below.
    many = np.zeros((300, height, width, 3), np.uint8)
    for i in range(300):
        for bit in range(9):
            top = height // 2 * (bit // 8)
            many[i, top:top + height // 2, bit % 8 * 8:bit % 8 * 8 + 8] = 255 * (i >> bit & 1)
    raw.write_bytes(many.tobytes())
    numbered = ("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", "30", "-i", raw)
    x264 = ("-c:v", "libx264", "-pix_fmt", "yuv420p", "-crf", "35", "-g", "50", "-bf", "2")
    ffmpeg(*numbered, *x264, "-bitexact", folder / "many.mp4")
    ffmpeg(*numbered, *x264, "-x264-params", "open-gop=1", "-bitexact", folder / "many_open.mkv")
    ffmpeg(*numbered, "-c:v", "libvpx-vp9", "-crf", "50", "-b:v", "0", "-g", "60", "-bitexact", folder / "many.webm")
    for degrees in (90, 180, 270):  # counter-clockwise, as this version of ffmpeg writes and shows them
        ffmpeg("-i", folder / "h264.mp4", "-c", "copy", "-metadata:s:v", f"rotate={degrees}", "-bitexact", folder / f"turned{degrees}.mp4")
    raw.unlink()


def main():
    shutil.rmtree(DATA, ignore_errors=True)
    pictures()
    resize()
    sounds()
    clips()


if __name__ == "__main__":
    main()
