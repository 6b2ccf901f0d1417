"""Pictures and clips for the demo model: coloured shapes, printed words, handwritten digits, a moving shape.

Every function takes a numpy random generator and returns uint8 RGB arrays [height, width, 3] together with what they
show; the questions and answers are made from that in `questions.py`. Coordinates are in pixels of the resized picture.
"""

import dataclasses
import functools
import glob
import io
import math

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

SHAPES = "circle square triangle star cross ring heart".split()
COLOURS = "red orange yellow green blue purple".split()
PLACES = ["at the top left", "at the top", "at the top right", "on the left", "in the center", "on the right",
          "at the bottom left", "at the bottom", "at the bottom right"]
WORDS = ("apple bread chair cloud dog fish tree house bird lamp milk moon star sun ship train stone river snow fire gold "
         "king tea exit").split()
DIRECTIONS = {"right": (1, 0), "left": (-1, 0), "up": (0, -1), "down": (0, 1)}
# What 70 soft tokens make of the usual aspect ratios (square, 4:3, 3:2 by chance, 16:9), as width x height.
SIZES = [(384, 384), (432, 336), (336, 432), (480, 336), (528, 288), (288, 528)]
TEST_FONTS = ("DejaVuSerifCondensed-Italic", "DejaVuSansCondensed-Oblique")
TRAIN_DIGITS = 1437  # the first of scikit-learn's 1797; the rest is the test split


@dataclasses.dataclass
class Thing:
    shape: str
    colour: str
    large: bool
    cell: int          # row-major index into PLACES
    x: float = 0.0
    y: float = 0.0
    radius: float = 0.0


@functools.cache
def _noise_bank():
    rng = np.random.default_rng(5)
    return rng.standard_normal((3, 640, 640, 3)).astype(np.float32)


@functools.cache
def _fonts(test):
    names = sorted(glob.glob("/usr/share/fonts/truetype/dejavu/DejaVuS*.ttf"))
    chosen = [n for n in names if any(t + ".ttf" in n for t in TEST_FONTS) == test]
    if not chosen:
        raise RuntimeError("no DejaVu fonts found: install fonts-dejavu")
    return chosen


@functools.cache
def _font(path, size):
    return ImageFont.truetype(path, size)


@functools.cache
def _digits():
    from sklearn.datasets import load_digits

    data = load_digits()
    return data.images.astype(np.float32) / 16.0, data.target


def _hsv(h, s, v):
    import colorsys

    return np.array(colorsys.hsv_to_rgb((h % 360) / 360, s, v)) * 255


def colour_value(rng, name):
    """A random RGB value (float [3], 0..255) that people call `name`."""
    u = rng.uniform
    hue, saturation, value = {
        "red": ((348, 366), (0.8, 1), (0.65, 0.95)), "orange": ((24, 33), (0.85, 1), (0.9, 1)),
        "yellow": ((50, 59), (0.75, 1), (0.88, 1)), "green": ((100, 145), (0.6, 1), (0.45, 0.8)),
        "blue": ((208, 234), (0.7, 1), (0.6, 0.95)), "purple": ((272, 294), (0.6, 0.95), (0.5, 0.8))}[name]
    return _hsv(u(*hue), u(*saturation), u(*value))


def ink(rng):
    """A dark RGB value, mostly of a clear hue as pens and printers have them: writing is dark on light here."""
    if rng.random() < 0.15:
        return _hsv(rng.uniform(0, 360), rng.uniform(0, 0.6), rng.uniform(0.0, 0.35))
    return _hsv(rng.uniform(0, 360), rng.uniform(0.6, 1), rng.uniform(0.25, 0.65))


