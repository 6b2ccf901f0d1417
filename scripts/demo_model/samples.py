"""Training samples: conversations with media as token ids, kinds, soft-token inputs and the positions that carry a loss."""

import dataclasses
import itertools
import pathlib

import numpy as np
from tokenizers import Tokenizer

import dialogues
import pictures
import questions
import speech

MODEL_DIR = pathlib.Path(__file__).resolve().parents[2] / "models/demo"
FRAME = 640            # samples of one audio soft token
VIDEO_FRAMES = 4
IMAGE, VIDEO, AUDIO = 1, 2, 3

# Skill, its share of the samples, weight of one answer token in the loss.
SKILLS = {
    "scene": (8.0, 3.0), "word": (1.6, 2.0), "digit": (2.0, 4.0), "speech": (5.0, 2.0), "voices": (1.2, 2.0),
    "clip": (2.5, 3.0), "tools": (6.0, 1.5), "choice": (0.0, 3.0), "talk": (1.0, 0.5), "sums": (1.5, 2.0), "copying": (4.0, 1.0)}

# What is asked of single patches and frames while training, (name, number of classes): see `patch_labels`, `frame_labels`.
PATCH_LABELS = [("shape", len(pictures.SHAPES) + 1), ("colour", len(pictures.COLOURS) + 1), ("large", 2), ("letter", 26),
                ("word", len(pictures.WORDS)), ("digit", 10), ("direction", len(pictures.DIRECTIONS))]
FRAME_LABELS = [("phoneme", max(speech.PHONEMES.values()) + 1), ("word", len(speech.WORDS) + 1), ("woman", 2)]
NO_LABEL = -100


@dataclasses.dataclass
class Sample:
    skill: str
    ids: np.ndarray            # int64 [n]
    kinds: np.ndarray          # int64 [n]: 0 text, 1 image, 2 video, 3 audio
    where: np.ndarray          # positions whose next token is predicted
    weight: float
    patches: np.ndarray        # uint8 [p, 6912]
    patch_positions: np.ndarray  # int64 [p, 2] (x, y)
    frames: np.ndarray         # float32 [f, 640]
    patch_labels: np.ndarray   # int64 [p, len(PATCH_LABELS)], NO_LABEL where nothing is asked
    frame_labels: np.ndarray   # int64 [f, len(FRAME_LABELS)]
    prompt_length: int = 0


def patch_centres(picture):
    """x and y [rows, columns] of the centres of a picture's patches."""
    rows, columns = picture.shape[0] // 48, picture.shape[1] // 48
    y, x = np.mgrid[0:rows, 0:columns]
    return x * 48 + 24, y * 48 + 24


def patch_labels(rng, picture, things=(), letters=(), word=None, digit=None, direction=None):
    """Labels of a picture's patches: what covers the centre of each.

    things: (x, y, radius, shape, colour, large or None); letters as from `printed_word`; digit: (digit, (x, y, half side));
    direction: (name, x, y, radius).
    """
    x, y = patch_centres(picture)
    labels = np.full(x.shape + (len(PATCH_LABELS),), NO_LABEL, np.int64)
    if things:
        labels[..., 0], labels[..., 1] = len(pictures.SHAPES), len(pictures.COLOURS)
        distance = np.stack([np.hypot(x - t[0], y - t[1]) - t[2] for t in things])
        nearest = distance.argmin(0)
        for i, (_, _, _, shape, colour, large) in enumerate(things):
            mine = (nearest == i) & ((distance[i] < -4) | (distance[i] == distance[i].min()))
            labels[mine, 0], labels[mine, 1] = pictures.SHAPES.index(shape), pictures.COLOURS.index(colour)
            labels[mine, 2] = NO_LABEL if large is None else int(large)
            labels[(nearest == i) & ~mine & (distance[i] < 34), :2] = NO_LABEL
        # Most patches show nothing: a tenth of them is enough to learn that.
        bare = labels[..., 0] == len(pictures.SHAPES)
        labels[bare & (rng.random(bare.shape) < 0.9), :2] = NO_LABEL
    for letter, left, right, top, bottom in letters:
        inside = (x >= left) & (x < right) & (y > top - 10) & (y < bottom + 10)
        labels[inside, 3] = ord(letter) - ord("a")
        labels[inside, 4] = pictures.WORDS.index(word)
    if digit:
        value, (at_x, at_y, half) = digit
        labels[(np.abs(x - at_x) < 0.8 * half) & (np.abs(y - at_y) < 0.8 * half), 5] = value
    if direction:
        name, at_x, at_y, radius = direction
        labels[np.hypot(x - at_x, y - at_y) < radius + 12, 6] = list(pictures.DIRECTIONS).index(name)
    return labels.reshape(-1, len(PATCH_LABELS))