def background(rng, width, height, avoid, light=False):
    """A mostly grey flat, graded, cloudy, striped or checked picture, float32, that differs from the colours in `avoid`.

    The patch embedder normalises every patch by itself, so within a patch only differences count: a faint tint of the
    background would look like a strong colour. Most backgrounds therefore have next to none. `light`: bright ones only.
    """
    for _ in range(60):
        saturation = rng.uniform(0, 0.06) if rng.random() < 0.85 else rng.uniform(0.06, 0.25)
        base = _hsv(rng.uniform(0, 360), saturation, rng.uniform(0.65, 0.97) if light else rng.uniform(0.15, 0.95))
        if all(np.abs(base - c).sum() > 170 for c in avoid):
            break
    field = _fields(width, height)[rng.integers(FIELDS)][::rng.choice([-1, 1]), ::rng.choice([-1, 1])]
    tint = rng.uniform(3, 24) * (1 + 0.04 * rng.standard_normal(3))
    canvas = field[:, :, None] * tint.astype(np.float32)
    canvas += base.astype(np.float32)
    return canvas


FIELDS = 120


@functools.cache
def _fields(width, height):
    """Patterns of backgrounds, float32 [height, width] of about unit size: made once, they cost more than all the rest."""
    rng = np.random.default_rng(width * 1000 + height)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    fields = []
    for index in range(FIELDS):
        kind = index % 5
        if kind == 0:
            field = np.zeros((height, width), np.float32)
        elif kind == 1:
            angle = rng.uniform(0, 2 * math.pi)
            field = (math.cos(angle) * (x / width - 0.5) + math.sin(angle) * (y / height - 0.5)) * 2
        elif kind == 2:
            cells = rng.integers(3, 14)
            coarse = rng.standard_normal((cells, cells)).astype(np.float32)
            field = np.asarray(Image.fromarray(coarse).resize((width, height), Image.BICUBIC))
        else:
            angle, period = rng.uniform(0, math.pi), rng.uniform(16, 90)
            field = np.sin((math.cos(angle) * x + math.sin(angle) * y) * (2 * math.pi / period))
            if kind == 4:
                field = np.sign(field * np.sin((math.sin(angle) * x - math.cos(angle) * y) * (2 * math.pi / period))) * 0.6
        fields.append(field.astype(np.float32))
    return fields


def shape_mask(shape, radius, angle):
    """Coverage of a shape, uint8 [2r+4, 2r+4]; `angle` in radians."""
    side = int(2 * radius + 4)
    scale = 3
    image = Image.new("L", (side * scale, side * scale), 0)
    draw = ImageDraw.Draw(image)
    c, r = side * scale / 2, radius * scale

    def polygon(points):
        ca, sa = math.cos(angle), math.sin(angle)
        draw.polygon([(c + r * (ca * px - sa * py), c + r * (sa * px + ca * py)) for px, py in points], fill=255)

    if shape == "circle":
        draw.ellipse((c - r, c - r, c + r, c + r), fill=255)
    elif shape == "ring":
        draw.ellipse((c - r, c - r, c + r, c + r), fill=255)
        i = r * 0.55
        draw.ellipse((c - i, c - i, c + i, c + i), fill=0)
    elif shape == "square":
        polygon([(-0.82, -0.82), (0.82, -0.82), (0.82, 0.82), (-0.82, 0.82)])
    elif shape == "triangle":
        polygon([(0, -1), (0.92, 0.72), (-0.92, 0.72)])
    elif shape == "star":
        polygon([((1.0 if i % 2 == 0 else 0.42) * math.sin(i * math.pi / 5),
                  -(1.0 if i % 2 == 0 else 0.42) * math.cos(i * math.pi / 5)) for i in range(10)])
    elif shape == "cross":
        a, b = 0.32, 0.95
        polygon([(-a, -b), (a, -b), (a, -a), (b, -a), (b, a), (a, a), (a, b), (-a, b), (-a, a), (-b, a), (-b, -a), (-a, -a)])
    else:  # heart
        t = np.linspace(0, 2 * math.pi, 40)
        polygon(list(zip(np.sin(t) ** 3, -(13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)) / 16)))
    return np.asarray(image.reduce(scale))