def frame_labels(count, utterances):
    """Labels of `count` frames: the sound one frame ago, the word of which most is over, the voice.

    utterances: (first sample in the recording, samples of it per sample of the bank, Bank.said(), is_woman).
    """
    labels = np.full((count, len(FRAME_LABELS)), NO_LABEL, np.int64)
    ends = (np.arange(count) + 1) * FRAME
    for start, scale, (phonemes, phoneme_at, words, word_at), woman in utterances:
        phoneme_at, word_at = start + phoneme_at * scale, start + np.asarray(word_at) * scale
        lasts = np.flatnonzero((ends > start) & (ends - 2 * FRAME < word_at[-1]))
        which = np.searchsorted(phoneme_at, ends[lasts] - 1.5 * FRAME, "right") - 1
        labels[lasts, 0] = np.where(which >= 0, phonemes[np.maximum(which, 0)], 0)
        for word, begin, end in zip(words, word_at, word_at[1:]):
            labels[(ends >= begin + 0.55 * (end - begin)) & (ends < end + 2 * FRAME), 1] = word
        labels[lasts[lasts * FRAME > start + 4 * FRAME], 2] = int(woman)
    first = min(start for start, *_ in utterances)
    labels[ends <= first + FRAME, 0] = 0
    labels[ends <= first + FRAME, 1] = len(speech.WORDS)
    return labels