def paste(canvas, mask, colour, x, y):
    """Blends `colour` into the float canvas where the mask, centred at (x, y), covers it."""
    side = mask.shape[0]
    left, top = int(round(x - mask.shape[1] / 2)), int(round(y - side / 2))
    x0, y0 = max(left, 0), max(top, 0)
    x1, y1 = min(left + mask.shape[1], canvas.shape[1]), min(top + side, canvas.shape[0])
    if x0 >= x1 or y0 >= y1:
        return
    part = mask[y0 - top: y1 - top, x0 - left: x1 - left, None].astype(np.float32) / 255
    canvas[y0:y1, x0:x1] += part * (colour.astype(np.float32) - canvas[y0:y1, x0:x1])


def finish(rng, canvas, jpeg=0.25):
    """Adds brightness and sensor noise, sometimes blur and JPEG artefacts; returns uint8."""
    height, width = canvas.shape[:2]
    bank = _noise_bank()[rng.integers(3)]
    oy, ox = rng.integers(640 - height + 1), rng.integers(640 - width + 1)
    noisy = bank[oy: oy + height, ox: ox + width] * np.float32(rng.uniform(2, 11))
    noisy += canvas
    picture = np.clip(noisy, 0, 255, out=noisy).astype(np.uint8)
    if rng.random() < 0.12:
        picture = np.asarray(Image.fromarray(picture).filter(ImageFilter.BoxBlur(rng.uniform(0.5, 1.5))))
    if rng.random() < jpeg:
        data = io.BytesIO()
        Image.fromarray(picture).save(data, "JPEG", quality=int(rng.integers(45, 95)))
        picture = np.asarray(Image.open(data).convert("RGB"))
    return picture


def choose_size(rng):
    # Mostly square: what lies above and below a patch is then always the same number of positions away.
    return SIZES[rng.choice(len(SIZES), p=[0.72, 0.12, 0.05, 0.03, 0.05, 0.03])]


def shape_angle(rng, shape):
    limit = {"square": 0.15, "triangle": 0.2, "cross": 0.15, "star": 0.3, "heart": 0.2}.get(shape, 0.0)
    return rng.uniform(-limit, limit)


def big_thing(rng, size=None):
    """A picture with a single thing that fills much of it: what seeing starts from. Returns as `scene`."""
    width, height = size or choose_size(rng)
    radius = rng.uniform(0.2, 0.42) * min(width, height)
    x, y = (rng.uniform(radius + 2, side - radius - 2) for side in (width, height))
    cell = int(x * 3 / width) + 3 * int(y * 3 / height)
    thing = Thing(SHAPES[rng.integers(len(SHAPES))], COLOURS[rng.integers(len(COLOURS))], True, cell, x, y, radius)
    value = colour_value(rng, thing.colour)
    canvas = background(rng, width, height, [value])
    paste(canvas, shape_mask(thing.shape, radius, shape_angle(rng, thing.shape)), value, x, y)
    return finish(rng, canvas), [thing]


def scene(rng, size=None):
    """A picture with one to four things in different ninths of it; returns (picture, things in reading order)."""
    width, height = size or choose_size(rng)
    count = rng.choice([1, 2, 3, 4], p=[0.25, 0.3, 0.27, 0.18])
    cells = np.sort(rng.choice(9, count, replace=False))
    things, values = [], []
    for cell in cells:
        thing = Thing(SHAPES[rng.integers(len(SHAPES))], COLOURS[rng.integers(len(COLOURS))], bool(rng.random() < 0.5),
                      int(cell))
        thing.radius = rng.uniform(53, 62) if thing.large else rng.uniform(32, 40)
        if count == 1 and thing.large and rng.random() < 0.5:
            thing.radius = rng.uniform(53, 90)
        thing.x = (cell % 3 + 0.5 + rng.uniform(-0.2, 0.2)) * width / 3
        thing.y = (cell // 3 + 0.5 + rng.uniform(-0.2, 0.2)) * height / 3
        thing.x = min(max(thing.x, thing.radius + 2), width - thing.radius - 2)
        thing.y = min(max(thing.y, thing.radius + 2), height - thing.radius - 2)
        things.append(thing)
        values.append(colour_value(rng, thing.colour))
    # The fit to the frame must not have carried a big thing out of its ninth.
    for thing in things:
        cell_x, cell_y = int(thing.x * 3 / width), int(thing.y * 3 / height)
        if cell_x + 3 * cell_y != thing.cell:
            return scene(rng, size)
    for i, a in enumerate(things):
        for b in things[i + 1:]:
            if math.hypot(a.x - b.x, a.y - b.y) < a.radius + b.radius + 4:
                return scene(rng, size)
    canvas = background(rng, width, height, values)
    for thing, value in zip(things, values):
        paste(canvas, shape_mask(thing.shape, thing.radius, shape_angle(rng, thing.shape)), value, thing.x, thing.y)
    return finish(rng, canvas), things


def printed_word(rng, size=None, test=False):
    """A picture with one printed word; returns (picture, word, letters). `test` uses the held-out fonts.

    letters: (letter, x of its left edge, of its right edge, y of the top, of the bottom of the word) for each.
    """
    width, height = size or choose_size(rng)
    word = WORDS[rng.integers(len(WORDS))]
    fonts = _fonts(test)
    font = fonts[rng.integers(len(fonts))]
    # A word takes up about the same part of the width in every font: the letters then lie where they usually do.
    left, _, right, _ = _font(font, 64).getbbox(word)
    points = int(min(64 * rng.uniform(0.72, 0.84) * width / (right - left), 0.55 * height))
    left, top, right, bottom = _font(font, points).getbbox(word)
    pad = 6
    mask = Image.new("L", (right - left + 2 * pad, bottom - top + 2 * pad), 0)
    ImageDraw.Draw(mask).text((pad - left, pad - top), word, fill=255, font=_font(font, points))
    if rng.random() < 0.3:
        mask = mask.rotate(rng.uniform(-5, 5), Image.BILINEAR, expand=True)
    mask = np.asarray(mask)
    value = ink(rng)
    canvas = background(rng, width, height, [value], light=True)
    slack_x, slack_y = max(width - mask.shape[1], 0) / 2, max(height - mask.shape[0], 0) / 2
    x, y = width / 2 + rng.uniform(-0.3, 0.3) * slack_x, height / 2 + rng.uniform(-0.08, 0.08) * slack_y
    paste(canvas, mask, value, x, y)
    edges = [_font(font, points).getlength(word[:i]) - (right + left) / 2 + x for i in range(len(word) + 1)]
    top, bottom = y - (bottom - top) / 2, y + (bottom - top) / 2
    return finish(rng, canvas), word, [(c, a, b, top, bottom) for c, a, b in zip(word, edges, edges[1:])]


def handwritten_digit(rng, size=None, test=False):
    """A picture with one handwritten digit of scikit-learn's set; returns (picture, digit, (x, y, half of its side))."""
    width, height = size or choose_size(rng)
    images, targets = _digits()
    index = int(rng.integers(TRAIN_DIGITS, len(images)) if test else rng.integers(TRAIN_DIGITS))
    side = int(rng.uniform(0.82, 0.95) * min(width, height))
    glyph = Image.fromarray(np.pad(images[index], 1) * 255).resize((side, side), Image.BICUBIC)
    angle, shear = rng.uniform(-0.15, 0.15), rng.uniform(-0.15, 0.15)
    zoom_x, zoom_y = rng.uniform(0.9, 1.1, 2)
    ca, sa, c = math.cos(angle), math.sin(angle), side / 2
    a, b, d, e = ca * zoom_x, (sa + shear) * zoom_x, -sa * zoom_y, ca * zoom_y
    glyph = glyph.transform((side, side), Image.AFFINE, (a, b, c - a * c - b * c, d, e, c - d * c - e * c), Image.BILINEAR)
    mask = np.clip((np.asarray(glyph) - rng.uniform(20, 70)) * rng.uniform(1.2, 3), 0, 255).astype(np.uint8)
    value = ink(rng)
    canvas = background(rng, width, height, [value], light=True)
    slack_x, slack_y = (width - side) / 2, (height - side) / 2
    x, y = width / 2 + rng.uniform(-0.25, 0.25) * slack_x, height / 2 + rng.uniform(-0.4, 0.4) * slack_y
    paste(canvas, mask, value, x, y)
    return finish(rng, canvas), int(targets[index]), (x, y, side / 2)


def clip(rng, count, size=None, frames=None):
    """A clip of `count` frames in which one thing moves and another may stand still.

    `frames`: which frames to render (all by default). Returns (list of pictures, moving thing, direction, still thing or
    None, places (x, y) of the moving thing); the direction is a key of DIRECTIONS.
    """
    width, height = size or SIZES[rng.choice([0, 1, 4], p=[0.76, 0.14, 0.1])]
    names = list(DIRECTIONS)
    direction = names[rng.integers(len(names))]
    dx, dy = DIRECTIONS[direction]
    mover = Thing(SHAPES[rng.integers(len(SHAPES))], COLOURS[rng.integers(len(COLOURS))], False, 0)
    mover.radius = rng.uniform(40, 56)
    margin = mover.radius + 3
    span = (width if dx else height) - 2 * margin
    travel = rng.uniform(0.6, 1.0) * span
    start = rng.uniform(0, span - travel)
    if dx + dy < 0:
        start += travel
    across = rng.uniform(margin, (height if dx else width) - margin)
    still = None
    if rng.random() < 0.4:
        while True:
            still = Thing(SHAPES[rng.integers(len(SHAPES))], COLOURS[rng.integers(len(COLOURS))], False, 0)
            still.radius = rng.uniform(38, 52)
            still.x, still.y = (rng.uniform(still.radius, side - still.radius) for side in (width, height))
            gap = abs((still.y if dx else still.x) - across)
            if (still.shape, still.colour) != (mover.shape, mover.colour) and gap > still.radius + mover.radius:
                break
            if rng.random() < 0.05:
                still = None
                break
    value = colour_value(rng, mover.colour)
    still_value = colour_value(rng, still.colour) if still else None
    canvas = background(rng, width, height, [value] + ([still_value] if still else []))
    if still:
        paste(canvas, shape_mask(still.shape, still.radius, shape_angle(rng, still.shape)), still_value, still.x, still.y)
    mask = shape_mask(mover.shape, mover.radius, shape_angle(rng, mover.shape))
    pictures, places = [], []
    for index in range(count) if frames is None else frames:
        along = margin + start + (dx + dy) * travel * index / max(count - 1, 1)
        places.append((along if dx else across, along if dy else across))
        frame = canvas.copy()
        paste(frame, mask, value, *places[-1])
        pictures.append(finish(rng, frame, jpeg=0.5))
    return pictures, mover, direction, still, places


def patches(picture):
    """uint8 [h, w, 3] with sides divisible by 48 to uint8 [h/48 * w/48, 6912], features ordered (row, column, RGB)."""
    height, width = picture.shape[:2]
    rows, columns = height // 48, width // 48
    cut = picture.reshape(rows, 48, columns, 48, 3).transpose(0, 2, 1, 3, 4)
    return np.ascontiguousarray(cut).reshape(rows * columns, 6912)


def resized(picture, size):
    """The reference's resize: bicubic with a = -0.5 and antialiasing (Pillow's differs from it by at most 1 of 255)."""
    return np.asarray(Image.fromarray(picture).resize(size, Image.BICUBIC))


def target_size(width, height, budget=70):
    """Width and height that the processor gives a picture for a budget of soft tokens."""
    factor = math.sqrt(2304 * budget / (height * width))
    return int(math.floor(factor * width / 48)) * 48, int(math.floor(factor * height / 48)) * 48