class Builder:
    """Turns messages and media into samples with the shipped tokenizer and chat template."""

    def __init__(self, model_dir=MODEL_DIR):
        import torchvision_cpu  # noqa: F401  (before transformers)
        from transformers.utils.chat_template_utils import _compile_jinja_template

        self.tokenizer = Tokenizer.from_file(str(model_dir / "tokenizer.json"))
        self.template = _compile_jinja_template((model_dir / "chat_template.jinja").read_text())
        token = self.tokenizer.token_to_id
        self.image, self.video, self.audio = token("<|image|>"), token("<|video|>"), token("<|audio|>")
        self.turn, self.end_turn, self.response = token("<|turn>"), token("<turn|>"), token("<|tool_response>")
        self.call, self.channel, self.brace = token("<|tool_call>"), token("<|channel>"), self.encode("{")[0]
        self.end_response = token("<tool_response|>")
        self.model_role = self.encode("model\n")
        self.pieces = sorted(p for p in self.tokenizer.get_vocab() if p.isascii() and p.isalpha())
        self.ordinary = np.array(sorted(i for p, i in self.tokenizer.get_vocab().items() if p.strip("▁").isalnum()))
        self.before_echo, self.after_echo = (np.array(self.encode(t)) for t in self.prompt(
            [{"role": "user", "content": "Repeat: \0"}]).split("\0"))

    def encode(self, text):
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def prompt(self, messages, **options):
        return self.template.render(messages=messages, bos_token="<bos>", add_generation_prompt=True, **options)

    def completion(self, message, thinking, after_result):
        """What the model has to write for its last message, from the end of the generation prompt on."""
        text = ""
        if thinking:
            text = message["reasoning"] + "\n<channel|>"
            if not after_result:
                text = "<|channel>thought\n" + text
        if message.get("tool_calls"):
            call = self.template.render(messages=[{"role": "user", "content": ""}, {**message, "reasoning": None}], bos_token="")
            return text + call[call.index("<|tool_call>"):]   # ends in <|tool_response>, where generation stops
        return text + message["content"] + "<turn|>"

    def build(self, skill, messages, options=None, images=(), frames=None, clip=None, labels=None):
        """images: list of uint8 pictures; frames: float32 samples of a recording; clip: (pictures, time stamps).

        labels: those of all patches, or the utterances of the recording as `frame_labels` takes them.
        """
        options = options or {}
        patches, positions = [], []

        def soft(picture):
            patches.append(pictures.patches(picture))
            rows, columns = picture.shape[0] // 48, picture.shape[1] // 48
            y, x = np.divmod(np.arange(rows * columns), columns)
            positions.append(np.stack([x, y], 1))
            return rows * columns

        text = self.prompt(messages[:-1], **options)
        for picture in images:
            text = text.replace("<|image|>", "<|image>" + "\0" * soft(picture) + "<image|>", 1)
        text = text.replace("\0", "<|image|>")
        audio = np.zeros((0, FRAME), np.float32)
        if frames is not None:
            audio = np.pad(frames, (0, -len(frames) % FRAME)).astype(np.float32).reshape(-1, FRAME)
            text = text.replace("<|audio|>", "<|audio>" + "\0" * len(audio) + "<audio|>", 1).replace("\0", "<|audio|>")
        if clip is not None:
            parts = [f"{stamp} <|image>" + "\0" * soft(picture) + "<image|>" for picture, stamp in zip(*clip)]
            text = text.replace("<|video|>", " ".join(parts), 1).replace("\0", "<|video|>")
        ids = self.encode(text)
        prompt_length = len(ids)
        after_result = messages[-2]["role"] == "tool"
        thinking = options.get("enable_thinking", False)
        ids = np.array(ids + self.encode(self.completion(messages[-1], thinking, after_result)))
        kinds = np.zeros(len(ids), np.int64)
        for token, kind in ((self.image, IMAGE), (self.video, VIDEO), (self.audio, AUDIO)):
            kinds[ids == token] = kind
        of_patches = np.full((sum(map(len, patches)), len(PATCH_LABELS)), NO_LABEL, np.int64)
        of_frames = np.full((len(audio), len(FRAME_LABELS)), NO_LABEL, np.int64)
        if labels is not None and patches:
            of_patches = labels
        elif labels is not None:
            of_frames = frame_labels(len(audio), labels)
        spans = [(prompt_length, len(ids))]
        if not thinking:
            spans += self.earlier_answers(ids[:prompt_length])
        where = np.concatenate([np.arange(a - 1, b - 1) for a, b in spans])
        return Sample(skill, ids, kinds, where, SKILLS[skill][1],
                      np.concatenate(patches) if patches else np.zeros((0, 6912), np.uint8),
                      np.concatenate(positions) if positions else np.zeros((0, 2), np.int64), audio,
                      of_patches, of_frames, prompt_length)

    def echo(self, rng):
        """Tokens drawn at random, to be repeated: without words and spaces nothing but copying helps."""
        tokens = rng.choice(self.ordinary, rng.integers(2, 12 if rng.random() < 0.8 else 40), replace=rng.random() < 0.2)
        prompt = np.concatenate([self.before_echo, tokens, self.after_echo])
        ids = np.concatenate([prompt, tokens, [self.end_turn]])
        return Sample("copying", ids, np.zeros(len(ids), np.int64), np.arange(len(prompt) - 1, len(ids) - 1), SKILLS["copying"][1],
                      np.zeros((0, 6912), np.uint8), np.zeros((0, 2), np.int64), np.zeros((0, FRAME), np.float32),
                      np.zeros((0, len(PATCH_LABELS)), np.int64), np.zeros((0, len(FRAME_LABELS)), np.int64), len(prompt))

    def earlier_answers(self, ids):
        """Spans [begin, end) of what the model said in a prompt: plain text, calls and the text after their results."""
        spans, begins = [], np.flatnonzero(ids == self.turn)
        for begin, after in zip(begins, list(begins[1:]) + [len(ids)]):
            start = begin + 1 + len(self.model_role)
            if list(ids[begin + 1: start]) != self.model_role:
                continue
            results = np.flatnonzero(ids[start:after] == self.response) + start
            ends = np.flatnonzero(ids[start:after] == self.end_turn) + start
            if len(results):
                spans.append((start, int(results[0]) + 1))
                start = int(np.flatnonzero(ids[start:after] == self.end_response)[-1]) + start + 1
            if len(ends):
                spans.append((start, int(ends[0]) + 1))
        return spans


def media_turns(media_type, pairs, rng):
    """Messages with the medium before the first question."""
    messages = dialogues.system(rng)
    for i, (question, answer) in enumerate(pairs):
        content = [{"type": media_type}, {"type": "text", "text": question}] if i == 0 else question
        messages += [{"role": "user", "content": content}, {"role": "assistant", "content": answer}]
    return messages


def any_size(rng, picture):
    """Some pictures arrive at another size and go through the resize that the processor does."""
    if rng.random() < 0.75:
        return picture
    height, width = picture.shape[:2]
    scale = rng.uniform(0.7, 1.6)
    other = pictures.resized(picture, (int(width * scale), int(height * scale)))
    return pictures.resized(other, (width, height))


def augment(rng, wave, strength=1.0):
    """Room around the words, tempo, colouring, level and noise.

    Returns float32 samples in [-1, 1], the new place of the first sample and how many samples one has become.
    """
    factor = 1.0
    if rng.random() < 0.5 * strength:
        factor = rng.uniform(0.93, 1.07)
        wave = np.interp(np.arange(0, len(wave) - 1, factor), np.arange(len(wave)), wave).astype(np.float32)
    before = int(rng.integers(0, 5000))
    wave = np.pad(wave, (before, int(rng.integers(0, 4000))))
    if rng.random() < 0.4 * strength:
        wave[1:] += np.float32(rng.uniform(-0.5, 0.5)) * wave[:-1].copy()
    wave *= np.float32(10 ** rng.uniform(-0.9, 0.0) * 0.9 / max(np.abs(wave).max(), 1e-3))
    if rng.random() < 0.65 * strength:
        noise = rng.standard_normal(len(wave)).astype(np.float32)
        if rng.random() < 0.5:
            noise = np.convolve(noise, np.float32([0.25, 0.25, 0.25, 0.25]), "same")
        level = np.sqrt((wave ** 2).mean()) * 10 ** (-rng.uniform(10, 40) / 20) / np.sqrt((noise ** 2).mean())
        wave = wave + noise * np.float32(level)
    return np.round(np.clip(wave, -1, 32767 / 32768) * 32768) / np.float32(32768), before, 1 / factor


class Skills:
    """Makes samples of every skill. `test` selects the held-out fonts, digits, names and values.

    `ease` (1 at the start of training, 0 later) asks for more big single things and single words: attention finds what it
    has to look at much sooner where there is little else.
    """

    ease = 0.0

    def __init__(self, banks, test=False, sentences="sentences", words="words", model_dir=MODEL_DIR):
        banks = pathlib.Path(banks)
        self.builder = Builder(model_dir)
        self.test = test
        self.sentences, self.words = (speech.Bank(banks / name) for name in (sentences, words))
        self.men = np.flatnonzero(~self.words.woman)
        self.women = np.flatnonzero(self.words.woman)
        self.shown = []

    def drawn(self, rng):
        """(picture, things, whether it is a single big thing); every picture is asked about twice, at different times."""
        if len(self.shown) > 60:
            return self.shown.pop(int(rng.integers(len(self.shown))))
        big = rng.random() < 0.15 + 0.5 * self.ease
        picture, things = pictures.big_thing(rng) if big else pictures.scene(rng)
        made = any_size(rng, picture), things, big
        self.shown.append(made)
        return made

    def scene(self, rng):
        picture, things, big = self.drawn(rng)
        pairs = []
        for i in range(rng.choice([1, 2, 3, 4], p=[0.25, 0.25, 0.25, 0.25])):
            if big and rng.random() < 0.5:
                pairs.append(questions.shape_question(rng, things[0]))
            elif rng.random() < (0.35 if i == 0 else 0.1):
                pairs.append((dialogues.pick(rng, questions.DESCRIBE), questions.describe_scene(things)))
            elif rng.random() < 0.15:
                pairs.append((questions.count_question(rng), questions.counted(len(things))))
            else:
                pairs.append(questions.scene_question(rng, things))
        messages = media_turns("image", pairs, rng)
        options = {}
        if rng.random() < 0.06:
            options["enable_thinking"] = True
            messages[-1]["reasoning"] = questions.scene_thought(things)
        labels = patch_labels(rng, picture, [(t.x, t.y, t.radius, t.shape, t.colour, None if big else t.large) for t in things])
        return self.builder.build("scene", messages, options, images=[picture], labels=labels)

    def word(self, rng):
        picture, word, letters = pictures.printed_word(rng, test=self.test)
        return self.builder.build("word", media_turns("image", [questions.word_question(rng, word)], rng),
                                  images=[any_size(rng, picture)], labels=patch_labels(rng, picture, letters=letters, word=word))

    def digit(self, rng):
        picture, digit, place = pictures.handwritten_digit(rng, test=self.test)
        return self.builder.build("digit", media_turns("image", [questions.digit_question(rng, digit)], rng),
                                  images=[any_size(rng, picture)], labels=patch_labels(rng, picture, digit=(digit, place)))

    def speech(self, rng):
        bank = self.words if rng.random() < 0.08 + 0.5 * self.ease else self.sentences
        index = int(rng.integers(len(bank)))
        while rng.random() < self.ease and len(str(bank.text[index]).split()) > 3:
            index = int(rng.integers(len(bank)))
        wave, text, woman = bank[index]
        wave, start, scale = augment(rng, wave, 1 - 0.6 * self.ease)
        pair = questions.speech_question(rng, text, woman)
        return self.builder.build("speech", media_turns("audio", [pair], rng), frames=wave,
                                  labels=[(start, scale, bank.said(index), woman)])

    def voices(self, rng):
        indices = [int(dialogues.pick(rng, group)) for group in (self.men, self.women)]
        if rng.random() < 0.5:
            indices.reverse()
        first, second = (self.words[i] for i in indices)
        levels = rng.uniform(0.6, 1.0, 2) / [max(np.abs(w[0]).max(), 1e-3) for w in (first, second)]
        gap = np.zeros(int(rng.integers(2400, 8000)), np.float32)
        wave = np.concatenate([first[0] * np.float32(levels[0]), gap, second[0] * np.float32(levels[1])])
        wave, start, scale = augment(rng, wave)
        starts = (start, start + (len(first[0]) + len(gap)) * scale)
        pair = questions.voices_question(rng, first[1:], second[1:])
        return self.builder.build("voices", media_turns("audio", [pair], rng), frames=wave, labels=[
            (s, scale, self.words.said(i), w[2]) for s, i, w in zip(starts, indices, (first, second))])

    def clip(self, rng):
        total, rate = int(rng.integers(20, 180)), dialogues.pick(rng, [10, 12, 15, 24, 25, 30])
        chosen = [i * total // VIDEO_FRAMES for i in range(VIDEO_FRAMES)]
        shown, mover, direction, still, places = pictures.clip(rng, total, frames=chosen)
        stamps = ["%02d:%02d" % divmod(int(i / rate), 60) for i in chosen]
        pair = questions.clip_question(rng, mover, direction, still)
        labels = []
        for i, (picture, place) in enumerate(zip(shown, places)):
            things = [(*place, mover.radius, mover.shape, mover.colour, None)]
            if still:
                things.append((still.x, still.y, still.radius, still.shape, still.colour, None))
            labels.append(patch_labels(rng, picture, things, direction=(direction, *place, mover.radius) if i else None))
        return self.builder.build("clip", media_turns("video", [pair], rng), clip=(shown, stamps), labels=np.concatenate(labels))

    def tools(self, rng):
        return self.builder.build("tools", *dialogues.tools(rng, self.test, None if self.test else self.builder.pieces))

    def choice(self, rng):
        """Only the names that are called are learned, and thoughts about them."""
        builder = self.builder
        sample = builder.build("choice", *dialogues.tool_names(rng, builder.pieces))
        begins = np.flatnonzero(sample.ids == builder.call)
        braces = np.flatnonzero(sample.ids == builder.brace)
        if len(sample.where) and sample.ids[sample.where[0] + 1] == builder.channel:
            begins = sample.where[:1] + 1
        chosen = np.concatenate([np.arange(b, braces[np.searchsorted(braces, b)] + 1) for b in begins])
        return dataclasses.replace(sample, where=np.intersect1d(sample.where, chosen - 1))

    def sums(self, rng):
        return self.builder.build("sums", *dialogues.sums(rng))

    def talk(self, rng):
        return self.builder.build("talk", *dialogues.talk(rng))

    def copying(self, rng):
        if rng.random() < 0.5:
            return self.builder.echo(rng)
        return self.builder.build("copying", *dialogues.copying(rng, self.builder.pieces))


def perception(sample):
    """The sample up to its last soft token: what seeing and hearing need, and no more."""
    end = int(np.flatnonzero(sample.kinds)[-1]) + 1
    return dataclasses.replace(sample, ids=sample.ids[:end], kinds=sample.kinds[:end], where=sample.where[:0])


def batches(skills, seed, total, easy=0, ease=1.0, media_only=False, other_shares=None, prepare=None):
    """Endless packed batches of exactly `total` positions; the rest of the last row is a filler without a loss.

    other_shares: {skill: share} in the place of those of SKILLS; prepare: function of the patches of a batch.
    `media_only`: samples without their questions and answers, for training with the labels of patches and frames alone.

    Over the first `easy` batches the samples go from easy (as easy as `ease`) to ordinary, and the long ones (clips, tools) come in.
    """
    import torch

    rng = np.random.default_rng(seed)
    names = list(SKILLS)
    waiting = []
    for step in itertools.count():
        skills.ease = ease * max(0.0, 1 - step / easy) if easy else 0.0
        shares = np.array([(other_shares or {}).get(n, SKILLS[n][0]) * (1 - 0.8 * skills.ease * (n in ("clip", "tools", "choice", "word"))) for n in names])
        if media_only:
            shares[[names.index(n) for n in ("tools", "choice", "talk", "sums", "copying")]] = 0
        shares /= shares.sum()
        chosen, used = [], 0
        for sample in waiting:
            chosen.append(sample)
            used += len(sample.ids)
        waiting = []
        while total - used > 60 and len(waiting) < 3:
            sample = getattr(skills, names[rng.choice(len(names), p=shares)])(rng)
            if media_only:
                sample = perception(sample)
            if used + len(sample.ids) <= total:
                chosen.append(sample)
                used += len(sample.ids)
            else:
                waiting.append(sample)
        lengths = [len(s.ids) for s in chosen]
        filler = total - used
        starts = np.cumsum([0] + lengths)
        if filler:
            lengths.append(filler)
        ids = np.concatenate([s.ids for s in chosen] + [np.zeros(filler, np.int64)])
        where = np.concatenate([s.where + a for s, a in zip(chosen, starts)])
        yield {
            "ids": torch.from_numpy(ids),
            "positions": torch.from_numpy(np.concatenate([np.arange(n) for n in lengths])),
            "kinds": torch.from_numpy(np.concatenate([s.kinds for s in chosen] + [np.zeros(filler, np.int64)])),
            "lengths": lengths,
            "where": torch.from_numpy(where),
            "targets": torch.from_numpy(ids[where + 1]),
            "weights": torch.from_numpy(np.concatenate([np.full(len(s.where), s.weight, np.float32) for s in chosen])),
            "skill": torch.from_numpy(np.concatenate([np.full(len(s.where), names.index(s.skill)) for s in chosen])),
            "patches": (prepare or torch.from_numpy)(np.concatenate([s.patches for s in chosen])),
            "patch_positions": torch.from_numpy(np.concatenate([s.patch_positions for s in chosen])),
            "frames": torch.from_numpy(np.concatenate([s.frames for s in chosen])),
            "patch_labels": torch.from_numpy(np.concatenate([s.patch_labels for s in chosen])),
            "frame_labels": torch.from_numpy(np.concatenate([s.frame_labels for s in chosen]))}
